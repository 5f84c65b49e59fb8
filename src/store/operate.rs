//! What operators see of a store, and what they ask of it.

use std::sync::Arc;

use crate::mailbox::{
    Buffered, Class, DropReason, DroppedMessage, EventId, Lost, MailboxId, MailboxTotals, Message, Replayed,
    Subscription, Timestamp,
};

use super::Gone;

/// How far along a mailbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxState {
    /// Live, and a poll is held at this moment.
    Polled,
    /// Live.
    Live,
    /// Over; kept for its dropped messages only.
    Ended,
}

impl MailboxState {
    /// All of them.
    pub const ALL: [MailboxState; 3] = [MailboxState::Polled, MailboxState::Live, MailboxState::Ended];

    /// Its word in the API and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            MailboxState::Polled => "polled",
            MailboxState::Live => "live",
            MailboxState::Ended => "ended",
        }
    }

    /// Whether a mailbox in this state is one of those that `wanted` means: a polled one is a live one.
    pub fn is(self, wanted: MailboxState) -> bool {
        self == wanted || (self == MailboxState::Polled && wanted == MailboxState::Live)
    }
}

/// Which mailboxes an operator wants to see; by default all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Those of this principal, compared by [`principal_key`](super::principal_key).
    pub principal: Option<&'a str>,
    /// Those in this state.
    pub state: Option<MailboxState>,
}

/// One mailbox, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxReport {
    /// Which one.
    pub id: MailboxId,
    /// Whose it is.
    pub subscription: Arc<Subscription>,
    /// The id that the upstream gave the subscription.
    pub subscription_id: Option<Box<str>>,
    /// How far along it is.
    pub state: MailboxState,
    /// When it was made.
    pub created: Timestamp,
    /// When its lease ends, or ended.
    pub lease_ends: Timestamp,
    /// When a poll last looked into it, since the gateway started.
    pub last_poll: Option<Timestamp>,
    /// What is in it.
    pub totals: MailboxTotals,
    /// How many messages it lost since the client was last told.
    pub gap: u64,
    /// When its oldest message came.
    pub oldest: Option<Timestamp>,
}

/// A buffered message, as an operator sees it: to look at it hands nothing out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekedMessage {
    /// Its id.
    pub id: EventId,
    /// How it behaves while it waits.
    pub class: Class,
    /// What it costs, in bytes.
    pub cost: u64,
    /// When the upstream delivered it.
    pub received: Timestamp,
    /// When its life time is over.
    pub expires: Timestamp,
    /// Whether it was in an answer to a poll, as far as is known.
    pub handed_out: bool,
    /// The message itself; none if it cannot be read at this moment.
    pub message: Option<Arc<Message>>,
}

impl PeekedMessage {
    pub(super) fn new<C>(
        id: EventId,
        buffered: &Buffered<C>,
        handed_out: bool,
        message: Option<Arc<Message>>,
    ) -> Self {
        let Buffered { cost, received, expires, .. } = *buffered;
        Self { id, class: buffered.class().clone(), cost, received, expires, handed_out, message }
    }
}

/// A dropped message, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekedDrop {
    /// The id it had.
    pub id: EventId,
    /// How it behaved while it waited.
    pub class: Class,
    /// What it costs, in bytes.
    pub cost: u64,
    /// When the upstream delivered it.
    pub received: Timestamp,
    /// When it was dropped.
    pub dropped_at: Timestamp,
    /// Why.
    pub reason: DropReason,
    /// The message itself; none if it cannot be read at this moment.
    pub message: Option<Arc<Message>>,
}

impl PeekedDrop {
    pub(super) fn new<C>(dropped: &DroppedMessage<C>, message: Option<Arc<Message>>) -> Self {
        let DroppedMessage { id, dropped_at, reason, message: ref buffered } = *dropped;
        let Buffered { cost, received, .. } = *buffered;
        Self { id, class: buffered.class().clone(), cost, received, dropped_at, reason, message }
    }
}

/// Why dropped messages were not offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no such mailbox.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Nobody polls it any more.
    #[error("the mailbox has ended: nobody would poll what is replayed")]
    Ended,
    /// The store cannot keep anything at this moment. What expired on the occasion has expired; the
    /// messages may come through nevertheless.
    #[error("the store is unavailable")]
    Unavailable(Lost),
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// What became of the dropped messages.
    pub replayed: Replayed,
    /// What expired on the occasion.
    pub lost: Lost,
}
