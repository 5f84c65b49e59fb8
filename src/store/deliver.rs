//! What a deliverer asks of a store: it hands messages to clients that are called rather than waited for.
//!
//! A deliverer has its turn at a mailbox as a poll has, for one message at a time. It takes the turn from
//! nobody: a poll that is held, or whose answer is not settled, goes first. A poll takes the turn from it at
//! any time, and then the deliverer's bell rings. What comes in meanwhile does not ring it.

use std::time::Duration;

use crate::mailbox::{Batch, EventId, HandoutId, TakenMessage};

use super::{Settlement, Turn};

/// For how long a mailbox is left to a poll that no longer waits there, and of whose answer it is not known
/// what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Duration);

/// How a mailbox stands towards a deliverer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is something to deliver.
    Waiting,
    /// There is nothing.
    Nothing,
    /// A poll has the mailbox.
    Polled,
    /// The mailbox has ended.
    Ended,
}

/// What a deliverer finds.
#[derive(Debug)]
pub enum Due {
    /// A message, under this turn.
    Message(Delivery),
    /// Nothing.
    Nothing,
    /// A poll has the mailbox.
    Polled,
    /// The mailbox has ended.
    Ended,
    /// There is something, and it cannot be read at this moment: it stays.
    Unavailable,
}

impl From<Standing> for Due {
    /// What there is where nothing was taken.
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Waiting | Standing::Nothing => Due::Nothing,
            Standing::Polled => Due::Polled,
            Standing::Ended => Due::Ended,
        }
    }
}

/// A message that is being delivered. Unless the store is told that it was
/// [accepted](super::MailboxStore::accept_delivery), it was not: it waits again, and the turn is given back.
#[derive(Debug)]
#[must_use]
pub struct Delivery {
    /// The turn.
    pub turn: Turn,
    /// Which handout it is.
    pub handout: HandoutId,
    pub(super) settlement: Settlement,
    /// The message.
    pub message: TakenMessage,
    /// How many messages the client acknowledged by going on behind the answer to its last poll.
    pub acknowledged: u64,
}

impl Delivery {
    /// The delivery of the only message of a batch; none if that is gone.
    pub(super) fn new(turn: Turn, batch: Batch, settlement: Settlement, acknowledged: u64) -> Option<Self> {
        let Batch { handout, messages, .. } = batch;
        let message = messages.into_iter().next()?;
        Some(Self { turn, handout, settlement, message, acknowledged })
    }

    /// Which message it is.
    pub fn event(&self) -> EventId {
        self.message.id
    }
}
