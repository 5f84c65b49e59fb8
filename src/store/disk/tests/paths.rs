//! Somebody removes or replaces what the store has open.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::faults::{CAPS, bodies, healed, mailbox, offer};
use super::*;
use crate::store::WrongPath;

fn open(path: &Path) -> DiskStore {
    DiskStore::open(path, DiskOptions { cache_bytes: 0, ..options(CAPS) }).unwrap()
}

async fn until(store: &DiskStore, wrong: Option<WrongPath>) {
    let seen = async {
        while store.status().wrong_path != wrong {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), seen).await.expect("the store to look");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_removed_is_written_anew_and_nothing_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pollgate.redb");
    let store = open(home.path());
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    std::fs::remove_file(&file).unwrap();
    offer(&store, mailbox, "at once").await.unwrap();
    let there = async {
        while !file.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), there).await.expect("the file to be there again");
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    // At the end too.
    std::fs::remove_file(&file).unwrap();
    store.close().await;
    drop(store);
    assert_eq!(bodies(&open(home.path()), mailbox).await, ["before", "at once", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_the_path_leads_to_another_store() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join("pollgate.redb");
    let other = open(elsewhere.path());
    other.close().await;
    let store = open(home.path());
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    std::fs::copy(elsewhere.path().join("pollgate.redb"), home.path().join("copy")).unwrap();
    std::fs::rename(home.path().join("copy"), &file).unwrap();
    let foreign = std::fs::read(&file).unwrap();
    until(&store, Some(WrongPath::Replaced)).await;
    assert_eq!(offer(&store, mailbox, "refused").await, Err(OfferError::Unavailable(Lost::default())));
    // Long enough for it to try again: the other file is not touched, and polls go on.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(bodies(&store, mailbox).await, ["before"]);
    assert!(!store.status().available && std::fs::read(&file).unwrap() == foreign);
    std::fs::remove_file(&file).unwrap();
    healed(&store).await;
    assert_eq!(store.status().wrong_path, None);
    offer(&store, mailbox, "after").await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(bodies(&open(home.path()), mailbox).await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_moved_is_noticed_and_may_come_back() {
    let home = tempfile::tempdir().unwrap();
    let (path, away) = (home.path().join("state"), home.path().join("away"));
    let store = open(&path);
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    std::fs::rename(&path, &away).unwrap();
    until(&store, Some(WrongPath::Directory)).await;
    assert_eq!(offer(&store, mailbox, "refused").await, Err(OfferError::Unavailable(Lost::default())));
    std::fs::rename(&away, &path).unwrap();
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    assert_eq!(bodies(&store, mailbox).await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_was_removed_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let mailbox = mailbox(&store, 1).await;
    std::fs::remove_file(home.path().join("lock")).unwrap();
    let there = async {
        while !home.path().join("lock").exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), there).await.expect("the lock to be there again");
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    let said = DiskStore::open(home.path(), options(CAPS)).unwrap_err().to_string();
    assert!(said.ends_with(&format!("(process id {})", std::process::id())), "{said}");
}

#[test]
fn a_second_gateway_whose_lock_file_was_removed_is_told_what_is_so() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pollgate.redb");
    // The first one, as far as the second can see.
    let _first = redb::Database::create(&file).unwrap();
    let said = DiskStore::open(home.path(), options(CAPS)).unwrap_err().to_string();
    let expected = "is in use by another process, whose lock file was removed: stop that process first";
    assert_eq!(said, format!("{} {expected}", file.display()));
}
