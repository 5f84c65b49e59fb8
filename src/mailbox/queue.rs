//! The mailbox itself: the buffer of one subscription.

mod deliver;
mod replay;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use super::dropped::DroppedSet;
use super::{
    Batch, BatchLimits, Buffered, Candidate, Change, Class, DropReason, DroppedMessage, EventId, HandoutId,
    Incoming, Limits, Lost, MailboxTotals, Message, Offered, Outcome, Plan, Refusal, Superseded,
    TakenMessage, Timestamp, View, plan,
};

pub use replay::Replayed;
pub use restore::Snapshot;

/// The buffer of one subscription.
///
/// A message is *waiting*, *handed out* (it was in the latest answer to a poll, and may still be
/// acknowledged), or gone. What is handed out is always the front of the queue.
///
/// Of a message it knows what it decides by; the message itself is `C`, which it only passes on.
#[derive(Debug)]
pub struct Mailbox<C = Arc<Message>> {
    messages: BTreeMap<EventId, Buffered<C>>,
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
    dropped: DroppedSet<C>,
    /// When the first message came since the mailbox was last empty: PollDropMsgLifeTime's timer.
    first_submitted: Option<Timestamp>,
    /// What changed since it was last asked for; none if nobody asks.
    changes: Option<Vec<Change<C>>>,
}

impl<C> Default for Mailbox<C> {
    fn default() -> Self {
        Self {
            messages: BTreeMap::new(),
            bytes: 0,
            expiries: BTreeSet::new(),
            replaceable: BTreeSet::new(),
            typing: BTreeSet::new(),
            newest: EventId::default(),
            ever_handed_out: EventId::default(),
            handout: None,
            handouts: HandoutId::default(),
            explicit: false,
            polls: 0,
            gap: 0,
            dropped: DroppedSet::default(),
            first_submitted: None,
            changes: None,
        }
    }
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

impl<C: Clone> Mailbox<C> {
    /// Offers a message under a new id, `wish` being the life time that the subscription asked for.
    ///
    /// `id` must be larger than every id offered before.
    pub fn offer(
        &mut self,
        id: EventId,
        incoming: impl Into<Incoming<C>>,
        wish: Option<Duration>,
        limits: &Limits,
        now: Timestamp,
    ) -> Offered {
        let incoming = incoming.into();
        self.offered(id);
        let mut lost = self.expire(limits, now);
        let candidate = Candidate { class: &incoming.class, cost: incoming.cost, wish };
        let outcome = match plan(self, candidate, limits) {
            Ok(plan) => Ok(self.carry_out(plan, id, incoming, limits, now, &mut lost)),
            Err(refusal) => {
                if refusal == Refusal::TooLarge && !incoming.class.is_typing() {
                    lost.count(DropReason::TooLarge);
                    self.gap += 1;
                    self.changed(|| Change::State);
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
        incoming: Incoming<C>,
        limits: &Limits,
        now: Timestamp,
        lost: &mut Lost,
    ) -> EventId {
        // Asked before room is made: a mailbox whose last message is replaced or evicted was never empty.
        if self.messages.is_empty() {
            self.first_submitted = Some(now);
            if !self.dropped.is_empty() {
                self.changed(|| Change::State);
            }
        }
        for id in plan.evict {
            self.drop_message(id, DropReason::Overflow, limits, now, lost);
        }
        let superseded = plan.superseded.map(|s| s.id);
        let id = match (&incoming.class, superseded) {
            (Class::Presence { .. }, Some(older)) => older,
            _ => id,
        };
        if let Some(older) = superseded {
            self.remove(older);
        }
        self.insert(id, Buffered::new(incoming, now, now + plan.life_time));
        id
    }

    fn insert(&mut self, id: EventId, message: Buffered<C>) {
        self.changed(|| Change::Added(id, message.clone()));
        if *message.class() != Class::Message {
            self.replaceable.insert((message.class().clone(), id));
        }
        if message.class().is_typing() {
            self.typing.insert(id);
        }
        self.bytes += message.cost;
        self.expiries.insert((message.expires, id));
        self.messages.insert(id, message);
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
                if !self.explicit {
                    self.explicit = true;
                    self.changed(|| Change::State);
                }
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
    pub fn take(&mut self, room: BatchLimits) -> Option<Batch<C>> {
        self.hand_out(room, EventId(0))
    }

    /// The same for an answer that goes on, as a stream does: what it carried already stays handed out,
    /// and what comes is behind that.
    pub fn take_more(&mut self, room: BatchLimits) -> Option<Batch<C>> {
        self.hand_out(room, self.handed_out())
    }

    fn hand_out(&mut self, room: BatchLimits, behind: EventId) -> Option<Batch<C>> {
        if !self.has_news() {
            return None;
        }
        let mut bytes = 0;
        let messages: Vec<TakenMessage<C>> = self
            .messages
            .range((Excluded(behind), Unbounded))
            .enumerate()
            .take(room.messages.max(1))
            .take_while(|(place, (_, entry))| {
                bytes += entry.cost;
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
        if let Some(told) = handout.map(|h| h.gap).filter(|gap| *gap > 0) {
            self.gap -= told;
            self.changed(|| Change::State);
        }
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
            self.forget_dropped();
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
    pub fn dropped(&self) -> impl DoubleEndedIterator<Item = &DroppedMessage<C>> {
        self.dropped.iter()
    }

    /// Forgets the dropped messages: the store has no room to keep them.
    pub fn forget_dropped(&mut self) {
        while let Some(oldest) = self.dropped.pop_oldest() {
            self.changed(|| Change::Forgotten(oldest.id, oldest.message.message));
        }
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

    fn remove(&mut self, id: EventId) -> Option<Buffered<C>> {
        let message = self.messages.remove(&id)?;
        self.bytes -= message.cost;
        self.expiries.remove(&(message.expires, id));
        if *message.class() != Class::Message {
            self.replaceable.remove(&(message.class().clone(), id));
        }
        self.typing.remove(&id);
        self.changed(|| Change::Left(id, message.message.clone()));
        Some(message)
    }

    fn drop_message(
        &mut self,
        id: EventId,
        reason: DropReason,
        limits: &Limits,
        at: Timestamp,
        lost: &mut Lost,
    ) {
        let Some(message) = self.remove(id) else { return };
        if message.class().is_typing() {
            return;
        }
        lost.count(reason);
        self.gap += 1;
        let kept_until = self.first_submitted.map(|first| first + limits.drop_life_time);
        if kept_until.is_some_and(|until| until > at) && DroppedSet::would_keep(&message) {
            let dropped = DroppedMessage { id, message, reason, dropped_at: at };
            self.changed(|| Change::Kept(dropped.clone()));
            let changes = &mut self.changes;
            self.dropped.push(dropped, |oldest| {
                if let Some(changes) = changes {
                    changes.push(Change::Forgotten(oldest.id, oldest.message.message));
                }
            });
        }
        self.changed(|| Change::State);
    }

    /// A message that cannot be read any more is lost, and not kept: there is nothing to look at.
    pub fn lose_damaged(&mut self, id: EventId) -> Lost {
        let mut lost = Lost::default();
        if self.remove(id).is_some_and(|message| !message.class().is_typing()) {
            lost.count(DropReason::Corrupt);
            self.gap += 1;
            self.changed(|| Change::State);
        }
        self.debug_check();
        lost
    }

    /// The id is taken, whatever becomes of it.
    fn offered(&mut self, id: EventId) {
        assert!(id > self.newest, "event ids grow for ever");
        self.newest = id;
    }

    fn changed(&mut self, change: impl FnOnce() -> Change<C>) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
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
        assert_eq!(self.bytes, self.messages.values().map(|e| e.cost).sum::<u64>());
        assert_eq!(self.expiries.len(), self.messages.len());
        assert!(self.messages.iter().all(|(id, e)| self.expiries.contains(&(e.expires, *id))));
        let of_class = |wanted: fn(&Class) -> bool| {
            self.messages.iter().filter(move |(_, e)| wanted(e.class())).map(|(id, _)| *id)
        };
        assert_eq!(self.replaceable.len(), of_class(|class| *class != Class::Message).count());
        assert!(self.replaceable.iter().all(|(class, id)| self.messages[id].class() == class));
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

impl<C: Clone> View for Mailbox<C> {
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
        Some(Superseded { id: *id, cost: self.messages.get(id)?.cost })
    }

    fn typing(&self) -> impl Iterator<Item = (EventId, u64)> {
        let waiting = self.typing.range((Excluded(self.handed_out()), Unbounded));
        waiting.filter_map(|id| Some((*id, self.messages.get(id)?.cost)))
    }

    fn waiting(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.messages.range((Excluded(self.handed_out()), Unbounded)).map(|(id, e)| (*id, e.cost))
    }
}

#[cfg(test)]
mod tests;
