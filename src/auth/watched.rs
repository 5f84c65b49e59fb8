//! A file that is read again when it changes.
//!
//! It is looked at when somebody asks, at most once a second; nothing runs while nobody asks. A file that
//! cannot be read any more leaves what was read before, and is warned of once.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};

use crate::mailbox::Timestamp;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// As many malformed lines are named by their numbers.
const MOST_NAMED: usize = 10;

/// What a file says, as of at most a second ago.
pub(super) struct Watched<T> {
    path: PathBuf,
    read: Box<Read<T>>,
    current: ArcSwap<T>,
    state: Mutex<State>,
}

/// Makes of a file's bytes what they say, and the numbers of the lines that say nothing.
type Read<T> = dyn Fn(&[u8]) -> (T, Vec<usize>) + Send + Sync;

struct State {
    looked: Option<Timestamp>,
    /// `None` if it could not be read the last time.
    seen: Option<Version>,
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
    /// Reads the file for the first time. `read` makes of its bytes what they say, and the numbers of the
    /// malformed lines.
    pub(super) fn open(
        path: PathBuf,
        read: impl Fn(&[u8]) -> (T, Vec<usize>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (bytes, version) = load(&path)?;
        let (first, malformed) = read(&bytes);
        let state = State { looked: None, seen: Some(version) };
        let watched = Self {
            path,
            read: Box::new(read),
            current: ArcSwap::from_pointee(first),
            state: Mutex::new(state),
        };
        watched.warn_of(&malformed);
        Ok(watched)
    }

    /// What the file says. Reading it may hold up this thread, as rarely as it changes.
    pub(super) fn current(&self, now: Timestamp) -> Guard<Arc<T>> {
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
        let version = std::fs::metadata(&self.path).map(Version::from);
        if version.as_ref().is_ok_and(|version| Some(*version) == state.seen) {
            return;
        }
        let file = self.path.display();
        match version.and_then(|_| load(&self.path)) {
            Ok((bytes, version)) => {
                let (next, malformed) = (self.read)(&bytes);
                self.current.store(Arc::new(next));
                state.seen = Some(version);
                tracing::info!(%file, "read again");
                self.warn_of(&malformed);
            }
            Err(error) => {
                if state.seen.take().is_some() {
                    tracing::warn!(%file, %error, "cannot be read any more; what it said before stays");
                }
            }
        }
    }

    fn warn_of(&self, malformed: &[usize]) {
        let file = self.path.display();
        for line in malformed.iter().take(MOST_NAMED) {
            tracing::warn!(%file, line, "this line is malformed, and skipped");
        }
        if malformed.len() > MOST_NAMED {
            tracing::warn!(%file, lines = malformed.len(), "so many lines are malformed in all");
        }
    }
}

/// The bytes, and the version that they are of at the latest: what changes while they are read is seen
/// with the next look.
fn load(path: &PathBuf) -> io::Result<(Vec<u8>, Version)> {
    let mut file = File::open(path)?;
    let version = file.metadata()?.into();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, version))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
}
