//! Changing a file as a whole or not at all.
//!
//! Whoever reads it sees it as it was or as it will be, also after a loss of power. Two that change it at once
//! wait for each other. A new file is for its owner's eyes only; an old one stays whose it was.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::watched;

/// Changes a file, or makes it: `change` is given what it says, and says what it shall say, if anything is to
/// change; what it returns beside that is returned.
pub(super) fn change<T>(
    path: &Path,
    change: impl FnOnce(&[u8]) -> Option<(Vec<u8>, T)>,
) -> io::Result<Option<T>> {
    // What a link points to is changed, and not the link.
    let path = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    // The file itself is another one afterwards: the lock is its folder's, until this is dropped.
    let lock = File::open(&folder)?;
    lock.lock()?;
    let (before, old) = match watched::read(&path) {
        Ok(before) => (before, Some(fs::metadata(&path)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(error),
    };
    let Some((after, result)) = change(&before) else { return Ok(None) };
    // Only its owner may read it, whatever the umask is.
    let mut new = NamedTempFile::new_in(&folder)?;
    if let Some(old) = old {
        give_to_owner_of(&old, new.as_file())?;
    }
    new.write_all(&after)?;
    new.as_file().sync_all()?;
    new.persist(&path)?;
    lock.sync_all()?;
    Ok(Some(result))
}

/// The gateway may run as another user than whoever changes the file.
fn give_to_owner_of(old: &Metadata, new: &File) -> io::Result<()> {
    let now = new.metadata()?;
    if (old.uid(), old.gid()) != (now.uid(), now.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(old.permissions())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn append(path: &Path, text: &str) -> Option<usize> {
        change(path, |before| Some(([before, text.as_bytes()].concat(), before.len()))).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_new_file_is_for_its_owner_and_an_old_one_stays_as_open_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(append(&path, "a"), Some(0));
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(append(&path, "b"), Some(1));
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o640, "ab"));
        assert_eq!(change(&path, |_| None::<(Vec<u8>, ())>).unwrap(), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab");
        assert_eq!(files(folder.path()), 1, "nothing else is left");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        append(&path, "a");
        symlink("file", &link).unwrap();
        append(&link, "b");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab");
    }

    #[test]
    fn those_that_change_it_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| append(&path, "x"));
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "x".repeat(8));
    }

    #[test]
    fn what_cannot_be_changed_is_an_error() {
        let none = |_: &[u8]| Some((Vec::new(), ()));
        let folder = tempfile::tempdir().unwrap();
        assert!(change(&folder.path().join("no/file"), none).is_err());
        assert!(change(folder.path(), none).is_err());
    }
}
