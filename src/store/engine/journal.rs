//! Whoever follows what happens in the engine, to keep it beyond the process.

use std::fmt;

use tokio::sync::oneshot;

use super::slot::{Slot, SlotState};
use crate::mailbox::EventId;

/// Follows an engine. It is called under the lock of the mailbox that changed, in the order in which that
/// mailbox changed, and does nothing there that could wait.
pub(in crate::store) trait Journal: fmt::Debug + Send + Sync + 'static {
    /// What the engine keeps in place of a message.
    type Content: Clone + fmt::Debug + Send + Sync + 'static;
    /// A message on its way into the engine.
    type Body: Send;

    /// Whether anything is followed at all.
    const FOLLOWS: bool;

    /// Where the message will be found that was given this id when it came.
    fn content(&self, id: EventId, body: &Self::Body) -> Self::Content;

    /// Whether the id may be given away: it will not be given again after a restart.
    fn may_give(&self, id: EventId) -> bool;

    /// A mailbox changed.
    fn record(&self, step: Step<'_, Self>) -> Receipt;
}

/// One operation on a mailbox.
pub(in crate::store) struct Step<'a, J: Journal + ?Sized> {
    pub(in crate::store) slot: &'a Slot<J::Content>,
    pub(in crate::store) state: &'a mut SlotState<J::Content>,
    /// The message that was offered, with its place, if the operation was an offer.
    pub(in crate::store) body: Option<(J::Content, J::Body)>,
    pub(in crate::store) row: Row,
    /// Whether somebody waits for the receipt.
    pub(in crate::store) wait: bool,
}

/// What became of what is known of a mailbox beside its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Row {
    /// It is what it was.
    Same,
    /// It is new. These are recorded one at a time, but not always by growing id.
    New,
    /// It was changed.
    Changed,
    /// The mailbox is over, and nothing of it is kept.
    Gone,
}

/// Tells when what was recorded is kept.
#[derive(Debug)]
#[must_use]
pub(in crate::store) struct Receipt(Option<oneshot::Receiver<()>>);

/// What was recorded could not be kept, at least not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Unkept;

impl Receipt {
    /// There is nothing to wait for.
    pub(in crate::store) fn nothing() -> Self {
        Receipt(None)
    }

    /// It is kept when the sender says so, and not if the sender goes without a word.
    pub(in crate::store) fn when(kept: oneshot::Receiver<()>) -> Self {
        Receipt(Some(kept))
    }

    /// Waits until it is kept.
    pub(in crate::store) async fn kept(self) -> Result<(), Unkept> {
        match self.0 {
            Some(kept) => kept.await.map_err(|_| Unkept),
            None => Ok(()),
        }
    }

    /// Nobody waits.
    pub(in crate::store) fn ignore(self) {}
}
