//! One mailbox with what belongs to it: its subscription, its lease, the poll that waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Due, Taken};
use crate::mailbox::{
    Acknowledgement, Buffered, CallbackToken, DropReason, EventId, HandoutId, Limits, Lost, Mailbox,
    MailboxId, Outcome, Pace, PollKey, Snapshot, Subscription, Take, Timestamp,
};
use crate::store::deliver::{Patience, Standing};
use crate::store::settlement::{Settle, Settlement};
use crate::store::{Bell, EndedBy, Ending, NewMailbox, Next, Outlook, Turn};

/// What never changes of a mailbox, and what does.
#[derive(Debug)]
pub(in crate::store) struct Slot<C> {
    pub(in crate::store) id: MailboxId,
    pub(in crate::store) token: CallbackToken,
    pub(in crate::store) created: Timestamp,
    pub(in crate::store) subscription: Arc<Subscription>,
    /// How often it was polled in vain, as milliseconds: beside the state, so that to look at it takes no lock.
    pace: AtomicU64,
    state: Mutex<SlotState<C>>,
}

#[derive(Debug)]
pub(in crate::store) struct SlotState<C> {
    pub(in crate::store) mailbox: Mailbox<C>,
    pub(in crate::store) poll_key: PollKey,
    pub(in crate::store) subscription_id: Option<Box<str>>,
    pub(in crate::store) lease_ends: Timestamp,
    pub(in crate::store) ended: bool,
    /// The deadline under which the mailbox is listed.
    pub(in crate::store) scheduled: Option<Timestamp>,
    turn: u64,
    /// The poll that has the turn; it is rung when it should look again.
    bell: Option<Bell>,
    /// Whether it is a deliverer that has the turn, and no poll.
    delivering: bool,
    /// Whether that poll is held.
    pub(super) held: bool,
    /// When a poll last looked.
    pub(super) last_poll: Option<Timestamp>,
    /// For those who wait until a message has left.
    departures: Option<Arc<Notify>>,
}

/// What the upstream said of the subscription.
#[derive(Debug)]
pub(in crate::store) struct Lease {
    pub(in crate::store) subscription_id: Option<Box<str>>,
    pub(in crate::store) ends: Timestamp,
    pub(in crate::store) ended: bool,
}

impl<C: Clone> Slot<C> {
    /// A new mailbox; `followed` if its changes are to be recorded.
    pub(super) fn new(id: MailboxId, new: NewMailbox, followed: bool) -> Self {
        let mailbox =
            if followed { Mailbox::restore(Snapshot::default(), [], []) } else { Mailbox::default() };
        let lease = Lease { subscription_id: None, ends: new.lease_ends, ended: false };
        Self::restored(id, new.token, new.poll_key, new.created, Arc::new(new.subscription), lease, mailbox)
    }

    /// A mailbox from before.
    pub(in crate::store) fn restored(
        id: MailboxId,
        token: CallbackToken,
        poll_key: PollKey,
        created: Timestamp,
        subscription: Arc<Subscription>,
        lease: Lease,
        mailbox: Mailbox<C>,
    ) -> Self {
        Self {
            id,
            token,
            created,
            subscription,
            pace: AtomicU64::new(0),
            state: Mutex::new(SlotState {
                mailbox,
                poll_key,
                subscription_id: lease.subscription_id,
                lease_ends: lease.ends,
                ended: lease.ended,
                scheduled: None,
                turn: 0,
                bell: None,
                delivering: false,
                held: false,
                last_poll: None,
                departures: None,
            }),
        }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::from_millis(self.pace.load(Relaxed))
    }

    pub(super) fn polled_in_vain(&self, floor: Duration, now: Timestamp) {
        let slower = |pace| Some(Pace::from_millis(pace).after_a_vain_poll(floor, now).as_millis());
        // It always has a new value.
        let _ = self.pace.fetch_update(Relaxed, Relaxed, slower);
    }

    pub(in crate::store) fn lock(&self) -> MutexGuard<'_, SlotState<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clone + fmt::Debug + Send + Sync + 'static> Settle for Slot<C> {
    fn settle(&self, handout: HandoutId, outcome: Outcome) {
        self.lock().mailbox.settle(handout, outcome);
    }

    fn give_up_delivery(&self, turn: Turn, handout: HandoutId, event: EventId) {
        self.lock().settle_delivery(turn, handout, event, false);
    }
}

impl<C: Clone> SlotState<C> {
    /// When there is something to do for this mailbox.
    pub(in crate::store) fn next_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let lease = (!self.ended).then_some(self.lease_ends);
        [lease, self.mailbox.next_deadline(limits)].into_iter().flatten().min()
    }

    pub(in crate::store) fn begin_poll(&mut self, by: Acknowledgement, bell: &Bell) -> (Turn, u64) {
        self.hold(false);
        self.delivering = false;
        self.turn += 1;
        if let Some(older) = self.bell.replace(bell.clone()) {
            older.notify_one();
        }
        let acknowledged = self.mailbox.begin_poll(by);
        if acknowledged > 0 {
            self.tell_departures();
        }
        (Turn(self.turn), acknowledged)
    }

    /// What [`take`](Self::take) would find.
    pub(in crate::store) fn outlook(&self, turn: Turn, goes_on: bool, most: usize) -> Outlook {
        if turn.0 != self.turn {
            return Outlook::default();
        }
        let behind = if goes_on { self.mailbox.handed_out() } else { EventId(0) };
        let next = |(id, message, _): (EventId, &Buffered<C>, bool)| Next { id, cost: message.cost };
        Outlook {
            next: self.mailbox.buffered(behind).take(most).map(next).collect(),
            waiting: self.mailbox.waiting_behind(behind),
            gap: self.mailbox.gap(),
        }
    }

    pub(in crate::store) fn take(
        slot: &Arc<Slot<C>>,
        state: &mut Self,
        turn: Turn,
        take: Take,
        draw: impl FnOnce() -> Option<EventId>,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken<C>, Lost)
    where
        C: fmt::Debug + Send + Sync + 'static,
    {
        if turn.0 != state.turn {
            return (Taken::Superseded, Lost::default());
        }
        state.last_poll = Some(now);
        let lost = state.expire(limits, now);
        let batch = state.mailbox.take(take, draw);
        state.hold(batch.is_none());
        if batch.is_some() && !take.goes_on {
            state.bell = None;
        }
        let taken = batch.map_or(Taken::Nothing, |batch| {
            let settlement = Settlement::new(slot.clone(), batch.handout);
            Taken::Batch(batch, settlement)
        });
        (taken, lost)
    }

    pub(in crate::store) fn leave(&mut self, turn: Turn) {
        if turn.0 == self.turn {
            self.hold(false);
            self.bell = None;
        }
    }

    /// The poll that has the turn loses it to nobody.
    pub(super) fn dismiss(&mut self) {
        self.hold(false);
        self.turn += 1;
        self.delivering = false;
        self.ring();
        self.bell = None;
    }

    /// How it stands towards a deliverer, which takes the turn from no poll.
    pub(in crate::store) fn standing(&self, patience: Patience, now: Timestamp) -> Standing {
        if self.ended {
            return Standing::Ended;
        }
        let left_to_poll =
            self.mailbox.awaits_word() && self.last_poll.is_some_and(|last| now.since(last) < patience.0);
        if self.bell.is_some() || left_to_poll {
            Standing::Polled
        } else if self.mailbox.has_undelivered() {
            Standing::Waiting
        } else {
            Standing::Nothing
        }
    }

    pub(in crate::store) fn take_delivery(
        slot: &Arc<Slot<C>>,
        state: &mut Self,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due<C>, Lost)
    where
        C: fmt::Debug + Send + Sync + 'static,
    {
        match state.standing(patience, now) {
            Standing::Waiting => {}
            standing => return (Due::Standing(standing), Lost::default()),
        }
        let lost = state.expire(limits, now);
        let (batch, acknowledged) = state.mailbox.take_to_deliver();
        if acknowledged > 0 {
            state.tell_departures();
        }
        let Some(batch) = batch else { return (Due::Standing(Standing::Nothing), lost) };
        state.turn += 1;
        state.bell = Some(bell.clone());
        state.delivering = true;
        let turn = Turn(state.turn);
        let settlement = Settlement::of_delivery(slot.clone(), turn, &batch);
        (Due::Batch { turn, batch, settlement, acknowledged }, lost)
    }

    /// Gives the turn back. Returns whether the message left as acknowledged by this.
    pub(in crate::store) fn settle_delivery(
        &mut self,
        turn: Turn,
        handout: HandoutId,
        event: EventId,
        accepted: bool,
    ) -> bool {
        if turn.0 == self.turn {
            self.bell = None;
            self.delivering = false;
        }
        let left = self.mailbox.delivery_over(handout, event, accepted);
        if left {
            self.tell_departures();
        }
        left
    }

    pub(in crate::store) fn expire(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        let lost = self.mailbox.expire(limits, now);
        if lost.total() > 0 {
            self.ring();
            self.tell_departures();
        }
        lost
    }

    pub(in crate::store) fn end(&mut self, by: EndedBy, limits: &Limits, now: Timestamp) -> Ending {
        self.ended = true;
        let acknowledged = match by {
            EndedBy::Client => self.mailbox.acknowledge_by_going_on(),
            EndedBy::Other => 0,
        };
        let lost = self.mailbox.drop_all(DropReason::Abandoned, limits, now);
        self.hold(false);
        self.delivering = false;
        self.ring();
        self.bell = None;
        self.tell_departures();
        Ending { lost, acknowledged }
    }

    /// Lets the poll that has the turn look again; a deliverer is disturbed by none of its own.
    pub(in crate::store) fn ring(&self) {
        if let Some(bell) = self.bell.as_ref().filter(|_| !self.delivering) {
            bell.notify_one();
        }
    }

    /// Resolves when messages may have left.
    pub(in crate::store) fn departures(&mut self) -> OwnedNotified {
        self.departures.get_or_insert_default().clone().notified_owned()
    }

    pub(super) fn tell_departures(&self) {
        if let Some(departures) = &self.departures {
            departures.notify_waiters();
        }
    }

    fn hold(&mut self, held: bool) {
        if held != self.held {
            self.held = held;
            self.mailbox.hold(held);
        }
    }
}
