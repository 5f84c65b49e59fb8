//! The store that keeps mailboxes while the process lives.
//!
//! Locks are taken in this order, and none is held across an await: index, slot, deadlines.

mod index;
mod slot;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;

use super::{
    Bell, CreateError, Expired, Found, Gone, Lookup, MailboxStore, NewMailbox, OfferError, StoreTotals,
    Taken, Turn,
};
use crate::mailbox::{
    BatchLimits, EventId, HandoutId, Limits, Lost, MailboxId, MailboxTotals, Message, Offered, Outcome,
    Timestamp,
};
use index::Index;
use slot::{Slot, SlotState};

/// What the whole store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Live mailboxes.
    pub mailboxes: u64,
    /// Bytes of buffered messages; callbacks that arrive in the same moment may go over it by one message
    /// each. Dropped messages may take a quarter of this beside them.
    pub bytes: u64,
}

/// Keeps mailboxes while the process lives.
#[derive(Debug)]
pub struct MemoryStore {
    caps: Caps,
    index: RwLock<Index>,
    /// When to look at which mailbox again. An entry may be early, never late.
    deadlines: Mutex<BTreeSet<(Timestamp, MailboxId)>>,
    totals: Totals,
    events: AtomicU64,
    mailboxes: AtomicU64,
}

#[derive(Debug, Default)]
struct Totals {
    messages: AtomicU64,
    bytes: AtomicU64,
    dropped_messages: AtomicU64,
    dropped_bytes: AtomicU64,
}

impl Totals {
    /// Takes over what changed in one mailbox.
    fn update(&self, before: MailboxTotals, after: MailboxTotals) {
        let change = |total: &AtomicU64, before: u64, after: u64| {
            if after != before {
                // Wrapping: a decrease is added as its two's complement.
                total.fetch_add(after.wrapping_sub(before), Relaxed);
            }
        };
        change(&self.messages, before.messages, after.messages);
        change(&self.bytes, before.bytes, after.bytes);
        change(&self.dropped_messages, before.dropped_messages, after.dropped_messages);
        change(&self.dropped_bytes, before.dropped_bytes, after.dropped_bytes);
    }
}

impl MemoryStore {
    /// An empty store, whose first message gets an id above `after`.
    ///
    /// Ids must grow across restarts too, since clients remember the last one they saw. Nothing else
    /// survives here, so the caller derives `after` from the time.
    pub fn new(caps: Caps, after: EventId) -> Self {
        Self {
            caps,
            index: RwLock::default(),
            deadlines: Mutex::default(),
            totals: Totals::default(),
            events: AtomicU64::new(after.0),
            mailboxes: AtomicU64::new(0),
        }
    }

    fn slot(&self, mailbox: MailboxId) -> Result<Arc<Slot>, Gone> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).slot(mailbox).ok_or(Gone)
    }

    /// Changes one live mailbox, and keeps totals and deadlines in step.
    fn change<T>(
        &self,
        mailbox: MailboxId,
        limits: Option<&Limits>,
        change: impl FnOnce(&Slot, &mut SlotState) -> T,
    ) -> Result<T, Gone> {
        let slot = self.slot(mailbox)?;
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone);
        }
        let result = self.change_locked(&slot, &mut state, change);
        if let Some(limits) = limits {
            self.schedule(mailbox, &mut state, limits);
        }
        Ok(result)
    }

    fn change_locked<T>(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        change: impl FnOnce(&Slot, &mut SlotState) -> T,
    ) -> T {
        let before = state.mailbox.totals();
        let result = change(slot, state);
        self.totals.update(before, state.mailbox.totals());
        if self.totals.dropped_bytes.load(Relaxed) > self.caps.bytes / 4 {
            let before = state.mailbox.totals();
            state.mailbox.forget_dropped();
            self.totals.update(before, state.mailbox.totals());
        }
        result
    }

    /// Sees to it that the mailbox is looked at no later than it needs.
    fn schedule(&self, mailbox: MailboxId, state: &mut SlotState, limits: &Limits) {
        if let Some(deadline) = state.next_deadline(limits) {
            self.look_by(mailbox, state, deadline);
        }
    }

    /// Sees to it that the mailbox is looked at no later than at `deadline`.
    fn look_by(&self, mailbox: MailboxId, state: &mut SlotState, deadline: Timestamp) {
        if state.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            let mut deadlines = self.deadlines();
            if let Some(later) = state.scheduled {
                deadlines.remove(&(later, mailbox));
            }
            deadlines.insert((deadline, mailbox));
            state.scheduled = Some(deadline);
        }
    }

    fn deadlines(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, MailboxId)>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_event(&self) -> EventId {
        EventId(self.events.fetch_add(1, Relaxed) + 1)
    }

    /// Ends a mailbox; it is found no more. Its dropped messages stay until their time is over.
    fn end_now(&self, slot: &Arc<Slot>, limits: &Limits, now: Timestamp) -> Result<Lost, Gone> {
        self.index.write().unwrap_or_else(PoisonError::into_inner).unlist(slot);
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone);
        }
        let lost = self.change_locked(slot, &mut state, |_, state| state.end(limits, now));
        self.schedule(slot.id, &mut state, limits);
        if state.next_deadline(limits).is_none() {
            drop(state);
            self.forget(slot.id);
        }
        Ok(lost)
    }

    fn forget(&self, mailbox: MailboxId) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(mailbox);
    }

    fn due(&self, now: Timestamp) -> Vec<MailboxId> {
        let mut deadlines = self.deadlines();
        let mut due = Vec::new();
        while let Some((_, mailbox)) = deadlines.first().copied().filter(|(when, _)| *when <= now) {
            deadlines.pop_first();
            due.push(mailbox);
        }
        due
    }
}

#[async_trait]
impl MailboxStore for MemoryStore {
    async fn create(&self, new: NewMailbox) -> Result<MailboxId, CreateError> {
        let id = MailboxId(self.mailboxes.fetch_add(1, Relaxed) + 1);
        let lease_ends = new.lease_ends;
        let slot = Arc::new(Slot::new(id, new));
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            if index.listed() >= self.caps.mailboxes {
                return Err(CreateError::TooMany);
            }
            index.insert(slot.clone());
        }
        self.look_by(id, &mut slot.lock(), lease_ends);
        Ok(id)
    }

    async fn grant(
        &self,
        mailbox: MailboxId,
        subscription_id: Option<&str>,
        lease_ends: Timestamp,
    ) -> Result<(), Gone> {
        let slot = self.slot(mailbox)?;
        if let Some(id) = subscription_id {
            self.index.write().unwrap_or_else(PoisonError::into_inner).name(&slot, id)?;
        }
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone);
        }
        state.lease_ends = lease_ends;
        // A shorter lease must be seen in time; a longer one is seen when the old deadline comes.
        self.look_by(mailbox, &mut state, lease_ends);
        Ok(())
    }

    async fn end(&self, mailbox: MailboxId, limits: &Limits, now: Timestamp) -> Result<Lost, Gone> {
        self.end_now(&self.slot(mailbox)?, limits, now)
    }

    async fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).find(wanted)
    }

    async fn offer(
        &self,
        mailbox: MailboxId,
        message: Message,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Offered, OfferError> {
        if self.totals.bytes.load(Relaxed).saturating_add(message.cost()) > self.caps.bytes {
            return Err(OfferError::StoreFull);
        }
        let message = Arc::new(message);
        Ok(self.change(mailbox, Some(limits), |slot, state| {
            // The id is drawn under the mailbox's lock, so that ids grow within the mailbox.
            let id = self.next_event();
            let wish = slot.subscription.message_life_time;
            let offered = state.mailbox.offer(id, message, wish, limits, now);
            // A gap is news too.
            if offered.outcome.is_ok() || offered.lost.total() > 0 {
                state.ring();
            }
            offered
        })?)
    }

    async fn begin_poll(
        &self,
        mailbox: MailboxId,
        last_event_id: Option<EventId>,
        bell: &Bell,
    ) -> Result<(Turn, u64), Gone> {
        self.change(mailbox, None, |_, state| state.begin_poll(last_event_id, bell))
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
        self.change(mailbox, None, |_, state| state.take(turn, room, goes_on, limits, now))
            .unwrap_or((Taken::Ended, Lost::default()))
    }

    async fn leave(&self, mailbox: MailboxId, turn: Turn) {
        // A mailbox that has ended holds no poll.
        let _ = self.change(mailbox, None, |_, state| state.leave(turn));
    }

    async fn settle(&self, mailbox: MailboxId, handout: HandoutId, outcome: Outcome) {
        // A mailbox that has ended has nothing left to acknowledge.
        let _ = self.change(mailbox, None, |_, state| state.mailbox.settle(handout, outcome));
    }

    async fn left(&self, mailbox: MailboxId, event: EventId) -> bool {
        loop {
            let departures = match self.slot(mailbox) {
                Err(Gone) => return false,
                Ok(slot) => {
                    let mut state = slot.lock();
                    if !state.mailbox.holds(event) {
                        return !state.mailbox.dropped().any(|dropped| dropped.id == event);
                    }
                    state.departures()
                }
            };
            departures.await;
        }
    }

    async fn expire(&self, limits: &Limits, now: Timestamp) -> Expired {
        let mut expired = Expired::default();
        for mailbox in self.due(now) {
            let Ok(slot) = self.slot(mailbox) else { continue };
            let mut state = slot.lock();
            state.scheduled = None;
            if !state.ended && state.lease_ends <= now {
                drop(state);
                if let Ok(lost) = self.end_now(&slot, limits, now) {
                    expired.lost.add(lost);
                    expired.ended += 1;
                }
                continue;
            }
            let lost = self.change_locked(&slot, &mut state, |_, state| state.expire(limits, now));
            expired.lost.add(lost);
            self.schedule(mailbox, &mut state, limits);
            if state.ended && state.scheduled.is_none() {
                drop(state);
                self.forget(mailbox);
            }
        }
        expired
    }

    fn totals(&self) -> StoreTotals {
        let totals = &self.totals;
        StoreTotals {
            mailboxes: self.index.read().unwrap_or_else(PoisonError::into_inner).listed(),
            messages: totals.messages.load(Relaxed),
            bytes: totals.bytes.load(Relaxed),
            dropped_messages: totals.dropped_messages.load(Relaxed),
            dropped_bytes: totals.dropped_bytes.load(Relaxed),
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        let slots = self.index.read().unwrap_or_else(PoisonError::into_inner).slots();
        slots.iter().filter_map(|slot| slot.lock().mailbox.oldest()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{new_mailbox, store_contract};

    store_contract!(|caps| MemoryStore::new(caps, EventId(0)));

    #[tokio::test]
    async fn idle_mailboxes_cost_a_tick_nothing() {
        let store = MemoryStore::new(Caps { mailboxes: 1000, bytes: 1 << 20 }, EventId(0));
        for n in 0..100 {
            store.create(new_mailbox(n, Timestamp::from_millis(1_000_000))).await.unwrap();
        }
        assert!(store.due(Timestamp::from_millis(999_999)).is_empty());
        assert_eq!(store.due(Timestamp::from_millis(1_000_000)).len(), 100);
    }

    #[tokio::test]
    async fn nothing_stays_of_what_is_over() {
        let store = MemoryStore::new(Caps { mailboxes: 1000, bytes: 1 << 20 }, EventId(0));
        let limits = Limits::default();
        for n in 0..100 {
            let end = Timestamp::from_millis(1_000 + n);
            let mailbox = store.create(new_mailbox(n, end)).await.unwrap();
            store.grant(mailbox, Some("7"), end).await.unwrap();
            let message = Message {
                method: "NOTIFY".into(),
                header_lines: Default::default(),
                body: Default::default(),
                class: crate::mailbox::Class::Message,
            };
            store.offer(mailbox, message, &limits, Timestamp::default()).await.unwrap();
        }
        store.expire(&limits, Timestamp::from_millis(2_000)).await;
        store.expire(&limits, Timestamp::default() + limits.drop_life_time).await;
        assert!(store.index.read().unwrap().is_empty());
        assert!(store.deadlines().is_empty());
    }
}
