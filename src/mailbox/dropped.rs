//! What left a mailbox undelivered: the reasons, the counts, and the set kept for operators.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{EventId, Message, Timestamp};

/// Why a message left its mailbox undelivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Newer messages needed its room (`overflow = "drop-oldest"`).
    Overflow,
    /// Its life time was over.
    Expired,
    /// It alone is larger than all that its mailbox may hold.
    TooLarge,
    /// Its subscription ended.
    Abandoned,
    /// An operator removed it.
    Purged,
}

impl DropReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [DropReason; 5] = [
        DropReason::Overflow,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::Abandoned,
        DropReason::Purged,
    ];

    /// The reason's word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Overflow => "overflow",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too-large",
            DropReason::Abandoned => "abandoned",
            DropReason::Purged => "purged",
        }
    }
}

/// How many messages one operation lost, by reason. Typing notifications are no loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost([u64; DropReason::ALL.len()]);

impl Lost {
    pub(super) fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Adds what another operation lost.
    pub fn add(&mut self, other: Lost) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The reasons with a count that is not zero.
    pub fn by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0).filter(|(_, n)| *n > 0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A message that left its mailbox undelivered, kept for operators.
#[derive(Clone, Debug)]
pub struct DroppedMessage {
    /// The id it had.
    pub id: EventId,
    /// The message itself.
    pub message: Arc<Message>,
    /// Why it left.
    pub reason: DropReason,
    /// When it left.
    pub dropped_at: Timestamp,
}

/// The dropped messages of one mailbox, oldest first. Bounded: the oldest make room.
#[derive(Debug, Default)]
pub(super) struct DroppedSet {
    messages: VecDeque<DroppedMessage>,
    bytes: u64,
}

impl DroppedSet {
    /// The most it keeps: ten times the documented default of a mailbox, so that one outage of a client
    /// can be looked into without the set outgrowing what it was dropped from.
    pub(super) const MAX_MESSAGES: usize = 1000;
    /// See [`Self::MAX_MESSAGES`].
    pub(super) const MAX_BYTES: u64 = 1024 * 1024;

    /// Keeps it, unless it alone is larger than the set: it would only empty it.
    pub(super) fn push(&mut self, dropped: DroppedMessage) {
        if dropped.message.cost() > Self::MAX_BYTES {
            return;
        }
        self.bytes += dropped.message.cost();
        self.messages.push_back(dropped);
        while self.messages.len() > Self::MAX_MESSAGES || self.bytes > Self::MAX_BYTES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.message.cost();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DroppedMessage> {
        self.messages.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.bytes, self.messages.iter().map(|d| d.message.cost()).sum::<u64>());
        assert!(self.messages.len() <= Self::MAX_MESSAGES && self.bytes <= Self::MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::testing::message;

    fn dropped(id: u64, cost: u64) -> DroppedMessage {
        let message = message(cost);
        DroppedMessage {
            id: EventId(id),
            message,
            reason: DropReason::Expired,
            dropped_at: Timestamp::default(),
        }
    }

    fn ids(set: &DroppedSet) -> Vec<u64> {
        set.iter().map(|d| d.id.0).collect()
    }

    #[test]
    fn the_set_keeps_the_newest() {
        let mut set = DroppedSet::default();
        for id in 1..=1002 {
            set.push(dropped(id, 1));
            set.check_invariants();
        }
        assert_eq!(ids(&set), (3..=1002).collect::<Vec<_>>());
        set.clear();
        assert_eq!((set.is_empty(), set.bytes()), (true, 0));
    }

    #[test]
    fn the_set_is_bounded_by_bytes() {
        let half = DroppedSet::MAX_BYTES / 2;
        let mut set = DroppedSet::default();
        for (id, cost, kept) in [(1, half, vec![1]), (2, half, vec![1, 2]), (3, 1, vec![2, 3])] {
            set.push(dropped(id, cost));
            assert_eq!(ids(&set), kept);
            set.check_invariants();
        }
    }

    #[test]
    fn a_message_larger_than_the_set_does_not_empty_it() {
        let mut set = DroppedSet::default();
        set.push(dropped(1, 1));
        set.push(dropped(2, DroppedSet::MAX_BYTES + 1));
        assert_eq!(ids(&set), [1]);
        set.push(dropped(3, DroppedSet::MAX_BYTES));
        assert_eq!(ids(&set), [3]);
    }

    #[test]
    fn losses_add_up_by_reason() {
        let mut lost = Lost::default();
        lost.count(DropReason::Expired);
        let mut other = Lost::default();
        other.count(DropReason::Expired);
        other.count(DropReason::Purged);
        lost.add(other);
        assert_eq!(lost.by_reason().collect::<Vec<_>>(), [(DropReason::Expired, 2), (DropReason::Purged, 1)]);
        assert_eq!(lost.total(), 3);
    }
}
