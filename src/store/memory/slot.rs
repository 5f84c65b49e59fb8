//! One mailbox with what belongs to it: its subscription, its lease, the poll that waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::mailbox::{
    BatchLimits, CallbackToken, DropReason, EventId, Limits, Lost, Mailbox, MailboxId, PollKey, Subscription,
    Timestamp,
};
use crate::store::{Bell, NewMailbox, Taken, Turn};

/// What never changes of a mailbox, and what does.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: MailboxId,
    pub(super) token: CallbackToken,
    pub(super) poll_key: PollKey,
    pub(super) subscription: Arc<Subscription>,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
pub(super) struct SlotState {
    pub(super) mailbox: Mailbox,
    pub(super) subscription_id: Option<Box<str>>,
    pub(super) lease_ends: Timestamp,
    pub(super) ended: bool,
    /// The deadline under which the mailbox is listed.
    pub(super) scheduled: Option<Timestamp>,
    turn: u64,
    /// The poll that has the turn; it is rung when it should look again.
    bell: Option<Bell>,
    /// Whether that poll is held.
    held: bool,
    /// For those who wait until a message has left.
    departures: Option<Arc<Notify>>,
}

impl Slot {
    pub(super) fn new(id: MailboxId, new: NewMailbox) -> Self {
        Self {
            id,
            token: new.token,
            poll_key: new.poll_key,
            subscription: Arc::new(new.subscription),
            state: Mutex::new(SlotState {
                mailbox: Mailbox::default(),
                subscription_id: None,
                lease_ends: new.lease_ends,
                ended: false,
                scheduled: None,
                turn: 0,
                bell: None,
                held: false,
                departures: None,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotState {
    /// When there is something to do for this mailbox.
    pub(super) fn next_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let lease = (!self.ended).then_some(self.lease_ends);
        [lease, self.mailbox.next_deadline(limits)].into_iter().flatten().min()
    }

    pub(super) fn begin_poll(&mut self, last_event_id: Option<EventId>, bell: &Bell) -> (Turn, u64) {
        self.hold(false);
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

    pub(super) fn take(
        &mut self,
        turn: Turn,
        room: BatchLimits,
        goes_on: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken, Lost) {
        if turn.0 != self.turn {
            return (Taken::Superseded, Lost::default());
        }
        let lost = self.expire(limits, now);
        let batch = if goes_on { self.mailbox.take_more(room) } else { self.mailbox.take(room) };
        self.hold(batch.is_none());
        if batch.is_some() && !goes_on {
            self.bell = None;
        }
        (batch.map_or(Taken::Nothing, Taken::Batch), lost)
    }

    pub(super) fn leave(&mut self, turn: Turn) {
        if turn.0 == self.turn {
            self.hold(false);
            self.bell = None;
        }
    }

    pub(super) fn expire(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        let lost = self.mailbox.expire(limits, now);
        if lost.total() > 0 {
            self.ring();
            self.tell_departures();
        }
        lost
    }

    pub(super) fn end(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        self.ended = true;
        let lost = self.mailbox.drop_all(DropReason::Abandoned, limits, now);
        self.hold(false);
        self.ring();
        self.bell = None;
        self.tell_departures();
        lost
    }

    /// Lets the poll that has the turn look again.
    pub(super) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    /// Resolves when messages may have left.
    pub(super) fn departures(&mut self) -> OwnedNotified {
        self.departures.get_or_insert_default().clone().notified_owned()
    }

    fn tell_departures(&self) {
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
