//! Files that are read again when they change.
//!
//! They are looked at when somebody asks, at most once a second; nothing runs while nobody asks. Files that
//! cannot be read any more, or that no longer say anything, leave what was read before, and are warned of
//! once.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};

use crate::mailbox::Timestamp;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// As many malformed lines are named by their numbers.
const MOST_NAMED: usize = 10;

/// What a file says, or several together, as of at most a second ago.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    read: Box<Read<T>>,
    current: ArcSwap<T>,
    state: Mutex<State>,
}

/// Makes of the bytes of the files what they say, and the numbers of the lines that say nothing; or the reason
/// why they say nothing at all.
type Read<T> = dyn Fn(&[Vec<u8>]) -> Result<(T, Vec<usize>), String> + Send + Sync;

/// Files that are of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// One of them cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// They do not say what they should.
    #[error("{0}")]
    Meaningless(String),
}

struct State {
    looked: Option<Timestamp>,
    /// `None` if they could not be read the last time.
    seen: Option<Vec<Version>>,
}

/// What tells a changed file from an unchanged one. A file that was put in the place of another has another
/// inode, whatever its time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl From<Metadata> for Version {
    fn from(metadata: Metadata) -> Self {
        Self { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() }
    }
}

impl<T> Watched<T> {
    /// Reads a file for the first time. `read` makes of its bytes what they say, and the numbers of the
    /// malformed lines.
    pub fn open(
        path: PathBuf,
        read: impl Fn(&[u8]) -> (T, Vec<usize>) + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        let read = move |files: &[Vec<u8>]| Ok(read(files.first().map_or(&[], Vec::as_slice)));
        Self::open_all(vec![path], read)
    }

    /// The same for files that mean something together only; `read` is given their bytes in this order.
    pub fn open_all(
        paths: Vec<PathBuf>,
        read: impl Fn(&[Vec<u8>]) -> Result<(T, Vec<usize>), String> + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        let (bytes, versions) = load_all(&paths)?;
        let (first, malformed) = read(&bytes).map_err(Unusable::Meaningless)?;
        let state = State { looked: None, seen: Some(versions) };
        let watched = Self {
            paths,
            read: Box::new(read),
            current: ArcSwap::from_pointee(first),
            state: Mutex::new(state),
        };
        watched.warn_of(&malformed);
        Ok(watched)
    }

    /// What they say. Reading them may hold up this thread, as rarely as they change.
    pub fn current(&self, now: Timestamp) -> Guard<Arc<T>> {
        let state = match self.state.try_lock() {
            Ok(state) => Some(state),
            // Nothing in it can be half done.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // Somebody else is looking.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut state) = state
            && state.looked.is_none_or(|looked| now.since(looked) >= LOOK)
        {
            state.looked = Some(now);
            self.look(&mut state);
        }
        self.current.load()
    }

    fn look(&self, state: &mut State) {
        let versions: io::Result<Vec<Version>> =
            self.paths.iter().map(|path| std::fs::metadata(path).map(Version::from)).collect();
        if versions.is_ok_and(|versions| Some(&versions) == state.seen.as_ref()) {
            return;
        }
        let files = self.names();
        match load_all(&self.paths) {
            Ok((bytes, versions)) => {
                state.seen = Some(versions);
                match (self.read)(&bytes) {
                    Ok((next, malformed)) => {
                        self.current.store(Arc::new(next));
                        tracing::info!(%files, "read again");
                        self.warn_of(&malformed);
                    }
                    Err(error) => tracing::warn!(%files, %error, "not followed; what was there before stays"),
                }
            }
            Err(error) => {
                if state.seen.take().is_some() {
                    tracing::warn!(%files, %error, "cannot be read any more; what was there before stays");
                }
            }
        }
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }

    fn warn_of(&self, malformed: &[usize]) {
        let file = self.names();
        for line in malformed.iter().take(MOST_NAMED) {
            tracing::warn!(%file, line, "this line is malformed, and skipped");
        }
        if malformed.len() > MOST_NAMED {
            tracing::warn!(%file, lines = malformed.len(), "so many lines are malformed in all");
        }
    }
}

fn load_all(paths: &[PathBuf]) -> Result<(Vec<Vec<u8>>, Vec<Version>), Unusable> {
    let load =
        |path: &PathBuf| load(path).map_err(|cause| Unusable::Unreadable { path: path.clone(), cause });
    paths.iter().map(load).collect()
}

/// The bytes, and the version that they are of at the latest: what changes while they are read is seen
/// with the next look.
fn load(path: &PathBuf) -> io::Result<(Vec<u8>, Version)> {
    let mut file = File::open(path)?;
    let version = file.metadata()?.into();
    Ok((read_from(&mut file)?, version))
}

/// The bytes of a file that people write: as they mean it, without the mark that some editors put in front.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_from(&mut File::open(path)?)
}

/// The same of a file that is open, or of the first bytes of one.
pub fn read_from(file: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is UTF-16 text: save it as UTF-8"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Of UTF-8 (RFC 3629 §6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> Watched<String> {
        let read = |bytes: &[u8]| (String::from_utf8_lossy(bytes).into_owned(), vec![1]);
        Watched::open(path.to_owned(), read).unwrap()
    }

    #[test]
    fn a_change_is_seen_within_a_second_and_a_loss_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let watched = text(&path);
        let second = |n: u64| Timestamp::from_millis(n * 1000);
        let half = Duration::from_millis(500);
        assert_eq!(**watched.current(second(1)), "one");

        std::fs::write(&path, "second").unwrap();
        assert_eq!(**watched.current(second(1) + half), "one", "it is not looked at for each that asks");
        assert_eq!(**watched.current(second(2)), "second");

        std::fs::remove_file(&path).unwrap();
        assert_eq!(**watched.current(second(3)), "second");
        assert_eq!(**watched.current(second(4)), "second");

        std::fs::write(&path, "again").unwrap();
        assert_eq!(**watched.current(second(5)), "again");
    }

    #[test]
    fn a_file_in_the_place_of_another_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        std::fs::write(&path, "one").unwrap();
        let watched = text(&path);
        std::fs::write(&other, "two").unwrap();
        // As old, and as large.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(**watched.current(Timestamp::from_millis(1)), "two");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_at_the_start() {
        let read = |_: &[u8]| ((), Vec::new());
        assert!(Watched::open("/no/such/file".into(), read).is_err());
        assert!(Watched::open("/".into(), read).is_err());
    }

    #[test]
    fn what_several_files_say_together_stays_until_they_say_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let paths = vec![folder.path().join("a"), folder.path().join("b")];
        let write = |a: &str, b: &str| {
            std::fs::write(&paths[0], a).unwrap();
            std::fs::write(&paths[1], b).unwrap();
        };
        let same = |files: &[Vec<u8>]| match files[0] == files[1] {
            true => Ok((String::from_utf8_lossy(&files[0]).into_owned(), Vec::new())),
            false => Err("they differ".to_owned()),
        };
        let second = |n: u64| Timestamp::from_millis(n * 1000);
        write("one", "two");
        assert!(matches!(Watched::open_all(paths.clone(), same), Err(Unusable::Meaningless(_))));
        write("one", "one");
        let watched = Watched::open_all(paths.clone(), same).unwrap();
        write("three", "one");
        assert_eq!(**watched.current(second(1)), "one");
        write("three", "three");
        assert_eq!(**watched.current(second(2)), "three");
        std::fs::remove_file(&paths[1]).unwrap();
        assert_eq!(**watched.current(second(3)), "three");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbfkari:x"[..], Some("kari:x")),
            (b"kari:\xef\xbb\xbf", Some("kari:\u{feff}")),
            (b"\xef\xbb", Some("")),
            (b"", Some("")),
            (b"\xff\xfek\0", None),
            (b"\xfe\xff\0k", None),
        ] {
            let read =
                read_from(&mut &bytes[..]).ok().map(|bytes| String::from_utf8(bytes).unwrap_or_default());
            assert_eq!(read.as_deref(), text, "{bytes:?}");
        }
    }
}
