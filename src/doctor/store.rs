//! The store: whether it opens, and who has it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use super::gateway::Running;
use crate::config::{Store, StoreKind};
use crate::store::{DiskStore, OpenError, Recovery};

const AREA: &str = "store";

/// Anyone but its owner.
const OTHERS: u32 = 0o077;

pub(super) fn look(store: &Store, gateway: Option<&Running>) -> Vec<Finding> {
    if store.kind == StoreKind::Memory {
        return Vec::new();
    }
    let path = &store.path;
    let said = gateway.map(|gateway| gateway.says("store"));
    let health = judge(path, DiskStore::examine(path), said);
    let mode = std::fs::metadata(path).ok().map(|metadata| metadata.mode());
    std::iter::once(health).chain(mode.and_then(|mode| secrecy(path, mode))).collect()
}

/// `said`: what a running gateway says of its store; the outer none is none that runs.
fn judge(
    path: &Path,
    found: Result<Option<Recovery>, OpenError>,
    said: Option<Option<(bool, &str)>>,
) -> Finding {
    let name = path.display();
    match (found, said) {
        (Err(OpenError::Held { .. }), Some(Some((true, said)))) => {
            Finding::ok(AREA, format!("{name} is in use by the running gateway: {said}"))
        }
        (Err(OpenError::Held { .. }), Some(said)) => Finding::fail(
            AREA,
            format!(
                "{name} is in use, and not well: {}",
                said.map_or("nothing is said of it", |(_, said)| said)
            ),
            "See the log of the running gateway.",
        ),
        (Err(error @ OpenError::Held { .. }), None) => Finding::fail(
            AREA,
            format!("{error}, and no gateway answers at listen.admin"),
            "See which process that is: a store belongs to one gateway at a time.",
        ),
        (Err(error @ OpenError::InUse { .. }), _) => Finding::fail(
            AREA,
            error.to_string(),
            "See which process has the file open (fuser): a store belongs to one gateway at a time.",
        ),
        (Err(error @ OpenError::Newer { .. }), _) => {
            Finding::fail(AREA, error.to_string(), "Install the version that wrote it, or a newer one.")
        }
        (Err(error @ OpenError::Unreadable { .. }), _) => Finding::fail(
            AREA,
            error.to_string(),
            "Set it aside, or bring it back from a copy; without it the gateway begins with an empty store.",
        ),
        (Err(error @ OpenError::Directory { .. }), _) => Finding::fail(
            AREA,
            error.to_string(),
            "Look as the gateway's own user, and give the directory to that user (chown).",
        ),
        (Ok(None), None) => {
            Finding::ok(AREA, format!("there is none in {name} yet; the first start makes it"))
        }
        (Ok(_), Some(_)) => Finding::warn(
            AREA,
            format!("a gateway runs, and does not use {name}"),
            "Restart it: [store] is not followed by a reload.",
        ),
        (Ok(Some(Recovery { took, mailboxes, messages })), None) => Finding::ok(
            AREA,
            format!(
                "{name} opens, in {:.2} s: {mailboxes} mailboxes, {messages} messages",
                took.as_secs_f64()
            ),
        ),
    }
}

/// Whoever can read it knows every message, and every poll key.
fn secrecy(path: &Path, mode: u32) -> Option<Finding> {
    (mode & OTHERS != 0).then(|| {
        Finding::warn(
            AREA,
            format!("{} can be entered by others than its owner (mode {:03o})", path.display(), mode & 0o777),
            format!("`chmod 700 {}`", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::Level;

    #[test]
    fn whose_it_is_and_how_it_is() {
        let path = || "/s".into();
        let held = || Err(OpenError::Held { path: path(), holder: "7".to_owned() });
        let newer = || Err(OpenError::Newer { path: "/s".to_owned(), found: 99 });
        let damaged = || Err(OpenError::Unreadable { path: "/s".to_owned(), cause: "x".to_owned() });
        let good = || Ok(Some(Recovery { took: Duration::ZERO, mailboxes: 2, messages: 3 }));
        let well = Some(Some((true, "2 mailboxes")));
        for (found, said, level, says) in [
            (held(), well, Level::Ok, "2 mailboxes"),
            (held(), Some(Some((false, "it cannot write"))), Level::Fail, "it cannot write"),
            (held(), Some(None), Level::Fail, "nothing is said"),
            (held(), None, Level::Fail, "process id 7"),
            (newer(), None, Level::Fail, "newer version"),
            (damaged(), None, Level::Fail, "damaged"),
            (Ok(None), None, Level::Ok, "none in /s yet"),
            (Ok(None), well, Level::Warn, "does not use /s"),
            (good(), well, Level::Warn, "does not use /s"),
            (good(), None, Level::Ok, "2 mailboxes, 3 messages"),
        ] {
            let finding = judge(Path::new("/s"), found, said);
            assert!(finding.level == level && finding.seen.contains(says), "{finding:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_store_is_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pollgate.redb");
        let text = b"something else".repeat(1000);
        std::fs::write(&file, &text).unwrap();
        let findings = look(&Store { path: home.path().to_owned(), ..Store::default() }, None);
        assert!(findings[0].level == Level::Fail && findings[0].seen.contains("damaged"), "{findings:?}");
        assert_eq!(std::fs::read(&file).unwrap(), text);
    }

    #[test]
    fn nobody_else_should_enter_it() {
        assert_eq!(secrecy(Path::new("/s"), 0o40700), None);
        assert_eq!(secrecy(Path::new("/s"), 0o40755).unwrap().level, Level::Warn);
    }
}
