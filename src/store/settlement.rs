//! What was handed out must be settled, whatever becomes of it.

use std::fmt;
use std::sync::Arc;

use crate::mailbox::{Batch, EventId, HandoutId, Outcome};

use super::Turn;

/// Where handed out messages came from.
pub(super) trait Settle: fmt::Debug + Send + Sync {
    /// The transport's word about an answer to a poll.
    fn settle(&self, handout: HandoutId, outcome: Outcome);

    /// The client was not sent the message, or did not accept it.
    fn give_up_delivery(&self, turn: Turn, handout: HandoutId, event: EventId);
}

/// The duty to tell a mailbox what became of the messages that it handed out. Whoever drops it without a word, as a
/// future does that is cancelled, has said that they did not arrive: they are handed out again.
#[derive(Debug)]
#[must_use]
pub struct Settlement {
    mailbox: Arc<dyn Settle>,
    handout: HandoutId,
    /// The delivery that it is about, if it is not about an answer to a poll.
    delivery: Option<(Turn, EventId)>,
    settled: bool,
}

impl Settlement {
    pub(super) fn new(mailbox: Arc<dyn Settle>, handout: HandoutId) -> Self {
        Self { mailbox, handout, delivery: None, settled: false }
    }

    pub(super) fn of_delivery<C>(mailbox: Arc<dyn Settle>, turn: Turn, batch: &Batch<C>) -> Self {
        let event = batch.messages.first().map(|taken| taken.id).unwrap_or_default();
        Self { mailbox, handout: batch.handout, delivery: Some((turn, event)), settled: false }
    }

    /// The transport's word about the answer. What was written may still turn out broken: the client reset the
    /// connection before it had read the answer.
    pub fn settle(&mut self, outcome: Outcome) {
        self.settled = true;
        self.mailbox.settle(self.handout, outcome);
    }

    /// Somebody else has said it.
    pub(super) fn is_done(&mut self) {
        self.settled = true;
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        match self.delivery {
            None => self.mailbox.settle(self.handout, Outcome::Broken),
            Some((turn, event)) => self.mailbox.give_up_delivery(turn, self.handout, event),
        }
    }
}
