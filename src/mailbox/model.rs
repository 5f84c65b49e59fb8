//! The rules of a mailbox once more, as simply as they can be written, and the proof that both agree.
//!
//! [`Model`] is a plain list. It keeps no totals and no index: it tries things on a copy, and counts
//! whenever it is asked. Any sequence of operations, sensible or not, must leave the mailbox and the
//! model with the same contents, and must have had the same outcomes.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::testing::{HANDOVER, life_times, of_class};
use super::{
    Acknowledgement, BatchLimits, Bound, Buffered, Class, DropReason, EventId, Follower, HandoutId, Limits,
    Lost, Mailbox, MailboxTotals, Message, Outcome, Overflow, Refusal, Snapshot, TYPING_LIFE_TIME, Take,
    Timestamp, View,
};

#[derive(Clone, Debug)]
struct Kept {
    id: EventId,
    message: Arc<Message>,
    received: Timestamp,
    expires: Timestamp,
    ever_handed_out: bool,
}

/// An answer to a poll; of a stream, all that it carried so far.
#[derive(Clone)]
struct Answer {
    handout: HandoutId,
    ids: Vec<EventId>,
    /// How many of these it carried, and were written, before its last piece.
    written_before: usize,
    /// Whether its last message was in no answer before.
    fresh: bool,
    written: bool,
    /// Of all losses, how many had happened when it was made.
    losses: u64,
    /// The id of the whole.
    id: Option<EventId>,
}

/// Ids, whether each was handed out before, how many more wait, the gap, and the id of the answer.
type Taken = (Vec<(EventId, bool)>, u64, u64, Option<EventId>);

#[derive(Default)]
struct Model {
    kept: Vec<Kept>,
    answer: Option<Answer>,
    answers: u64,
    /// Every answer there ever was that had an id, and every message that ever was in an answer.
    with_id: Vec<Answer>,
    carried: Vec<EventId>,
    explicit: bool,
    polls: u32,
    /// All losses ever; how many of them the client knows of, and how many an answer told of that may have arrived.
    losses: u64,
    known: u64,
    told: u64,
    dropped: Vec<(EventId, DropReason, Timestamp, Arc<Message>)>,
    not_empty_since: Timestamp,
}

fn within(bound: Bound, amount: u64) -> bool {
    bound == Bound::Unlimited || matches!(bound, Bound::AtMost(limit) if amount <= limit)
}

fn cost(kept: &[Kept]) -> u64 {
    kept.iter().map(|k| k.message.cost()).sum()
}

impl Model {
    fn in_flight(&self, id: EventId) -> bool {
        self.answer.as_ref().is_some_and(|a| a.ids.contains(&id))
    }

    fn of(&self, id: EventId) -> &Kept {
        self.kept.iter().find(|k| k.id == id).expect("it is kept")
    }

    fn is_delivered(&self, id: EventId) -> bool {
        !self.explicit && self.in_flight(id) && self.answer.as_ref().is_some_and(|a| a.written)
    }

    fn lose(&mut self, kept: &Kept, reason: DropReason, at: Timestamp, limits: &Limits, lost: &mut Lost) {
        if kept.message.class.is_typing() {
            lost.count_replaced();
            return;
        }
        lost.count(reason);
        self.losses += 1;
        if at < self.not_empty_since + limits.drop_life_time {
            self.dropped.push((kept.id, reason, at, kept.message.clone()));
        }
    }

    fn expire(&mut self, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = Lost::default();
        let mut due: Vec<Kept> = self.kept.iter().filter(|k| k.expires <= now).cloned().collect();
        due.sort_by_key(|k| (k.expires, k.id));
        self.kept.retain(|k| k.expires > now);
        for kept in due {
            self.lose(&kept, DropReason::Expired, kept.expires, limits, &mut lost);
        }
        if self.not_empty_since + limits.drop_life_time <= now {
            self.dropped.clear();
        }
        lost
    }

    fn offer(
        &mut self,
        id: EventId,
        message: &Arc<Message>,
        wish: Option<Duration>,
        limits: &Limits,
        now: Timestamp,
    ) -> (Result<EventId, Refusal>, Lost) {
        let mut lost = self.expire(limits, now);
        let typing = message.class.is_typing();
        if limits.messages == Bound::Disabled || limits.bytes == Bound::Disabled {
            return (Err(Refusal::Disabled), lost);
        }
        if !within(limits.bytes, message.cost()) {
            if !typing {
                self.losses += 1;
                lost.count(DropReason::TooLarge);
            }
            return (Err(Refusal::TooLarge), lost);
        }
        let asked = wish.unwrap_or(limits.life_time.default_value());
        let mut life_time = asked.max(limits.life_time.minimum()).min(limits.life_time.maximum());
        if life_time.is_zero() && self.polls == 0 {
            return (Err(Refusal::NobodyPolls), lost);
        }
        if life_time.is_zero() {
            life_time = HANDOVER;
        }
        if typing && life_time > TYPING_LIFE_TIME {
            life_time = TYPING_LIFE_TIME;
        }

        // Put it in, whether there is room or not; then take out what may go, one at a time.
        let mut after = self.kept.clone();
        let mut newcomer = Kept {
            id,
            message: message.clone(),
            received: now,
            expires: now + life_time,
            ever_handed_out: false,
        };
        let mut replaced = false;
        let older = after.iter().rposition(|k| k.message.class == message.class && !k.ever_handed_out);
        match (&message.class, older) {
            (Class::Presence { .. }, Some(place)) if limits.coalesce => {
                newcomer.id = after[place].id;
                after[place] = newcomer.clone();
                replaced = true;
            }
            (Class::Typing { .. }, Some(place)) => {
                after.remove(place);
                after.push(newcomer.clone());
                replaced = true;
            }
            _ => after.push(newcomer.clone()),
        }
        let mut evicted = Vec::new();
        while !within(limits.messages, after.len() as u64) || !within(limits.bytes, cost(&after)) {
            let may_go = |k: &Kept| k.id != newcomer.id && !self.in_flight(k.id);
            let gone = after.iter().position(|k| may_go(k) && k.message.class.is_typing()).or_else(|| {
                let drops = limits.overflow == Overflow::DropOldest && !typing;
                drops.then(|| after.iter().position(may_go)).flatten()
            });
            let Some(gone) = gone else { return (Err(Refusal::Full), lost) };
            evicted.push(after.remove(gone));
        }
        if self.kept.is_empty() {
            self.not_empty_since = now;
        }
        self.kept = after;
        for kept in evicted {
            self.lose(&kept, DropReason::Overflow, now, limits, &mut lost);
        }
        if replaced {
            lost.count_replaced();
        }
        (Ok(newcomer.id), lost)
    }

    fn begin_poll(&mut self, by: Acknowledgement) -> u64 {
        let before = self.kept.len();
        let answer = self.answer.take();
        let was_explicit = self.explicit;
        self.explicit |= by.explicitly || by.last_event_id.is_some();
        match by.last_event_id {
            Some(named) => {
                let proof = self.with_id.iter().find(|a| a.id == Some(named)).cloned();
                let is_proved = |id: EventId| {
                    let by_answer = proof.as_ref().is_some_and(|proof| proof.ids.contains(&id));
                    by_answer || (self.carried.contains(&named) && id <= named)
                };
                self.kept.retain(|k| !is_proved(k.id));
                let mut known = proof.as_ref().map_or(0, |proof| proof.losses);
                if let Some(answer) = answer.as_ref().filter(|a| a.fresh)
                    && answer.ids.last().is_some_and(|last| {
                        proof.as_ref().is_some_and(|proof| proof.ids.last() >= Some(last))
                            || (self.carried.contains(&named) && *last <= named)
                    })
                {
                    known = known.max(answer.losses);
                }
                self.known = self.known.max(known);
            }
            None if was_explicit => {}
            None => {
                if let Some(answer) = answer.as_ref().filter(|a| a.written) {
                    self.kept.retain(|k| !answer.ids.contains(&k.id));
                    self.known = self.known.max(answer.losses);
                }
            }
        }
        self.told = self.told.max(self.known);
        if answer.is_some_and(|answer| !answer.written) {
            self.told = self.known;
        }
        (before - self.kept.len()) as u64
    }

    /// `draw` is the id that an answer gets which needs one.
    fn take(&mut self, take: Take, draw: EventId) -> Option<Taken> {
        let before = match &self.answer {
            Some(answer) if take.goes_on => answer.ids.clone(),
            _ => vec![],
        };
        let behind = before.last().copied().unwrap_or_default();
        let may = |k: &&Kept| k.id > behind && take.up_to.is_none_or(|up_to| k.id <= up_to);
        let mut taken: Vec<Kept> = self.kept.iter().filter(may).cloned().collect();
        taken.truncate(take.room.messages.max(1));
        while taken.len() > 1 && cost(&taken) > take.room.bytes {
            taken.pop();
        }
        if taken.is_empty() && self.losses == self.told && !(take.last && self.losses > self.known) {
            return None;
        }
        let gap = self.losses - if take.goes_on && !take.last { self.told } else { self.known };
        let fresh = taken.last().is_some_and(|last| !last.ever_handed_out);
        let id = take.answer.or((gap > 0 && !fresh).then_some(draw));
        for kept in self.kept.iter_mut().filter(|k| taken.iter().any(|t| t.id == k.id)) {
            kept.ever_handed_out = true;
        }
        self.carried.extend(taken.iter().map(|k| k.id));
        self.answers += 1;
        self.told = self.losses;
        let answer = Answer {
            handout: HandoutId(self.answers),
            ids: before.iter().copied().chain(taken.iter().map(|k| k.id)).collect(),
            written_before: before.len(),
            fresh,
            written: false,
            losses: self.losses,
            id,
        };
        let newest = taken.last().map_or(behind, |last| last.id);
        let pending = self.kept.iter().filter(|k| k.id > newest).count() as u64;
        if id.is_some() {
            self.with_id.push(answer.clone());
        }
        self.answer = Some(answer);
        Some((taken.iter().map(|k| (k.id, k.ever_handed_out)).collect(), pending, gap, id))
    }

    fn settle(&mut self, handout: HandoutId, outcome: Outcome) {
        let Some(answer) = self.answer.as_mut().filter(|a| a.handout == handout) else { return };
        match outcome {
            Outcome::Written => answer.written = true,
            Outcome::Broken => {
                self.told = self.known;
                answer.ids.truncate(answer.written_before);
                (answer.written, answer.fresh, answer.losses) = (true, false, 0);
                self.answer.take_if(|answer| answer.ids.is_empty());
            }
        }
    }

    fn awaits_word(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.written || self.explicit)
    }

    fn has_undelivered(&self) -> bool {
        self.kept.iter().any(|k| !self.is_delivered(k.id))
    }

    /// The message, whether it was handed out before, how many more wait; and how many were acknowledged.
    fn take_to_deliver(&mut self) -> (Option<(EventId, bool, u64)>, u64) {
        if !self.has_undelivered() {
            return (None, 0);
        }
        let before = self.kept.len();
        let delivered: Vec<EventId> =
            self.kept.iter().map(|k| k.id).filter(|id| self.is_delivered(*id)).collect();
        self.kept.retain(|k| !delivered.contains(&k.id));
        let acknowledged = (before - self.kept.len()) as u64;
        if let Some(answer) = self.answer.take().filter(|a| a.written && !self.explicit) {
            self.known = self.known.max(answer.losses);
        }
        self.told = self.known;
        let pending = self.kept.len().saturating_sub(1) as u64;
        let taken = self.kept.first_mut().map(|k| (k.id, std::mem::replace(&mut k.ever_handed_out, true)));
        if let Some((id, before)) = taken {
            self.answers += 1;
            let handout = HandoutId(self.answers);
            self.carried.push(id);
            // The client is told of no loss by it.
            self.answer = Some(Answer {
                handout,
                ids: vec![id],
                written_before: 0,
                fresh: !before,
                written: false,
                losses: 0,
                id: None,
            });
        }
        (taken.map(|(id, before)| (id, before, pending)), acknowledged)
    }

    fn delivery_over(&mut self, handout: HandoutId, id: EventId, accepted: bool) -> bool {
        self.answer.take_if(|answer| answer.handout == handout);
        let before = self.kept.len();
        self.kept.retain(|k| !accepted || k.id != id);
        self.kept.len() < before
    }

    fn drop_all(&mut self, reason: DropReason, limits: &Limits, now: Timestamp) -> Lost {
        let mut lost = self.expire(limits, now);
        for kept in std::mem::take(&mut self.kept) {
            self.lose(&kept, reason, now, limits, &mut lost);
        }
        lost
    }

    fn lose_damaged(&mut self, id: EventId) -> Lost {
        let mut lost = Lost::default();
        if let Some(place) = self.kept.iter().position(|k| k.id == id) {
            if self.kept.remove(place).message.class.is_typing() {
                lost.count_replaced();
            } else {
                lost.count(DropReason::Corrupt);
                self.losses += 1;
            }
        }
        lost
    }

    fn next_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let end = (!self.dropped.is_empty()).then(|| self.not_empty_since + limits.drop_life_time);
        self.kept.iter().map(|k| k.expires).chain(end).min()
    }

    fn totals(&self) -> MailboxTotals {
        MailboxTotals {
            messages: self.kept.len() as u64,
            bytes: cost(&self.kept),
            dropped_messages: self.dropped.len() as u64,
            dropped_bytes: self.dropped.iter().map(|(.., message)| message.cost()).sum(),
        }
    }
}

/// What a poll names.
#[derive(Clone, Copy, Debug)]
enum Named {
    Nothing,
    /// Nothing yet.
    Explicitly,
    /// A message, counted back from the newest id offered.
    Message(u64),
    /// An answer, counted back from the latest that had an id.
    Answer(usize),
}

#[derive(Clone, Debug)]
enum Operation {
    Offer {
        class: Class,
        cost: u64,
        wish: Option<Duration>,
    },
    BeginPoll(Named),
    Take {
        room: BatchLimits,
        /// The newest message that may be taken, counted back from the newest id offered.
        back: Option<u64>,
        with_id: bool,
        goes_on: bool,
        last: bool,
    },
    /// An answer, counted back from the latest.
    Settle {
        back: u64,
        outcome: Outcome,
    },
    TakeToDeliver,
    /// A delivery, counted back from the latest.
    DeliveryOver {
        back: usize,
        accepted: bool,
    },
    Hold(bool),
    Pass(Duration),
    Expire,
    ToTheNextDeadline,
    DropAll(DropReason),
    /// A message is damaged, counted back from the newest id offered.
    Damage {
        back: u64,
    },
    Limit(Limits),
}

fn class() -> impl Strategy<Value = Class> {
    let key = || prop_oneof![Just("a"), Just("b")].prop_map(Box::<str>::from);
    prop_oneof![
        3 => Just(Class::Message),
        2 => key().prop_map(|key| Class::Presence { key }),
        2 => key().prop_map(|key| Class::Typing { key }),
    ]
}

fn bound(most: u64) -> impl Strategy<Value = Bound> {
    prop_oneof![
        1 => Just(Bound::Disabled),
        8 => (1..most).prop_map(Bound::AtMost),
        2 => Just(Bound::Unlimited),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let life_time = (0..2u64, 0..40u64, 0..40u64)
        .prop_map(|(minimum, more, most)| life_times(minimum + more, minimum, minimum + more + most));
    let overflow = prop_oneof![Just(Overflow::Reject), Just(Overflow::DropOldest)];
    let drop_life_time = prop_oneof![0..60u64, Just(57_600)].prop_map(Duration::from_secs);
    (bound(8), bound(60), life_time, drop_life_time, overflow, any::<bool>()).prop_map(
        |(messages, bytes, life_time, drop_life_time, overflow, coalesce)| Limits {
            messages,
            bytes,
            life_time,
            drop_life_time,
            overflow,
            coalesce,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let wish = prop_oneof![3 => Just(None), 2 => (0..60u64).prop_map(|s| Some(Duration::from_secs(s)))];
    let back = prop_oneof![5 => Just(0), 1 => 1..3u64];
    let named = prop_oneof![
        6 => Just(Named::Nothing),
        1 => Just(Named::Explicitly),
        3 => (0..9u64).prop_map(Named::Message),
        3 => (0..3usize).prop_map(Named::Answer),
    ];
    let up_to = prop_oneof![3 => Just(None), 1 => (0..9u64).prop_map(Some)];
    let outcome = prop_oneof![3 => Just(Outcome::Written), 2 => Just(Outcome::Broken)];
    let room = (0..6usize, prop_oneof![0..40u64, Just(u64::MAX)])
        .prop_map(|(messages, bytes)| BatchLimits { messages, bytes });
    prop_oneof![
        12 => (class(), 0..30u64, wish).prop_map(|(class, cost, wish)| Offer { class, cost, wish }),
        4 => named.prop_map(BeginPoll),
        5 => (room, up_to, prop::bool::weighted(0.3), any::<bool>(), any::<bool>()).prop_map(
            |(room, back, with_id, goes_on, last)| Take { room, back, with_id, goes_on, last }
        ),
        5 => (back, outcome).prop_map(|(back, outcome)| Settle { back, outcome }),
        4 => Just(TakeToDeliver),
        4 => (prop_oneof![5 => Just(0), 1 => 1..3usize], any::<bool>())
            .prop_map(|(back, accepted)| DeliveryOver { back, accepted }),
        1 => any::<bool>().prop_map(Hold),
        3 => (1..20_000u64).prop_map(|ms| Pass(Duration::from_millis(ms))),
        2 => Just(Expire),
        1 => Just(ToTheNextDeadline),
        1 => prop_oneof![Just(DropReason::Purged), Just(DropReason::Abandoned)].prop_map(DropAll),
        1 => (0..9u64).prop_map(|back| Damage { back }),
        1 => limits().prop_map(Limit),
    ]
}

fn agree(mut limits: Limits, operations: Vec<Operation>) {
    let (mut mailbox, mut model) = (Mailbox::restore(Snapshot::default(), [], []), Model::default());
    let mut copy = Follower::default();
    let (mut now, mut newest) = (Timestamp::from_millis(1_000_000), 0);
    let mut deliveries = Vec::new();
    for operation in operations {
        match operation.clone() {
            Operation::Offer { class, cost, wish } => {
                newest += 2;
                let (id, message) = (EventId(newest), of_class(class, cost));
                let offered = mailbox.offer(id, message.clone(), wish, &limits, now);
                let expected = model.offer(id, &message, wish, &limits, now);
                assert_eq!((offered.outcome, offered.lost), expected, "{operation:?}");
            }
            Operation::BeginPoll(named) => {
                let last_event_id = match named {
                    Named::Nothing | Named::Explicitly => None,
                    Named::Message(back) => Some(EventId((newest + 3).saturating_sub(back))),
                    Named::Answer(back) => model.with_id.iter().rev().nth(back).and_then(|a| a.id),
                };
                let by = Acknowledgement {
                    last_event_id,
                    explicitly: matches!(named, Named::Explicitly),
                    shared: false,
                };
                assert_eq!(mailbox.begin_poll(by), model.begin_poll(by), "{operation:?}");
            }
            Operation::Take { room, back, with_id, goes_on, last } => {
                let up_to = back.map(|back| EventId(newest.saturating_sub(back)));
                newest += 2;
                let id = EventId(newest);
                let take = super::Take { room, up_to, answer: with_id.then_some(id), goes_on, last };
                let batch = mailbox.take(take, || Some(id)).map(|batch| {
                    assert!(batch.messages.iter().all(|m| model.kept.iter().any(|k| {
                        (k.id, k.received) == (m.id, m.received) && Arc::ptr_eq(&k.message, &m.message)
                    })));
                    let taken: Vec<_> = batch.messages.iter().map(|m| (m.id, m.redelivered)).collect();
                    (taken, batch.pending, batch.gap, batch.answer)
                });
                assert_eq!(batch, model.take(take, id), "{operation:?}");
            }
            Operation::Settle { back, outcome } => {
                let handout = HandoutId(model.answers.saturating_sub(back));
                mailbox.settle(handout, outcome);
                model.settle(handout, outcome);
            }
            Operation::TakeToDeliver => {
                let (batch, acknowledged) = mailbox.take_to_deliver();
                let taken = batch.map(|batch| {
                    let [message] = &batch.messages[..] else { panic!("one at a time") };
                    assert!(batch.gap == 0 && Arc::ptr_eq(&message.message, &model.of(message.id).message));
                    deliveries.push((batch.handout, message.id));
                    (message.id, message.redelivered, batch.pending)
                });
                assert_eq!((taken, acknowledged), model.take_to_deliver(), "{operation:?}");
            }
            Operation::DeliveryOver { back, accepted } => {
                let Some((handout, id)) = deliveries.iter().rev().nth(back) else { continue };
                let left = mailbox.delivery_over(*handout, *id, accepted);
                assert_eq!(left, model.delivery_over(*handout, *id, accepted), "{operation:?}");
            }
            Operation::Hold(held) => {
                mailbox.hold(held);
                model.polls = if held { model.polls + 1 } else { model.polls.saturating_sub(1) };
            }
            Operation::Pass(span) => now = now + span,
            Operation::ToTheNextDeadline => now = now.max(model.next_deadline(&limits).unwrap_or(now)),
            Operation::Expire => {
                assert_eq!(mailbox.expire(&limits, now), model.expire(&limits, now), "{operation:?}");
                assert!(mailbox.next_deadline(&limits).is_none_or(|deadline| deadline > now));
            }
            Operation::DropAll(reason) => {
                let expected = model.drop_all(reason, &limits, now);
                assert_eq!(mailbox.drop_all(reason, &limits, now), expected, "{operation:?}");
            }
            Operation::Damage { back } => {
                let id = EventId(newest.saturating_sub(back));
                assert_eq!(mailbox.lose_damaged(id), model.lose_damaged(id), "{operation:?}");
            }
            Operation::Limit(others) => limits = others,
        }
        mailbox.check_invariants();
        same(&mailbox, &model, &limits);
        copy.follow(&mut mailbox);
        same_copy(&copy.restore(), &mailbox, &limits);
    }
}

/// Whether the copy that followed the changes is the mailbox, as far as it outlives the process.
fn same_copy(copy: &Mailbox, mailbox: &Mailbox, limits: &Limits) {
    let messages = |mailbox: &Mailbox| -> Vec<_> {
        let row = |(id, m, _): (EventId, &Buffered, bool)| {
            (id, m.class().clone(), m.received, m.expires, Arc::as_ptr(&m.message))
        };
        mailbox.buffered(EventId(0)).map(row).collect()
    };
    assert_eq!(messages(copy), messages(mailbox));
    let dropped = |mailbox: &Mailbox| -> Vec<_> {
        mailbox.dropped().map(|d| (d.dropped_at, d.id, d.reason, Arc::as_ptr(&d.message.message))).collect()
    };
    let mut expected = dropped(mailbox);
    expected.sort_by_key(|dropped| (dropped.0, dropped.1));
    assert_eq!(dropped(copy), expected);
    assert_eq!(copy.totals(), mailbox.totals());
    assert_eq!(copy.next_deadline(limits), mailbox.next_deadline(limits));
    let (copy, mailbox) = (copy.snapshot(), mailbox.snapshot());
    assert_eq!((copy.explicit, copy.gap), (mailbox.explicit, mailbox.gap));
}

/// Whether all that can be asked of both has the same answer.
fn same(mailbox: &Mailbox, model: &Model, limits: &Limits) {
    assert_eq!(mailbox.totals(), model.totals());
    assert!(model.kept.iter().all(|k| mailbox.holds(k.id)));
    let waiting = || model.kept.iter().filter(|k| !model.in_flight(k.id));
    let shown = |k: &Kept| (k.id, k.message.cost());
    assert!(mailbox.waiting().eq(waiting().map(shown)));
    assert!(mailbox.typing().eq(waiting().filter(|k| k.message.class.is_typing()).map(shown)));
    assert_eq!(mailbox.poll_is_held(), model.polls > 0);
    assert_eq!(mailbox.has_news(), !model.kept.is_empty() || model.losses > model.told);
    assert_eq!(mailbox.gap(), model.losses - model.known);
    assert_eq!(mailbox.awaits_word(), model.awaits_word());
    assert_eq!(mailbox.has_undelivered(), model.has_undelivered());
    assert_eq!(mailbox.oldest(), model.kept.iter().map(|k| k.received).min());
    assert_eq!(mailbox.next_deadline(limits), model.next_deadline(limits));
    assert!(
        mailbox
            .dropped()
            .map(|d| (d.id, d.reason, d.dropped_at))
            .eq(model.dropped.iter().map(|(id, reason, at, _)| (*id, *reason, *at)))
    );
}

proptest! {
    // What fails becomes a named test; a file of seeds would say less.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_mailbox_agrees_with_the_model(
        limits in limits(),
        operations in prop::collection::vec(operation(), 1..120),
    ) {
        agree(limits, operations);
    }
}
