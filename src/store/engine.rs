//! All mailboxes in memory: what every store decides and finds by. Where messages are kept, and whether
//! anything outlives the process, is for its [`Journal`] to say.
//!
//! Nothing here waits, but [`Engine::left`]. Locks are taken in this order, and none is held across an
//! await: index, slot, deadlines.

mod deliver;
mod index;
mod journal;
mod operate;
mod slot;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::settlement::Settlement;
use super::{
    Bell, Caps, CreateError, EndedBy, Ending, Expired, Found, Gone, Keys, Lookup, NewMailbox, OfferError,
    Outlook, StoreTotals, Turn,
};
use crate::mailbox::{
    Acknowledgement, Batch, EventId, Incoming, Limits, Lost, MailboxId, MailboxTotals, Offered, PollKey,
    Take, Timestamp,
};
use deliver::Arrivals;
use index::Index;

pub(super) use deliver::Due;
pub(super) use journal::{Journal, Receipt, Row, Step};
pub(super) use operate::Waiting;
pub(super) use slot::{Lease, Slot, SlotState};

/// Keeps mailboxes while the process lives.
#[derive(Debug)]
pub(super) struct Engine<J: Journal> {
    pub(super) journal: J,
    caps: Caps,
    index: RwLock<Index<J::Content>>,
    /// When to look at which mailbox again. An entry may be early, never late.
    deadlines: Mutex<BTreeSet<(Timestamp, MailboxId)>>,
    arrivals: Arrivals,
    totals: Totals,
    events: AtomicU64,
    mailboxes: AtomicU64,
}

/// What a poll finds.
#[derive(Debug)]
pub(super) enum Taken<C> {
    Batch(Batch<C>, Settlement),
    Nothing,
    Superseded,
    Ended,
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
            match after.checked_sub(before) {
                Some(0) => {}
                Some(more) => _ = total.fetch_add(more, Relaxed),
                None => {
                    let fewer = before - after;
                    // What leaves was added before, under its mailbox's lock: never below zero.
                    let left = |total: u64| Some(total.saturating_sub(fewer));
                    let was = total.fetch_update(Relaxed, Relaxed, left);
                    debug_assert!(was.is_ok_and(|was| was >= fewer), "more left than was there");
                }
            }
        };
        change(&self.messages, before.messages, after.messages);
        change(&self.bytes, before.bytes, after.bytes);
        change(&self.dropped_messages, before.dropped_messages, after.dropped_messages);
        change(&self.dropped_bytes, before.dropped_bytes, after.dropped_bytes);
    }
}

/// What the journal is told of an operation beside the changes in the mailbox.
struct Told<J: Journal> {
    body: Option<(J::Content, J::Body)>,
    row: Row,
    wait: bool,
}

impl<J: Journal> Told<J> {
    const NOTHING: Self = Told { body: None, row: Row::Same, wait: false };
}

impl<J: Journal> Engine<J> {
    /// An engine whose first message gets an id above `event`, and its first mailbox one above `mailbox`.
    pub(super) fn new(journal: J, caps: Caps, event: EventId, mailbox: MailboxId) -> Self {
        Self {
            journal,
            caps,
            index: RwLock::default(),
            deadlines: Mutex::default(),
            arrivals: Arrivals::default(),
            totals: Totals::default(),
            events: AtomicU64::new(event.0),
            mailboxes: AtomicU64::new(mailbox.0),
        }
    }

    fn slot(&self, mailbox: MailboxId) -> Result<Arc<Slot<J::Content>>, Gone> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).slot(mailbox).ok_or(Gone)
    }

    /// Changes one live mailbox, and keeps totals, deadlines and journal in step.
    fn change<T>(
        &self,
        mailbox: MailboxId,
        limits: Option<&Limits>,
        wait: bool,
        change: impl FnOnce(&Arc<Slot<J::Content>>, &mut SlotState<J::Content>) -> T,
    ) -> Result<(T, Receipt), Gone> {
        let slot = self.slot(mailbox)?;
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone);
        }
        let told = Told { wait, ..Told::NOTHING };
        let changed = self.change_locked(&slot, &mut state, told, change);
        if let Some(limits) = limits {
            self.schedule(mailbox, &mut state, limits);
        }
        Ok(changed)
    }

    fn change_locked<T>(
        &self,
        slot: &Arc<Slot<J::Content>>,
        state: &mut SlotState<J::Content>,
        told: Told<J>,
        change: impl FnOnce(&Arc<Slot<J::Content>>, &mut SlotState<J::Content>) -> T,
    ) -> (T, Receipt) {
        let before = state.mailbox.totals();
        let result = change(slot, state);
        self.totals.update(before, state.mailbox.totals());
        if self.totals.dropped_bytes.load(Relaxed) > self.caps.bytes / 4 {
            let before = state.mailbox.totals();
            state.mailbox.forget_dropped();
            self.totals.update(before, state.mailbox.totals());
        }
        (result, self.record(slot, state, told))
    }

    fn record(&self, slot: &Slot<J::Content>, state: &mut SlotState<J::Content>, told: Told<J>) -> Receipt {
        if !J::FOLLOWS {
            return Receipt::nothing();
        }
        let Told { body, row, wait } = told;
        self.journal.record(Step { slot, state, body, row, wait })
    }

    /// Sees to it that the mailbox is looked at no later than it needs.
    fn schedule(&self, mailbox: MailboxId, state: &mut SlotState<J::Content>, limits: &Limits) {
        if let Some(deadline) = state.next_deadline(limits) {
            self.look_by(mailbox, state, deadline);
        }
    }

    /// Sees to it that the mailbox is looked at no later than at `deadline`.
    fn look_by(&self, mailbox: MailboxId, state: &mut SlotState<J::Content>, deadline: Timestamp) {
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
        EventId(self.events.fetch_add(1, Relaxed).saturating_add(1))
    }

    /// Ends a mailbox if it `may` end, which is asked when nobody can change it any more; it is found no more. Its
    /// dropped messages stay until their time is over.
    fn end_if(
        &self,
        slot: &Arc<Slot<J::Content>>,
        may: impl FnOnce(&SlotState<J::Content>) -> bool,
        by: EndedBy,
        limits: &Limits,
        now: Timestamp,
        wait: bool,
    ) -> Result<(Ending, Receipt), Gone> {
        let mut state = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            let state = slot.lock();
            if state.ended || !may(&state) {
                return Err(Gone);
            }
            index.unlist(slot, &state);
            state
        };
        let told = Told { row: Row::Changed, wait, ..Told::NOTHING };
        let ended = self.change_locked(slot, &mut state, told, |_, state| state.end(by, limits, now));
        self.schedule(slot.id, &mut state, limits);
        if state.mailbox.next_deadline(limits).is_none() {
            self.forget(slot, state);
        } else {
            drop(state);
            self.keep_ended(slot);
        }
        Ok(ended)
    }

    /// Keeps a mailbox that ended, for its dropped messages; others are forgotten for it if there are too many.
    fn keep_ended(&self, slot: &Arc<Slot<J::Content>>) {
        let excess = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            // It may have been forgotten meanwhile.
            if index.slot(slot.id).is_none() {
                return;
            }
            index.keep_ended(slot, self.caps.mailboxes)
        };
        for slot in excess {
            let mut state = slot.lock();
            let forget = |_: &_, state: &mut SlotState<J::Content>| state.mailbox.forget_dropped();
            self.change_locked(&slot, &mut state, Told::NOTHING, forget).1.ignore();
            self.forget(&slot, state);
        }
    }

    /// Nothing is left of a mailbox that ended.
    fn forget(&self, slot: &Slot<J::Content>, mut state: MutexGuard<'_, SlotState<J::Content>>) {
        self.record(slot, &mut state, Told { row: Row::Gone, ..Told::NOTHING }).ignore();
        if let Some(deadline) = state.scheduled.take() {
            self.deadlines().remove(&(deadline, slot.id));
        }
        drop(state);
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(slot.id);
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

    pub(super) fn create(&self, new: NewMailbox) -> Result<(MailboxId, Receipt), CreateError> {
        let id = MailboxId(self.mailboxes.fetch_add(1, Relaxed).saturating_add(1));
        let (lease_ends, shares) = (new.lease_ends, new.shares);
        let slot = Arc::new(Slot::new(id, new, J::FOLLOWS));
        let receipt = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            if index.listed() >= self.caps.mailboxes {
                return Err(CreateError::TooMany);
            }
            index.has_a_share_left(&slot.subscription, shares)?;
            index.insert(slot.clone());
            let told = Told { row: Row::New, wait: true, ..Told::NOTHING };
            self.record(&slot, &mut slot.lock(), told)
        };
        self.look_by(id, &mut slot.lock(), lease_ends);
        Ok((id, receipt))
    }

    /// A mailbox from before; it is looked at soon after `now`.
    pub(super) fn restore(&self, slot: Slot<J::Content>, now: Timestamp) {
        let slot = Arc::new(slot);
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.insert(slot.clone());
        let mut state = slot.lock();
        state.mailbox.ids_were_given_up_to(EventId(self.events.load(Relaxed)));
        let subscription_id = state.subscription_id.clone();
        let ended = state.ended;
        if !ended && state.mailbox.has_news() {
            self.arrivals.note(&slot);
        }
        self.totals.update(MailboxTotals::default(), state.mailbox.totals());
        self.record(&slot, &mut state, Told::NOTHING).ignore();
        self.look_by(slot.id, &mut state, now);
        drop(state);
        if let Some(id) = subscription_id {
            // It was just inserted.
            let _ = index.name(&slot, &id);
        }
        if ended {
            index.unlist(&slot, &slot.lock());
            drop(index);
            self.keep_ended(&slot);
        }
    }

    pub(super) fn grant(
        &self,
        mailbox: MailboxId,
        subscription_id: Option<&str>,
        lease_ends: Timestamp,
    ) -> Result<Receipt, Gone> {
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
        Ok(self.record(&slot, &mut state, Told { row: Row::Changed, wait: true, ..Told::NOTHING }))
    }

    pub(super) fn keys(&self, mailbox: MailboxId) -> Result<Keys, Gone> {
        let slot = self.slot(mailbox)?;
        let poll_key = slot.lock().poll_key;
        Ok(Keys { token: slot.token, poll_key })
    }

    pub(super) fn rotate_key(&self, mailbox: MailboxId, new: PollKey) -> Result<Receipt, Gone> {
        let slot = self.slot(mailbox)?;
        let older = slot.lock().poll_key;
        // Those that are polled by the same key go with it.
        for other in self.find(Lookup::PollKey(older)).into_iter().filter(|found| found.id != mailbox) {
            let other = self.slot(other.id)?;
            self.index.write().unwrap_or_else(PoisonError::into_inner).rotate_key(&other, new)?;
            self.changed_keys(&other)?.ignore();
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).rotate_key(&slot, new)?;
        self.changed_keys(&slot)
    }

    pub(super) fn hand_on(&self, older: MailboxId, newer: MailboxId) -> Result<Receipt, Gone> {
        let (older, newer) = (self.slot(older)?, self.slot(newer)?);
        let key = newer.lock().poll_key;
        self.index.write().unwrap_or_else(PoisonError::into_inner).hand_on(&older, key)?;
        self.changed_keys(&older)
    }

    /// The mailbox is found by other names: the poll that had it begins anew.
    fn changed_keys(&self, slot: &Arc<Slot<J::Content>>) -> Result<Receipt, Gone> {
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone);
        }
        state.dismiss();
        Ok(self.record(slot, &mut state, Told { row: Row::Changed, wait: true, ..Told::NOTHING }))
    }

    pub(super) fn end(
        &self,
        mailbox: MailboxId,
        by: EndedBy,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(Ending, Receipt), Gone> {
        self.end_if(&self.slot(mailbox)?, |_| true, by, limits, now, true)
    }

    pub(super) fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).find(wanted)
    }

    pub(super) fn offer(
        &self,
        mailbox: MailboxId,
        incoming: Incoming<J::Body>,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(Offered, Receipt), OfferError> {
        if self.totals.bytes.load(Relaxed).saturating_add(incoming.cost) > self.caps.bytes {
            return Err(OfferError::StoreFull);
        }
        let slot = self.slot(mailbox)?;
        let mut state = slot.lock();
        if state.ended {
            return Err(Gone.into());
        }
        // The id is drawn under the mailbox's lock, so that ids grow within the mailbox.
        let id = self.next_event();
        if !self.journal.may_give(id) {
            return Err(OfferError::Unavailable(Lost::default()));
        }
        let Incoming { class, cost, message: body } = incoming;
        let content = self.journal.content(id, &body);
        let told = Told { body: Some((content.clone(), body)), wait: true, row: Row::Same };
        let offered = self.change_locked(&slot, &mut state, told, |slot, state| {
            let wish = slot.subscription.message_life_time;
            let incoming = Incoming { class, cost, message: content };
            let offered = state.mailbox.offer(id, incoming, wish, limits, now);
            // A gap is news too.
            if offered.outcome.is_ok() || offered.lost.total() > 0 {
                state.ring();
            }
            if offered.outcome.is_ok() {
                self.arrivals.note(slot);
            }
            offered
        });
        self.schedule(mailbox, &mut state, limits);
        Ok(offered)
    }

    pub(super) fn begin_poll(
        &self,
        mailbox: MailboxId,
        by: Acknowledgement,
        bell: &Bell,
    ) -> Result<(Turn, u64), Gone> {
        self.quietly(mailbox, |_, state| state.begin_poll(by, bell))
    }

    pub(super) fn answer_with(&self, mailbox: MailboxId, last: EventId) -> Option<EventId> {
        self.slot(mailbox).ok()?.lock().mailbox.answer_with(last)
    }

    pub(super) fn outlook(&self, mailbox: MailboxId, turn: Turn, goes_on: bool, most: usize) -> Outlook {
        self.slot(mailbox).map(|slot| slot.lock().outlook(turn, goes_on, most)).unwrap_or_default()
    }

    /// An id that no message has; none if none may be given.
    pub(super) fn draw(&self) -> Option<EventId> {
        Some(self.next_event()).filter(|id| self.journal.may_give(*id))
    }

    pub(super) fn take(
        &self,
        mailbox: MailboxId,
        turn: Turn,
        take: Take,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken<J::Content>, Lost) {
        let draw = || self.draw();
        self.quietly(mailbox, |slot, state| SlotState::take(slot, state, turn, take, draw, limits, now))
            .unwrap_or((Taken::Ended, Lost::default()))
    }

    pub(super) fn leave(&self, mailbox: MailboxId, turn: Turn) {
        // A mailbox that has ended holds no poll.
        let _ = self.quietly(mailbox, |_, state| state.leave(turn));
    }

    pub(super) fn polled_in_vain(&self, mailbox: MailboxId, floor: Duration, now: Timestamp) {
        if let Ok(slot) = self.slot(mailbox) {
            slot.polled_in_vain(floor, now);
        }
    }

    /// A change that nobody waits for, and that makes nothing due earlier.
    fn quietly<T>(
        &self,
        mailbox: MailboxId,
        change: impl FnOnce(&Arc<Slot<J::Content>>, &mut SlotState<J::Content>) -> T,
    ) -> Result<T, Gone> {
        let (result, receipt) = self.change(mailbox, None, false, change)?;
        receipt.ignore();
        Ok(result)
    }

    pub(super) async fn left(&self, mailbox: MailboxId, event: EventId) -> bool {
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

    pub(super) fn expire(&self, limits: &Limits, now: Timestamp) -> Expired {
        let mut expired = Expired::default();
        for mailbox in self.due(now) {
            let Ok(slot) = self.slot(mailbox) else { continue };
            let mut state = slot.lock();
            state.scheduled = None;
            if !state.ended && state.lease_ends <= now {
                drop(state);
                // It may have been renewed meanwhile.
                let lapsed = |state: &SlotState<J::Content>| state.lease_ends <= now;
                match self.end_if(&slot, lapsed, EndedBy::Other, limits, now, false) {
                    Ok((Ending { lost, .. }, receipt)) => {
                        receipt.ignore();
                        expired.ended.push((mailbox, lost.total()));
                        expired.note(mailbox, lost);
                    }
                    Err(Gone) => {
                        let mut state = slot.lock();
                        if !state.ended {
                            self.schedule(mailbox, &mut state, limits);
                        }
                    }
                }
                continue;
            }
            let (lost, receipt) =
                self.change_locked(&slot, &mut state, Told::NOTHING, |_, state| state.expire(limits, now));
            receipt.ignore();
            expired.note(mailbox, lost);
            self.schedule(mailbox, &mut state, limits);
            if state.ended && state.scheduled.is_none() {
                self.forget(&slot, state);
            }
        }
        expired
    }

    pub(super) fn totals(&self) -> StoreTotals {
        let totals = &self.totals;
        let (mailboxes, ended_mailboxes) = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.listed(), index.ended())
        };
        StoreTotals {
            mailboxes,
            ended_mailboxes,
            messages: totals.messages.load(Relaxed),
            bytes: totals.bytes.load(Relaxed),
            dropped_messages: totals.dropped_messages.load(Relaxed),
            dropped_bytes: totals.dropped_bytes.load(Relaxed),
        }
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let slots = self.index.read().unwrap_or_else(PoisonError::into_inner).slots();
        slots.iter().filter_map(|slot| slot.lock().mailbox.oldest()).min()
    }

    /// Whether nothing is left: no mailbox, no name, no deadline.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).is_empty() && self.deadlines().is_empty()
    }
}

#[cfg(test)]
mod tests;
