//! What operators see and do.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::slot::{Slot, SlotState};
use super::{Engine, Journal, Receipt, Row, Told};
use crate::mailbox::{Buffered, DropReason, DroppedMessage, EventId, Limits, Lost, MailboxId, Timestamp};
use crate::store::operate::{Filter, MailboxReport, MailboxState, Replay, ReplayError};
use crate::store::{Gone, principal_key};

/// A buffered message, and whether it was ever handed out.
pub(in crate::store) type Waiting<C> = (EventId, Buffered<C>, bool);

impl<J: Journal> Engine<J> {
    /// The mailboxes that fit, behind `after`, by growing id.
    pub(in crate::store) fn list(
        &self,
        filter: Filter<'_>,
        after: Option<MailboxId>,
        most: usize,
    ) -> Vec<MailboxReport> {
        let mut slots = self.index.read().unwrap_or_else(PoisonError::into_inner).slots();
        slots.retain(|slot| after.is_none_or(|after| slot.id > after));
        if let Some(wanted) = filter.principal.map(principal_key) {
            let fits = |principal: &str| principal_key(principal) == wanted;
            slots.retain(|slot| slot.subscription.principal.as_deref().is_some_and(fits));
        }
        slots.sort_unstable_by_key(|slot| slot.id);
        let reports = slots.iter().map(|slot| report(slot, &slot.lock()));
        reports
            .filter(|report| filter.state.is_none_or(|wanted| report.state.is(wanted)))
            .take(most)
            .collect()
    }

    pub(in crate::store) fn report(&self, mailbox: MailboxId) -> Result<MailboxReport, Gone> {
        let slot = self.slot(mailbox)?;
        Ok(report(&slot, &slot.lock()))
    }

    /// The buffered messages behind `after`, and whether each was ever handed out.
    pub(in crate::store) fn messages(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<Waiting<J::Content>>, Gone> {
        let slot = self.slot(mailbox)?;
        let state = slot.lock();
        Ok(state.mailbox.buffered(after).take(most).map(|(id, m, out)| (id, m.clone(), out)).collect())
    }

    /// The dropped messages whose id is behind `after`, by growing id.
    pub(in crate::store) fn dropped(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<DroppedMessage<J::Content>>, Gone> {
        let slot = self.slot(mailbox)?;
        let mut dropped: Vec<_> =
            slot.lock().mailbox.dropped().filter(|dropped| dropped.id > after).cloned().collect();
        dropped.sort_unstable_by_key(|dropped| dropped.id);
        dropped.truncate(most);
        Ok(dropped)
    }

    pub(in crate::store) fn replay(
        &self,
        mailbox: MailboxId,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(Replay, Receipt), ReplayError> {
        let slot = self.slot(mailbox)?;
        let mut state = slot.lock();
        if state.ended {
            return Err(ReplayError::Ended);
        }
        // All ids that may be needed are drawn first: whether they may be given is known then.
        let ids = state.mailbox.totals().dropped_messages;
        let first = self.events.fetch_add(ids, Relaxed).saturating_add(1);
        if !self.journal.may_give(EventId(first.saturating_add(ids))) {
            return Err(ReplayError::Unavailable(Lost::default()));
        }
        let room = self.caps.bytes.saturating_sub(self.totals.bytes.load(Relaxed));
        let told = Told { body: None, row: Row::Same, wait: true };
        let replayed = self.change_locked(&slot, &mut state, told, |slot, state| {
            let mut ids = first..;
            let next = || EventId(ids.next().unwrap_or(u64::MAX));
            let wish = slot.subscription.message_life_time;
            let (replayed, lost) = state.mailbox.replay(next, wish, limits, room, now);
            if replayed.replayed > 0 || lost.total() > 0 {
                state.ring();
            }
            if replayed.replayed > 0 {
                self.arrivals.note(slot);
            }
            if lost.total() > 0 {
                state.tell_departures();
            }
            Replay { replayed, lost }
        });
        self.schedule(mailbox, &mut state, limits);
        Ok(replayed)
    }

    pub(in crate::store) fn purge(
        &self,
        mailbox: MailboxId,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(Lost, Receipt), Gone> {
        self.change(mailbox, Some(limits), true, |_, state| {
            let lost = state.mailbox.drop_all(DropReason::Purged, limits, now);
            state.ring();
            state.tell_departures();
            lost
        })
    }

    /// A message cannot be read any more.
    pub(in crate::store) fn lose_damaged(&self, mailbox: MailboxId, id: EventId) -> Lost {
        self.quietly(mailbox, |_, state| {
            let lost = state.mailbox.lose_damaged(id);
            if lost.total() > 0 {
                state.ring();
            }
            state.tell_departures();
            lost
        })
        .unwrap_or_default()
    }
}

fn report<C: Clone>(slot: &Slot<C>, state: &SlotState<C>) -> MailboxReport {
    let live = if state.held { MailboxState::Polled } else { MailboxState::Live };
    MailboxReport {
        id: slot.id,
        subscription: slot.subscription.clone(),
        subscription_id: state.subscription_id.clone(),
        state: if state.ended { MailboxState::Ended } else { live },
        created: slot.created,
        lease_ends: state.lease_ends,
        last_poll: state.last_poll,
        totals: state.mailbox.totals(),
        gap: state.mailbox.gap(),
        oldest: state.mailbox.oldest(),
    }
}
