//! What left a mailbox undelivered: the reasons, the counts, and the set kept for operators.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Buffered, EventId, Message, Timestamp};

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
    /// The store found it damaged.
    Corrupt,
}

impl DropReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [DropReason; 6] = [
        DropReason::Overflow,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::Abandoned,
        DropReason::Purged,
        DropReason::Corrupt,
    ];

    /// The reason's word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Overflow => "overflow",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too-large",
            DropReason::Abandoned => "abandoned",
            DropReason::Purged => "purged",
            DropReason::Corrupt => "corrupt",
        }
    }
}

/// How many messages left a mailbox without being acknowledged, in one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    dropped: [u64; DropReason::ALL.len()],
    replaced: u64,
}

impl Lost {
    pub(super) fn count(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(super) fn count_replaced(&mut self) {
        self.replaced += 1;
    }

    /// So many messages, all for one reason.
    pub fn of(reason: DropReason, messages: u64) -> Self {
        let mut lost = Self::default();
        lost.dropped[reason as usize] = messages;
        lost
    }

    /// Adds what another operation lost.
    pub fn add(&mut self, other: Lost) {
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
        self.replaced += other.replaced;
    }

    /// The reasons with a count that is not zero.
    pub fn by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.dropped).filter(|(_, n)| *n > 0)
    }

    /// All that were dropped.
    pub fn total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Those that a newer one replaced, and typing notifications that were out of date. That is no loss.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// All that left, for whatever reason.
    pub fn left(&self) -> u64 {
        self.total() + self.replaced
    }
}

/// A message that left its mailbox undelivered, kept for operators.
#[derive(Clone, Debug)]
pub struct DroppedMessage<C = Arc<Message>> {
    /// The id it had.
    pub id: EventId,
    /// The message, as it was buffered.
    pub message: Buffered<C>,
    /// Why it left.
    pub reason: DropReason,
    /// When it left.
    pub dropped_at: Timestamp,
}

/// The dropped messages of one mailbox, oldest first. Bounded: the oldest make room.
#[derive(Debug)]
pub(super) struct DroppedSet<C> {
    messages: VecDeque<DroppedMessage<C>>,
    bytes: u64,
}

/// The most messages that a dropped set keeps: ten times the documented default of a mailbox, so that one
/// outage of a client can be looked into without the set outgrowing what it was dropped from.
const MAX_MESSAGES: usize = 1000;

/// The most bytes; see [`MAX_MESSAGES`].
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

impl<C> Default for DroppedSet<C> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<C> DroppedSet<C> {
    /// Whether the set would keep it: one that alone is larger than the set would only empty it.
    pub(super) fn would_keep(message: &Buffered<C>) -> bool {
        message.cost <= MAX_BYTES
    }

    /// Keeps it; `forgotten` is told of the older ones that make room.
    pub(super) fn push(&mut self, dropped: DroppedMessage<C>, mut forgotten: impl FnMut(DroppedMessage<C>)) {
        self.bytes += dropped.message.cost;
        self.messages.push_back(dropped);
        while self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.pop_oldest() else { break };
            forgotten(oldest);
        }
    }

    pub(super) fn pop_oldest(&mut self) -> Option<DroppedMessage<C>> {
        let oldest = self.messages.pop_front()?;
        self.bytes -= oldest.message.cost;
        Some(oldest)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &DroppedMessage<C>> {
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
        assert_eq!(self.bytes, self.messages.iter().map(|d| d.message.cost).sum::<u64>());
        assert!(self.messages.len() <= MAX_MESSAGES && self.bytes <= MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::testing::message;

    fn dropped(id: u64, cost: u64) -> DroppedMessage {
        let at = Timestamp::default();
        let message = Buffered::new(message(cost).into(), at, at);
        DroppedMessage { id: EventId(id), message, reason: DropReason::Expired, dropped_at: at }
    }

    fn ids(set: &DroppedSet<Arc<Message>>) -> Vec<u64> {
        set.iter().map(|d| d.id.0).collect()
    }

    /// Keeps another one; returns what was forgotten for it.
    fn push(set: &mut DroppedSet<Arc<Message>>, id: u64, cost: u64) -> Vec<u64> {
        let mut forgotten = Vec::new();
        set.push(dropped(id, cost), |oldest| forgotten.push(oldest.id.0));
        set.check_invariants();
        forgotten
    }

    #[test]
    fn the_set_keeps_the_newest() {
        let mut set = DroppedSet::default();
        for id in 1..=1002 {
            let expected = if id > 1000 { vec![id - 1000] } else { vec![] };
            assert_eq!(push(&mut set, id, 1), expected);
        }
        assert_eq!(ids(&set), (3..=1002).collect::<Vec<_>>());
        while set.pop_oldest().is_some() {}
        assert_eq!((set.is_empty(), set.bytes()), (true, 0));
    }

    #[test]
    fn the_set_is_bounded_by_bytes() {
        let half = MAX_BYTES / 2;
        let mut set = DroppedSet::default();
        for (id, cost, kept) in [(1, half, vec![1]), (2, half, vec![1, 2]), (3, 1, vec![2, 3])] {
            push(&mut set, id, cost);
            assert_eq!(ids(&set), kept);
        }
    }

    #[test]
    fn a_message_larger_than_the_set_would_only_empty_it() {
        assert!(DroppedSet::would_keep(&dropped(1, MAX_BYTES).message));
        assert!(!DroppedSet::would_keep(&dropped(1, MAX_BYTES + 1).message));
    }

    #[test]
    fn losses_add_up_by_reason() {
        let mut lost = Lost::default();
        lost.count(DropReason::Expired);
        let mut other = Lost::of(DropReason::Purged, 1);
        other.count(DropReason::Expired);
        lost.add(other);
        assert_eq!(lost.by_reason().collect::<Vec<_>>(), [(DropReason::Expired, 2), (DropReason::Purged, 1)]);
        assert_eq!(lost.total(), 3);
    }
}
