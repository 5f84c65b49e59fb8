//! The store that keeps mailboxes while the process lives.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::clients::{Book, InMemory};
use super::engine::{self, Engine, Journal, Receipt, Step};
use super::{
    Bell, Caps, Clients, CreateError, Delivery, Due, EndedBy, Ending, Expired, Filter, Found, Gone, Keys,
    Lookup, MailboxReport, MailboxStore, NewMailbox, OfferError, Outlook, Patience, PeekedDrop,
    PeekedMessage, Replay, ReplayError, RotateError, Standing, StoreStatus, StoreTotals, Taken, Turn,
};
use crate::mailbox::{
    Acknowledgement, Buffered, EventId, Limits, Lost, MailboxId, Message, Offered, PollKey, Take, Timestamp,
};

/// Keeps mailboxes while the process lives.
#[derive(Debug)]
pub struct MemoryStore(Engine<Nobody>, Clients);

/// Follows nothing: the messages are in the engine itself.
#[derive(Debug)]
struct Nobody;

impl Journal for Nobody {
    type Content = Arc<Message>;
    type Body = Arc<Message>;

    const FOLLOWS: bool = false;

    fn content(&self, _: EventId, body: &Arc<Message>) -> Arc<Message> {
        body.clone()
    }

    fn may_give(&self, _: EventId) -> bool {
        true
    }

    fn record(&self, _: Step<'_, Self>) -> Receipt {
        Receipt::nothing()
    }
}

impl MemoryStore {
    /// An empty store, whose first message gets an id above `after`.
    ///
    /// Ids must grow across restarts too, since clients remember the last one they saw. Nothing else
    /// survives here, so the caller derives `after` from the time.
    pub fn new(caps: Caps, after: EventId) -> Self {
        Self(Engine::new(Nobody, caps, after, MailboxId(0)), Clients::new(Book::default(), InMemory))
    }
}

impl From<engine::Taken<Arc<Message>>> for Taken {
    fn from(taken: engine::Taken<Arc<Message>>) -> Self {
        match taken {
            engine::Taken::Batch(batch, settlement) => Taken::Batch(batch, settlement),
            engine::Taken::Nothing => Taken::Nothing,
            engine::Taken::Superseded => Taken::Superseded,
            engine::Taken::Ended => Taken::Ended,
        }
    }
}

#[async_trait]
impl MailboxStore for MemoryStore {
    async fn create(&self, new: NewMailbox) -> Result<MailboxId, CreateError> {
        self.0.create(new).map(|(id, _)| id)
    }

    async fn grant(
        &self,
        mailbox: MailboxId,
        subscription_id: Option<&str>,
        lease_ends: Timestamp,
    ) -> Result<(), Gone> {
        self.0.grant(mailbox, subscription_id, lease_ends).map(Receipt::ignore)
    }

    async fn renew(&self, mailboxes: &[MailboxId], lease_ends: Timestamp) -> Vec<MailboxId> {
        let renewed = |mailbox: &MailboxId| {
            let receipt = self.0.grant(*mailbox, None, lease_ends).ok()?;
            receipt.ignore();
            Some(*mailbox)
        };
        mailboxes.iter().filter_map(renewed).collect()
    }

    fn keys(&self, mailbox: MailboxId) -> Result<Keys, Gone> {
        self.0.keys(mailbox)
    }

    async fn rotate_key(&self, mailbox: MailboxId, new: PollKey) -> Result<(), RotateError> {
        self.0.rotate_key(mailbox, new)?.ignore();
        Ok(())
    }

    async fn hand_on(&self, older: MailboxId, newer: MailboxId) -> Result<(), Gone> {
        self.0.hand_on(older, newer).map(Receipt::ignore)
    }

    async fn end(
        &self,
        mailbox: MailboxId,
        by: EndedBy,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Ending, Gone> {
        self.0.end(mailbox, by, limits, now).map(|(ending, _)| ending)
    }

    fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
        self.0.find(wanted)
    }

    async fn offer(
        &self,
        mailbox: MailboxId,
        message: Message,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Offered, OfferError> {
        let message = Arc::new(message);
        self.0.offer(mailbox, message.into(), limits, now).map(|(offered, _)| offered)
    }

    fn begin_poll(&self, mailbox: MailboxId, by: Acknowledgement, bell: &Bell) -> Result<(Turn, u64), Gone> {
        self.0.begin_poll(mailbox, by, bell)
    }

    fn answer_with(&self, mailbox: MailboxId, last: EventId) -> Option<EventId> {
        self.0.answer_with(mailbox, last)
    }

    fn outlook(&self, mailbox: MailboxId, turn: Turn, goes_on: bool, most: usize) -> Outlook {
        self.0.outlook(mailbox, turn, goes_on, most)
    }

    fn draw(&self) -> Option<EventId> {
        self.0.draw()
    }

    async fn take(
        &self,
        mailbox: MailboxId,
        turn: Turn,
        take: Take,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken, Lost) {
        let (taken, lost) = self.0.take(mailbox, turn, take, limits, now);
        (taken.into(), lost)
    }

    fn leave(&self, mailbox: MailboxId, turn: Turn) {
        self.0.leave(mailbox, turn);
    }

    fn polled_in_vain(&self, mailbox: MailboxId, floor: Duration, now: Timestamp) {
        self.0.polled_in_vain(mailbox, floor, now);
    }

    async fn arrivals(&self) -> Vec<MailboxId> {
        self.0.arrivals().await
    }

    fn standing(&self, mailbox: MailboxId, patience: Patience, now: Timestamp) -> Standing {
        self.0.standing(mailbox, patience, now)
    }

    async fn take_delivery(
        &self,
        mailbox: MailboxId,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due, Lost) {
        let (due, lost) = self.0.take_delivery(mailbox, bell, patience, limits, now);
        let due = match due {
            engine::Due::Batch { turn, batch, settlement, acknowledged } => {
                Delivery::new(turn, batch, settlement, acknowledged).map_or(Due::Nothing, Due::Message)
            }
            engine::Due::Standing(standing) => standing.into(),
        };
        (due, lost)
    }

    fn accept_delivery(&self, mailbox: MailboxId, delivery: Delivery) -> bool {
        self.0.accept_delivery(mailbox, delivery)
    }

    async fn left(&self, mailbox: MailboxId, event: EventId) -> bool {
        self.0.left(mailbox, event).await
    }

    fn expire(&self, limits: &Limits, now: Timestamp) -> Expired {
        self.0.expire(limits, now)
    }

    fn list(&self, filter: Filter<'_>, after: Option<MailboxId>, most: usize) -> Vec<MailboxReport> {
        self.0.list(filter, after, most)
    }

    fn report(&self, mailbox: MailboxId) -> Result<MailboxReport, Gone> {
        self.0.report(mailbox)
    }

    async fn messages(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<PeekedMessage>, Gone> {
        let messages = self.0.messages(mailbox, after, most)?;
        let peek = |(id, kept, handed_out): (_, Buffered<Arc<Message>>, _)| {
            let message = Some(kept.message.clone());
            PeekedMessage::new(id, &kept, handed_out, message)
        };
        Ok(messages.into_iter().map(peek).collect())
    }

    async fn dropped(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<PeekedDrop>, Gone> {
        let dropped = self.0.dropped(mailbox, after, most)?;
        Ok(dropped.iter().map(|d| PeekedDrop::new(d, Some(d.message.message.clone()))).collect())
    }

    async fn replay(
        &self,
        mailbox: MailboxId,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Replay, ReplayError> {
        self.0.replay(mailbox, limits, now).map(|(replay, _)| replay)
    }

    async fn purge(&self, mailbox: MailboxId, limits: &Limits, now: Timestamp) -> Result<Lost, Gone> {
        self.0.purge(mailbox, limits, now).map(|(lost, _)| lost)
    }

    fn clients(&self) -> &Clients {
        &self.1
    }

    fn totals(&self) -> StoreTotals {
        self.0.totals()
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    async fn close(&self) {}

    fn oldest(&self) -> Option<Timestamp> {
        self.0.oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::store_contract;

    store_contract!(|caps| MemoryStore::new(caps, EventId(0)));
}
