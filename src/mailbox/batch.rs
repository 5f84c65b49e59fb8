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

/// What goes into one answer.
#[derive(Debug)]
pub struct Batch<C = Arc<Message>> {
    /// The answer's name, for [`Mailbox::settle`](super::Mailbox::settle).
    pub handout: HandoutId,
    /// The messages, oldest first; may be empty if there is a gap to tell of.
    pub messages: Vec<TakenMessage<C>>,
    /// How many more wait.
    pub pending: u64,
    /// How many were dropped since the client was last told.
    pub gap: u64,
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
