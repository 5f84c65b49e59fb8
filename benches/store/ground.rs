//! A store in a directory of its own, and the steps that all benchmarks have in common.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pollgate::clock;
use pollgate::mailbox::{
    BatchLimits, Bound, CallbackToken, Class, EventId, Limits, MailboxId, Message, Outcome, PollKey,
    Subscription, Take,
};
use pollgate::store::{
    Bell, Caps, CommitWatch, DiskOptions, DiskStore, MailboxStore, NewMailbox, Shares, Taken,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub const PRODUCERS: usize = 64;
pub const BODY: usize = 1000;

/// Where the files go.
pub fn directory() -> TempDir {
    match std::env::var_os("POLLGATE_BENCH_DIR") {
        Some(home) => TempDir::new_in(home).unwrap(),
        None => TempDir::new().unwrap(),
    }
}

pub fn open(directory: &Path) -> Arc<DiskStore> {
    let options = DiskOptions {
        caps: Caps { mailboxes: 1 << 20, bytes: 1 << 40 },
        cache_bytes: 64 << 20,
        min_free_bytes: 64 << 20,
        clock: Default::default(),
        on_commit: CommitWatch::default(),
    };
    Arc::new(DiskStore::open(directory, options).unwrap())
}

/// No limit but the disk.
pub fn limits() -> Limits {
    Limits { messages: Bound::Unlimited, bytes: Bound::Unlimited, ..Limits::default() }
}

pub async fn mailboxes(store: &Arc<DiskStore>, count: u64) -> Vec<MailboxId> {
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let store = store.clone();
        tasks.spawn(async move {
            let now = clock::now();
            let new = NewMailbox {
                token: CallbackToken::from_random(n.into()),
                poll_key: PollKey::from_random(n.into()),
                subscription: Subscription::default(),
                created: now,
                lease_ends: now + Duration::from_secs(14_400),
                shares: Shares { principal: u64::MAX, address: u64::MAX },
            };
            store.create(new).await.unwrap()
        });
    }
    tasks.join_all().await
}

pub fn message() -> Message {
    Message {
        method: "NOTIFY".into(),
        header_lines: Default::default(),
        body: vec![b'x'; BODY].into(),
        class: Class::Message,
    }
}

/// So many messages, from all producers, all over the mailboxes.
pub async fn fill(store: &Arc<DiskStore>, mailboxes: &[MailboxId], messages: usize) {
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (store, mailboxes) = (store.clone(), mailboxes.to_vec());
        tasks.spawn(async move {
            for n in (producer..messages).step_by(PRODUCERS) {
                let mailbox = mailboxes[n % mailboxes.len()];
                let offered = store.offer(mailbox, message(), &limits(), clock::now()).await.unwrap();
                offered.outcome.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Every mailbox is polled until it is empty; how many messages there were.
pub async fn drain(store: &Arc<DiskStore>, mailboxes: &[MailboxId]) -> usize {
    let room = BatchLimits { messages: 100, bytes: 1 << 20 };
    let mut all = 0;
    for mailbox in mailboxes {
        let mut last = EventId(0);
        loop {
            let (turn, _) = store.begin_poll(*mailbox, Some(last).into(), &Bell::default()).unwrap();
            let taken = store.take(*mailbox, turn, Take::up_to(room), &limits(), clock::now()).await.0;
            let Taken::Batch(batch, mut settlement) = taken else { break };
            settlement.settle(Outcome::Written);
            all += batch.messages.len();
            last = batch.messages.last().map_or(last, |m| m.id);
        }
    }
    all
}

/// The size of the store's file, in MiB.
pub fn file_mib(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("pollgate.redb")).unwrap().len() >> 20
}
