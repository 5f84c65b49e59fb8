//! The subscriptions whose messages the agent fetches, and what all of their couriers share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Poller;
use super::courier::{Courier, End};
use super::hold::Hold;
use super::metrics::Metrics;
use super::reach::Reach;
use super::state::{Record, StateFile};
use crate::auth::digest::Credentials;
use crate::clock;
use crate::dialect::Dialect;
use crate::dialect::webhook::Rules;
use crate::http1::client::call;
use crate::mailbox::Subscription;

/// How long changes are collected before they are written.
const COLLECT: Duration = Duration::from_secs(1);

/// How often it is looked whether the machine slept.
const LOOK: Duration = Duration::from_secs(5);

/// How far the clocks may part meanwhile without a sleep.
const SLEPT: Duration = Duration::from_secs(15);

/// How many subscriptions are remembered that were lost.
const MOST_LOST: usize = 1024;

/// How long the end of a subscription may take to be told.
const LAST_WORD: Duration = Duration::from_secs(10);

/// How the agent polls.
#[derive(Clone)]
pub struct Polling {
    /// Who polls, if the gateway asks for it.
    pub credentials: Option<Credentials>,
    /// The longest hold that is asked for; zero: polls are not held.
    pub longest_hold: Duration,
    /// Between polls that are not held, unless the gateway wants more.
    pub pause: Duration,
}

/// What all couriers share.
pub(super) struct Work {
    reach: Reach,
    polling: Polling,
    pub(super) metrics: Arc<Metrics>,
    hold: Mutex<Hold>,
    wake: Notify,
    changed: Notify,
}

/// A subscription, and what has become of it so far.
pub(super) struct Entry {
    record: Mutex<Record>,
    stop: CancellationToken,
}

/// All subscriptions.
pub(super) struct Subscriptions {
    work: Arc<Work>,
    state: StateFile,
    /// How webhooks are registered, if the server has any.
    rules: Option<Arc<Rules>>,
    table: Mutex<Table>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct Table {
    entries: Vec<Arc<Entry>>,
    /// Server's ids of subscriptions that the gateway lost, with their nodes.
    lost: Vec<(String, String)>,
}

impl Work {
    pub(super) fn poller(&self, record: &Record) -> Poller {
        let (host, path) = (record.host.clone(), record.poll.clone());
        let credentials = self.polling.credentials.clone();
        Poller::at(self.reach.clone(), host, path, credentials, record.last_event_id.unwrap_or(0))
    }

    /// How long to ask for a poll to be held.
    pub(super) fn hold(&self) -> Duration {
        lock(&self.hold).ask()
    }

    pub(super) fn survived(&self) {
        let mut hold = lock(&self.hold);
        hold.survived();
        self.metrics.hold_is(hold.ask().as_secs());
    }

    pub(super) fn cut(&self, after: Duration) -> bool {
        let mut hold = lock(&self.hold);
        let cut = hold.cut(after);
        self.metrics.hold_is(hold.ask().as_secs());
        cut
    }

    /// How long to wait between polls that are not held, of which the gateway says `asked`.
    pub(super) fn pause_between_polls(&self, asked: Duration) -> Duration {
        // Nothing: there is more to fetch, or something to acknowledge.
        if asked.is_zero() { asked } else { asked.max(self.polling.pause) }
    }

    /// Resolves when the machine woke from a sleep.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Entry {
    pub(super) fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// How long its lease lasts; none if it has ended.
    pub(super) fn lease_left(&self) -> Option<Duration> {
        let ends = lock(&self.record).lease_ends;
        Some(Duration::from_millis(ends.saturating_sub(wall()))).filter(|left| !left.is_zero())
    }

    /// The client has this message.
    pub(super) fn has(&self, message: u64, work: &Work) {
        lock(&self.record).last_event_id = Some(message);
        work.changed.notify_one();
    }

    /// Whether its client is one that never answers: some listeners for WebDAV notifications do not.
    pub(super) fn silent_is_taken(&self) -> bool {
        lock(&self.record).dialect == "webdav"
    }

    /// Whether a refusal with this status is final: clients of RVP say 500 for a conversation that they left.
    pub(super) fn takes_no_for_an_answer(&self, status: u16) -> bool {
        status == 500 && lock(&self.record).dialect == "rvp"
    }

    fn is(&self, id: &str, node: &str) -> bool {
        let record = lock(&self.record);
        record.id.as_deref() == Some(id) && record.node == node
    }
}

impl Subscriptions {
    pub(super) fn new(
        reach: Reach,
        polling: Polling,
        metrics: Arc<Metrics>,
        state: StateFile,
        rules: Option<Arc<Rules>>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let hold = Mutex::new(Hold::new(polling.longest_hold));
        metrics.hold_is(polling.longest_hold.as_secs());
        let (wake, changed) = (Notify::new(), Notify::new());
        let work = Arc::new(Work { reach, polling, metrics, hold, wake, changed });
        Arc::new(Self { work, state, rules, table: Mutex::default(), tasks, stop })
    }

    /// Goes on with what an agent before this one kept.
    pub(super) fn resume(self: &Arc<Self>) -> std::io::Result<usize> {
        let records = self.state.read()?;
        let count = records.len();
        for record in records {
            self.begin(record);
        }
        Ok(count)
    }

    /// Fetches the messages of this subscription from now on. One that it takes the place of ends.
    pub(super) fn begin(self: &Arc<Self>, record: Record) {
        if self.goes_on(&record) {
            return;
        }
        let entry = Arc::new(Entry { record: Mutex::new(record.clone()), stop: self.stop.child_token() });
        {
            let mut table = self.table();
            if let Some(id) = &record.id {
                table.lost.retain(|lost| (&lost.0, &lost.1) != (id, &record.node));
                table.end(|other| other.is(id, &record.node));
            }
            table.entries.push(entry.clone());
            self.work.metrics.subscriptions(table.entries.len());
        }
        self.work.changed.notify_one();
        let all = self.clone();
        self.tasks.spawn(async move {
            let courier = Courier { work: all.work.clone(), entry: entry.clone(), stop: entry.stop.clone() };
            let end = courier.run().await;
            all.ended(&entry, end).await;
        });
    }

    /// Whether this is a subscription whose messages are fetched already; it lasts as long as this one says.
    fn goes_on(&self, record: &Record) -> bool {
        let Some(id) = &record.id else { return false };
        let table = self.table();
        let same = table.entries.iter().find(|entry| {
            let other = lock(&entry.record);
            other.id.as_ref() == Some(id) && other.poll == record.poll && other.callback == record.callback
        });
        let Some(entry) = same else { return false };
        lock(&entry.record).lease_ends = record.lease_ends;
        self.work.changed.notify_one();
        true
    }

    /// The server prolonged these.
    pub(super) fn renewed(&self, ids: &[String], node: &str, lease: Duration) {
        for entry in &self.table().entries {
            if ids.iter().any(|id| entry.is(id, node)) {
                lock(&entry.record).lease_ends = ends_in(lease);
            }
        }
        self.work.changed.notify_one();
    }

    /// The client ended these.
    pub(super) fn end(&self, ids: &[String], node: &str) {
        let mut table = self.table();
        table.end(|entry| ids.iter().any(|id| entry.is(id, node)));
        self.work.metrics.subscriptions(table.entries.len());
        drop(table);
        self.work.changed.notify_one();
    }

    /// Whether one of these was lost by the gateway; it is forgotten with the question. Its client believes to be
    /// subscribed still, and has to subscribe anew.
    pub(super) fn was_lost(&self, ids: &[String], node: &str) -> bool {
        let mut table = self.table();
        let before = table.lost.len();
        table.lost.retain(|(id, at)| !(at == node && ids.contains(id)));
        table.lost.len() < before
    }

    async fn ended(&self, entry: &Arc<Entry>, end: End) {
        let record = entry.record();
        if end != End::Stopped {
            tracing::info!(?end, node = record.node, "subscription ended");
            let mut table = self.table();
            table.entries.retain(|other| !Arc::ptr_eq(other, entry));
            self.work.metrics.subscriptions(table.entries.len());
            if let (End::Lost, Some(id)) = (end, record.id.clone()) {
                if table.lost.len() == MOST_LOST {
                    table.lost.remove(0);
                }
                table.lost.push((id, record.node.clone()));
            }
            drop(table);
            self.work.changed.notify_one();
        }
        if let (End::ClientGone, Some(id)) = (end, &record.id) {
            self.unsubscribe(&record, id).await;
        }
    }

    /// Tells the server that a client is gone.
    async fn unsubscribe(&self, record: &Record, id: &str) {
        let subscription = Subscription {
            node: record.node.as_str().into(),
            host: record.host.as_str().into(),
            dialect: record.dialect.as_str().into(),
            ..Subscription::default()
        };
        let dialect = Dialect::of_subscription(&subscription, self.rules.as_ref());
        let Some(request) = dialect.unsubscribe(&subscription, id) else { return };
        let told = async {
            let mut connection = self.work.reach.connect().await?;
            call(&mut connection, request, b"", 64 * 1024, LAST_WORD).await
        };
        match told.await {
            Ok(answer) => tracing::info!(status = answer.head.status, "unsubscribed"),
            Err(error) => tracing::warn!(%error, "the server keeps a subscription until its lease ends"),
        }
    }

    /// Keeps what changes, until the agent stops.
    pub(super) async fn keep(self: Arc<Self>) {
        while self.stop.run_until_cancelled(self.work.changed.notified()).await.is_some() {
            let _ = self.stop.run_until_cancelled(sleep(COLLECT)).await;
            self.write().await;
        }
    }

    /// Keeps what there is now.
    pub(super) async fn write(&self) {
        let records: Vec<Record> = self.table().entries.iter().map(|entry| entry.record()).collect();
        let state = self.state.clone();
        match tokio::task::spawn_blocking(move || state.write(records)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the state cannot be written"),
            Err(error) => tracing::error!(%error, "the state was not written"),
        }
    }

    /// Wakes the couriers when the machine has slept: the wall clock went on, and the other did not.
    pub(super) async fn watch_for_sleep(self: Arc<Self>) {
        let mut before = (wall(), clock::instant());
        while self.stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            let now = (wall(), clock::instant());
            let by_wall = Duration::from_millis(now.0.saturating_sub(before.0));
            if by_wall > now.1.duration_since(before.1) + SLEPT {
                tracing::info!(seconds = by_wall.as_secs(), "the machine slept: polling anew");
                self.work.wake.notify_waiters();
            }
            before = now;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Table {
    fn end(&mut self, which: impl Fn(&Entry) -> bool) {
        self.entries.retain(|entry| {
            let ends = which(entry);
            if ends {
                entry.stop.cancel();
            }
            !ends
        });
    }
}

/// When a lease of this length ends, in milliseconds since 1970.
pub(super) fn ends_in(lease: Duration) -> u64 {
    wall().saturating_add(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}

fn wall() -> u64 {
    clock::read().wall.as_millis()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
