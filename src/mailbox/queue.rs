//! The mailbox itself: the buffer of one subscription.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use super::dropped::DroppedSet;
use super::{
    Candidate, Class, DropReason, DroppedMessage, EventId, HandoutId, Limits, Lost, Message, Plan, Refusal,
    Superseded, Timestamp, View, plan,
};

/// The buffer of one subscription.
///
/// A message is *waiting*, *handed out* (it was in the latest answer to a poll, and may still be
/// acknowledged), or gone. What is handed out is always the front of the queue.
#[derive(Debug, Default)]
pub struct Mailbox {
    messages: BTreeMap<EventId, Entry>,
    /// The cost of all messages together.
    bytes: u64,
    /// When each message's life time ends, soonest first.
    expiries: BTreeSet<(Timestamp, EventId)>,
    /// The buffered presence states and typing notifications, by what a newer one must equal to replace them.
    replaceable: BTreeSet<(Class, EventId)>,
    /// The buffered typing notifications: the first to make room.
    typing: BTreeSet<EventId>,
    /// The newest id that was offered.
    newest: EventId,
    /// The newest id that was ever in an answer: nothing up to it is changed in place.
    ever_handed_out: EventId,
    /// The latest answer, as long as its messages may be acknowledged.
    handout: Option<Handout>,
    handouts: HandoutId,
    /// Whether the client acknowledges with `Last-Event-ID`.
    explicit: bool,
    /// How many polls are held at this moment: at most one, but for the moment in which a newer poll
    /// takes an older one's place.
    polls: u32,
    /// Messages lost since the client was last told.
    gap: u64,
    dropped: DroppedSet,
    /// When the first message came since the mailbox was last empty: PollDropMsgLifeTime's timer.
    first_submitted: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    received: Timestamp,
    expires: Timestamp,
}

/// The latest answer to a poll.
#[derive(Debug)]
struct Handout {
    id: HandoutId,
    /// The newest message in it; zero if it told of a gap only.
    up_to: EventId,
    /// The gap it told of.
    gap: u64,
    /// Whether it held a message that no earlier answer did: to acknowledge that one is to have received
    /// this answer.
    fresh: bool,
    /// Whether it was written to the end.
    written: bool,
}

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
pub struct Batch {
    /// The answer's name, for [`Mailbox::settle`].
    pub handout: HandoutId,
    /// The messages, oldest first; may be empty if there is a gap to tell of.
    pub messages: Vec<TakenMessage>,
    /// How many more wait.
    pub pending: u64,
    /// How many were dropped since the client was last told.
    pub gap: u64,
}

/// One message of an answer.
#[derive(Clone, Debug)]
pub struct TakenMessage {
    /// Its id.
    pub id: EventId,
    /// When the upstream delivered it.
    pub received: Timestamp,
    /// Whether an earlier answer held it already.
    pub redelivered: bool,
    /// The message.
    pub message: Arc<Message>,
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

impl Mailbox {
    /// Offers a message under a new id, `wish` being the life time that the subscription asked for.
    ///
    /// `id` must be larger than every id offered before.
    pub fn offer(
        &mut self,
        id: EventId,
        message: Arc<Message>,
        wish: Option<Duration>,
        limits: &Limits,
        now: Timestamp,
    ) -> Offered {
        assert!(id > self.newest, "event ids grow for ever");
        self.newest = id;
        let mut lost = self.expire(limits, now);
        let outcome = match plan(self, Candidate::new(&message, wish), limits) {
            Ok(plan) => Ok(self.carry_out(plan, id, message, limits, now, &mut lost)),
            Err(refusal) => {
                if refusal == Refusal::TooLarge && !message.class.is_typing() {
                    lost.count(DropReason::TooLarge);
                    self.gap += 1;
                }
                Err(refusal)
            }
        };
        self.debug_check();
        Offered { outcome, lost }
    }

    fn carry_out(
        &mut self,
        plan: Plan,
        id: EventId,
        message: Arc<Message>,
        limits: &Limits,
        now: Timestamp,
        lost: &mut Lost,
    ) -> EventId {
        // Asked before room is made: a mailbox whose last message is replaced or evicted was never empty.
        if self.messages.is_empty() {
            self.first_submitted = Some(now);
        }
        for id in plan.evict {
            self.drop_message(id, DropReason::Overflow, limits, now, lost);
        }
        let superseded = plan.superseded.map(|s| s.id);
        let id = match (&message.class, superseded) {
            (Class::Presence { .. }, Some(older)) => older,
            _ => id,
        };
        if let Some(older) = superseded {
            self.remove(older);
        }
        if message.class != Class::Message {
            self.replaceable.insert((message.class.clone(), id));
        }
        if message.class.is_typing() {
            self.typing.insert(id);
        }
        let expires = now + plan.life_time;
        self.bytes += message.cost();
        self.expiries.insert((expires, id));
        self.messages.insert(id, Entry { message, received: now, expires });
        id
    }

    /// A poll begins: what it acknowledges leaves, and what it does not is waiting again.
    ///
    /// With `last_event_id` everything up to and including it is acknowledged, as far as it was ever
    /// handed out. Without, and from a client that never sent one, the poll acknowledges what the last
    /// answer carried, if that was written to the end. Returns how many messages were acknowledged.
    pub fn begin_poll(&mut self, last_event_id: Option<EventId>) -> u64 {
        let handout = self.handout.take();
        let up_to = match last_event_id {
            Some(id) => {
                self.explicit = true;
                // The client holds the answer in its hands: it was told of the gap. An id that an earlier
                // answer held as well proves nothing.
                self.tell_gap(handout.as_ref().filter(|h| h.fresh && h.up_to <= id));
                id
            }
            None if self.explicit => EventId(0),
            None => handout.filter(|h| h.written).map_or(EventId(0), |h| h.up_to),
        };
        let acknowledged = self.release(up_to.min(self.ever_handed_out));
        self.debug_check();
        acknowledged
    }

    /// Whether a poll that is waiting would be answered: there are messages, or a gap to tell of.
    pub fn has_news(&self) -> bool {
        self.gap > 0 || !self.messages.is_empty()
    }

    /// Hands out the oldest messages, up to `room`; `None` if there is nothing to say.
    pub fn take(&mut self, room: BatchLimits) -> Option<Batch> {
        self.hand_out(room, EventId(0))
    }

    /// The same for an answer that goes on, as a stream does: what it carried already stays handed out,
    /// and what comes is behind that.
    pub fn take_more(&mut self, room: BatchLimits) -> Option<Batch> {
        self.hand_out(room, self.handed_out())
    }

    fn hand_out(&mut self, room: BatchLimits, behind: EventId) -> Option<Batch> {
        if !self.has_news() {
            return None;
        }
        let mut bytes = 0;
        let messages: Vec<TakenMessage> = self
            .messages
            .range((Excluded(behind), Unbounded))
            .enumerate()
            .take(room.messages.max(1))
            .take_while(|(place, (_, entry))| {
                bytes += entry.message.cost();
                *place == 0 || bytes <= room.bytes
            })
            .map(|(_, (id, entry))| TakenMessage {
                id: *id,
                received: entry.received,
                redelivered: *id <= self.ever_handed_out,
                message: entry.message.clone(),
            })
            .collect();
        if messages.is_empty() && self.gap == 0 {
            return None;
        }
        let up_to = messages.last().map_or(behind, |m| m.id);
        let fresh = up_to > self.ever_handed_out;
        self.ever_handed_out = self.ever_handed_out.max(up_to);
        self.handouts.0 += 1;
        self.handout = Some(Handout { id: self.handouts, up_to, gap: self.gap, fresh, written: false });
        self.debug_check();
        Some(Batch {
            handout: self.handouts,
            pending: (self.messages.len() - self.messages.range(..=up_to).count()) as u64,
            messages,
            gap: self.gap,
        })
    }

    /// The transport's word about an answer; it counts only if no newer poll has begun.
    pub fn settle(&mut self, handout: HandoutId, outcome: Outcome) {
        if self.handout.as_ref().is_none_or(|latest| latest.id != handout) {
            return;
        }
        match outcome {
            Outcome::Broken => self.handout = None,
            Outcome::Written => {
                let written = self.handout.take().map(|h| Handout { written: true, ..h });
                self.tell_gap(written.as_ref());
                self.handout = written.map(|h| Handout { gap: 0, ..h });
            }
        }
        self.debug_check();
    }

    fn tell_gap(&mut self, handout: Option<&Handout>) {
        self.gap -= handout.map_or(0, |h| h.gap);
    }

    /// A poll is held from now on, or no longer.
    pub fn hold(&mut self, held: bool) {
        if held {
            self.polls += 1;
        } else {
            self.polls = self.polls.saturating_sub(1);
        }
    }

    /// Removes what is past its life time.
    ///
    /// A message in an answer that was written to the end counts as delivered when its time is over,
    /// unless the client acknowledges explicitly and has not.
    pub fn expire(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = Lost::default();
        let delivered = self.delivered();
        while let Some(&(expires, id)) = self.expiries.first() {
            if expires > now {
                break;
            }
            if id <= delivered {
                self.remove(id);
            } else {
                self.drop_message(id, DropReason::Expired, limits, expires, &mut lost);
            }
        }
        if self.dropped_until(limits).is_some_and(|until| until <= now) {
            self.dropped.clear();
        }
        self.debug_check();
        lost
    }

    /// The next time at which [`expire`](Self::expire) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let message = self.expiries.first().map(|(expires, _)| *expires);
        [message, self.dropped_until(limits)].into_iter().flatten().min()
    }

    /// When the dropped set is cleared, if it holds anything.
    fn dropped_until(&self, limits: &Limits) -> Option<Timestamp> {
        let first = self.first_submitted.filter(|_| !self.dropped.is_empty())?;
        Some(first + limits.drop_life_time)
    }

    /// Drops every message: the subscription ended (`Abandoned`), or an operator wants it so (`Purged`).
    ///
    /// As with [`expire`](Self::expire), what was in an answer that was written to the end counts as
    /// delivered, unless the client acknowledges explicitly and has not.
    pub fn drop_all(&mut self, reason: DropReason, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = self.expire(limits, now);
        self.release(self.delivered());
        let ids: Vec<EventId> = self.messages.keys().copied().collect();
        for id in ids {
            self.drop_message(id, reason, limits, now, &mut lost);
        }
        self.debug_check();
        lost
    }

    /// The dropped messages that are still kept, oldest first.
    pub fn dropped(&self) -> impl Iterator<Item = &DroppedMessage> {
        self.dropped.iter()
    }

    /// Forgets the dropped messages: the store has no room to keep them.
    pub fn forget_dropped(&mut self) {
        self.dropped.clear();
    }

    /// Whether it still holds the message: neither acknowledged nor dropped.
    pub fn holds(&self, id: EventId) -> bool {
        self.messages.contains_key(&id)
    }

    /// When its oldest message came: not always the first in the queue, whose state may have been replaced.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.messages.values().map(|entry| entry.received).min()
    }

    /// What it adds to the totals of its store.
    pub fn totals(&self) -> MailboxTotals {
        MailboxTotals {
            messages: self.messages.len() as u64,
            bytes: self.bytes,
            dropped_messages: self.dropped.len() as u64,
            dropped_bytes: self.dropped.bytes(),
        }
    }

    fn release(&mut self, up_to: EventId) -> u64 {
        let mut released = 0;
        while let Some((&id, _)) = self.messages.first_key_value().filter(|(id, _)| **id <= up_to) {
            self.remove(id);
            released += 1;
        }
        released
    }

    fn remove(&mut self, id: EventId) -> Option<Entry> {
        let entry = self.messages.remove(&id)?;
        self.bytes -= entry.message.cost();
        self.expiries.remove(&(entry.expires, id));
        if entry.message.class != Class::Message {
            self.replaceable.remove(&(entry.message.class.clone(), id));
        }
        self.typing.remove(&id);
        Some(entry)
    }

    fn drop_message(
        &mut self,
        id: EventId,
        reason: DropReason,
        limits: &Limits,
        at: Timestamp,
        lost: &mut Lost,
    ) {
        let Some(entry) = self.remove(id) else { return };
        if entry.message.class.is_typing() {
            return;
        }
        lost.count(reason);
        self.gap += 1;
        if self.first_submitted.is_some_and(|first| first + limits.drop_life_time > at) {
            self.dropped.push(DroppedMessage { id, message: entry.message, reason, dropped_at: at });
        }
    }

    /// The newest message that may be acknowledged.
    fn handed_out(&self) -> EventId {
        self.handout.as_ref().map_or(EventId(0), |h| h.up_to)
    }

    /// The newest message that counts as delivered, although it was not acknowledged yet.
    fn delivered(&self) -> EventId {
        let written = self.handout.as_ref().filter(|h| h.written && !self.explicit);
        written.map_or(EventId(0), |h| h.up_to)
    }

    /// Panics if the mailbox contradicts itself: a mistake of ours, never of a peer.
    pub fn check_invariants(&self) {
        assert_eq!(self.bytes, self.messages.values().map(|e| e.message.cost()).sum::<u64>());
        assert_eq!(self.expiries.len(), self.messages.len());
        assert!(self.messages.iter().all(|(id, e)| self.expiries.contains(&(e.expires, *id))));
        let of_class = |wanted: fn(&Class) -> bool| {
            self.messages.iter().filter(move |(_, e)| wanted(&e.message.class)).map(|(id, _)| *id)
        };
        assert_eq!(self.replaceable.len(), of_class(|class| *class != Class::Message).count());
        assert!(self.replaceable.iter().all(|(class, id)| self.messages[id].message.class == *class));
        assert!(self.typing.iter().copied().eq(of_class(Class::is_typing)));
        assert!(self.messages.keys().all(|id| *id <= self.newest));
        assert!(self.handed_out() <= self.ever_handed_out && self.ever_handed_out <= self.newest);
        assert!(self.handout.as_ref().is_none_or(|h| h.gap <= self.gap && h.id <= self.handouts));
        assert!(self.messages.is_empty() || self.first_submitted.is_some());
        self.dropped.check_invariants();
    }

    /// Checks every step where that costs little; a large mailbox would make each step linear.
    fn debug_check(&self) {
        if cfg!(debug_assertions) && self.messages.len() <= 256 {
            self.check_invariants();
        }
    }
}

impl View for Mailbox {
    fn messages(&self) -> u64 {
        self.messages.len() as u64
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn poll_is_held(&self) -> bool {
        self.polls > 0
    }

    fn superseded_by(&self, class: &Class) -> Option<Superseded> {
        let after = Excluded((class.clone(), self.ever_handed_out));
        let (_, id) = self.replaceable.range((after, Included((class.clone(), self.newest)))).next_back()?;
        Some(Superseded { id: *id, cost: self.messages.get(id)?.message.cost() })
    }

    fn typing(&self) -> impl Iterator<Item = (EventId, u64)> {
        let waiting = self.typing.range((Excluded(self.handed_out()), Unbounded));
        waiting.filter_map(|id| Some((*id, self.messages.get(id)?.message.cost())))
    }

    fn waiting(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.messages.range((Excluded(self.handed_out()), Unbounded)).map(|(id, e)| (*id, e.message.cost()))
    }
}

#[cfg(test)]
mod tests;
