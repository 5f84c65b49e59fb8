//! The ids by which a client acknowledges, beside those of messages that are still in the mailbox.
//!
//! There are two kinds. An answer has an id of its own when no message in it could stand for all of it: it brought
//! messages from several mailboxes, or it told of losses and of nothing new. And a message that left while older
//! ones stay was in a client's hands together with these.
//!
//! Whatever else a client names proves nothing here. What is forgotten costs a message that comes twice, and none
//! that never comes.

use std::collections::BTreeMap;

use super::EventId;

/// More answers than a client has in its hands at once; the oldest make room.
const MOST: usize = 256;

/// What each id proves.
#[derive(Debug, Default)]
pub(super) struct Receipts(BTreeMap<EventId, Receipt>);

#[derive(Clone, Copy, Debug)]
struct Receipt {
    /// The client has every message up to this one.
    up_to: EventId,
    /// It knows of all losses up to this one.
    losses: u64,
    /// The message with which the answer ended, as long as no other answer carries it.
    last: Option<EventId>,
}

impl Receipts {
    /// Whoever names this id has all messages up to `up_to`, and knows of so many losses. `last`: the answer ends
    /// with this message, which no answer carried before.
    pub(super) fn note(&mut self, id: EventId, up_to: EventId, losses: u64, last: Option<EventId>) {
        self.0.insert(id, Receipt { up_to, losses, last });
        while self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Another answer carries this message: to have it no longer proves which.
    pub(super) fn carried_again(&mut self, message: EventId) {
        if self.0.is_empty() {
            return;
        }
        for receipt in self.0.values_mut() {
            receipt.last.take_if(|last| *last == message);
        }
    }

    /// What the id proves.
    pub(super) fn find(&self, id: EventId) -> Option<(EventId, u64)> {
        self.0.get(&id).map(|receipt| (receipt.up_to, receipt.losses))
    }

    /// The id of the one answer that carried this message, and ended with it.
    pub(super) fn answer_with(&self, last: EventId) -> Option<EventId> {
        self.0.iter().find(|(_, receipt)| receipt.last == Some(last)).map(|(id, _)| *id)
    }

    /// Forgets what proves nothing any more: the messages up to `oldest` have left, and so many losses are known of.
    pub(super) fn forget(&mut self, oldest: Option<EventId>, losses: u64) {
        self.0.retain(|_, receipt| {
            oldest.is_some_and(|oldest| oldest <= receipt.up_to) || receipt.losses > losses
        });
    }

    pub(super) fn check_invariants(&self, newest: EventId) {
        assert!(self.0.len() <= MOST);
        assert!(self.0.iter().all(|(id, receipt)| *id <= newest && receipt.up_to <= *id));
    }
}
