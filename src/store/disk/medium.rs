//! Where the file is: a directory that belongs to one process at a time.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};
use tempfile::NamedTempFile;

use super::OpenError;

/// What holds the database.
pub(super) trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Opens the database, or makes a new one.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// How many bytes may still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// How many bytes the database takes.
    fn size(&self) -> io::Result<u64>;

    /// Lets go of what the system remembers of the file and has not read from the disk: after a sync that
    /// failed, it may remember what was never written. The database is closed.
    fn forget(&self) -> io::Result<()>;

    /// Whether what is open is still what would be found.
    fn place(&self) -> io::Result<Place> {
        Ok(Place::Ours)
    }

    /// Puts a copy of what is open where it was before somebody removed it. The database is not written to meanwhile.
    fn put_back(&self) -> io::Result<()> {
        Ok(())
    }

    /// From now on another process may use it. The database is closed, and stays so.
    fn release(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What is found where the database was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The same file.
    Ours,
    /// Nothing.
    Empty,
    /// Another file.
    Foreign,
}

/// A directory, locked for this process until it is released or dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
    /// The database's file, as it was opened.
    open: Mutex<Option<File>>,
}

impl Directory {
    /// The database's file.
    const FILE: &'static str = "pollgate.redb";
    /// Locked while a process uses the directory; it holds that process's id.
    const LOCK: &'static str = "lock";

    /// Makes the directory if it is not there, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let io = |cause| OpenError::Directory { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let mut lock = private().open(path.join(Self::LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever holds it may not have written its id yet.
                let _ = lock.read_to_string(&mut holder);
                return Err(OpenError::Held { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(cause)) => return Err(io(cause)),
        }
        let mut write = || {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write().map_err(io)?;
        Ok(Self { path: path.to_owned(), lock, open: Mutex::new(None) })
    }

    /// Whether there is a store in this directory, which need not be there itself.
    pub(super) fn has_store(path: &Path) -> Result<bool, OpenError> {
        let io = |cause| OpenError::Directory { path: path.to_owned(), cause };
        path.join(Self::FILE).try_exists().map_err(io)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path.join(Self::FILE)
    }
}

/// Opens or makes a file that only we may read: whoever knows a poll key may take the messages.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

impl Medium for Directory {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let open = || {
            let file = private().open(self.file())?;
            // The file's name is on the disk before anything that is in it counts.
            File::open(&self.path)?.sync_all()?;
            *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.try_clone()?);
            Ok(file)
        };
        builder.create_with_backend(FileBackend::new(open().map_err(redb::StorageError::Io)?)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.path)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn size(&self) -> io::Result<u64> {
        std::fs::metadata(self.file()).map(|metadata| metadata.len())
    }

    fn forget(&self) -> io::Result<()> {
        let file = File::open(self.file())?;
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn place(&self) -> io::Result<Place> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open.as_ref() else { return Ok(Place::Ours) };
        let open = open.metadata()?;
        match std::fs::metadata(self.file()) {
            Ok(found) if (found.dev(), found.ino()) == (open.dev(), open.ino()) => Ok(Place::Ours),
            Ok(_) => Ok(Place::Foreign),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Empty),
            Err(error) => Err(error),
        }
    }

    fn put_back(&self) -> io::Result<()> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open.as_ref() else { return Ok(()) };
        let mut copy = NamedTempFile::new_in(&self.path)?;
        let (mut at, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            let read = open.read_at(&mut piece, at)?;
            if read == 0 {
                break;
            }
            copy.write_all(&piece[..read])?;
            at += read as u64;
        }
        copy.as_file().sync_all()?;
        // Whoever put another file there in the meantime keeps it.
        copy.persist_noclobber(self.file())?;
        File::open(&self.path)?.sync_all()
    }

    fn release(&self) -> io::Result<()> {
        // Whoever has it next may take the place of the file.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.lock.unlock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        let first = Directory::take(&path).unwrap();
        let refused = Directory::take(&path).unwrap_err().to_string();
        let expected =
            format!("{} is in use by another process (process id {})", path.display(), std::process::id());
        assert_eq!(refused, expected);
        drop(first);
        assert!(Directory::take(&path).is_ok());
    }

    #[test]
    fn a_file_is_no_directory() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let refused = Directory::take(&path).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot use the directory {}: ", path.display())), "{refused}");
    }

    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        let directory = Directory::take(&path).unwrap();
        drop(directory.open(&Builder::new()).unwrap());
        for path in [path.clone(), path.join("lock"), directory.file()] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }

    #[test]
    fn there_is_room_on_the_disk() {
        let home = tempfile::tempdir().unwrap();
        assert!(Directory::take(home.path()).unwrap().free_bytes().unwrap() > 0);
    }
}
