//! What an operator does with a mailbox: look at what waits, and offer dropped messages again.

use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use super::{
    Buffered, Candidate, Change, DroppedMessage, EventId, Incoming, Limits, Lost, Mailbox, Plan, Refusal,
    Timestamp, plan,
};

/// What became of the dropped messages that were offered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// They wait in the mailbox, under new ids.
    pub replayed: u64,
    /// They stay where they were.
    pub refused: u64,
}

/// What replayed messages find.
struct Ground<'a> {
    wish: Option<Duration>,
    limits: &'a Limits,
    /// Bytes that the store has room for.
    room: u64,
    /// The first replayed message: what came before it came after all of this was dropped.
    first: Option<EventId>,
}

/// Why a dropped message stays dropped.
enum Stays {
    /// For its own sake.
    Alone,
    /// For want of room; those behind it would overtake it.
    WithTheRest,
}

impl<C: Clone> Mailbox<C> {
    /// The buffered messages behind `after`, oldest first, and whether each was ever handed out.
    pub fn buffered(&self, after: EventId) -> impl Iterator<Item = (EventId, &Buffered<C>, bool)> {
        let behind = self.messages.range((Excluded(after), Unbounded));
        behind.map(|(id, message)| (*id, message, *id <= self.ever_handed_out))
    }

    /// Offers the dropped messages again in the order in which they came, each under an id of `next_id`.
    ///
    /// They come behind what waits, with a new life time, and nothing makes room for them: no message is
    /// evicted, and no state replaced by one that was dropped before it came. Those that are refused stay
    /// in the dropped set. `room` is what the store may still take, in bytes.
    pub fn replay(
        &mut self,
        mut next_id: impl FnMut() -> EventId,
        wish: Option<Duration>,
        limits: &Limits,
        room: u64,
        now: Timestamp,
    ) -> (Replayed, Lost) {
        let mut lost = self.expire(limits, now);
        let mut dropped: Vec<DroppedMessage<C>> = std::iter::from_fn(|| self.dropped.pop_oldest()).collect();
        let mut by_id: Vec<usize> = (0..dropped.len()).collect();
        by_id.sort_by_key(|place| dropped[*place].id);
        let mut ground = Ground { wish, limits, room, first: None };
        let mut replayed = vec![false; dropped.len()];
        for place in by_id {
            let message = &dropped[place].message;
            match self.replay_plan(message, &ground) {
                Ok(plan) => {
                    let id = next_id();
                    self.offered(id);
                    self.changed(|| Change::Revived(dropped[place].id));
                    ground.first.get_or_insert(id);
                    ground.room -= message.cost;
                    let incoming = Incoming {
                        class: message.class().clone(),
                        cost: message.cost,
                        message: message.message.clone(),
                    };
                    self.carry_out(plan, id, incoming, limits, now, &mut lost);
                    replayed[place] = true;
                }
                Err(Stays::Alone) => {}
                Err(Stays::WithTheRest) => break,
            }
        }
        let result = Replayed {
            replayed: replayed.iter().filter(|replayed| **replayed).count() as u64,
            refused: replayed.iter().filter(|replayed| !**replayed).count() as u64,
        };
        let mut replayed = replayed.into_iter();
        dropped.retain(|_| !replayed.next().unwrap_or_default());
        for stays in dropped {
            self.dropped.push(stays, |_| {});
        }
        self.debug_check();
        (result, lost)
    }

    /// The plan by which the message is taken in without a loss for it.
    fn replay_plan(&self, message: &Buffered<C>, ground: &Ground<'_>) -> Result<Plan, Stays> {
        if message.cost > ground.room {
            return Err(Stays::WithTheRest);
        }
        let candidate = Candidate { class: message.class(), cost: message.cost, wish: ground.wish };
        let plan = match plan(self, candidate, ground.limits) {
            Ok(plan) => plan,
            Err(Refusal::TooLarge) => return Err(Stays::Alone),
            Err(_) => return Err(Stays::WithTheRest),
        };
        if plan.superseded.is_some_and(|newer| ground.first.is_none_or(|first| newer.id < first)) {
            Err(Stays::Alone)
        } else if !plan.evict.is_empty() {
            Err(Stays::WithTheRest)
        } else {
            Ok(plan)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::Bound::AtMost;
    use super::super::super::testing::{at, message, presence, s, typing, wide};
    use super::super::super::{BatchLimits, DropReason, Message, Overflow, Take};
    use super::*;

    /// A mailbox that dropped these, under the ids from 1 on, in the same moment.
    fn having_dropped(messages: &[Arc<Message>]) -> Mailbox {
        let mut mailbox = Mailbox::default();
        for (n, message) in messages.iter().enumerate() {
            let id = EventId(n as u64 + 1);
            mailbox.offer(id, message.clone(), None, &wide(), at(0)).outcome.unwrap();
        }
        mailbox.drop_all(DropReason::Purged, &wide(), at(0));
        mailbox
    }

    fn offer(mailbox: &mut Mailbox, id: u64, message: Arc<Message>) {
        mailbox.offer(EventId(id), message, None, &wide(), at(1)).outcome.unwrap();
    }

    /// Under ids from 101 on.
    fn replay(mailbox: &mut Mailbox, limits: &Limits, room: u64) -> (u64, u64) {
        let mut id = 100;
        let next = || {
            id += 1;
            EventId(id)
        };
        let (result, lost) = mailbox.replay(next, None, limits, room, at(10));
        assert_eq!(lost.total(), 0);
        (result.replayed, result.refused)
    }

    fn held(mailbox: &Mailbox) -> Vec<(u64, u64)> {
        mailbox.buffered(EventId(0)).map(|(id, message, _)| (id.0, message.cost)).collect()
    }

    fn dropped(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.dropped().map(|dropped| dropped.id.0).collect()
    }

    #[test]
    fn what_was_dropped_comes_again_in_order_behind_what_waits() {
        let mut mailbox = having_dropped(&[message(1), message(2), message(3)]);
        offer(&mut mailbox, 9, message(4));
        assert_eq!(replay(&mut mailbox, &wide(), u64::MAX), (3, 0));
        assert_eq!(held(&mailbox), [(9, 4), (101, 1), (102, 2), (103, 3)]);
        assert_eq!(dropped(&mailbox), [0; 0]);
        let life_time = wide().life_time.default_value();
        let batch = mailbox.take(Take::up_to(BatchLimits { messages: 9, bytes: 99 }), || None).unwrap();
        assert!(batch.messages[1..].iter().all(|m| m.received == at(10) && !m.redelivered));
        assert_eq!(mailbox.expire(&wide(), at(10) + life_time).total(), 4);
    }

    #[test]
    fn order_is_that_of_arrival_not_of_loss() {
        let mut mailbox = Mailbox::default();
        for (id, life) in [(1, 9), (2, 5)] {
            let offered = mailbox.offer(EventId(id), message(id), Some(s(life)), &wide(), at(0));
            offered.outcome.unwrap();
        }
        mailbox.expire(&wide(), at(5));
        mailbox.expire(&wide(), at(9));
        assert_eq!(dropped(&mailbox), [2, 1]);
        replay(&mut mailbox, &wide(), u64::MAX);
        assert_eq!(held(&mailbox), [(101, 1), (102, 2)]);
    }

    #[test]
    fn nothing_makes_room_for_a_replay() {
        let limits = Limits { messages: AtMost(3), overflow: Overflow::DropOldest, ..wide() };
        for waits in [message(7), typing("a", 7)] {
            let mut mailbox = having_dropped(&[message(1), message(2), message(3)]);
            offer(&mut mailbox, 9, waits);
            assert_eq!(replay(&mut mailbox, &limits, u64::MAX), (2, 1));
            assert_eq!(held(&mailbox), [(9, 7), (101, 1), (102, 2)]);
            assert_eq!(dropped(&mailbox), [3]);
        }
    }

    #[test]
    fn what_finds_no_room_is_not_overtaken() {
        let limits = Limits { bytes: AtMost(10), ..wide() };
        for (costs, room, replayed, stays) in [
            (vec![4, 4, 4, 1], u64::MAX, 2, vec![3, 4]),
            (vec![4, 11, 4, 1], u64::MAX, 3, vec![2]),
            (vec![4, 4, 1], 7, 1, vec![2, 3]),
        ] {
            let messages: Vec<_> = costs.iter().map(|cost| message(*cost)).collect();
            let mut mailbox = having_dropped(&messages);
            let refused = messages.len() as u64 - replayed;
            assert_eq!(replay(&mut mailbox, &limits, room), (replayed, refused), "{costs:?}");
            assert_eq!(dropped(&mailbox), stays, "{costs:?}");
        }
    }

    #[test]
    fn a_state_that_was_dropped_replaces_no_newer_one() {
        let mut mailbox = having_dropped(&[presence("a", 1), message(2)]);
        offer(&mut mailbox, 9, presence("a", 3));
        assert_eq!(replay(&mut mailbox, &wide(), u64::MAX), (1, 1));
        assert_eq!((held(&mailbox), dropped(&mailbox)), (vec![(9, 3), (101, 2)], vec![1]));
        // One that was dropped with it, and later, does.
        let off = Limits { coalesce: false, ..wide() };
        let mut mailbox = Mailbox::default();
        for (id, cost) in [(1, 1), (2, 2)] {
            mailbox.offer(EventId(id), presence("a", cost), None, &off, at(0)).outcome.unwrap();
        }
        mailbox.drop_all(DropReason::Purged, &wide(), at(0));
        assert_eq!(replay(&mut mailbox, &wide(), u64::MAX), (2, 0));
        assert_eq!(held(&mailbox), [(101, 2)]);
    }

    #[test]
    fn where_buffering_is_off_everything_stays() {
        let mut mailbox = having_dropped(&[message(1), message(1)]);
        let limits = Limits { messages: super::super::super::Bound::Disabled, ..wide() };
        assert_eq!(replay(&mut mailbox, &limits, u64::MAX), (0, 2));
        assert_eq!(dropped(&mailbox), [1, 2]);
    }
}
