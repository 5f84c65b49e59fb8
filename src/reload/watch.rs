//! Noticing that the file changes.
//!
//! Its directory is watched and not the file itself: editors, packagers and Kubernetes put another file in
//! its place. What changed there is not looked at, only whether the file says something else now.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Reloader;
use crate::clock;

/// A file is read when nothing has changed for so long: writing it may take a few steps.
const QUIET: Duration = Duration::from_millis(300);

/// In a directory where something changes all the time, the file is read this often all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reloads whenever this file comes to say something else, until `stop`.
pub async fn watch(reloader: Arc<Reloader>, file: PathBuf, stop: CancellationToken) {
    let (tell, mut told) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, is_change) {
            // If there is no room, it was told already.
            let _ = tell.try_send(());
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => return warn(&file, &error),
    };
    let mut watched = BTreeSet::new();
    loop {
        // A link may come to lead elsewhere.
        for directory in directories(&file) {
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => _ = watched.insert(directory),
                // One that is watched already may be gone meanwhile.
                Err(error) if !watched.contains(&directory) => warn(&directory, &error),
                Err(_) => {}
            }
        }
        // It may have changed before its directory was watched, the first time as later.
        reloader.look().await;
        if watched.is_empty() || stop.run_until_cancelled(told.recv()).await.flatten().is_none() {
            return;
        }
        let end = clock::instant() + PATIENCE;
        while clock::instant() < end && matches!(timeout(QUIET, told.recv()).await, Ok(Some(()))) {}
    }
}

/// The directories in which a change may be one of the file: its own, and that to which it leads if it is a
/// link.
fn directories(file: &Path) -> BTreeSet<PathBuf> {
    let own = file.parent().map(|directory| match directory.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => directory.to_owned(),
    });
    let linked = file.canonicalize().ok().and_then(|target| target.parent().map(Path::to_owned));
    own.and_then(|own| own.canonicalize().ok()).into_iter().chain(linked).collect()
}

/// Whether something may be another than before: who only reads changes nothing.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn warn(path: &Path, error: &notify::Error) {
    let path = path.display();
    tracing::warn!(%path, %error, "changes here are not noticed; SIGHUP and POST /-/reload work");
}
