//! The disk under the store: whether it can be written, what room there is, and how soon it has what is written.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Finding, millis};
use crate::clock;
use crate::config::{Store, StoreKind};

const AREA: &str = "disk";

/// How many files are written, and how often each.
const FILES: usize = 3;
const WRITES: usize = 16;

/// What is written each time: a page, as the store does it.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// A disk that is very slow is seen as such after fewer writes.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// What a disk on the other side of a network takes, and a good one never.
const SLOW: Duration = Duration::from_millis(20);

pub(super) fn look(store: &Store) -> Vec<Finding> {
    if store.kind == StoreKind::Memory {
        return vec![Finding::skip(
            AREA,
            "store.kind is \"memory\": nothing is written",
            "Set it to \"disk\" if messages are to survive a restart.",
        )];
    }
    let path = &store.path;
    // What is not there yet is made where there is something.
    let Some(ground) = path.ancestors().find(|path| path.symlink_metadata().is_ok()) else {
        return vec![unwritable(path, &ErrorKind::NotFound.into(), true)];
    };
    match sync_times(ground) {
        Err(error) => vec![unwritable(path, &error, ground == path || !ground.is_dir())],
        Ok(times) => {
            let room = free_bytes(ground).map_or_else(
                |error| {
                    let seen =
                        format!("how much is free at {} cannot be asked for: {error}", ground.display());
                    Finding::warn(AREA, seen, "Ask `df`.")
                },
                |free| room(ground, free, store),
            );
            vec![room, speed(ground, median(times))]
        }
    }
}

fn unwritable(path: &Path, error: &io::Error, certain: bool) -> Finding {
    let seen = format!("store.path {} cannot be written by this user: {error}", path.display());
    match certain {
        true => Finding::fail(
            AREA,
            seen,
            "Set store.path to a directory of the gateway's own user, or give it this one (chown).",
        ),
        // Such as systemd, with StateDirectory=.
        false => Finding::warn(
            AREA,
            format!("{seen}; it does not exist yet"),
            "Make it, and give it to the gateway's user, unless whoever starts the gateway does.",
        ),
    }
}

/// How long each write took until it was on the disk. The files are gone when this returns.
fn sync_times(directory: &Path) -> io::Result<Vec<Duration>> {
    let began = clock::instant();
    let mut times = Vec::new();
    for _ in 0..FILES {
        let mut file = tempfile::Builder::new().prefix(".pollgate-doctor-").tempfile_in(directory)?;
        for _ in 0..WRITES {
            let before = clock::instant();
            file.write_all(&PAGE)?;
            sync(file.as_file())?;
            times.push(before.elapsed());
            if began.elapsed() > LONG_ENOUGH {
                return Ok(times);
            }
        }
    }
    Ok(times)
}

fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(directory)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn room(directory: &Path, free: u64, store: &Store) -> Finding {
    let seen = format!("{} are free at {}", ByteSize::b(free), directory.display());
    if free < store.min_free_bytes {
        let least = ByteSize::b(store.min_free_bytes);
        return Finding::fail(
            AREA,
            format!("{seen}, less than the {least} of store.min_free_bytes: callbacks get 503"),
            "Make room there, or set store.path to another file system.",
        );
    }
    if free - store.min_free_bytes < store.max_buffered_bytes {
        let most = ByteSize::b(store.max_buffered_bytes);
        return Finding::warn(
            AREA,
            format!("{seen}, which is too little for the {most} of store.max_buffered_bytes"),
            "Make room there, or lower store.max_buffered_bytes.",
        );
    }
    Finding::ok(AREA, seen)
}

/// A callback is answered when its message is on the disk, and those that come at the same time share a write.
fn speed(directory: &Path, median: Duration) -> Finding {
    let a_second = 1.0 / median.as_secs_f64().max(1e-6);
    let seen = format!(
        "a write is on the disk at {} after {} (median): at most {a_second:.0} callbacks a second, one after the \
         other; those that come together share a write",
        directory.display(),
        millis(median)
    );
    match median > SLOW {
        true => Finding::warn(
            AREA,
            seen,
            "Set store.path to a faster disk, on this machine and not in a network.",
        ),
        false => Finding::ok(AREA, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn room_for_what_may_be_buffered() {
        let store = Store { min_free_bytes: 100, max_buffered_bytes: 1000, ..Store::default() };
        for (free, level) in [(99, Level::Fail), (100, Level::Warn), (1099, Level::Warn), (1100, Level::Ok)] {
            assert_eq!(room(Path::new("/x"), free, &store).level, level, "{free}");
        }
    }

    #[test]
    fn what_a_write_takes_means_callbacks_a_second() {
        let finding = speed(Path::new("/x"), Duration::from_millis(2));
        assert!(finding.seen.contains("2.0 ms (median): at most 500 callbacks"), "{finding:?}");
        assert_eq!(finding.level, Level::Ok);
        assert_eq!(speed(Path::new("/x"), Duration::from_millis(21)).level, Level::Warn);
        let times = [9, 1, 2].map(Duration::from_millis).to_vec();
        assert_eq!(median(times), Duration::from_millis(2));
    }

    #[test]
    fn it_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let store = Store { path: home.path().join("not/yet"), ..Store::default() };
        let findings = look(&store);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_a_directory() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.join("state"), file] {
            let findings = look(&Store { path, ..Store::default() });
            assert_eq!(findings[0].level, Level::Fail, "{findings:?}");
        }
    }
}
