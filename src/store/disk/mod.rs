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
//! In reading order: [`codec`], [`record`], [`row`] and [`clients`] (what is in the file), [`tables`] (where),
//! [`elapsed`] (what times in it mean), [`medium`], [`view`] and [`file`] (the file itself), [`writer`] and
//! [`follow`] (into it), [`recover`] and [`open`] (out of it, at the start), [`read`] (bodies, later).
//!
//! Invariants:
//! - nothing is answered before it is on the disk, and after a commit failed nothing is answered at all
//!   until the file was read anew, checked, and written to;
//! - once a second the writer looks whether the paths still lead to what is open. If not, nothing is answered
//!   until they do; a file that was removed is written anew from the open one, one that was replaced is not
//!   touched;
//! - bodies are read while nothing can be written;
//! - no id is given twice, whatever happens: ids are reserved on the disk before they are given;
//! - a body is written once, under a number that no other body gets, with a checksum;
//! - a record that cannot be read is moved out of the way and counted; the rest is served.

mod cache;
mod clients;
mod codec;
mod elapsed;
mod file;
mod follow;
mod medium;
mod open;
mod options;
mod read;
mod record;
mod recover;
mod row;
mod status;
mod tables;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::engine::{self, Engine, Receipt, Waiting};
use super::{
    Bell, Clients, CreateError, Delivery, Due, EndedBy, Ending, Expired, Filter, Found, Gone, Keys, Lookup,
    MailboxReport, MailboxStore, NewMailbox, OfferError, Outlook, Patience, PeekedDrop, PeekedMessage,
    Recovery, Replay, ReplayError, RotateError, Standing, StoreStatus, StoreTotals, Taken, Turn,
};
use crate::mailbox::{
    Acknowledgement, EventId, Incoming, Limits, Lost, MailboxId, Message, Offered, PollKey, Take, Timestamp,
};
use file::DatabaseFile;
use follow::{Body, Follower};
use read::Unread;
use record::{Draft, Place};
use status::Status;

pub use options::{Clock, CommitWatch, DiskOptions, OpenError};

/// Keeps mailboxes on the disk.
#[derive(Debug)]
pub struct DiskStore {
    engine: Engine<Follower>,
    clients: Clients,
    file: Arc<DatabaseFile>,
    status: Arc<Status>,
    recovery: Recovery,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DiskStore {
    fn is_broken(&self) -> bool {
        self.status.broken.load(Relaxed)
    }
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
            if let Ok((_, receipt)) = self.engine.end(mailbox, EndedBy::Other, &Limits::default(), now) {
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

    async fn renew(&self, mailboxes: &[MailboxId], lease_ends: Timestamp) -> Vec<MailboxId> {
        let renew =
            |mailbox: &MailboxId| Some((*mailbox, self.engine.grant(*mailbox, None, lease_ends).ok()?));
        // All are handed over before the first is waited for.
        let renewals: Vec<(MailboxId, Receipt)> = mailboxes.iter().filter_map(renew).collect();
        let mut renewed = Vec::with_capacity(renewals.len());
        for (mailbox, receipt) in renewals {
            // What the upstream granted is so, whether it can be written now or later.
            let _ = receipt.kept().await;
            renewed.push(mailbox);
        }
        renewed
    }

    fn keys(&self, mailbox: MailboxId) -> Result<Keys, Gone> {
        self.engine.keys(mailbox)
    }

    async fn rotate_key(&self, mailbox: MailboxId, new: PollKey) -> Result<(), RotateError> {
        let receipt = self.engine.rotate_key(mailbox, new)?;
        receipt.kept().await.map_err(|_| RotateError::Unavailable)
    }

    async fn hand_on(&self, older: MailboxId, newer: MailboxId) -> Result<(), Gone> {
        let receipt = self.engine.hand_on(older, newer)?;
        // The client is about to be given the newer key, whether that can be written now or later.
        let _ = receipt.kept().await;
        Ok(())
    }

    async fn end(
        &self,
        mailbox: MailboxId,
        by: EndedBy,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Ending, Gone> {
        let (ending, receipt) = self.engine.end(mailbox, by, limits, now)?;
        // It has ended, whether that can be written now or later.
        let _ = receipt.kept().await;
        Ok(ending)
    }

    fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
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

    fn begin_poll(&self, mailbox: MailboxId, by: Acknowledgement, bell: &Bell) -> Result<(Turn, u64), Gone> {
        self.engine.begin_poll(mailbox, by, bell)
    }

    fn answer_with(&self, mailbox: MailboxId, last: EventId) -> Option<EventId> {
        self.engine.answer_with(mailbox, last)
    }

    fn outlook(&self, mailbox: MailboxId, turn: Turn, goes_on: bool, most: usize) -> Outlook {
        self.engine.outlook(mailbox, turn, goes_on, most)
    }

    fn draw(&self) -> Option<EventId> {
        self.engine.draw()
    }

    async fn take(
        &self,
        mailbox: MailboxId,
        turn: Turn,
        take: Take,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken, Lost) {
        let (mut lost, mut take) = (Lost::default(), take);
        loop {
            let (taken, expired) = self.engine.take(mailbox, turn, take, limits, now);
            lost.add(expired);
            let taken = match taken {
                engine::Taken::Batch(batch, settlement) => {
                    let any = !batch.messages.is_empty();
                    // Whatever ends this early, the reader's cancellation included, breaks the settlement.
                    match self.fill(mailbox, batch, &mut lost).await {
                        // All that it held was damaged: what is there beside that?
                        Ok(batch) if any && batch.messages.is_empty() => continue,
                        Ok(batch) => Taken::Batch(batch, settlement),
                        Err(readable) if readable > 0 && !take.goes_on => {
                            take.room.messages = readable;
                            continue;
                        }
                        Err(_) => Taken::Unavailable,
                    }
                }
                engine::Taken::Nothing => Taken::Nothing,
                engine::Taken::Superseded => Taken::Superseded,
                engine::Taken::Ended => Taken::Ended,
            };
            return (taken, lost);
        }
    }

    fn leave(&self, mailbox: MailboxId, turn: Turn) {
        self.engine.leave(mailbox, turn);
    }

    fn polled_in_vain(&self, mailbox: MailboxId, floor: Duration, now: Timestamp) {
        self.engine.polled_in_vain(mailbox, floor, now);
    }

    async fn arrivals(&self) -> Vec<MailboxId> {
        self.engine.arrivals().await
    }

    fn standing(&self, mailbox: MailboxId, patience: Patience, now: Timestamp) -> Standing {
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
            let (turn, batch, settlement, acknowledged) = match due {
                engine::Due::Batch { turn, batch, settlement, acknowledged } => {
                    (turn, batch, settlement, acknowledged)
                }
                engine::Due::Standing(standing) => return (standing.into(), lost),
            };
            // A settlement that is dropped gives the turn back.
            let Ok(batch) = self.fill(mailbox, batch, &mut lost).await else {
                return (Due::Unavailable, lost);
            };
            if let Some(delivery) = Delivery::new(turn, batch, settlement, acknowledged) {
                return (Due::Message(delivery), lost);
            }
            // It was damaged, and is lost: what comes behind it?
        }
    }

    fn accept_delivery(&self, mailbox: MailboxId, delivery: Delivery) -> bool {
        self.engine.accept_delivery(mailbox, delivery)
    }

    async fn left(&self, mailbox: MailboxId, event: EventId) -> bool {
        self.engine.left(mailbox, event).await
    }

    fn expire(&self, limits: &Limits, now: Timestamp) -> Expired {
        self.engine.expire(limits, now)
    }

    fn list(&self, filter: Filter<'_>, after: Option<MailboxId>, most: usize) -> Vec<MailboxReport> {
        self.engine.list(filter, after, most)
    }

    fn report(&self, mailbox: MailboxId) -> Result<MailboxReport, Gone> {
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

    fn clients(&self) -> &Clients {
        &self.clients
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
        if let Err(error) = self.file.medium().release() {
            tracing::warn!(%error, "the store is closed, but its directory stays locked until this process ends");
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.engine.oldest()
    }
}
