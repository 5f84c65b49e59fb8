//! Where the file is: a directory that belongs to one process at a time.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

use super::OpenError;
use super::view::Source;
use crate::store::WrongPath;

/// What redb may keep in memory: enough for the inner pages of its trees and for a few commits. Bodies have
/// a cache of their own.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// What holds the database.
pub(super) trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Opens the database, or makes a new one.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// How many bytes of it redb may keep in memory.
    fn cache_bytes(&self) -> usize {
        CACHE_BYTES
    }

    /// How many bytes may still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// How many bytes the database takes.
    fn size(&self) -> io::Result<u64>;

    /// Lets go of what the system remembers of the file and has not read from the disk: after a sync that
    /// failed, it may remember what was never written. The database is closed.
    fn forget(&self) -> io::Result<()>;

    /// What it holds now, for reading only; as it is on the disk, and not as the system remembers it.
    fn view(&self) -> io::Result<Box<dyn Source>>;

    /// Whether a path leads to something else than what is open.
    fn wrong_path(&self) -> io::Result<Option<WrongPath>> {
        Ok(None)
    }

    /// Writes the file anew from what is open, if nothing is left in its place; says what is wrong after
    /// that. The database is closed.
    fn put_back(&self) -> io::Result<Option<WrongPath>> {
        self.wrong_path()
    }

    /// From now on another process may use it. The database is closed, and stays so.
    fn release(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory, locked for this process until it is released or dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The directory itself.
    itself: File,
    lock: Mutex<File>,
    /// The database's file as it was opened last: it stays readable whatever happens to its name.
    open: Mutex<Option<File>>,
}

impl Directory {
    /// The database's file.
    const FILE: &'static str = "pollgate.redb";
    /// Locked while a process uses the directory; it holds that process's id.
    const LOCK: &'static str = "lock";
    /// The database's file while it is written anew.
    const COPY: &'static str = "pollgate.redb.copy";

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
        sign(&mut lock).map_err(io)?;
        let itself = File::open(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), itself, lock: Mutex::new(lock), open: Mutex::default() })
    }

    /// Whether there is a store in this directory, which need not be there itself.
    pub(super) fn has_store(path: &Path) -> Result<bool, OpenError> {
        let io = |cause| OpenError::Directory { path: path.to_owned(), cause };
        path.join(Self::FILE).try_exists().map_err(io)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path.join(Self::FILE)
    }

    fn locked(&self) -> MutexGuard<'_, File> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock file, made anew, unless another process holds the one that is there.
    fn lock_anew(&self) -> io::Result<()> {
        let mut lock = private().open(self.path.join(Self::LOCK))?;
        if lock.try_lock().is_ok() {
            sign(&mut lock)?;
            *self.locked() = lock;
            tracing::warn!(directory = %self.path.display(), "lock file was removed: it was made anew");
        }
        Ok(())
    }

    fn opened(&self) -> MutexGuard<'_, Option<File>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle of its own to the database's file.
    fn handle(&self) -> io::Result<File> {
        self.opened().as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    /// The database's file, written anew from what is open, unless something is in its place.
    fn write_anew(&self) -> io::Result<()> {
        let copy = self.path.join(Self::COPY);
        let write = || {
            let mut from = self.handle()?;
            from.rewind()?;
            let mut to = private().truncate(true).open(&copy)?;
            io::copy(&mut from, &mut to)?;
            to.sync_all()?;
            // This fails if the name is taken.
            std::fs::hard_link(&copy, self.file())?;
            self.itself.sync_all()?;
            *self.opened() = Some(to);
            Ok(())
        };
        let written = write();
        let removed = std::fs::remove_file(&copy);
        written.and(removed)
    }
}

/// Writes down who holds the lock.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Whether the path leads to this open file; none if there is nothing.
fn leads_to(path: &Path, open: &File) -> io::Result<Option<bool>> {
    let open = open.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok(Some((there.dev(), there.ino()) == (open.dev(), open.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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
            // One of its own: redb's lock belongs to the other.
            let reading = File::open(self.file())?;
            if leads_to(&self.file(), &file)? != Some(true) || leads_to(&self.file(), &reading)? != Some(true)
            {
                return Err(io::Error::other("it was replaced while it was opened"));
            }
            *self.opened() = Some(reading);
            // The file's name is on the disk before anything that is in it counts.
            File::open(&self.path)?.sync_all()?;
            Ok(file)
        };
        builder.create_with_backend(FileBackend::new(open().map_err(redb::StorageError::Io)?)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.path)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn size(&self) -> io::Result<u64> {
        self.handle()?.length()
    }

    fn forget(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.handle()?, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn view(&self) -> io::Result<Box<dyn Source>> {
        self.forget()?;
        Ok(Box::new(self.handle()?))
    }

    fn wrong_path(&self) -> io::Result<Option<WrongPath>> {
        Ok(if leads_to(&self.path, &self.itself)? != Some(true) {
            Some(WrongPath::Directory)
        } else if leads_to(&self.path.join(Self::LOCK), &self.locked())? != Some(true) {
            Some(WrongPath::Lock)
        } else {
            match leads_to(&self.file(), &self.handle()?)? {
                Some(true) => None,
                Some(false) => Some(WrongPath::Replaced),
                None => Some(WrongPath::Removed),
            }
        })
    }

    fn put_back(&self) -> io::Result<Option<WrongPath>> {
        if self.wrong_path()? == Some(WrongPath::Removed) {
            self.write_anew()?;
            tracing::warn!(file = %self.file().display(), "the store was removed: it was written anew");
        }
        if self.wrong_path()? == Some(WrongPath::Lock) {
            self.lock_anew()?;
        }
        self.wrong_path()
    }

    fn release(&self) -> io::Result<()> {
        // Whoever has it next may take the place of the file.
        self.opened().take();
        self.locked().unlock()
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
