//! The store that keeps mailboxes on the disk: what it took is there after `kill -9` and after a power cut.
//!
//! While the process runs, the [engine](super::engine) in memory is the truth: it decides and finds, as for
//! the memory store, and knows of each message all but its body. The file follows it:
//! - an operation changes the engine under its mailbox's lock and hands what it changed to the one
//!   [`writer`] under the same lock, so that the file changes in the same order;
//! - an offer is answered when the commit that holds it is on the disk; what a client does is not waited
//!   for, and follows;
//! - a body is in the [`cache`], or read when a poll takes it.
//!
//! In reading order: [`codec`], [`record`] and [`row`] (what is in the file), [`tables`] (where),
//! [`elapsed`] (what times in it mean), [`medium`] and [`file`] (the file itself), [`writer`], [`follow`],
//! [`recover`].
//!
//! Invariants:
//! - nothing is answered before it is on the disk, and after a commit failed nothing is answered at all
//!   until the file was read anew, checked, and written to;
//! - no id is given twice, whatever happens: ids are reserved on the disk before they are given;
//! - a body is written once, under a number that no other body gets, with a checksum;
//! - a record that cannot be read is moved out of the way and counted; the rest is served.

mod cache;
mod codec;
mod elapsed;
mod file;
mod follow;
mod medium;
mod record;
mod recover;
mod row;
mod status;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::engine::{self, Engine, Waiting};
use super::{
    Bell, Caps, Commit, CreateError, Delivery, Due, Expired, Filter, Found, Gone, Lookup, MailboxReport,
    MailboxStore, NewMailbox, OfferError, Patience, PeekedDrop, PeekedMessage, Recovery, Replay, ReplayError,
    Standing, StoreStatus, StoreTotals, Taken, Turn,
};
use crate::clock::{self, Reading};
use crate::mailbox::{
    Batch, BatchLimits, EventId, HandoutId, Incoming, Limits, Lost, MailboxId, Message, Offered, Outcome,
    TakenMessage, Timestamp,
};
use cache::Bodies;
use codec::Damage;
use elapsed::StoreClock;
use file::{DatabaseFile, FileError};
use follow::{Body, Follower};
use medium::{Directory, Medium};
use record::{Draft, Place};
use status::Status;
use tables::{FORMAT, Put, Table, meta};
use writer::Writer;

/// What the clocks say.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> Reading + Send + Sync>);

impl Clock {
    fn read(&self) -> Reading {
        (self.0)()
    }
}

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        Self(Arc::new(clock::read))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Whoever wants to know of each commit.
#[derive(Clone)]
pub struct CommitWatch(pub Arc<dyn Fn(Commit) + Send + Sync>);

impl Default for CommitWatch {
    /// Nobody.
    fn default() -> Self {
        Self(Arc::new(|_| {}))
    }
}

impl fmt::Debug for CommitWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitWatch")
    }
}

/// How the store works.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What it may hold.
    pub caps: Caps,
    /// How many bytes of recent bodies are kept in memory.
    pub cache_bytes: u64,
    /// With less room than this on the file system nothing is taken in.
    pub min_free_bytes: u64,
    /// What the clocks say.
    pub clock: Clock,
    /// Whoever wants to know of each commit.
    pub on_commit: CommitWatch,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("cannot use the directory {path}: {cause}", path = path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process (process id {holder})", path = path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process, as it wrote itself down.
        holder: String,
    },
    /// The file cannot be read as what it should be.
    #[error("{path} cannot be read: it is damaged, or no store of Pollgate's ({cause})")]
    Unreadable {
        /// Which file.
        path: String,
        /// What was found.
        cause: String,
    },
    /// The file is of a newer version.
    #[error("{path} was written by a newer version of Pollgate (format {found}; this one knows {FORMAT})")]
    Newer {
        /// Which file.
        path: String,
        /// Its format.
        found: u64,
    },
}

/// Keeps mailboxes on the disk.
#[derive(Debug)]
pub struct DiskStore {
    engine: Engine<Follower>,
    file: Arc<DatabaseFile>,
    status: Arc<Status>,
    recovery: Recovery,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DiskStore {
    /// Opens the store in this directory, or makes a new one, and finds everything that is in it. Nobody
    /// else may use the directory as long as it is open.
    pub fn open(directory: &Path, options: DiskOptions) -> Result<Self, OpenError> {
        let directory = Directory::take(directory)?;
        let name = directory.file().display().to_string();
        Self::open_on(Box::new(directory), &name, options)
    }

    fn open_on(medium: Box<dyn Medium>, name: &str, options: DiskOptions) -> Result<Self, OpenError> {
        let began = clock::instant();
        let unreadable =
            |error: FileError| OpenError::Unreadable { path: name.to_owned(), cause: error.to_string() };
        let file = Arc::new(DatabaseFile::open(medium).map_err(unreadable)?);
        let mut first = Vec::new();
        match format(&file).map_err(unreadable)? {
            Format::New => first.push(Put::row(Table::Meta, meta::FORMAT, row::write_number(FORMAT))),
            Format::Known(FORMAT) => {}
            Format::Known(found) if found > FORMAT => {
                return Err(OpenError::Newer { path: name.to_owned(), found });
            }
            Format::Known(_) | Format::Foreign => {
                let cause = "it does not say which format it has".to_owned();
                return Err(OpenError::Unreadable { path: name.to_owned(), cause });
            }
        }
        let reading = options.clock.read();
        let seen = known(&file, meta::SEEN, row::read_seen).map_err(unreadable)?;
        let store_clock = seen.map_or_else(StoreClock::default, |seen| StoreClock::resume(&seen, &reading));
        let found = recover::recover(&file, store_clock).map_err(unreadable)?;
        first.extend(found.puts);
        // A thousand ids a millisecond: they grow even if the directory is emptied, and stay exact in JSON.
        let events = known(&file, meta::EVENTS, row::read_number).map_err(unreadable)?;
        let events = events.unwrap_or(reading.wall.as_millis() * 1000).max(found.newest_event);
        let mailboxes = known(&file, meta::MAILBOXES, row::read_number).map_err(unreadable)?;
        let mailboxes = mailboxes.unwrap_or_default().max(found.newest_mailbox);
        let status = Arc::new(Status::default());
        status.quarantined.store(found.quarantined, Relaxed);
        let writer = Writer {
            file: file.clone(),
            status: status.clone(),
            store_clock,
            clock: options.clock,
            min_free_bytes: options.min_free_bytes,
            on_commit: options.on_commit,
            reserved: events,
            first,
        };
        let (handle, thread) = writer.start().map_err(unreadable)?;
        let bodies = Bodies::new(options.cache_bytes);
        let follower = Follower { writer: handle, bodies, clock: store_clock };
        let engine = Engine::new(follower, options.caps, EventId(events), MailboxId(mailboxes));
        let recovered = found.mailboxes.len() as u64;
        for mailbox in found.mailboxes {
            engine.restore(mailbox, reading.now);
        }
        let recovery = Recovery { took: began.elapsed(), mailboxes: recovered, messages: found.messages };
        Ok(Self { engine, file, status, recovery, writer: Mutex::new(Some(thread)) })
    }

    fn is_broken(&self) -> bool {
        self.status.broken.load(Relaxed)
    }

    /// Waits until everything that was handed to the writer before is on the disk.
    async fn caught_up(&self) -> bool {
        self.engine.journal.writer.write_and_tell(Vec::new()).await.is_ok()
    }

    /// The messages in these places. What is neither in the cache nor on the disk was handed to the writer
    /// just now.
    async fn load(&self, mailbox: MailboxId, places: &[Place]) -> Vec<Result<Arc<Message>, Unread>> {
        let cached = places.iter().map(|place| self.engine.journal.bodies.get(*place));
        let mut loaded: Vec<_> = cached.map(|message| message.ok_or(Unread::Missing)).collect();
        for attempt in 0..2 {
            let missing: Vec<usize> = (0..places.len())
                .filter(|n| matches!(loaded[*n], Err(Unread::Missing | Unread::Unavailable)))
                .collect();
            if missing.is_empty() || (attempt > 0 && !self.caught_up().await) {
                break;
            }
            let wanted: Vec<Place> = missing.iter().map(|n| places[*n]).collect();
            let file = self.file.clone();
            // A task that panicked has read nothing.
            let read = spawn_blocking(move || read_all(&file, mailbox, &wanted)).await.unwrap_or_default();
            for (n, found) in missing.into_iter().zip(read) {
                loaded[n] = found;
            }
        }
        if self.is_broken() {
            // What the writer still has is not missing.
            for message in &mut loaded {
                if matches!(message, Err(Unread::Missing)) {
                    *message = Err(Unread::Unavailable);
                }
            }
        }
        loaded
    }

    /// A batch with its bodies. None if they cannot be read at this moment: then all of it stays.
    async fn fill(&self, mailbox: MailboxId, batch: Batch<Place>, lost: &mut Lost) -> Option<Batch> {
        let places: Vec<Place> = batch.messages.iter().map(|taken| taken.message).collect();
        let loaded = self.load(mailbox, &places).await;
        if loaded.iter().any(|message| matches!(message, Err(Unread::Unavailable))) {
            return None;
        }
        let Batch { handout, messages, pending, gap } = batch;
        let mut filled = Vec::with_capacity(messages.len());
        for (taken, loaded) in messages.into_iter().zip(loaded) {
            let TakenMessage { id, received, redelivered, message: place } = taken;
            match loaded {
                Ok(message) => filled.push(TakenMessage { id, received, redelivered, message }),
                Err(unread) => lost.add(self.damaged(mailbox, id, place, unread)),
            }
        }
        Some(Batch { handout, messages: filled, pending, gap })
    }

    /// A body cannot be read and never will be, unless its message has just left.
    fn damaged(&self, mailbox: MailboxId, id: EventId, place: Place, unread: Unread) -> Lost {
        let lost = self.engine.lose_damaged(mailbox, id);
        if lost.total() > 0 {
            self.status.quarantined.fetch_add(1, Relaxed);
            tracing::warn!(%mailbox, event = %id, "a message cannot be read: it is in quarantine, and lost");
            if let Unread::Damaged(record) = unread {
                let key = Table::Bodies.quarantine_key(place.0);
                self.engine.journal.writer.write(vec![Put::row(Table::Quarantine, key, record)]);
            }
        }
        lost
    }
}

/// Why a body was not read.
#[derive(Debug)]
enum Unread {
    /// There is none in this place.
    Missing,
    /// There is something else.
    Damaged(Vec<u8>),
    /// The file cannot be read at this moment.
    Unavailable,
}

fn read_all(file: &DatabaseFile, mailbox: MailboxId, places: &[Place]) -> Vec<Result<Arc<Message>, Unread>> {
    let read = |place: &Place| match file.read(Table::Bodies, place.0) {
        Ok(Some(record)) => match record::read(&record, mailbox, *place) {
            Ok(message) => Ok(Arc::new(message)),
            Err(_) => Err(Unread::Damaged(record)),
        },
        Ok(None) => Err(Unread::Missing),
        Err(error) => {
            tracing::warn!(%error, %mailbox, "a message cannot be read at this moment");
            Err(Unread::Unavailable)
        }
    };
    places.iter().map(read).collect()
}

/// Which format a file has.
enum Format {
    New,
    Known(u64),
    Foreign,
}

fn format(file: &DatabaseFile) -> Result<Format, FileError> {
    let tables = file.with(tables::count)?;
    Ok(match known(file, meta::FORMAT, row::read_number)? {
        Some(format) => Format::Known(format),
        None if tables == 0 => Format::New,
        None => Format::Foreign,
    })
}

/// What is known of the file as a whole; what cannot be read counts as unknown.
fn known<T>(
    file: &DatabaseFile,
    key: u64,
    read: impl FnOnce(&[u8]) -> Result<T, Damage>,
) -> Result<Option<T>, FileError> {
    Ok(file.read(Table::Meta, key)?.and_then(|row| read(&row).ok()))
}

#[async_trait]
impl MailboxStore for DiskStore {
    async fn create(&self, new: NewMailbox) -> Result<MailboxId, CreateError> {
        if self.is_broken() || self.status.no_space.load(Relaxed) {
            return Err(CreateError::Unavailable);
        }
        let now = new.created;
        let (mailbox, receipt) = self.engine.create(new)?;
        if receipt.kept().await.is_err() {
            // Nobody was told of it, and nothing is in it.
            if let Ok((_, receipt)) = self.engine.end(mailbox, &Limits::default(), now) {
                receipt.ignore();
            }
            return Err(CreateError::Unavailable);
        }
        Ok(mailbox)
    }

    async fn grant(
        &self,
        mailbox: MailboxId,
        subscription_id: Option<&str>,
        lease_ends: Timestamp,
    ) -> Result<(), Gone> {
        let receipt = self.engine.grant(mailbox, subscription_id, lease_ends)?;
        // What the upstream granted is so, whether it can be written now or later.
        let _ = receipt.kept().await;
        Ok(())
    }

    async fn end(&self, mailbox: MailboxId, limits: &Limits, now: Timestamp) -> Result<Lost, Gone> {
        let (lost, receipt) = self.engine.end(mailbox, limits, now)?;
        // It has ended, whether that can be written now or later.
        let _ = receipt.kept().await;
        Ok(lost)
    }

    async fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
        self.engine.find(wanted)
    }

    async fn offer(
        &self,
        mailbox: MailboxId,
        message: Message,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Offered, OfferError> {
        // The more telling reason first: a disk that is full is not written to either.
        if self.status.no_space.load(Relaxed) {
            return Err(OfferError::NoSpace);
        }
        if self.is_broken() {
            return Err(OfferError::Unavailable(Lost::default()));
        }
        let (class, cost) = (message.class.clone(), message.cost());
        let draft = Draft::new(&message);
        let body = Body { message: Arc::new(message), draft };
        let incoming = Incoming { class, cost, message: body };
        let (offered, receipt) = self.engine.offer(mailbox, incoming, limits, now)?;
        if offered.outcome.is_ok() && receipt.kept().await.is_err() {
            return Err(OfferError::Unavailable(offered.lost));
        }
        Ok(offered)
    }

    async fn begin_poll(
        &self,
        mailbox: MailboxId,
        last_event_id: Option<EventId>,
        bell: &Bell,
    ) -> Result<(Turn, u64), Gone> {
        self.engine.begin_poll(mailbox, last_event_id, bell)
    }

    async fn take(
        &self,
        mailbox: MailboxId,
        turn: Turn,
        room: BatchLimits,
        goes_on: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken, Lost) {
        let mut lost = Lost::default();
        loop {
            let (taken, expired) = self.engine.take(mailbox, turn, room, goes_on, limits, now);
            lost.add(expired);
            let taken = match taken {
                engine::Taken::Batch(batch) => {
                    let (handout, any) = (batch.handout, !batch.messages.is_empty());
                    match self.fill(mailbox, batch, &mut lost).await {
                        // All that it held was damaged: what is there beside that?
                        Some(batch) if any && batch.messages.is_empty() => {
                            self.engine.settle(mailbox, handout, Outcome::Broken);
                            continue;
                        }
                        Some(batch) => Taken::Batch(batch),
                        None => {
                            self.engine.settle(mailbox, handout, Outcome::Broken);
                            Taken::Unavailable
                        }
                    }
                }
                engine::Taken::Nothing => Taken::Nothing,
                engine::Taken::Superseded => Taken::Superseded,
                engine::Taken::Ended => Taken::Ended,
            };
            return (taken, lost);
        }
    }

    async fn leave(&self, mailbox: MailboxId, turn: Turn) {
        self.engine.leave(mailbox, turn);
    }

    async fn settle(&self, mailbox: MailboxId, handout: HandoutId, outcome: Outcome) {
        self.engine.settle(mailbox, handout, outcome);
    }

    async fn arrivals(&self) -> Vec<MailboxId> {
        self.engine.arrivals().await
    }

    async fn standing(&self, mailbox: MailboxId, patience: Patience, now: Timestamp) -> Standing {
        self.engine.standing(mailbox, patience, now)
    }

    async fn take_delivery(
        &self,
        mailbox: MailboxId,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due, Lost) {
        let mut lost = Lost::default();
        loop {
            let (due, expired) = self.engine.take_delivery(mailbox, bell, patience, limits, now);
            lost.add(expired);
            let (turn, batch, acknowledged) = match due {
                engine::Due::Batch { turn, batch, acknowledged } => (turn, batch, acknowledged),
                engine::Due::Standing(standing) => return (standing.into(), lost),
            };
            let (handout, events) = (batch.handout, batch.messages.iter().map(|taken| taken.id));
            let event = events.max().unwrap_or_default();
            let filled = self.fill(mailbox, batch, &mut lost).await;
            let unavailable = filled.is_none();
            match filled.and_then(|batch| Delivery::new(turn, batch, acknowledged)) {
                Some(delivery) => return (Due::Message(delivery), lost),
                None => _ = self.engine.settle_delivery(mailbox, turn, handout, event, false),
            }
            if unavailable {
                return (Due::Unavailable, lost);
            }
            // It was damaged, and is lost: what comes behind it?
        }
    }

    async fn settle_delivery(&self, mailbox: MailboxId, delivery: &Delivery, accepted: bool) -> bool {
        let Delivery { turn, handout, message, .. } = delivery;
        self.engine.settle_delivery(mailbox, *turn, *handout, message.id, accepted)
    }

    async fn left(&self, mailbox: MailboxId, event: EventId) -> bool {
        self.engine.left(mailbox, event).await
    }

    async fn expire(&self, limits: &Limits, now: Timestamp) -> Expired {
        self.engine.expire(limits, now)
    }

    async fn list(&self, filter: Filter<'_>, after: Option<MailboxId>, most: usize) -> Vec<MailboxReport> {
        self.engine.list(filter, after, most)
    }

    async fn report(&self, mailbox: MailboxId) -> Result<MailboxReport, Gone> {
        self.engine.report(mailbox)
    }

    async fn messages(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<PeekedMessage>, Gone> {
        let waiting: Vec<Waiting<Place>> = self.engine.messages(mailbox, after, most)?;
        let places: Vec<Place> = waiting.iter().map(|(_, buffered, _)| buffered.message).collect();
        let bodies = self.load(mailbox, &places).await;
        let peek = |((id, buffered, handed_out), body): (Waiting<Place>, Result<_, Unread>)| {
            PeekedMessage::new(id, &buffered, handed_out, body.ok())
        };
        Ok(waiting.into_iter().zip(bodies).map(peek).collect())
    }

    async fn dropped(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<PeekedDrop>, Gone> {
        let dropped = self.engine.dropped(mailbox, after, most)?;
        let places: Vec<Place> = dropped.iter().map(|dropped| dropped.message.message).collect();
        let bodies = self.load(mailbox, &places).await;
        Ok(dropped.iter().zip(bodies).map(|(dropped, body)| PeekedDrop::new(dropped, body.ok())).collect())
    }

    async fn replay(
        &self,
        mailbox: MailboxId,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Replay, ReplayError> {
        if self.is_broken() {
            return Err(ReplayError::Unavailable(Lost::default()));
        }
        let (replay, receipt) = self.engine.replay(mailbox, limits, now)?;
        match receipt.kept().await {
            Ok(()) => Ok(replay),
            Err(_) => Err(ReplayError::Unavailable(replay.lost)),
        }
    }

    async fn purge(&self, mailbox: MailboxId, limits: &Limits, now: Timestamp) -> Result<Lost, Gone> {
        let (lost, receipt) = self.engine.purge(mailbox, limits, now)?;
        // They are gone, whether that can be written now or later.
        let _ = receipt.kept().await;
        Ok(lost)
    }

    fn totals(&self) -> StoreTotals {
        self.engine.totals()
    }

    fn status(&self) -> StoreStatus {
        self.status.report(self.recovery)
    }

    async fn close(&self) {
        self.engine.journal.writer.close().await;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has said that it is done; what it panicked with is in the log.
            let _ = spawn_blocking(move || thread.join()).await;
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.engine.oldest()
    }
}
