//! A mailbox's life, seen from both ends: hundreds of random ones, each told by its seed.
//!
//! The upstream offers messages, a client polls and is called, answers are lost, time passes, limits change,
//! the subscription ends and another begins. A shadow follows every message that was ever accepted, by the
//! number in its body, and holds the mailbox to its promises:
//! - each message ends in exactly one [`Fate`], and what is delivered was received by the client;
//! - the client sees ids that grow, but for what is handed out again, which says so;
//! - nothing that left comes back, and a message that was handed out is never changed;
//! - the gaps that the client is told of add up to the losses.
//!
//! The client is honest: it acknowledges only what it received, by the id of an answer or of a message, or by one that
//! means nothing here, as it may have from another mailbox. A response counts as received when the transport
//! wrote it to the end; received and yet broken for the transport happens too.
//!
//! How it is called is in [`deliver`].
//!
//! A failure prints the seed and the step. `POLLGATE_SIMULATION_SEED=<seed>` runs that one alone.

mod deliver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use deliver::Delivery;

use super::testing::{HANDOVER, Whereabouts, life_times, s};
use super::{
    Acknowledgement, Batch, BatchLimits, Bound, Class, DropReason, EventId, HandoutId, Limits, Lost, Mailbox,
    Message, Outcome, Overflow, Refusal, TYPING_LIFE_TIME, Take, Timestamp,
};

const SEEDS: u64 = 300;
const STEPS: u32 = 400;

/// Where a message is, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Buffered,
    Delivered,
    Dropped(&'static str),
    TypingGone,
    Superseded,
}

/// A message that was accepted; its number is its place in [`World::messages`].
struct Tracked {
    class: Class,
    cost: u64,
    expires: Timestamp,
    fate: Fate,
    /// Whether it was ever in an answer, and whether the client ever received it.
    handed_out: bool,
    received: bool,
}

/// The latest answer, as the transport sees it.
struct Answer {
    handout: HandoutId,
    /// The numbers of the messages in it, by id.
    messages: Vec<(EventId, usize)>,
    gap: u64,
    /// Of all losses, how many had happened when it was made.
    losses: u64,
    /// By which id it is acknowledged.
    id: EventId,
    /// Whether its last message was in no answer before.
    fresh: bool,
    settled: bool,
}

/// What the client of one mailbox remembers.
#[derive(Default)]
struct Client {
    /// Whether it acknowledges with `Last-Event-ID`, and whether it has.
    explicit: bool,
    has_sent: bool,
    received: BTreeMap<EventId, usize>,
    /// By what it acknowledges all that it has.
    newest: EventId,
    /// Of how many losses it was told in an answer that it received to the end.
    learned: u64,
}

struct World {
    random: StdRng,
    mailbox: Mailbox,
    limits: Limits,
    now: Timestamp,
    newest: EventId,
    /// Whether a poll is held.
    held: bool,
    messages: Vec<Tracked>,
    /// The numbers of what this mailbox should hold.
    buffered: BTreeMap<EventId, usize>,
    answer: Option<Answer>,
    /// Answers that a newer poll overtook while they were being written.
    overtaken: Vec<HandoutId>,
    delivery: Option<Delivery>,
    client: Client,
    /// What this mailbox lost; how much of that its client has said that it knows of; and how much was in an answer
    /// that may have arrived.
    losses: u64,
    known: u64,
    told: u64,
    /// What each id stands for that was ever in an answer: up to which message, and how many losses.
    proofs: BTreeMap<EventId, (EventId, u64)>,
    /// How often anything happened, over all seeds: a simulation that never gets somewhere proves nothing.
    seen: BTreeMap<String, u64>,
}

#[test]
fn every_message_has_one_fate() {
    let replayed = std::env::var("POLLGATE_SIMULATION_SEED").ok();
    let mut seen = BTreeMap::new();
    match replayed {
        Some(seed) => drop(live(seed.parse().expect("a seed is a number"), seen)),
        None => {
            for seed in 0..SEEDS {
                seen = live(seed, seen);
            }
            everything_happened(&seen);
        }
    }
}

fn everything_happened(seen: &BTreeMap<String, u64>) {
    let reasons = DropReason::ALL.into_iter().filter(|reason| *reason != DropReason::Corrupt);
    let reasons = reasons.map(|reason| format!("lost {}", reason.name()));
    let fates = ["delivered", "typing gone", "superseded"];
    let polls = [
        "acknowledged",
        "acknowledged at the end",
        "overtook an answer",
        "redelivered",
        "gap told",
        "gap alone",
        "gap told again",
        "reset after it was written",
        "an id that means nothing",
    ];
    let calls = deliver::WHAT_HAPPENS;
    let refusals = [Refusal::Disabled, Refusal::NobodyPolls, Refusal::Full, Refusal::TooLarge];
    let refusals = refusals.map(|refusal| format!("refused {refusal:?}"));
    let words = fates.into_iter().chain(polls).chain(calls).map(String::from);
    for what in words.chain(reasons).chain(refusals) {
        let times = seen.get(&what).copied().unwrap_or(0);
        assert!(times >= SEEDS / 10, "{what}: {times} times is too seldom; of {seen:?}");
    }
}

fn live(seed: u64, seen: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut world = World::new(seed, seen);
    let mut whereabouts = Whereabouts { seed, step: 0 };
    for step in 0..STEPS {
        whereabouts.step = step;
        world.step();
        world.check();
    }
    world.drain();
    world.seen
}

impl World {
    fn new(seed: u64, seen: BTreeMap<String, u64>) -> Self {
        let mut world = World {
            random: StdRng::seed_from_u64(seed),
            mailbox: Mailbox::default(),
            limits: Limits::default(),
            now: Timestamp::from_millis(1_000_000_000),
            newest: EventId(0),
            held: false,
            messages: Vec::new(),
            buffered: BTreeMap::new(),
            answer: None,
            overtaken: Vec::new(),
            delivery: None,
            client: Client::default(),
            losses: 0,
            known: 0,
            told: 0,
            proofs: BTreeMap::new(),
            seen,
        };
        world.change_limits();
        world.client.explicit = world.random.random();
        world
    }

    fn step(&mut self) {
        match self.random.random_range(0..120) {
            0..40 => self.offer(),
            40..55 => self.poll(),
            55..72 => self.end_answer(),
            72..76 => self.late_word(),
            76..80 => self.wake(),
            80..95 => self.pass(),
            95..98 => self.change_limits(),
            98 => self.purge(),
            99 => self.end_and_recreate(),
            100..110 => self.deliver(),
            _ => self.end_delivery(),
        }
    }

    fn saw(&mut self, what: &str) {
        match self.seen.get_mut(what) {
            Some(times) => *times += 1,
            None => drop(self.seen.insert(what.into(), 1)),
        }
    }

    fn offer(&mut self) {
        self.newest.0 += self.random.random_range(1..3);
        let key = *["a", "b", "c"].choose(&mut self.random).unwrap();
        let class = match self.random.random_range(0..4) {
            0 => Class::Presence { key: key.into() },
            1 => Class::Typing { key: key.into() },
            _ => Class::Message,
        };
        let number = self.messages.len();
        let body = match self.random.random_range(0..20) {
            0 => 300,
            1..4 => self.random.random_range(40..120),
            _ => self.random.random_range(8..40),
        };
        let mut body = vec![0; body];
        body[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let message = Arc::new(Message {
            method: "NOTIFY".into(),
            header_lines: Bytes::from_static(b"A: b\r\n"),
            body: body.into(),
            class: class.clone(),
        });
        let cost = message.cost();
        let wish = self.random.random_ratio(1, 4).then(|| s(self.random.random_range(0..30)));
        let offered = self.mailbox.offer(self.newest, message, wish, &self.limits, self.now);

        let mut lost = self.account_for_what_left(None);
        let overflowed = lost.by_reason().any(|(reason, _)| reason == DropReason::Overflow);
        match offered.outcome {
            Err(refusal) => {
                assert!(!overflowed, "a refusal evicts nothing");
                if refusal == Refusal::TooLarge && !class.is_typing() {
                    lost.count(DropReason::TooLarge);
                    self.losses += 1;
                    self.saw("lost too-large");
                }
                assert!(refusal != Refusal::Full || !self.might_fit(&class, cost), "there was room");
                self.saw(&format!("refused {refusal:?}"));
            }
            Ok(id) => {
                assert!(!overflowed || !class.is_typing());
                if id != self.newest {
                    let older = &mut self.messages[self.buffered[&id]];
                    assert!(matches!(class, Class::Presence { .. }) && self.limits.coalesce);
                    assert!(older.class == class && !older.handed_out, "{id}");
                    older.fate = Fate::Superseded;
                    lost.count_replaced();
                    self.saw("superseded");
                }
                let life_time = match self.limits.life_time.apply(wish) {
                    Duration::ZERO if self.held => HANDOVER,
                    Duration::ZERO => panic!("accepted, although nobody polls"),
                    life_time => life_time,
                };
                let longest = if class.is_typing() { TYPING_LIFE_TIME } else { Duration::MAX };
                let expires = self.now + life_time.min(longest);
                let fate = Fate::Buffered;
                self.messages.push(Tracked {
                    class,
                    cost,
                    expires,
                    fate,
                    handed_out: false,
                    received: false,
                });
                self.buffered.insert(id, number);
                self.fits_unless_it_shrank();
            }
        }
        assert_eq!(offered.lost, lost);
    }

    /// Whether it would fit, had everything gone that may go for it.
    fn might_fit(&self, class: &Class, cost: u64) -> bool {
        let replaces = class.is_typing() || (*class != Class::Message && self.limits.coalesce);
        let mut older = self.buffered.values().rev().map(|n| &self.messages[*n]);
        let superseded = older.find(|m| replaces && m.class == *class && !m.handed_out);
        let evicts = self.limits.overflow == Overflow::DropOldest && !class.is_typing();
        let stays: Vec<&Tracked> = self
            .buffered
            .iter()
            .map(|(id, n)| (id, &self.messages[*n]))
            .filter(|(id, m)| self.in_flight(**id) || !(evicts || m.class.is_typing()))
            .map(|(_, m)| m)
            .filter(|m| superseded.is_none_or(|superseded| !std::ptr::eq(*m, superseded)))
            .collect();
        self.limits.messages.allows(stays.len() as u64 + 1)
            && self.limits.bytes.allows(stays.iter().map(|m| m.cost).sum::<u64>() + cost)
    }

    /// Whether it is in the latest answer, or on its way to a client that is called.
    fn in_flight(&self, id: EventId) -> bool {
        let answered = |a: &Answer| a.messages.iter().any(|(other, _)| *other == id);
        self.answer.as_ref().is_some_and(answered) || self.delivery.as_ref().is_some_and(|d| d.carries(id))
    }

    /// What was just accepted is within the limits: no room was ever lent.
    fn fits_unless_it_shrank(&self) {
        let totals = self.mailbox.totals();
        assert!(self.limits.messages.allows(totals.messages) && self.limits.bytes.allows(totals.bytes));
    }

    /// A poll begins, and is answered or held; it may overtake an answer or take a held poll's place.
    fn poll(&mut self) {
        let last_event_id = self.client.explicit.then(|| self.last_event_id()).flatten();
        self.begin_poll(last_event_id);
        self.mailbox.hold(true);
        if self.held {
            self.mailbox.hold(false);
        }
        self.held = true;
        if self.random.random_ratio(9, 10) {
            self.wake();
        }
    }

    fn begin_poll(&mut self, last_event_id: Option<EventId>) {
        let answer = self.answer.take();
        if let Some(answer) = answer.as_ref().filter(|a| !a.settled) {
            self.overtaken.push(answer.handout);
            self.saw("overtook an answer");
        }
        let explicitly = self.client.explicit && self.random.random_ratio(1, 4);
        let acknowledged = self.mailbox.begin_poll(Acknowledgement {
            last_event_id,
            explicitly,
            ..Acknowledgement::default()
        });
        self.delivery_is_overtaken();

        let written = answer.as_ref().filter(|a| a.settled && !self.client.has_sent);
        let (up_to, known) = match (last_event_id, written) {
            (Some(last), _) => {
                let (up_to, losses) = self.proofs.get(&last).copied().unwrap_or_default();
                let latest =
                    answer.as_ref().filter(|a| a.fresh && a.messages.iter().all(|(id, _)| *id <= up_to));
                (up_to, latest.map_or(losses, |a| a.losses.max(losses)))
            }
            (None, Some(answer)) => (answer.messages.last().map_or(EventId(0), |(id, _)| *id), answer.losses),
            (None, None) => (EventId(0), 0),
        };
        self.client.has_sent |= explicitly || last_event_id.is_some();
        let expected: Vec<EventId> = self.buffered.range(..=up_to).map(|(id, _)| *id).collect();
        assert_eq!(acknowledged, expected.len() as u64);
        for id in expected {
            self.end(id, Fate::Delivered);
            self.saw("acknowledged");
        }
        self.known = self.known.max(known);
        assert!(self.known <= self.client.learned, "it cannot know of more than it was told");
        self.told = self.told.max(self.known);
        if answer.is_some_and(|answer| !answer.settled) {
            self.told = self.known;
        }
    }

    /// What the client acknowledges: mostly all that it received, sometimes less, or nothing; or it names an answer of
    /// another mailbox.
    fn last_event_id(&mut self) -> Option<EventId> {
        let newest = self.client.received.last_key_value().map_or(EventId(0), |(id, _)| *id);
        match self.random.random_range(0..12) {
            0 => None,
            1 => Some(EventId(0)),
            2 | 3 => {
                let older = EventId(newest.0.saturating_sub(self.random.random_range(0..8)));
                // It names nothing that was sent to it and never arrived.
                Some(older)
                    .filter(|id| self.client.received.contains_key(id) || !self.proofs.contains_key(id))
            }
            4 => {
                self.saw("an id that means nothing");
                Some(EventId(self.newest.0 + 1000))
            }
            _ => Some(self.client.newest),
        }
    }

    /// A held poll is answered, if there is anything to say.
    fn wake(&mut self) {
        if !self.held {
            return;
        }
        let room = BatchLimits {
            messages: self.random.random_range(0..8),
            bytes: *[0, 60, 200, u64::MAX].choose(&mut self.random).unwrap(),
        };
        self.held_poll_takes(room);
    }

    fn held_poll_takes(&mut self, room: BatchLimits) {
        let news = self.mailbox.has_news();
        assert_eq!(news, !self.buffered.is_empty() || self.losses > self.told);
        let last = self.random.random();
        let drawn = EventId(self.newest.0 + 1);
        let take = Take { last, ..Take::up_to(room) };
        let batch = self.mailbox.take(take, || Some(drawn));
        assert_eq!(batch.is_some(), news || (last && self.losses > self.known));
        let Some(batch) = batch else { return };
        if batch.answer == Some(drawn) {
            self.newest = drawn;
        }
        self.delivery_is_overtaken();
        self.mailbox.hold(false);
        self.held = false;
        self.look_at(&batch, room);
        self.told = self.losses;
        let messages: Vec<_> = batch.messages.iter().map(|m| (m.id, number(&m.message))).collect();
        let newest = messages.last().map_or(EventId(0), |(id, _)| *id);
        let fresh = messages.last().is_some_and(|(_, number)| !self.messages[*number].handed_out);
        assert_eq!(batch.answer.is_some(), batch.gap > 0 && !fresh);
        for (id, number) in &messages {
            self.messages[*number].handed_out = true;
            self.proofs.insert(*id, (*id, 0));
        }
        if let Some(id) = batch.answer {
            self.proofs.insert(id, (newest, self.losses));
        }
        self.answer = Some(Answer {
            handout: batch.handout,
            messages,
            gap: batch.gap,
            losses: self.losses,
            id: batch.answer.unwrap_or(newest),
            fresh,
            settled: false,
        });
    }

    fn look_at(&mut self, batch: &Batch, room: BatchLimits) {
        assert_eq!(batch.gap, self.losses - self.known, "the gap");
        assert_eq!(batch.pending, (self.buffered.len() - batch.messages.len()) as u64);
        assert!(batch.messages.len() <= room.messages.max(1));
        let bytes: u64 = batch.messages.iter().map(|m| m.message.cost()).sum();
        assert!(bytes <= room.bytes || batch.messages.len() == 1);
        // The oldest, in order, and nothing that left comes back.
        let taken = batch.messages.iter().map(|m| (m.id, number(&m.message)));
        assert!(taken.eq(self.buffered.iter().map(|(id, n)| (*id, *n)).take(batch.messages.len())));
        for message in &batch.messages {
            let tracked = &self.messages[number(&message.message)];
            assert_eq!((tracked.fate, tracked.handed_out), (Fate::Buffered, message.redelivered));
            if message.redelivered {
                self.saw("redelivered");
            }
        }
        if batch.messages.is_empty() {
            self.saw("gap alone");
        }
    }

    /// The transport has its word about the answer: all of it arrived, or part of it and it broke.
    fn end_answer(&mut self) {
        let Some(answer) = self.answer.take_if(|a| !a.settled) else { return };
        let outcome = if self.random.random_ratio(2, 3) { Outcome::Written } else { Outcome::Broken };
        let arrived = match outcome {
            Outcome::Written => answer.messages.len(),
            Outcome::Broken => self.random.random_range(0..=answer.messages.len()),
        };
        // What the transport does not learn: the client has it, and the newer poll comes first.
        let silent = outcome == Outcome::Broken && self.random.random_ratio(1, 3);
        self.receive(&answer.messages[..arrived]);
        if arrived == answer.messages.len() {
            self.arrived(&answer);
        }
        if !silent {
            self.mailbox.settle(answer.handout, outcome);
        }
        if outcome == Outcome::Broken {
            if answer.gap > 0 {
                self.saw("gap told again");
            }
            if !silent {
                self.told = self.known;
            }
            self.answer = silent.then_some(answer);
            return;
        }
        if answer.gap > 0 {
            self.saw("gap told");
        }
        if self.random.random_ratio(1, 8) {
            self.mailbox.settle(answer.handout, Outcome::Broken);
            self.told = self.known;
            self.saw("reset after it was written");
        } else {
            self.answer = Some(Answer { settled: true, ..answer });
        }
    }

    /// The client has all of an answer.
    fn arrived(&mut self, answer: &Answer) {
        self.client.learned = self.client.learned.max(answer.losses);
        self.client.newest = answer.id;
    }

    fn receive(&mut self, messages: &[(EventId, usize)]) {
        let before = self.client.received.last_key_value().map_or(EventId(0), |(id, _)| *id);
        for (id, number) in messages {
            let tracked = &mut self.messages[*number];
            match self.client.received.insert(*id, *number) {
                Some(earlier) => assert_eq!(earlier, *number, "{id} was changed after it was handed out"),
                None => assert!(*id > before, "{id} comes after {before}"),
            }
            tracked.received = true;
        }
    }

    /// The word about an overtaken answer comes too late to count.
    fn late_word(&mut self) {
        if let Some(handout) = self.overtaken.pop() {
            let outcome = if self.random.random() { Outcome::Written } else { Outcome::Broken };
            self.mailbox.settle(handout, outcome);
        }
    }

    fn pass(&mut self) {
        let deadline = self.mailbox.next_deadline(&self.limits);
        self.now = match self.random.random_range(0..10) {
            0 => deadline.map_or(self.now, |deadline| deadline.max(self.now)),
            1 => self.now + s(self.random.random_range(10..100)),
            _ => self.now + Duration::from_millis(self.random.random_range(0..3000)),
        };
        if self.random.random_ratio(2, 3) {
            let lost = self.mailbox.expire(&self.limits, self.now);
            assert_eq!(lost, self.account_for_what_left(None));
            assert!(self.buffered.values().all(|n| self.messages[*n].expires > self.now));
            assert!(self.mailbox.next_deadline(&self.limits).is_none_or(|deadline| deadline > self.now));
        }
    }

    fn change_limits(&mut self) {
        let random = &mut self.random;
        let mut bound = |most: u64| match random.random_range(0..12) {
            0 => Bound::Disabled,
            1 | 2 => Bound::Unlimited,
            _ => Bound::AtMost(random.random_range(1..most)),
        };
        let (messages, bytes) = (bound(16), bound(400));
        let minimum = random.random_range(0..4);
        let default = minimum + random.random_range(0..40);
        self.limits = Limits {
            messages,
            bytes,
            life_time: life_times(default, minimum, default + 20),
            drop_life_time: s(*[0, 30, 57_600].choose(random).unwrap()),
            overflow: if random.random() { Overflow::Reject } else { Overflow::DropOldest },
            coalesce: random.random_ratio(3, 4),
        };
    }

    fn purge(&mut self) {
        let lost = self.mailbox.drop_all(DropReason::Purged, &self.limits, self.now);
        assert_eq!(lost, self.account_for_what_left(Some(DropReason::Purged)));
        assert!(self.buffered.is_empty());
    }

    /// The subscription ends; another begins, for another client. Ids go on.
    fn end_and_recreate(&mut self) {
        if self.random.random() {
            // The client ends it.
            let written = self.answer.take_if(|a| a.settled && !self.client.has_sent);
            let has: Vec<EventId> =
                written.iter().flat_map(|a| a.messages.iter().map(|(id, _)| *id)).collect();
            let acknowledged = self.mailbox.acknowledge_by_going_on();
            let expected: Vec<EventId> =
                has.into_iter().filter(|id| self.buffered.contains_key(id)).collect();
            assert_eq!(acknowledged, expected.len() as u64);
            for id in expected {
                self.end(id, Fate::Delivered);
                self.saw("acknowledged at the end");
            }
        }
        let lost = self.mailbox.drop_all(DropReason::Abandoned, &self.limits, self.now);
        assert_eq!(lost, self.account_for_what_left(Some(DropReason::Abandoned)));
        assert!(self.buffered.is_empty());
        self.mailbox = Mailbox::default();
        self.held = false;
        self.answer = None;
        self.overtaken.clear();
        self.delivery = None;
        self.client = Client { explicit: self.random.random(), ..Client::default() };
        (self.losses, self.known, self.told) = (0, 0, 0);
        self.proofs.clear();
    }

    /// Gives each message that the mailbox holds no longer its fate, and says what was lost thereby.
    /// `everything` is the reason for which all that was left has gone.
    fn account_for_what_left(&mut self, everything: Option<DropReason>) -> Lost {
        let left: Vec<(EventId, usize)> = self
            .buffered
            .iter()
            .filter(|(id, _)| !self.mailbox.holds(**id))
            .map(|(id, n)| (*id, *n))
            .collect();
        let mut lost = Lost::default();
        for (id, number) in left {
            let tracked = &self.messages[number];
            let in_flight = self.in_flight(id);
            let expired = tracked.expires <= self.now;
            if tracked.class.is_typing() {
                assert!(expired || everything.is_some() || !in_flight, "{id} was in flight");
                lost.count_replaced();
                self.end(id, Fate::TypingGone);
                self.saw("typing gone");
            } else {
                let reason =
                    if expired { DropReason::Expired } else { everything.unwrap_or(DropReason::Overflow) };
                assert!(reason != DropReason::Overflow || !in_flight, "{id} was in flight");
                lost.count(reason);
                self.losses += 1;
                self.end(id, Fate::Dropped(reason.name()));
                self.saw(&format!("lost {}", reason.name()));
            }
        }
        if lost.by_reason().any(|(reason, _)| reason == DropReason::Overflow) {
            assert_eq!(self.limits.overflow, Overflow::DropOldest);
        }
        lost
    }

    fn end(&mut self, id: EventId, fate: Fate) {
        let tracked = &mut self.messages[self.buffered.remove(&id).expect("buffered until now")];
        assert_eq!(tracked.fate, Fate::Buffered, "one fate each");
        assert!(fate != Fate::Delivered || tracked.received, "{id} never arrived");
        tracked.fate = fate;
        if fate == Fate::Delivered {
            self.saw("delivered");
        }
    }

    /// What holds after each step.
    fn check(&self) {
        self.mailbox.check_invariants();
        let totals = self.mailbox.totals();
        assert_eq!(totals.messages, self.buffered.len() as u64);
        assert_eq!(totals.bytes, self.buffered.values().map(|n| self.messages[*n].cost).sum::<u64>());
        assert!(self.buffered.keys().all(|id| self.mailbox.holds(*id)));
        for dropped in self.mailbox.dropped() {
            assert_eq!(
                self.messages[number(&dropped.message.message)].fate,
                Fate::Dropped(dropped.reason.name())
            );
        }
        assert!(self.known <= self.told && self.told <= self.losses);
        assert_eq!(self.mailbox.gap(), self.losses - self.known);
    }

    /// The client is called or polls until there is nothing more to say: every message has its fate, and
    /// every loss is told.
    fn drain(&mut self) {
        self.drain_by_calls();
        let room = BatchLimits { messages: 3, bytes: u64::MAX };
        for polls in 0.. {
            assert!(polls < 1000, "it never ends");
            if let Some(answer) = self.answer.take_if(|a| !a.settled) {
                self.receive(&answer.messages);
                self.arrived(&answer);
                self.mailbox.settle(answer.handout, Outcome::Written);
                self.answer = Some(Answer { settled: true, ..answer });
            }
            let last_event_id = Some(self.client.newest).filter(|_| self.client.explicit);
            self.begin_poll(last_event_id);
            self.held = true;
            self.held_poll_takes(room);
            if self.held && self.buffered.is_empty() && self.known == self.losses {
                break;
            }
        }
        self.check();
        assert!(self.buffered.is_empty() && self.messages.iter().all(|m| m.fate != Fate::Buffered));
        assert_eq!(self.known, self.losses);
    }
}

/// The number in a message's body.
fn number(message: &Message) -> usize {
    u64::from_le_bytes(message.body[..8].try_into().expect("eight bytes")) as usize
}
