//! One mailbox with what belongs to it: its subscription, its lease, the poll that waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Due, Taken};
use crate::mailbox::{
    BatchLimits, CallbackToken, DropReason, EventId, HandoutId, Limits, Lost, Mailbox, MailboxId, Pace,
    PollKey, Snapshot, Subscription, Timestamp,
};
use crate::store::deliver::{Patience, Standing};
use crate::store::{Bell, NewMailbox, Turn};

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

impl<C: Clone> SlotState<C> {
    /// When there is something to do for this mailbox.
    pub(in crate::store) fn next_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let lease = (!self.ended).then_some(self.lease_ends);
        [lease, self.mailbox.next_deadline(limits)].into_iter().flatten().min()
    }

    pub(in crate::store) fn begin_poll(
        &mut self,
        last_event_id: Option<EventId>,
        bell: &Bell,
    ) -> (Turn, u64) {
        self.hold(false);
        self.delivering = false;
        self.turn += 1;
        if let Some(older) = self.bell.replace(bell.clone()) {
            older.notify_one();
        }
        let acknowledged = self.mailbox.begin_poll(last_event_id);
        if acknowledged > 0 {
            self.tell_departures();
        }
        (Turn(self.turn), acknowledged)
    }

    pub(in crate::store) fn take(
        &mut self,
        turn: Turn,
        room: BatchLimits,
        goes_on: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken<C>, Lost) {
        if turn.0 != self.turn {
            return (Taken::Superseded, Lost::default());
        }
        self.last_poll = Some(now);
        let lost = self.expire(limits, now);
        let batch = if goes_on { self.mailbox.take_more(room) } else { self.mailbox.take(room) };
        self.hold(batch.is_none());
        if batch.is_some() && !goes_on {
            self.bell = None;
        }
        (batch.map_or(Taken::Nothing, Taken::Batch), lost)
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
        &mut self,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due<C>, Lost) {
        match self.standing(patience, now) {
            Standing::Waiting => {}
            standing => return (Due::Standing(standing), Lost::default()),
        }
        let lost = self.expire(limits, now);
        let (batch, acknowledged) = self.mailbox.take_to_deliver();
        if acknowledged > 0 {
            self.tell_departures();
        }
        let Some(batch) = batch else { return (Due::Standing(Standing::Nothing), lost) };
        self.turn += 1;
        self.bell = Some(bell.clone());
        self.delivering = true;
        (Due::Batch { turn: Turn(self.turn), batch, acknowledged }, lost)
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

    pub(in crate::store) fn end(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        self.ended = true;
        let lost = self.mailbox.drop_all(DropReason::Abandoned, limits, now);
        self.hold(false);
        self.delivering = false;
        self.ring();
        self.bell = None;
        self.tell_departures();
        lost
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
