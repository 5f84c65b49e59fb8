//! Reads that fail, and reads while nothing can be written.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::faults::{CAPS, bodies, healed, mailbox, offer, take};
use super::simulated::Disk;
use super::*;

fn large() -> String {
    "x".repeat(100_000)
}

/// A store that has just been opened, with three messages that are in no cache.
async fn cold() -> (Disk, DiskStore, MailboxId) {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    for _ in 0..3 {
        offer(&store, mailbox, &large()).await.unwrap();
    }
    store.close().await;
    disk.uncached();
    let store = disk.open(DiskOptions { cache_bytes: 0, ..options(CAPS) });
    (disk, store, mailbox)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_heal_by_themselves_and_the_status_says_when_they_fail() {
    let (disk, store, mailbox) = cold().await;
    disk.fail_reads(u32::MAX);
    for _ in 0..3 {
        let (taken, lost) = take(&store, mailbox, None).await;
        assert!(matches!(taken, Taken::Unavailable), "{taken:?}");
        assert_eq!((lost.total(), store.status().readable), (0, false));
    }
    disk.fail_reads(0);
    assert_eq!(bodies(&store, mailbox).await, [large(), large(), large()], "no callback came in between");
    assert!(store.status().readable);
    // What comes next finds a store that was read anew.
    healed(&store).await;
    offer(&store, mailbox, "next").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_heals_without_a_poll() {
    let (disk, store, mailbox) = cold().await;
    disk.fail_reads(u32::MAX);
    take(&store, mailbox, None).await;
    assert!(!store.status().readable);
    disk.fail_reads(0);
    let readable = async {
        while !store.status().readable {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), readable).await.expect("a status that heals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_go_on_while_the_file_system_is_read_only() {
    let (disk, store, mailbox) = cold().await;
    disk.read_only(true);
    assert_eq!(offer(&store, mailbox, "2").await, Err(OfferError::Unavailable(Lost::default())));
    // As often as it takes to see the writer try again, and fail.
    for _ in 0..40 {
        let messages = store.messages(mailbox, EventId(0), 1).await.unwrap();
        let body = messages[0].message.as_ref().map(|message| message.body.len());
        assert_eq!((body, store.status().available), (Some(100_000), false));
        sleep(Duration::from_millis(10)).await;
    }
    disk.read_only(false);
    healed(&store).await;
    assert_eq!(bodies(&store, mailbox).await, [large(), large(), large(), "2".to_owned()]);
}
