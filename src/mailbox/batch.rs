//! What goes into a mailbox and what comes out, as its callers see it.

use std::sync::Arc;

use super::{EventId, HandoutId, Lost, Message, Refusal, Timestamp};

/// What became of an offered message.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    /// The id under which it is buffered, or why it is not. With presence this is the id of the older
    /// state whose place it took.
    pub outcome: Result<EventId, Refusal>,
    /// What left the mailbox on the occasion.
    pub lost: Lost,
}

/// How much goes into one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many messages; at least one.
    pub messages: usize,
    /// At most so many bytes, by cost; a first message that is larger goes alone.
    pub bytes: u64,
}

/// What a poll says of the messages that its client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// `Last-Event-ID`, if the client sent it.
    pub last_event_id: Option<EventId>,
    /// Whether the client is one that will send it, although it has none yet: nothing that it is sent from now on
    /// counts as acknowledged because it polls again.
    pub explicitly: bool,
    /// Whether the poll is about other mailboxes too: the id may have come from any of them.
    pub shared: bool,
}

impl Acknowledgement {
    /// Whether the client acknowledges with `Last-Event-ID`.
    pub fn is_explicit(&self) -> bool {
        self.explicitly || self.last_event_id.is_some()
    }
}

impl From<Option<EventId>> for Acknowledgement {
    fn from(last_event_id: Option<EventId>) -> Self {
        Self { last_event_id, ..Self::default() }
    }
}

/// What is taken out of a mailbox for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// How much.
    pub room: BatchLimits,
    /// The newest message that may be taken; none: whatever there is. If the answer has an id, it ends with this one.
    pub up_to: Option<EventId>,
    /// The id of the answer as a whole, if it brings messages from several mailboxes.
    pub answer: Option<EventId>,
    /// Whether the answer goes on, as a stream does: what it carried already stays handed out, and what comes is
    /// behind that.
    pub goes_on: bool,
    /// Whether the poll ends with this, whatever there is: it also tells of losses of which an earlier answer told
    /// without being acknowledged.
    pub last: bool,
}

impl Take {
    /// So much of whatever there is, for an answer about this mailbox alone.
    pub fn up_to(room: BatchLimits) -> Self {
        Self { room, up_to: None, answer: None, goes_on: false, last: true }
    }
}

/// What goes into one answer.
#[derive(Debug)]
pub struct Batch<C = Arc<Message>> {
    /// The answer's name, for [`Mailbox::settle`](super::Mailbox::settle).
    pub handout: HandoutId,
    /// The messages, oldest first; may be empty if there is a gap to tell of.
    pub messages: Vec<TakenMessage<C>>,
    /// How many more wait.
    pub pending: u64,
    /// How many were dropped that the client does not know of.
    pub gap: u64,
    /// By which id the client acknowledges the answer, if not by that of its last message.
    pub answer: Option<EventId>,
}

/// One message of an answer.
#[derive(Clone, Debug)]
pub struct TakenMessage<C = Arc<Message>> {
    /// Its id.
    pub id: EventId,
    /// When the upstream delivered it.
    pub received: Timestamp,
    /// Whether an earlier answer held it already.
    pub redelivered: bool,
    /// The message, or where it is.
    pub message: C,
}

/// What the transport says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was written to the end.
    Written,
    /// It broke: its messages are handed out again.
    Broken,
}

/// What a mailbox adds to the totals of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxTotals {
    /// Buffered messages.
    pub messages: u64,
    /// Their cost.
    pub bytes: u64,
    /// Messages kept after they were dropped.
    pub dropped_messages: u64,
    /// Their cost.
    pub dropped_bytes: u64,
}
