//! What can go wrong with a disk, one at a time.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Waker};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, TableDefinition};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::simulated::Disk;
use super::*;
use crate::mailbox::{BatchLimits, Bound, Class, DropReason, Outcome};
use crate::store::contract::{message, new_mailbox};

pub(super) const CAPS: Caps = Caps { mailboxes: 100, bytes: 1 << 30 };
const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const ROOM: BatchLimits = BatchLimits { messages: 10_000, bytes: 1 << 30 };

fn limits() -> Limits {
    Limits { messages: Bound::Unlimited, bytes: Bound::Unlimited, ..Limits::default() }
}

pub(super) async fn mailbox(store: &DiskStore, n: u64) -> MailboxId {
    store.create(new_mailbox(n, NOW + Duration::from_secs(10_000))).await.unwrap()
}

pub(super) async fn offer(store: &DiskStore, mailbox: MailboxId, body: &str) -> Result<EventId, OfferError> {
    let offered = store.offer(mailbox, message(body, Class::Message), &limits(), NOW).await?;
    Ok(offered.outcome.unwrap())
}

pub(super) async fn take(store: &DiskStore, mailbox: MailboxId, last: Option<EventId>) -> (Taken, Lost) {
    let (turn, _) = store.begin_poll(mailbox, last.into(), &Bell::default()).unwrap();
    store.take(mailbox, turn, Take::up_to(ROOM), &limits(), NOW).await
}

/// Ids and bodies of all that waits.
async fn waiting(store: &DiskStore, mailbox: MailboxId) -> Vec<(EventId, String)> {
    match take(store, mailbox, Some(EventId(0))).await.0 {
        Taken::Batch(batch, _settlement) => batch
            .messages
            .iter()
            .map(|m| (m.id, String::from_utf8(m.message.body.to_vec()).unwrap()))
            .collect(),
        Taken::Nothing => Vec::new(),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn bodies(store: &DiskStore, mailbox: MailboxId) -> Vec<String> {
    waiting(store, mailbox).await.into_iter().map(|(_, body)| body).collect()
}

/// Waits until the store takes messages in again.
pub(super) async fn healed(store: &DiskStore) {
    let available = async {
        while !store.status().available || store.status().no_space {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), available).await.expect("the store to heal");
}

/// What the upstream was promised, by mailbox and in order; and what it was not.
#[derive(Default)]
struct Account {
    acknowledged: BTreeMap<MailboxId, Vec<String>>,
    refused: Vec<String>,
    /// What clients took for good.
    taken: Vec<String>,
}

/// Producers and a client, until the power goes after so many acknowledgements.
async fn work_until_the_power_goes(disk: &Disk, seed: u64, lies: bool) -> Account {
    const PRODUCERS: usize = 6;
    let store = Arc::new(disk.open(DiskOptions { cache_bytes: 2000, ..options(CAPS) }));
    let done = Arc::new(AtomicUsize::new(0));
    let until = 5 + (seed as usize * 7) % 60;
    let mut mailboxes = Vec::new();
    for n in 0..3 {
        mailboxes.push(mailbox(&store, n).await);
    }
    if lies {
        disk.ignore_syncs();
    }
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (store, disk, done) = (store.clone(), disk.clone(), done.clone());
        let mailbox = mailboxes[producer % mailboxes.len()];
        producers.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let body = format!("{producer} {n} {}", "x".repeat((n * 131) % 3000));
                match offer(&store, mailbox, &body).await {
                    Ok(_) => acknowledged.push(body),
                    Err(error) => {
                        assert_eq!(error, OfferError::Unavailable(Lost::default()));
                        return (mailbox, acknowledged, body);
                    }
                }
                if done.fetch_add(1, Relaxed) == until {
                    disk.cut(seed);
                }
            }
            unreachable!("the power goes at last")
        });
    }
    let client = {
        let (store, mailbox) = (store.clone(), mailboxes[0]);
        async move {
            let (mut last, mut taken) = (None, Vec::new());
            for _ in 0..3 {
                let Taken::Batch(batch, mut settlement) = take(&store, mailbox, last).await.0 else { break };
                settlement.settle(Outcome::Written);
                last = batch.messages.last().map(|m| m.id);
                taken.extend(
                    batch.messages.iter().map(|m| String::from_utf8(m.message.body.to_vec()).unwrap()),
                );
                let _ = store.begin_poll(mailbox, last.into(), &Bell::default());
                sleep(Duration::from_millis(1)).await;
            }
            taken
        }
    };
    let mut account = Account { taken: client.await, ..Account::default() };
    while let Some(producer) = producers.join_next().await {
        let (mailbox, acknowledged, refused) = producer.unwrap();
        account.acknowledged.entry(mailbox).or_default().extend(acknowledged);
        account.refused.push(refused);
    }
    account
}

/// How many acknowledged messages are not there after the power came back. Whatever is there is genuine,
/// in order, and there once.
async fn lost_after_the_cut(disk: &Disk, account: &Account) -> usize {
    let all = account.acknowledged.values().map(Vec::len).sum();
    let Ok(store) = disk.try_open(options(CAPS)) else { return all };
    let mut lost = 0;
    for (mailbox, acknowledged) in &account.acknowledged {
        if store.report(*mailbox).is_err() {
            lost += acknowledged.len();
            continue;
        }
        let found = bodies(&store, *mailbox).await;
        let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
        for body in &found {
            assert!(acknowledged.contains(body) || account.refused.contains(body), "{body:?}");
            let mut words = body.split(' ');
            let (producer, n) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
            let before = newest.insert(producer, n);
            assert!(before.is_none_or(|before| n > before), "{body:?} is out of order, or there twice");
        }
        let there = |body: &&String| !found.contains(body) && !account.taken.contains(body);
        lost += acknowledged.iter().filter(there).count();
    }
    store.close().await;
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    for seed in 0..60 {
        let disk = Disk::default();
        let account = work_until_the_power_goes(&disk, seed, false).await;
        assert_eq!(lost_after_the_cut(&disk, &account).await, 0, "seed {seed}");
    }
}

/// The same on a disk that lies about syncs: a test that finds nothing lost there finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_on_a_disk_that_lies_loses_something() {
    let mut lost = 0;
    for seed in 0..10 {
        let disk = Disk::default();
        let account = work_until_the_power_goes(&disk, seed, true).await;
        lost += lost_after_the_cut(&disk, &account).await;
    }
    assert!(lost > 10, "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sync_that_failed_nothing_is_acknowledged_on_a_guess() {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    disk.fail_syncs(1);
    let failed = offer(&store, mailbox, "during").await;
    assert_eq!(failed, Err(OfferError::Unavailable(Lost::default())));
    assert!(!store.status().available);
    assert_eq!(offer(&store, mailbox, "refused").await, failed, "not even tried");
    assert_eq!(store.create(new_mailbox(9, NOW)).await, Err(CreateError::Unavailable));
    let replay = store.replay(mailbox, &limits(), NOW).await;
    assert_eq!(replay, Err(ReplayError::Unavailable(Lost::default())));
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    // What could not be written was written after all; what the sync forgot was not guessed to be there.
    disk.cut(7);
    let store = disk.open(options(CAPS));
    assert_eq!(bodies(&store, mailbox).await, ["before", "during", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_and_acknowledgements_go_on_while_the_disk_fails() {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    let first = offer(&store, mailbox, "1").await.unwrap();
    offer(&store, mailbox, "2").await.unwrap();
    disk.fail_syncs(u32::MAX);
    assert!(offer(&store, mailbox, "3").await.is_err());
    assert_eq!(bodies(&store, mailbox).await, ["1", "2", "3"], "from the cache");
    let (_, acknowledged) = store.begin_poll(mailbox, Some(first).into(), &Bell::default()).unwrap();
    assert_eq!(acknowledged, 1);
    sleep(Duration::from_millis(300)).await;
    assert!(!store.status().available);
    disk.fail_syncs(0);
    healed(&store).await;
    disk.cut(3);
    let store = disk.open(options(CAPS));
    assert_eq!(bodies(&store, mailbox).await, ["2", "3"]);
}

/// A body that is neither in the cache nor on the disk stays where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_just_now_is_not_lost() {
    let disk = Disk::default();
    let store = disk.open(DiskOptions { cache_bytes: 0, ..options(CAPS) });
    let (mailbox, other) = (mailbox(&store, 1).await, self::mailbox(&store, 2).await);
    offer(&store, other, "before").await.unwrap();
    disk.fail_syncs(u32::MAX);
    // Both before the first failure: after it nothing is taken in any more.
    let (mut one, mut two) = (pin!(offer(&store, mailbox, "1")), pin!(offer(&store, other, "2")));
    {
        let _held = disk.hold();
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(one.as_mut().poll(&mut nobody).is_pending() && two.as_mut().poll(&mut nobody).is_pending());
    }
    let (one, two) = tokio::join!(one, two);
    assert!(one.is_err() && two.is_err());
    for _ in 0..3 {
        let (taken, lost) = take(&store, mailbox, None).await;
        assert!(matches!(taken, Taken::Unavailable), "{taken:?}");
        assert_eq!(lost, Lost::default());
        assert_eq!(store.totals().messages, 3);
    }
    let peeked = store.messages(mailbox, EventId(0), 9).await.unwrap();
    assert_eq!((peeked.len(), &peeked[0].message), (1, &None));
    // What came before it can be read, and is handed out without it.
    let readable = async {
        loop {
            // The file may be closed for a moment: it is read anew each time that it failed.
            if let Taken::Batch(batch, _settlement) = take(&store, other, None).await.0 {
                break batch;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let batch = timeout(Duration::from_secs(20), readable).await.expect("what was written before");
    assert_eq!((batch.messages.len(), batch.pending), (1, 1));
    disk.fail_syncs(0);
    healed(&store).await;
    assert_eq!(bodies(&store, mailbox).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ends_while_the_disk_fails_ends() {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "1").await.unwrap();
    disk.fail_syncs(u32::MAX);
    assert!(offer(&store, mailbox, "2").await.is_err());
    timeout(Duration::from_secs(20), store.close()).await.expect("an end");
    drop(store);
    disk.cut(0);
    let store = disk.open(options(CAPS));
    assert_eq!(bodies(&store, mailbox).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_heals() {
    let disk = Disk::default();
    let store = disk.open(DiskOptions { min_free_bytes: 1 << 20, ..options(CAPS) });
    let mailbox = mailbox(&store, 1).await;
    let first = offer(&store, mailbox, "1").await.unwrap();
    disk.fill(true);
    let refused = async {
        while offer(&store, mailbox, "2").await != Err(OfferError::NoSpace) {
            // At first it is only seen by trying.
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), refused).await.expect("a refusal for want of space");
    assert_eq!(store.create(new_mailbox(9, NOW)).await, Err(CreateError::Unavailable));
    assert_eq!(bodies(&store, mailbox).await[0], "1");
    let (_, acknowledged) = store.begin_poll(mailbox, Some(first).into(), &Bell::default()).unwrap();
    assert_eq!(acknowledged, 1);
    disk.fill(false);
    healed(&store).await;
    offer(&store, mailbox, "3").await.unwrap();
    disk.cut(1);
    let store = disk.open(options(CAPS));
    let found = bodies(&store, mailbox).await;
    assert!(!found.contains(&"1".to_owned()) && found.last().unwrap() == "3", "{found:?}");
}

/// Opens a closed store's file as the database that it is.
fn database(disk: &Disk) -> Database {
    disk.mount(&Builder::new())
}

/// Changes one row behind the store's back.
fn damage(disk: &Disk, table: Table, key: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let database = database(disk);
    let mut row = tables::read(&database, table, key).unwrap().expect("a row to damage");
    change(&mut row);
    let mut staged = tables::Staged::default();
    staged.put(Put::row(table, key, row));
    staged.commit(&database).unwrap();
}

fn flip(row: &mut [u8]) {
    *row.last_mut().unwrap() ^= 0x10;
}

fn quarantined(disk: &Disk) -> Vec<u64> {
    let mut keys = Vec::new();
    tables::each(&database(disk), Table::Quarantine, |key, _| keys.push(key)).unwrap();
    keys
}

/// A closed store with three messages and one that was dropped.
async fn closed() -> (Disk, MailboxId, [EventId; 4]) {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    let dropped = offer(&store, mailbox, "dropped").await.unwrap();
    store.purge(mailbox, &limits(), NOW).await.unwrap();
    // The client is told of the purge, and says so.
    let (Taken::Batch(batch, _settlement), _) = take(&store, mailbox, Some(EventId(0))).await else {
        panic!("there is a gap")
    };
    assert!(matches!(take(&store, mailbox, batch.answer).await.0, Taken::Nothing));
    let mut ids = [dropped; 4];
    for (n, id) in ids.iter_mut().take(3).enumerate() {
        *id = offer(&store, mailbox, &n.to_string()).await.unwrap();
    }
    if let Taken::Batch(_, mut settlement) = take(&store, mailbox, Some(EventId(0))).await.0 {
        settlement.settle(Outcome::Written);
    }
    store.close().await;
    (disk, mailbox, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_body_is_put_aside_and_the_rest_is_served() {
    let (disk, mailbox, ids) = closed().await;
    damage(&disk, Table::Bodies, ids[1].0, |row| flip(row));
    let store = disk.open(options(CAPS));
    let (taken, lost) = take(&store, mailbox, Some(EventId(0))).await;
    let Taken::Batch(batch, _settlement) = taken else { panic!("{taken:?}") };
    assert_eq!(batch.messages.iter().map(|m| m.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert_eq!(lost, Lost::of(DropReason::Corrupt, 1));
    let (Taken::Batch(batch, _settlement), _) = take(&store, mailbox, Some(ids[2])).await else {
        panic!("a gap")
    };
    assert_eq!((batch.gap, batch.messages.len()), (1, 0));
    assert_eq!(store.status().disk.quarantined, 1);
    store.close().await;
    assert_eq!(quarantined(&disk), [Table::Bodies.quarantine_key(ids[1].0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_with_nothing_but_damage_has_a_gap() {
    let (disk, mailbox, ids) = closed().await;
    for id in &ids[..3] {
        damage(&disk, Table::Bodies, id.0, |row| flip(row));
    }
    let store = disk.open(options(CAPS));
    let (taken, lost) = take(&store, mailbox, Some(EventId(0))).await;
    let Taken::Batch(batch, _settlement) = taken else { panic!("{taken:?}") };
    assert_eq!((batch.gap, batch.messages.len(), lost.total()), (3, 0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_put_aside_and_the_rest_is_served() {
    for (table, flipped) in
        [(Table::Index, true), (Table::Dropped, true), (Table::States, true), (Table::Index, false)]
    {
        let (disk, mailbox, ids) = closed().await;
        let key = match table {
            Table::Index => ids[1].0,
            Table::Dropped => ids[3].0,
            _ => mailbox.0,
        };
        damage(&disk, table, key, |row| if flipped { flip(row) } else { row.truncate(3) });
        let store = disk.open(options(CAPS));
        assert_eq!(store.status().disk.quarantined, 1, "{table:?}");
        let report = store.report(mailbox).unwrap();
        let (waits, gap) = if table == Table::Index { (vec!["0", "2"], 1) } else { (vec!["0", "1", "2"], 0) };
        assert_eq!(
            (bodies(&store, mailbox).await, report.gap),
            (waits.iter().map(|s| (*s).to_owned()).collect(), gap)
        );
        let dropped = store.dropped(mailbox, EventId(0), 9).await.unwrap().len();
        assert_eq!(dropped, usize::from(table != Table::Dropped), "{table:?}");
        store.close().await;
        assert!(quarantined(&disk).contains(&table.quarantine_key(key)), "{table:?}");
        // Once is enough.
        let store = disk.open(options(CAPS));
        assert_eq!(store.status().disk.quarantined, 0, "{table:?}");
        assert_eq!(store.report(mailbox).unwrap().gap, gap, "{table:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_a_damaged_mailbox_is_put_aside() {
    let (disk, mailbox, ids) = closed().await;
    damage(&disk, Table::Mailboxes, mailbox.0, |row| flip(row));
    let store = disk.open(options(CAPS));
    assert_eq!(store.report(mailbox), Err(Gone));
    assert_eq!(store.totals(), Default::default());
    // Its id is not given to another.
    assert!(self::mailbox(&store, 2).await > mailbox);
    store.close().await;
    let aside = quarantined(&disk);
    assert!(aside.contains(&Table::Mailboxes.quarantine_key(mailbox.0)));
    for id in &ids[..3] {
        assert!(aside.contains(&Table::Index.quarantine_key(id.0)));
        assert!(aside.contains(&Table::Bodies.quarantine_key(id.0)));
    }
    assert!(aside.contains(&Table::Dropped.quarantine_key(ids[3].0)));
}

/// What is known of the file as a whole may be damaged too: ids still do not repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_marks_do_not_make_ids_repeat() {
    let (disk, mailbox, ids) = closed().await;
    for key in [meta::EVENTS, meta::MAILBOXES, meta::SEEN] {
        damage(&disk, Table::Meta, key, |row| flip(row));
    }
    let store = disk.open(options(CAPS));
    assert!(self::mailbox(&store, 2).await > mailbox);
    assert!(offer(&store, mailbox, "new").await.unwrap() > ids[2]);
}

fn refused(disk: &Disk) -> String {
    disk.try_open(options(CAPS)).expect_err("a refusal").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_store_is_refused() {
    let said = refused(&Disk::with(b"#!/bin/sh\necho not a store\n".repeat(500)));
    assert!(
        said.starts_with("the disk cannot be read: it is damaged, or no store of Pollgate's ("),
        "{said}"
    );
    // Another program's database.
    let disk = Disk::default();
    {
        let database = database(&disk);
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<&str, u64>::new("settings")).unwrap();
        transaction.commit().unwrap();
    }
    let said = refused(&disk);
    assert!(said.contains("it does not say which format it has"), "{said}");
    assert!(Database::builder().create_with_backend(InMemoryBackend::new()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let (disk, ..) = closed().await;
    damage(&disk, Table::Meta, meta::FORMAT, |row| *row = row::write_number(FORMAT + 1));
    let before = disk.contents();
    let expected = "the disk was written by a newer version of Pollgate (format 3; this one knows 2)";
    assert_eq!(refused(&disk), expected);
    assert_eq!(
        tables::read(&database(&disk), Table::Meta, meta::EVENTS).unwrap().is_some(),
        !before.is_empty()
    );
}

/// Wherever the file ends: no panic, and nothing that was never sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_refused() {
    let (disk, ..) = closed().await;
    let whole = disk.contents();
    for part in 1..20 {
        let disk = Disk::with(whole[..whole.len() * part / 20].to_vec());
        let said = refused(&disk);
        assert!(said.starts_with("the disk cannot be read: "), "{part}: {said}");
    }
}

/// Whatever bit is flipped in the file: no panic, no hang, and nothing that was never sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_never_changes_a_message() {
    let (disk, mailbox, _) = closed().await;
    let whole = disk.contents();
    for n in 0..200 {
        let mut flipped = whole.clone();
        let at = n * (whole.len() / 200);
        // Most of a new file is nothing but zeros: go on to what is not.
        let at = (at..whole.len()).find(|at| whole[*at] != 0).unwrap_or(at);
        flipped[at] ^= 1 << (n % 8);
        let disk = Disk::with(flipped);
        let Ok(store) = disk.try_open(options(CAPS)) else { continue };
        if store.report(mailbox).is_ok() {
            let peeked = store.messages(mailbox, EventId(0), 9).await.unwrap();
            for message in peeked.iter().filter_map(|peeked| peeked.message.as_ref()) {
                assert!([&b"0"[..], b"1", b"2"].contains(&&message.body[..]), "byte {at}");
            }
            take(&store, mailbox, None).await;
            // Whether it can still write does not matter here, only that it ends.
        }
        timeout(Duration::from_secs(20), store.close()).await.expect("an end");
    }
}

/// Waits until the store says so.
async fn says(store: &DiskStore, what: &str, is_so: impl Fn(StoreStatus) -> bool) {
    let says = async {
        while !is_so(store.status()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), says).await.unwrap_or_else(|_| panic!("{what}: {:?}", store.status()));
}

/// Nothing is asked of it meanwhile but polls: a read that failed once must not fail for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_heal_by_themselves() {
    let disk = Disk::default();
    let store = disk.open(options(CAPS));
    let mailbox = mailbox(&store, 1).await;
    // More than is kept in memory of what is read at the start.
    for _ in 0..12 {
        offer(&store, mailbox, &"x".repeat(4 << 20)).await.unwrap();
    }
    store.close().await;
    let store = disk.open(DiskOptions { cache_bytes: 0, ..options(CAPS) });
    disk.fail_reads(1);
    let all = take(&store, mailbox, Some(EventId(0))).await.0;
    assert!(matches!(all, Taken::Batch(batch, _) if batch.pending == 0), "it is tried again at once");
    says(&store, "it can read", |status| status.readable).await;
    healed(&store).await;
    let all = take(&store, mailbox, Some(EventId(0))).await.0;
    assert!(matches!(all, Taken::Batch(batch, _) if batch.pending == 0));
}

/// Somebody tidies up: what was acknowledged before and after is there at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_is_written_anew() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStore::open(home.path(), options(CAPS)).unwrap();
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    let file = home.path().join("pollgate.redb");
    std::fs::remove_file(&file).unwrap();
    let back = async {
        while !file.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), back).await.expect("the file");
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    store.close().await;
    drop(store);
    let store = DiskStore::open(home.path(), options(CAPS)).unwrap();
    assert_eq!(bodies(&store, mailbox).await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_replaced_takes_no_callback_until_it_is_put_back() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStore::open(home.path(), options(CAPS)).unwrap();
    let mailbox = mailbox(&store, 1).await;
    offer(&store, mailbox, "before").await.unwrap();
    let (file, away) = (home.path().join("pollgate.redb"), home.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    std::fs::write(&file, "another store").unwrap();
    says(&store, "it is displaced", |status| status.wrong_path.is_some() && !status.available).await;
    assert!(matches!(offer(&store, mailbox, "during").await, Err(OfferError::Unavailable(_))));
    assert_eq!(bodies(&store, mailbox).await, ["before"], "polls go on");
    assert_eq!(std::fs::read(&file).unwrap(), b"another store", "it is nobody's to touch");
    std::fs::rename(&away, &file).unwrap();
    says(&store, "it is in its place", |status| status.wrong_path.is_none()).await;
    healed(&store).await;
    offer(&store, mailbox, "after").await.unwrap();
    store.close().await;
    drop(store);
    let store = DiskStore::open(home.path(), options(CAPS)).unwrap();
    assert_eq!(bodies(&store, mailbox).await, ["before", "after"]);
}

/// A bit of a key flipped: the row is found under an id that was never given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_never_given_is_damage() {
    for (flipped, sealed) in [(1 << 60, false), (1 << 60, true), (1 << 3, true)] {
        let (disk, mailbox, ids) = closed().await;
        {
            let database = database(&disk);
            let transaction = database.begin_write().unwrap();
            {
                let mut table = transaction.open_table(Table::Index.definition()).unwrap();
                let stored = table.remove(ids[1].0).unwrap().unwrap().value().to_vec();
                // A row of format 1 has no seal.
                let row = if sealed { &stored[..] } else { &stored[..stored.len() - 4] };
                table.insert(ids[1].0 ^ flipped, row).unwrap();
            }
            transaction.commit().unwrap();
        }
        let store = disk.open(options(CAPS));
        assert!(store.status().disk.quarantined > 0, "{flipped} {sealed}");
        assert_eq!(bodies(&store, mailbox).await, ["0", "2"], "{flipped} {sealed}");
        let next = offer(&store, mailbox, "next").await.unwrap();
        assert!(next > ids[2] && next.0 < 1 << 53, "{next}");
        store.close().await;
    }
}
