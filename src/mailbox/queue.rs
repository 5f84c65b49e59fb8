//! The mailbox itself: the buffer of one subscription.

mod deliver;
mod receipts;
mod replay;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use self::receipts::Receipts;
use super::dropped::DroppedSet;
use super::{
    Acknowledgement, Batch, BatchLimits, Buffered, Candidate, Change, Class, DropReason, DroppedMessage,
    EventId, HandoutId, Incoming, Limits, Lost, MailboxTotals, Message, Offered, Outcome, Plan, Refusal,
    Superseded, Take, TakenMessage, Timestamp, View, plan,
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
    /// The ids of answers that acknowledge something, beside those of the messages that it holds.
    receipts: Receipts,
    /// Whether the client acknowledges with `Last-Event-ID`.
    explicit: bool,
    /// Whether it was ever polled together with others.
    shared: bool,
    /// No larger id had been given when the process started: what the client has from before is at most this.
    given_before: EventId,
    /// How many polls are held at this moment: at most one, but for the moment in which a newer poll
    /// takes an older one's place.
    polls: u32,
    /// Messages lost, ever.
    losses: u64,
    /// How many of these the client knows of: the rest is the gap.
    losses_acknowledged: u64,
    /// How many of them an answer told of that may have arrived: a poll does not end early to tell of them again.
    losses_told: u64,
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
            receipts: Receipts::default(),
            explicit: false,
            shared: false,
            given_before: EventId::default(),
            polls: 0,
            losses: 0,
            losses_acknowledged: 0,
            losses_told: 0,
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
    /// The newest message of what it goes on behind, which was written; zero if it begins with the oldest.
    behind: EventId,
    /// It told of all losses up to this one.
    losses: u64,
    /// Whether its newest message was in no earlier answer: to acknowledge that one is to have received this answer.
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
                    self.lost_one();
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
        if let Some(older) = superseded
            && self.remove(older).is_some()
        {
            lost.count_replaced();
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
    /// The id of a message acknowledges that message and those before it, if it was handed out: whoever has it has
    /// the answer that carried it, and that began with the oldest. The id of an [answer](Take::answer) acknowledges
    /// what that answer carried. Any other id acknowledges nothing: it comes from an answer of another mailbox, or
    /// what it stood for has left. After a restart it is not known any more what had left, and an id from before it is
    /// taken for one of this mailbox's, unless that was polled together with others. Without an id, and from a client that never sent one, the poll acknowledges what
    /// the last answer carried, if that was written to the end. Returns how many messages were acknowledged.
    pub fn begin_poll(&mut self, by: Acknowledgement) -> u64 {
        let handout = self.handout.take();
        let acknowledges_by_going_on = !self.explicit;
        if (by.is_explicit() && !self.explicit) || (by.shared && !self.shared) {
            self.explicit |= by.is_explicit();
            self.shared |= by.shared;
            self.changed(|| Change::State);
        }
        let (up_to, losses) = match by.last_event_id {
            Some(id) => {
                let (up_to, losses) = self.proved_by(id);
                // It may have left meanwhile; that it arrived is proved.
                let answer = handout.as_ref().filter(|h| h.fresh && (h.up_to <= up_to || h.up_to == id));
                (up_to, answer.map_or(losses, |h| h.losses.max(losses)))
            }
            None if acknowledges_by_going_on => {
                handout.as_ref().filter(|h| h.written).map_or((EventId(0), 0), |h| (h.up_to, h.losses))
            }
            None => (EventId(0), 0),
        };
        self.acknowledge_losses(losses);
        if handout.is_some_and(|h| !h.written) {
            self.losses_told = self.losses_acknowledged;
        }
        let acknowledged = self.release(up_to.min(self.ever_handed_out));
        self.debug_check();
        acknowledged
    }

    /// What a client has that names this id: all messages up to which one, and word of all losses up to which one.
    fn proved_by(&self, id: EventId) -> (EventId, u64) {
        let (up_to, losses) = self.receipts.find(id).unwrap_or_default();
        let is_held = id <= self.ever_handed_out && self.messages.contains_key(&id);
        let is_from_before = id <= self.given_before && !self.shared;
        (if is_held || is_from_before { up_to.max(id) } else { up_to }, losses)
    }

    /// The id of the whole answer that carried this message last, if that answer had one of its own.
    pub fn answer_with(&self, last: EventId) -> Option<EventId> {
        self.receipts.answer_with(last)
    }

    /// Whether a poll that is waiting would be answered: there are messages, or losses that no answer told of.
    pub fn has_news(&self) -> bool {
        self.losses > self.losses_told || !self.messages.is_empty()
    }

    /// How many messages were lost that the client does not know of.
    pub fn gap(&self) -> u64 {
        self.losses - self.losses_acknowledged
    }

    /// Hands out the oldest messages, as many as [`Take`] says; `None` if there is nothing to say. `draw` gives a
    /// new event id, for an answer that no message's id would acknowledge as a whole.
    pub fn take(&mut self, take: Take, draw: impl FnOnce() -> Option<EventId>) -> Option<Batch<C>> {
        let Take { room, up_to, answer, goes_on, last } = take;
        let behind = if goes_on { self.handed_out() } else { EventId(0) };
        let tells_of_losses = self.losses > self.losses_told || (last && self.gap() > 0);
        let messages = self.oldest_messages(behind, up_to, room);
        if messages.is_empty() && !tells_of_losses {
            return None;
        }
        // A stream tells once of each loss.
        let told = if goes_on && !last { self.losses_told } else { self.losses_acknowledged };
        let gap = self.losses - told;
        let up_to = messages.last().map_or(behind, |message| message.id);
        let fresh = up_to > self.ever_handed_out;
        let answer = answer.or_else(|| if gap > 0 && !fresh { draw() } else { None });
        self.ever_handed_out = self.ever_handed_out.max(up_to);
        self.losses_told = self.losses;
        self.handouts.0 += 1;
        for message in messages.iter().filter(|message| message.redelivered) {
            self.receipts.carried_again(message.id);
        }
        if let Some(answer) = answer {
            self.newest = self.newest.max(answer);
            // The answer ends with the last message that may be taken, be it of this mailbox or of another one.
            let ends_it = |message: &&TakenMessage<C>| !message.redelivered && take.up_to == Some(message.id);
            let last = messages.last().filter(ends_it).map(|message| message.id);
            self.receipts.note(answer, up_to, self.losses, last);
        }
        self.handout =
            Some(Handout { id: self.handouts, up_to, behind, losses: self.losses, fresh, written: false });
        self.debug_check();
        Some(Batch { handout: self.handouts, pending: self.waiting_behind(up_to), messages, gap, answer })
    }

    fn oldest_messages(
        &self,
        behind: EventId,
        up_to: Option<EventId>,
        room: BatchLimits,
    ) -> Vec<TakenMessage<C>> {
        let mut bytes = 0;
        self.messages
            .range((Excluded(behind), Unbounded))
            .take_while(|(id, _)| up_to.is_none_or(|up_to| **id <= up_to))
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
            .collect()
    }

    /// The transport's word about an answer; it counts only if no newer poll has begun. An answer that was written
    /// may turn out broken afterwards, and not the other way round.
    pub fn settle(&mut self, handout: HandoutId, outcome: Outcome) {
        let Some(latest) = self.handout.as_mut().filter(|latest| latest.id == handout) else { return };
        match outcome {
            Outcome::Broken => {
                self.losses_told = self.losses_acknowledged;
                latest.up_to = latest.behind;
                // What a stream carried before stays handed out.
                (latest.written, latest.fresh, latest.losses) = (true, false, 0);
                self.handout.take_if(|latest| latest.up_to == EventId(0));
            }
            Outcome::Written => latest.written = true,
        }
        self.debug_check();
    }

    fn acknowledge_losses(&mut self, up_to: u64) {
        if up_to > self.losses_acknowledged {
            self.losses_acknowledged = up_to;
            self.losses_told = self.losses_told.max(up_to);
            self.changed(|| Change::State);
        }
    }

    fn lost_one(&mut self) {
        self.losses += 1;
        self.changed(|| Change::State);
    }

    /// A poll is held from now on, or no longer.
    pub fn hold(&mut self, held: bool) {
        if held {
            self.polls += 1;
        } else {
            self.polls = self.polls.saturating_sub(1);
        }
    }

    /// Drops what is past its life time. Nothing but its client acknowledges a message: one that was handed out
    /// and is not acknowledged in its time is dropped like any other.
    pub fn expire(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = Lost::default();
        while let Some(&(expires, id)) = self.expiries.first() {
            if expires > now {
                break;
            }
            self.drop_message(id, DropReason::Expired, limits, expires, &mut lost);
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

    /// The client ends its subscription: to it, what the last answer carried to its end is acknowledged, as by
    /// a poll without an id. Returns how many messages were.
    pub fn acknowledge_by_going_on(&mut self) -> u64 {
        self.begin_poll(Acknowledgement::default())
    }

    /// Drops every message: the subscription ended (`Abandoned`), or an operator wants it so (`Purged`).
    pub fn drop_all(&mut self, reason: DropReason, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = self.expire(limits, now);
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
        let oldest = self.messages.first_key_value().map(|(id, _)| *id);
        self.receipts.forget(oldest, self.losses_acknowledged);
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
        if id <= self.ever_handed_out && self.messages.first_key_value().is_some_and(|(first, _)| *first < id)
        {
            // A client that has it still acknowledges by it what was in front of it.
            self.receipts.note(id, id, 0, None);
        }
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
            // Nobody misses it: that nothing came after it says as much.
            lost.count_replaced();
            return;
        }
        lost.count(reason);
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
        self.lost_one();
    }

    /// A message that cannot be read any more is lost, and not kept: there is nothing to look at.
    pub fn lose_damaged(&mut self, id: EventId) -> Lost {
        let mut lost = Lost::default();
        match self.remove(id) {
            Some(message) if message.class().is_typing() => lost.count_replaced(),
            Some(_) => {
                lost.count(DropReason::Corrupt);
                self.lost_one();
            }
            None => {}
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

    /// How many messages are behind this one.
    pub fn waiting_behind(&self, id: EventId) -> u64 {
        (self.messages.len() - self.messages.range(..=id).count()) as u64
    }

    /// The newest message that is in the latest answer.
    pub fn handed_out(&self) -> EventId {
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
        assert!(self.handout.as_ref().is_none_or(|h| h.losses <= self.losses && h.id <= self.handouts));
        assert!(self.losses_acknowledged <= self.losses_told && self.losses_told <= self.losses);
        self.receipts.check_invariants(self.newest);
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
