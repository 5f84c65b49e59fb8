use super::super::Bound::{AtMost, Disabled, Unlimited};
use super::super::Message;
use super::super::testing::{HANDOVER, life_times, message, presence, s, typing, wide};
use super::*;

/// A mailbox as a table row: ids are given from 1 on, the messages in flight first.
#[derive(Default)]
struct Holding {
    in_flight: &'static [u64],
    /// Cost, and whether it is a typing notification.
    waiting: &'static [(u64, bool)],
    superseded: Option<u64>,
    poll: bool,
}

const M: bool = false;
const T: bool = true;

impl Holding {
    fn rows(&self) -> impl Iterator<Item = (EventId, u64, bool)> {
        (self.in_flight.len() as u64 + 1..)
            .zip(self.waiting)
            .map(|(id, (cost, typing))| (EventId(id), *cost, *typing))
    }
}

impl View for Holding {
    fn messages(&self) -> u64 {
        (self.in_flight.len() + self.waiting.len()) as u64
    }

    fn bytes(&self) -> u64 {
        self.in_flight.iter().sum::<u64>() + self.rows().map(|(_, cost, _)| cost).sum::<u64>()
    }

    fn poll_is_held(&self) -> bool {
        self.poll
    }

    fn superseded_by(&self, class: &Class) -> Option<Superseded> {
        let (id, cost, _) = self.rows().find(|(id, ..)| Some(id.0) == self.superseded)?;
        (*class != Class::Message).then_some(Superseded { id, cost })
    }

    fn typing(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.rows().filter(|(_, _, typing)| *typing).map(|(id, cost, _)| (id, cost))
    }

    fn waiting(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.rows().map(|(id, cost, _)| (id, cost))
    }
}

/// What is evicted, or why there is no room.
fn candidate(message: &Message, wish: Option<Duration>) -> Candidate<'_> {
    Candidate { class: &message.class, cost: message.cost(), wish }
}

fn evicted(view: &Holding, message: &Message, limits: &Limits) -> Result<Vec<u64>, Refusal> {
    plan(view, candidate(message, None), limits).map(|plan| plan.evict.iter().map(|id| id.0).collect())
}

#[test]
fn limits_of_every_kind() {
    use Refusal::{Disabled as Off, Full, TooLarge};
    let room = Ok(vec![]);
    for (messages, bytes, waiting, cost, expected) in [
        (Disabled, Unlimited, &[][..], 1, Err(Off)),
        (Unlimited, Disabled, &[], 1, Err(Off)),
        (Unlimited, Disabled, &[], 0, Err(Off)),
        (Unlimited, Unlimited, &[(1 << 40, M), (1, M)], 1 << 20, room.clone()),
        (AtMost(1), Unlimited, &[], 1, room.clone()),
        (AtMost(1), Unlimited, &[(1, M)], 1, Err(Full)),
        (AtMost(3), Unlimited, &[(1, M), (1, M)], 1, room.clone()),
        (AtMost(3), Unlimited, &[(1, M), (1, M), (1, M)], 0, Err(Full)),
        (Unlimited, AtMost(10), &[], 10, room.clone()),
        (Unlimited, AtMost(10), &[], 11, Err(TooLarge)),
        (Unlimited, AtMost(10), &[(5, M)], 5, room.clone()),
        (Unlimited, AtMost(10), &[(5, M)], 6, Err(Full)),
        (Unlimited, AtMost(10), &[(10, M)], 0, room.clone()),
        // A limit that shrank below what is held: nothing fits until it is below again.
        (AtMost(1), Unlimited, &[(1, M), (1, M), (1, M)], 1, Err(Full)),
        (Unlimited, AtMost(10), &[(8, M), (8, M)], 0, Err(Full)),
    ] {
        let limits = Limits { messages, bytes, ..wide() };
        let view = Holding { waiting, ..Default::default() };
        let context = format!("{messages:?} {bytes:?} {waiting:?} {cost}");
        assert_eq!(evicted(&view, &message(cost), &limits), expected, "{context}");
    }
}

#[test]
fn both_overflow_policies() {
    let full = || Err(Refusal::Full);
    for (messages, bytes, in_flight, waiting, cost, reject, drop_oldest) in [
        (2, 99, &[][..], &[(1, M), (1, M)][..], 1, full(), Ok(vec![1])),
        (9, 10, &[], &[(5, M), (5, M)], 6, full(), Ok(vec![1, 2])),
        (9, 10, &[], &[(1, M), (8, M), (1, M)], 1, full(), Ok(vec![1])),
        (9, 10, &[], &[(1, M), (8, M), (1, M)], 2, full(), Ok(vec![1, 2])),
        // In flight: counts, and never goes.
        (2, 99, &[1], &[(1, M)], 1, full(), Ok(vec![2])),
        (2, 99, &[1, 1], &[], 1, full(), full()),
        (9, 10, &[6], &[(4, M)], 4, full(), Ok(vec![2])),
        (9, 10, &[6], &[(4, M)], 5, full(), full()),
        // Typing goes first, whatever its age, and under either policy.
        (2, 99, &[], &[(1, M), (1, T)], 1, Ok(vec![2]), Ok(vec![2])),
        (3, 99, &[], &[(1, T), (1, M), (1, T)], 1, Ok(vec![1]), Ok(vec![1])),
        (9, 10, &[], &[(4, M), (2, T), (2, M), (2, T)], 4, Ok(vec![2, 4]), Ok(vec![2, 4])),
        (9, 10, &[], &[(4, M), (2, T), (2, M), (2, T)], 5, full(), Ok(vec![2, 4, 1])),
        // Too large evicts nothing, not even typing.
        (9, 10, &[], &[(1, T), (1, M)], 11, Err(Refusal::TooLarge), Err(Refusal::TooLarge)),
        // A limit that shrank: under drop-oldest the next message brings the mailbox below it.
        (2, 99, &[], &[(1, M), (1, M), (1, M), (1, M)], 1, full(), Ok(vec![1, 2, 3])),
    ] {
        for (overflow, expected) in [(Overflow::Reject, reject), (Overflow::DropOldest, drop_oldest)] {
            let limits = Limits { messages: AtMost(messages), bytes: AtMost(bytes), overflow, ..wide() };
            let view = Holding { in_flight, waiting, ..Default::default() };
            let context = format!("{overflow:?} {messages} {bytes} {in_flight:?} {waiting:?} {cost}");
            assert_eq!(evicted(&view, &message(cost), &limits), expected, "{context}");
        }
    }
}

#[test]
fn typing_evicts_other_typing_but_no_message() {
    let limits = Limits { messages: AtMost(2), overflow: Overflow::DropOldest, ..wide() };
    for (waiting, expected) in [(&[(1, M), (1, T)][..], Ok(vec![2])), (&[(1, M), (1, M)], Err(Refusal::Full))]
    {
        let view = Holding { waiting, ..Default::default() };
        assert_eq!(evicted(&view, &typing("a", 1), &limits), expected, "{waiting:?}");
    }
}

#[test]
fn the_superseded_makes_room_first_and_is_not_evicted() {
    let plan_for = |view: &Holding, newer: &Message, overflow| {
        let limits = Limits { messages: AtMost(3), bytes: AtMost(10), overflow, ..wide() };
        let plan = plan(view, candidate(newer, None), &limits)?;
        Ok((plan.superseded.map(|s| (s.id.0, s.cost)), plan.evict.iter().map(|id| id.0).collect()))
    };
    let states = || Holding { waiting: &[(2, M), (4, M), (4, M)], superseded: Some(2), ..Default::default() };
    for (cost, reject, drop_oldest) in [
        (3, Ok((Some((2, 4)), vec![])), Ok((Some((2, 4)), vec![]))),
        (4, Ok((Some((2, 4)), vec![])), Ok((Some((2, 4)), vec![]))),
        (5, Err(Refusal::Full), Ok((Some((2, 4)), vec![1]))),
        (7, Err(Refusal::Full), Ok((Some((2, 4)), vec![1, 3]))),
        (11, Err(Refusal::TooLarge), Err(Refusal::TooLarge)),
    ] {
        assert_eq!(plan_for(&states(), &presence("a", cost), Overflow::Reject), reject, "{cost}");
        assert_eq!(plan_for(&states(), &presence("a", cost), Overflow::DropOldest), drop_oldest, "{cost}");
    }
    let view = Holding { waiting: &[(4, T), (4, T), (2, M)], superseded: Some(1), ..Default::default() };
    assert_eq!(plan_for(&view, &typing("a", 5), Overflow::Reject), Ok((Some((1, 4)), vec![2])));
}

#[test]
fn coalesce_false_is_for_presence_only() {
    let view = Holding { waiting: &[(1, M)], superseded: Some(1), ..Default::default() };
    for (newer, coalesce, superseded) in [
        (presence("a", 1), true, true),
        (presence("a", 1), false, false),
        (typing("a", 1), true, true),
        (typing("a", 1), false, true),
        (message(1), true, false),
    ] {
        let plan = plan(&view, candidate(&newer, None), &Limits { coalesce, ..wide() }).unwrap();
        assert_eq!(plan.superseded.is_some(), superseded, "{:?} {coalesce}", newer.class);
    }
}

#[test]
fn a_wish_is_clamped_and_typing_is_short() {
    const NOBODY: Result<Duration, Refusal> = Err(Refusal::NobodyPolls);
    let bounds =
        |default, minimum, maximum| Limits { life_time: life_times(default, minimum, maximum), ..wide() };
    for (limits, wish, poll, message_lives, typing_lives) in [
        (bounds(60, 30, 90), None, false, Ok(s(60)), Ok(s(10))),
        (bounds(60, 30, 90), Some(0), false, Ok(s(30)), Ok(s(10))),
        (bounds(60, 30, 90), Some(31), false, Ok(s(31)), Ok(s(10))),
        (bounds(60, 30, 90), Some(91), false, Ok(s(90)), Ok(s(10))),
        (bounds(60, 0, 90), Some(7), false, Ok(s(7)), Ok(s(7))),
        (bounds(60, 0, 90), Some(0), false, NOBODY, NOBODY),
        (bounds(60, 0, 90), Some(0), true, Ok(HANDOVER), Ok(HANDOVER)),
        (bounds(0, 0, 0), Some(60), false, NOBODY, NOBODY),
        (bounds(0, 0, 0), Some(60), true, Ok(HANDOVER), Ok(HANDOVER)),
        (bounds(0, 0, 90), None, true, Ok(HANDOVER), Ok(HANDOVER)),
        (bounds(0, 0, 90), Some(60), true, Ok(s(60)), Ok(s(10))),
    ] {
        for (offered, expected) in [(message(1), message_lives), (typing("a", 1), typing_lives)] {
            let candidate = candidate(&offered, wish.map(s));
            let life_time =
                plan(&Holding { poll, ..Default::default() }, candidate, &limits).map(|p| p.life_time);
            assert_eq!(life_time, expected, "{:?} {wish:?} {poll} {:?}", limits.life_time, offered.class);
        }
    }
}
