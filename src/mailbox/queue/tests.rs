use super::super::Bound::{self, AtMost, Unlimited};
use super::super::testing::{HANDOVER, at, life_times, message, presence, s, typing, wide};
use super::super::{Overflow, TYPING_LIFE_TIME};
use super::*;

/// A mailbox with what its calls need: the limits, the clock and the next id.
struct Bench {
    mailbox: Mailbox,
    limits: Limits,
    now: u64,
    newest: u64,
}

const ALL: BatchLimits = BatchLimits { messages: usize::MAX, bytes: u64::MAX };

impl Bench {
    fn new(limits: Limits) -> Self {
        Self { mailbox: Mailbox::default(), limits, now: 0, newest: 0 }
    }

    /// With so many messages of cost 1, under the ids from 1 on.
    fn with(messages: u64) -> Self {
        let mut bench = Self::new(wide());
        (0..messages).for_each(|_| bench.accept(message(1)));
        bench
    }

    fn offer(&mut self, message: Arc<Message>) -> Offered {
        self.offer_wishing(message, None)
    }

    fn offer_wishing(&mut self, message: Arc<Message>, wish: Option<Duration>) -> Offered {
        self.newest += 1;
        self.mailbox.offer(EventId(self.newest), message, wish, &self.limits, at(self.now))
    }

    fn accept(&mut self, message: Arc<Message>) {
        let offered = self.offer(message);
        assert!(offered.outcome.is_ok() && offered.lost.total() == 0, "{offered:?}");
    }

    fn expire_at(&mut self, now: u64) -> Lost {
        self.now = now;
        self.mailbox.expire(&self.limits, at(now))
    }

    fn drop_all(&mut self, reason: DropReason) -> Lost {
        self.mailbox.drop_all(reason, &self.limits, at(self.now))
    }

    /// A poll, and the name of its answer: what it acknowledged, and what it is given.
    fn poll(&mut self, last_event_id: Option<u64>) -> (u64, Vec<u64>, HandoutId) {
        let acknowledged = self.mailbox.begin_poll(last_event_id.map(EventId).into());
        let (ids, handout) = self
            .mailbox
            .take(Take::up_to(ALL), || None)
            .map_or_else(Default::default, |batch| (ids(&batch), batch.handout));
        (acknowledged, ids, handout)
    }

    /// What a poll that acknowledges nothing tells of losses; its answer breaks.
    fn gap(&mut self) -> u64 {
        self.mailbox.begin_poll(Acknowledgement::default());
        let Some(batch) = self.mailbox.take(Take::up_to(ALL), || None) else { return 0 };
        self.mailbox.settle(batch.handout, Outcome::Broken);
        batch.gap
    }

    fn dropped(&self) -> Vec<(u64, DropReason)> {
        self.mailbox.dropped().map(|d| (d.id.0, d.reason)).collect()
    }

    fn held(&self) -> Vec<u64> {
        self.mailbox.messages.keys().map(|id| id.0).collect()
    }
}

fn ids(batch: &Batch) -> Vec<u64> {
    batch.messages.iter().map(|m| m.id.0).collect()
}

fn lost(reasons: &[(DropReason, u64)]) -> Lost {
    let mut lost = Lost::default();
    reasons.iter().for_each(|(reason, n)| (0..*n).for_each(|_| lost.count(*reason)));
    lost
}

fn limited(messages: Bound, bytes: Bound, overflow: Overflow) -> Limits {
    Limits { messages, bytes, overflow, ..wide() }
}

mod limits {
    use super::*;

    #[test]
    fn a_refusal_changes_nothing() {
        for overflow in [Overflow::Reject, Overflow::DropOldest] {
            let mut bench = Bench::new(limited(Unlimited, AtMost(10), overflow));
            bench.accept(message(6));
            bench.accept(message(4));
            bench.poll(None);
            assert_eq!(bench.offer(message(1)).outcome, Err(Refusal::Full));
            assert_eq!((bench.held(), bench.gap()), (vec![1, 2], 0));
        }
    }

    #[test]
    fn too_large_is_a_loss_and_evicts_nothing() {
        let mut bench = Bench::new(limited(Unlimited, AtMost(10), Overflow::DropOldest));
        bench.accept(message(10));
        let offered = bench.offer(message(11));
        assert_eq!(offered.outcome, Err(Refusal::TooLarge));
        assert_eq!(offered.lost, lost(&[(DropReason::TooLarge, 1)]));
        assert_eq!((bench.held(), bench.gap()), (vec![1], 1));
    }

    #[test]
    fn drop_oldest_drops_what_waits_longest() {
        let mut bench = Bench::new(limited(AtMost(3), Unlimited, Overflow::DropOldest));
        (0..3).for_each(|_| bench.accept(message(1)));
        let offered = bench.offer(message(1));
        assert_eq!((offered.outcome, offered.lost), (Ok(EventId(4)), lost(&[(DropReason::Overflow, 1)])));
        assert_eq!((bench.held(), bench.dropped()), (vec![2, 3, 4], vec![(1, DropReason::Overflow)]));
    }

    #[test]
    fn what_is_in_flight_counts_and_is_not_evicted() {
        let mut bench = Bench::new(limited(AtMost(2), Unlimited, Overflow::DropOldest));
        bench.accept(message(1));
        let (_, _, answer) = bench.poll(None);
        bench.accept(message(1));
        bench.mailbox.settle(answer, Outcome::Written);
        assert_eq!(bench.offer(message(1)).outcome, Ok(EventId(3)));
        assert_eq!(bench.held(), [1, 3]);
    }

    #[test]
    fn a_broken_answer_is_no_longer_in_flight() {
        let mut bench = Bench::new(limited(AtMost(1), Unlimited, Overflow::DropOldest));
        bench.accept(message(1));
        let (_, _, answer) = bench.poll(None);
        assert_eq!(bench.offer(message(1)).outcome, Err(Refusal::Full));
        bench.mailbox.settle(answer, Outcome::Broken);
        assert_eq!(bench.offer(message(1)).outcome, Ok(EventId(3)));
        assert_eq!(bench.held(), [3]);
    }

    #[test]
    fn what_expires_makes_room() {
        let mut bench = Bench::new(limited(AtMost(1), Unlimited, Overflow::Reject));
        bench.accept(message(1));
        bench.now = 1000;
        let offered = bench.offer(message(1));
        assert_eq!((offered.outcome, offered.lost), (Ok(EventId(2)), lost(&[(DropReason::Expired, 1)])));
    }

    #[test]
    fn a_limit_that_shrinks_removes_nothing() {
        let mut bench = Bench::with(3);
        bench.limits.messages = AtMost(1);
        assert_eq!(bench.expire_at(1), Lost::default());
        assert_eq!(bench.poll(None).1, [1, 2, 3]);
    }

    #[test]
    fn totals_count_what_is_held_and_what_is_dropped() {
        let mut bench = Bench::new(limited(AtMost(2), Unlimited, Overflow::DropOldest));
        for cost in [5, 7, 11] {
            bench.offer(message(cost)).outcome.unwrap();
        }
        let totals = MailboxTotals { messages: 2, bytes: 18, dropped_messages: 1, dropped_bytes: 5 };
        assert_eq!(bench.mailbox.totals(), totals);
    }
}

mod classes {
    use super::*;

    #[test]
    fn typing_lives_ten_seconds_and_is_no_loss() {
        let mut bench = Bench::new(wide());
        bench.accept(typing("a", 1));
        assert_eq!(bench.mailbox.next_deadline(&bench.limits), Some(at(0) + TYPING_LIFE_TIME));
        assert_eq!(bench.expire_at(9), Lost::default());
        assert_eq!(bench.held(), [1]);
        let lost = bench.expire_at(10);
        assert_eq!((lost.total(), lost.replaced()), (0, 1));
        assert!(bench.held().is_empty() && !bench.mailbox.has_news() && bench.dropped().is_empty());
    }

    #[test]
    fn typing_is_replaced_by_the_same_senders() {
        let mut bench = Bench::new(wide());
        bench.accept(typing("a", 1));
        bench.accept(typing("b", 1));
        bench.accept(message(1));
        bench.accept(typing("a", 1));
        assert_eq!((bench.held(), bench.gap()), (vec![2, 3, 4], 0));
    }

    #[test]
    fn typing_makes_room_oldest_first_and_is_no_loss() {
        let mut bench = Bench::new(limited(AtMost(3), Unlimited, Overflow::Reject));
        for sender in ["c", "a", "b"] {
            bench.accept(typing(sender, 1));
        }
        bench.accept(message(1));
        assert_eq!(bench.held(), [2, 3, 4]);
        assert_eq!((bench.gap(), bench.dropped()), (0, vec![]));
    }

    #[test]
    fn typing_never_counts_as_dropped() {
        let too_large = |bench: &mut Bench| bench.offer(typing("a", 100)).lost;
        let purged = |bench: &mut Bench| bench.drop_all(DropReason::Purged);
        let evicted = |bench: &mut Bench| bench.offer(message(10)).lost;
        let expired = |bench: &mut Bench| bench.expire_at(10);
        for operation in [too_large, purged, evicted, expired] as [fn(&mut Bench) -> Lost; 4] {
            let mut bench = Bench::new(limited(Unlimited, AtMost(10), Overflow::DropOldest));
            bench.accept(typing("a", 1));
            assert_eq!((operation(&mut bench).total(), bench.gap(), bench.dropped()), (0, 0, vec![]));
        }
    }

    /// It was handed out, so that its sender's next one does not replace it.
    #[test]
    fn typing_of_a_broken_answer_still_makes_room() {
        let mut bench = Bench::new(limited(AtMost(2), Unlimited, Overflow::Reject));
        bench.accept(typing("a", 1));
        let (_, _, answer) = bench.poll(None);
        bench.accept(typing("a", 1));
        assert_eq!(bench.held(), [1, 2]);
        bench.accept(message(1));
        assert_eq!(bench.held(), [1, 3], "what is in flight makes no room");
        bench.mailbox.settle(answer, Outcome::Broken);
        bench.accept(message(1));
        assert_eq!(bench.held(), [3, 4]);
    }

    #[test]
    fn presence_is_replaced_in_place() {
        let mut bench = Bench::new(wide());
        bench.accept(presence("a", 9));
        bench.accept(message(1));
        bench.now = 5;
        assert_eq!(bench.offer(presence("a", 3)).outcome, Ok(EventId(1)));
        assert_eq!(bench.mailbox.totals().bytes, 4);
        let batch = bench.mailbox.take(Take::up_to(ALL), || None).unwrap();
        assert_eq!(ids(&batch), [1, 2]);
        assert_eq!((batch.messages[0].message.cost(), batch.messages[0].received), (3, at(5)));
        assert_eq!((batch.gap, bench.dropped()), (0, vec![]));
        assert_eq!(bench.expire_at(1000), lost(&[(DropReason::Expired, 1)]), "the newer state lives longer");
    }

    #[test]
    fn presence_of_another_key_or_without_coalesce_is_kept() {
        for (coalesce, second, held) in
            [(true, "a", vec![1]), (true, "b", vec![1, 2]), (false, "a", vec![1, 2])]
        {
            let mut bench = Bench::new(Limits { coalesce, ..wide() });
            bench.accept(presence("a", 1));
            bench.accept(presence(second, 1));
            assert_eq!(bench.held(), held, "{coalesce} {second}");
        }
    }

    #[test]
    fn presence_that_was_ever_handed_out_is_kept() {
        for outcome in [None, Some(Outcome::Written), Some(Outcome::Broken)] {
            let mut bench = Bench::new(wide());
            bench.accept(presence("a", 1));
            let (_, _, answer) = bench.poll(None);
            outcome.into_iter().for_each(|outcome| bench.mailbox.settle(answer, outcome));
            assert_eq!(bench.offer(presence("a", 1)).outcome, Ok(EventId(2)), "{outcome:?}");
            assert_eq!(bench.offer(presence("a", 1)).outcome, Ok(EventId(2)), "{outcome:?}");
            assert_eq!(bench.held(), [1, 2]);
        }
    }

    #[test]
    fn a_larger_state_that_does_not_fit_leaves_the_older() {
        let mut bench = Bench::new(limited(Unlimited, AtMost(10), Overflow::Reject));
        bench.accept(presence("a", 4));
        bench.accept(message(6));
        assert_eq!(bench.offer(presence("a", 5)).outcome, Err(Refusal::Full));
        assert_eq!((bench.held(), bench.mailbox.totals().bytes), (vec![1, 2], 10));
        bench.limits.overflow = Overflow::DropOldest;
        let offered = bench.offer(presence("a", 5));
        assert_eq!((offered.outcome, offered.lost.total(), offered.lost.replaced()), (Ok(EventId(1)), 1, 1));
        assert_eq!((bench.held(), bench.mailbox.totals().bytes), (vec![1], 5));
    }

    #[test]
    fn presence_and_typing_of_one_key_do_not_meet() {
        let mut bench = Bench::new(wide());
        bench.accept(presence("a", 1));
        bench.accept(typing("a", 1));
        bench.accept(presence("a", 1));
        assert_eq!(bench.held(), [1, 2]);
        bench.accept(typing("a", 1));
        assert_eq!(bench.held(), [1, 4]);
    }

    /// Two states of one key are held when `coalesce` was off.
    #[test]
    fn presence_replaces_the_latest_that_is_left() {
        let mut bench = Bench::new(Limits { coalesce: false, ..wide() });
        bench.accept(presence("a", 1));
        bench.offer_wishing(presence("a", 1), Some(s(5))).outcome.unwrap();
        bench.limits.coalesce = true;
        bench.expire_at(5);
        assert_eq!(bench.offer(presence("a", 1)).outcome, Ok(EventId(1)));
    }

    #[test]
    fn the_oldest_is_not_always_the_first() {
        let mut bench = Bench::new(wide());
        assert_eq!(bench.mailbox.oldest(), None);
        for (now, offered, oldest) in [(1, presence("a", 1), 1), (2, message(1), 1), (3, presence("a", 1), 2)]
        {
            bench.now = now;
            bench.accept(offered);
            assert_eq!(bench.mailbox.oldest(), Some(at(oldest)));
        }
    }
}

mod life {
    use super::*;

    #[test]
    fn a_wish_is_clamped() {
        for (wish, lives) in [(None, 60), (Some(0), 30), (Some(45), 45), (Some(1000), 90)] {
            let mut bench = Bench::new(Limits { life_time: life_times(60, 30, 90), ..wide() });
            bench.offer_wishing(message(1), wish.map(s)).outcome.unwrap();
            assert_eq!(bench.expire_at(lives - 1), Lost::default(), "{wish:?}");
            assert_eq!(bench.expire_at(lives), lost(&[(DropReason::Expired, 1)]), "{wish:?}");
        }
    }

    #[test]
    fn life_time_0_is_for_a_poll_held_at_that_moment() {
        let mut bench = Bench::new(Limits { life_time: life_times(0, 0, 0), ..wide() });
        let refused = |bench: &mut Bench| bench.offer(message(1)).outcome == Err(Refusal::NobodyPolls);
        assert!(refused(&mut bench));
        bench.mailbox.hold(true);
        bench.mailbox.hold(true);
        bench.mailbox.hold(false);
        bench.accept(message(1));
        bench.mailbox.hold(false);
        assert!(refused(&mut bench));
        assert_eq!(bench.mailbox.next_deadline(&bench.limits), Some(at(0) + HANDOVER));
        assert_eq!(bench.gap(), 0, "a refusal is no loss");
        bench.mailbox.hold(false);
        bench.mailbox.hold(true);
        bench.accept(message(1));
    }

    #[test]
    fn messages_expire_by_their_own_life_time() {
        let mut bench = Bench::new(wide());
        for wish in [30, 10, 20] {
            bench.offer_wishing(message(1), Some(s(wish))).outcome.unwrap();
        }
        for (now, held, next) in [(10, vec![1, 3], 20), (20, vec![1], 30), (30, vec![], 57_600)] {
            assert_eq!(bench.mailbox.next_deadline(&bench.limits).map(|t| t <= at(now)), Some(true));
            assert_eq!(bench.expire_at(now), lost(&[(DropReason::Expired, 1)]));
            assert_eq!((bench.held(), bench.mailbox.next_deadline(&bench.limits)), (held, Some(at(next))));
        }
        assert_eq!(bench.gap(), 3);
    }

    /// Whatever the transport says: only its client acknowledges a message.
    #[test]
    fn what_was_handed_out_and_not_acknowledged_in_its_time_is_dropped() {
        for explicit in [false, true] {
            for outcome in [Some(Outcome::Written), Some(Outcome::Broken), None] {
                let end: [fn(&mut Bench) -> Lost; 2] =
                    [|bench| bench.expire_at(1000), |bench| bench.drop_all(DropReason::Abandoned)];
                for end in end {
                    let mut bench = Bench::with(1);
                    let (_, _, answer) = bench.poll(explicit.then_some(0));
                    bench.accept(typing("a", 1));
                    outcome.into_iter().for_each(|outcome| bench.mailbox.settle(answer, outcome));
                    assert_eq!(end(&mut bench).total(), 1, "{explicit} {outcome:?}");
                    assert_eq!((bench.held(), bench.gap()), (vec![], 1));
                    assert_eq!(bench.mailbox.dropped().count(), 1);
                }
            }
        }
    }

    #[test]
    fn a_client_that_ends_its_subscription_acknowledges_what_it_was_written() {
        for (explicit, outcome, acknowledged) in
            [(false, Outcome::Written, 2), (false, Outcome::Broken, 0), (true, Outcome::Written, 0)]
        {
            let mut bench = Bench::with(2);
            let (_, _, answer) = bench.poll(explicit.then_some(0));
            bench.mailbox.settle(answer, outcome);
            bench.accept(message(1));
            assert_eq!(bench.mailbox.acknowledge_by_going_on(), acknowledged);
            assert_eq!(bench.drop_all(DropReason::Abandoned).total(), 3 - acknowledged);
        }
    }
}

mod acknowledgement {
    use super::*;

    #[test]
    fn a_poll_without_last_event_id_acknowledges_what_was_written() {
        for (outcome, acknowledged) in [(Some(Outcome::Written), 3), (Some(Outcome::Broken), 0), (None, 0)] {
            let mut bench = Bench::with(3);
            let (_, _, answer) = bench.poll(None);
            bench.accept(message(1));
            outcome.into_iter().for_each(|outcome| bench.mailbox.settle(answer, outcome));
            let (released, ids, _) = bench.poll(None);
            assert_eq!((released, ids), (acknowledged, (acknowledged + 1..=4).collect()), "{outcome:?}");
        }
    }

    #[test]
    fn last_event_id_acknowledges_what_came_with_it_and_before() {
        // Of five messages, three were handed out.
        for outcome in [None, Some(Outcome::Written), Some(Outcome::Broken)] {
            for (last_event_id, acknowledged) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (u64::MAX, 0)] {
                let mut bench = Bench::with(5);
                let answer = bench
                    .mailbox
                    .take(Take::up_to(BatchLimits { messages: 3, ..ALL }), || None)
                    .unwrap()
                    .handout;
                outcome.into_iter().for_each(|outcome| bench.mailbox.settle(answer, outcome));
                let (released, ids, _) = bench.poll(Some(last_event_id));
                assert_eq!(released, acknowledged, "{outcome:?} {last_event_id}");
                assert_eq!(ids, (acknowledged + 1..=5).collect::<Vec<_>>(), "{outcome:?} {last_event_id}");
            }
        }
    }

    #[test]
    fn who_acknowledges_explicitly_acknowledges_nothing_by_polling() {
        let mut bench = Bench::with(2);
        let (_, _, answer) = bench.poll(Some(0));
        bench.mailbox.settle(answer, Outcome::Written);
        assert_eq!(bench.poll(None).1, [1, 2]);
        assert_eq!(bench.poll(Some(1)).1, [2]);
    }

    #[test]
    fn nothing_acknowledged_comes_back() {
        let mut bench = Bench::with(3);
        bench.poll(None);
        assert_eq!(bench.poll(Some(2)).0, 2);
        assert_eq!(bench.poll(Some(1)), (0, vec![3], HandoutId(3)));
        assert!(!bench.mailbox.holds(EventId(2)) && bench.mailbox.holds(EventId(3)));
    }

    #[test]
    fn the_word_about_an_older_answer_does_not_count() {
        for outcome in [Outcome::Written, Outcome::Broken] {
            let mut bench = Bench::with(1);
            let (_, _, older) = bench.poll(None);
            bench.mailbox.begin_poll(Acknowledgement::default());
            bench.mailbox.settle(older, outcome);
            assert_eq!(
                bench.mailbox.begin_poll(Acknowledgement::default()),
                0,
                "nothing was handed out since"
            );
            let (_, _, newer) = bench.poll(None);
            bench.mailbox.settle(newer, Outcome::Written);
            bench.mailbox.settle(older, outcome);
            assert_eq!(bench.mailbox.begin_poll(Acknowledgement::default()), 1);
        }
    }

    #[test]
    fn what_comes_again_says_so() {
        let mut bench = Bench::with(2);
        bench.mailbox.take(Take::up_to(BatchLimits { messages: 1, ..ALL }), || None).unwrap();
        bench.mailbox.begin_poll(Acknowledgement::default());
        let batch = bench.mailbox.take(Take::up_to(ALL), || None).unwrap();
        assert_eq!(batch.messages.iter().map(|m| m.redelivered).collect::<Vec<_>>(), [true, false]);
    }
}

mod answers_with_an_id {
    use super::*;

    /// Takes up to this message for an answer of this id.
    fn take(mailbox: &mut Mailbox, answer: u64, up_to: u64) -> Batch {
        let take = Take { answer: Some(EventId(answer)), up_to: Some(EventId(up_to)), ..Take::up_to(ALL) };
        mailbox.take(take, || None).unwrap()
    }

    fn acknowledge(mailbox: &mut Mailbox, id: u64) -> u64 {
        mailbox.begin_poll(Some(EventId(id)).into())
    }

    #[test]
    fn an_id_acknowledges_no_more_than_its_answer_carried() {
        let mut bench = Bench::with(4);
        take(&mut bench.mailbox, 10, 2);
        acknowledge(&mut bench.mailbox, 0);
        take(&mut bench.mailbox, 20, 4);
        assert_eq!(acknowledge(&mut bench.mailbox, 10), 2, "and not what the other one carried");
        assert_eq!(acknowledge(&mut bench.mailbox, 10), 0);
        assert_eq!(acknowledge(&mut bench.mailbox, 15), 0, "nobody knows this one");
        assert_eq!(acknowledge(&mut bench.mailbox, 20), 2);
    }

    #[test]
    fn the_last_message_stands_for_its_answer_until_another_one_carries_it() {
        let mut bench = Bench::with(2);
        take(&mut bench.mailbox, 10, 2);
        assert_eq!(bench.mailbox.answer_with(EventId(2)), Some(EventId(10)));
        assert_eq!(bench.mailbox.answer_with(EventId(1)), None);
        bench.poll(Some(0));
        assert_eq!(bench.mailbox.answer_with(EventId(2)), None);
        let mut bench = Bench::with(1);
        take(&mut bench.mailbox, 10, 1);
        bench.mailbox.begin_poll(Acknowledgement::default());
        bench.mailbox.take_to_deliver();
        assert_eq!(bench.mailbox.answer_with(EventId(1)), None, "a delivery carries it as well");
    }

    #[test]
    fn losses_that_were_told_of_with_nothing_new_are_acknowledged_by_an_id_of_their_own() {
        let mut bench = Bench::with(2);
        bench.drop_all(DropReason::Purged);
        let batch = bench.mailbox.take(Take::up_to(ALL), || Some(EventId(9))).unwrap();
        assert_eq!((batch.gap, batch.answer), (2, Some(EventId(9))));
        bench.mailbox.settle(batch.handout, Outcome::Written);
        for (last_event_id, gap) in [(0, 2), (2, 2), (9, 0)] {
            acknowledge(&mut bench.mailbox, last_event_id);
            assert_eq!(bench.mailbox.gap(), gap, "{last_event_id}");
        }
    }

    #[test]
    fn losses_that_were_told_of_and_not_acknowledged_are_no_news() {
        let mut bench = Bench::with(1);
        bench.drop_all(DropReason::Purged);
        let batch = bench.mailbox.take(Take::up_to(ALL), || Some(EventId(9))).unwrap();
        bench.mailbox.settle(batch.handout, Outcome::Written);
        acknowledge(&mut bench.mailbox, 0);
        assert!(!bench.mailbox.has_news());
        let waits = Take { last: false, ..Take::up_to(ALL) };
        assert!(bench.mailbox.take(waits, || None).is_none(), "a poll that waits is not ended by them");
        assert_eq!(bench.mailbox.take(Take::up_to(ALL), || None).unwrap().gap, 1, "but told of them");
    }

    #[test]
    fn what_left_behind_older_messages_still_acknowledges_these() {
        let mut bench = Bench::with(2);
        bench.accept(typing("a", 1));
        bench.poll(Some(0));
        bench.expire_at(10);
        assert_eq!(bench.held(), [1, 2]);
        assert_eq!(acknowledge(&mut bench.mailbox, 3), 2);
    }

    #[test]
    fn a_client_that_will_acknowledge_is_believed_from_the_first_answer_on() {
        let mut bench = Bench::with(1);
        let explicitly =
            Acknowledgement { last_event_id: None, explicitly: true, ..Acknowledgement::default() };
        bench.mailbox.begin_poll(explicitly);
        let batch = bench.mailbox.take(Take::up_to(ALL), || None).unwrap();
        bench.mailbox.settle(batch.handout, Outcome::Written);
        assert_eq!(bench.mailbox.begin_poll(explicitly), 0);
    }

    #[test]
    fn what_was_written_may_turn_out_broken() {
        let mut bench = Bench::with(1);
        let (_, _, answer) = bench.poll(None);
        bench.mailbox.settle(answer, Outcome::Written);
        bench.mailbox.settle(answer, Outcome::Broken);
        assert_eq!(bench.poll(None), (0, vec![1], HandoutId(2)));
    }

    #[test]
    fn a_piece_of_a_stream_that_broke_is_sent_again_and_no_more() {
        let mut bench = Bench::with(1);
        let more = Take { goes_on: true, last: false, ..Take::up_to(ALL) };
        let first = bench.mailbox.take(more, || None).unwrap();
        bench.mailbox.settle(first.handout, Outcome::Written);
        bench.accept(message(1));
        let second = bench.mailbox.take(more, || None).unwrap();
        bench.mailbox.settle(second.handout, Outcome::Broken);
        assert_eq!(ids(&bench.mailbox.take(more, || None).unwrap()), [2]);
    }

    #[test]
    fn few_answers_are_remembered() {
        let mut bench = Bench::with(1);
        for answer in 10..1000 {
            take(&mut bench.mailbox, answer, 1);
            bench.mailbox.begin_poll(Acknowledgement::default());
        }
        assert_eq!(acknowledge(&mut bench.mailbox, 10), 0, "long forgotten");
        assert_eq!(acknowledge(&mut bench.mailbox, 999), 1);
    }
}

mod batches {
    use super::*;

    #[test]
    fn a_batch_is_limited_by_count_and_by_bytes() {
        for (costs, messages, bytes, taken) in [
            (&[1, 1, 1][..], 2, 99, 2),
            (&[1, 1, 1], 0, 99, 1),
            (&[4, 4, 4], 9, 8, 2),
            (&[4, 4, 4], 9, 7, 1),
            (&[4, 4, 4], 9, 12, 3),
            (&[9, 1, 1], 9, 5, 1),
            (&[9, 1, 1], 9, 0, 1),
            (&[1, 9, 1], 9, 5, 1),
            (&[0, 0, 5], 9, 4, 2),
        ] {
            let mut bench = Bench::new(wide());
            costs.iter().for_each(|cost| bench.accept(message(*cost)));
            let batch = bench.mailbox.take(Take::up_to(BatchLimits { messages, bytes }), || None).unwrap();
            assert_eq!(ids(&batch), (1..=taken).collect::<Vec<_>>(), "{costs:?} {messages} {bytes}");
            assert_eq!(batch.pending, 3 - taken, "{costs:?} {messages} {bytes}");
        }
    }

    #[test]
    fn an_empty_mailbox_has_nothing_to_say() {
        let mut bench = Bench::new(wide());
        assert!(!bench.mailbox.has_news() && bench.mailbox.take(Take::up_to(ALL), || None).is_none());
    }
}

mod gap {
    use super::*;

    /// A mailbox that lost two messages and holds none.
    fn with_gap_2() -> Bench {
        let mut bench = Bench::with(2);
        bench.drop_all(DropReason::Purged);
        bench
    }

    #[test]
    fn a_gap_is_told_until_it_was_written() {
        let mut bench = with_gap_2();
        for (outcome, told) in [(Outcome::Broken, 2), (Outcome::Written, 2), (Outcome::Written, 3)] {
            let batch = bench.mailbox.take(Take::up_to(ALL), || None).unwrap();
            assert_eq!((batch.gap, ids(&batch)), (told, vec![]));
            bench.mailbox.settle(batch.handout, outcome);
            if outcome == Outcome::Written {
                bench.mailbox.begin_poll(Acknowledgement::default());
                assert!(!bench.mailbox.has_news());
                (0..3).for_each(|_| bench.accept(message(1)));
                bench.drop_all(DropReason::Purged);
            }
        }
    }

    #[test]
    fn what_is_lost_while_an_answer_is_written_is_told_later() {
        let mut bench = with_gap_2();
        bench.accept(message(1));
        let (_, _, answer) = bench.poll(None);
        bench.expire_at(1000);
        bench.mailbox.settle(answer, Outcome::Written);
        assert_eq!(bench.gap(), 1);
    }

    #[test]
    fn an_answer_that_a_newer_poll_overtook_told_nothing() {
        let mut bench = with_gap_2();
        let (_, _, answer) = bench.poll(None);
        bench.mailbox.begin_poll(Acknowledgement::default());
        bench.mailbox.settle(answer, Outcome::Written);
        assert_eq!(bench.gap(), 2);
    }

    /// Unless the newer poll acknowledges a message that only this answer held.
    #[test]
    fn who_acknowledges_an_answer_was_told_of_its_gap() {
        for (before, last_event_id, gap) in [(0, 3, 0), (0, u64::MAX, 2), (0, 2, 2), (1, 3, 2)] {
            let mut bench = with_gap_2();
            bench.accept(message(1));
            for _ in 0..before {
                let (_, _, answer) = bench.poll(None);
                bench.mailbox.settle(answer, Outcome::Broken);
            }
            bench.poll(None);
            bench.mailbox.begin_poll(Some(EventId(last_event_id)).into());
            assert_eq!(bench.gap(), gap, "{before} {last_event_id}");
        }
    }

    #[test]
    fn an_older_acknowledgement_says_nothing_of_an_answer_without_messages() {
        let mut bench = Bench::with(1);
        bench.poll(None);
        bench.mailbox.begin_poll(Some(EventId(1)).into());
        bench.accept(message(1));
        bench.drop_all(DropReason::Purged);
        bench.poll(Some(1));
        bench.mailbox.begin_poll(Some(EventId(1)).into());
        assert_eq!(bench.gap(), 1);
    }

    #[test]
    fn a_purge_does_not_forget_what_is_being_told() {
        let mut bench = with_gap_2();
        bench.accept(message(1));
        let (_, _, answer) = bench.poll(None);
        assert_eq!(bench.drop_all(DropReason::Purged), lost(&[(DropReason::Purged, 1)]));
        bench.mailbox.settle(answer, Outcome::Written);
        assert_eq!(bench.gap(), 1);
    }
}

mod dropped_set {
    use super::*;

    fn keeping(drop_life_time: u64, messages: u64) -> Bench {
        Bench::new(Limits { drop_life_time: s(drop_life_time), messages: AtMost(messages), ..wide() })
    }

    #[test]
    fn the_timer_starts_with_the_first_message_and_ends_the_set() {
        let mut bench = keeping(100, 9);
        bench.offer_wishing(message(1), Some(s(10))).outcome.unwrap();
        bench.now = 5;
        bench.offer_wishing(message(1), Some(s(200))).outcome.unwrap();
        bench.expire_at(99);
        assert_eq!(bench.dropped(), [(1, DropReason::Expired)]);
        assert_eq!(bench.mailbox.next_deadline(&bench.limits), Some(at(100)));
        bench.expire_at(100);
        assert_eq!(bench.dropped(), []);
        assert_eq!(bench.expire_at(205).total(), 1);
        assert_eq!((bench.dropped(), bench.gap()), (vec![], 2), "its time was over before it came in");
        assert_eq!(bench.mailbox.next_deadline(&bench.limits), None);
    }

    #[test]
    fn the_timer_starts_anew_after_the_mailbox_was_empty() {
        let mut bench = keeping(100, 9);
        bench.accept(message(1));
        bench.drop_all(DropReason::Purged);
        bench.now = 60;
        bench.accept(message(1));
        bench.expire_at(159);
        assert_eq!(bench.dropped(), [(1, DropReason::Purged)]);
        bench.expire_at(160);
        assert_eq!(bench.dropped(), []);
    }

    #[test]
    fn replacing_or_evicting_the_last_message_does_not_restart_the_timer() {
        for (only, newer) in [
            (presence("a", 1), presence("a", 1)),
            (typing("a", 1), typing("a", 1)),
            (typing("a", 1), message(1)),
            (message(1), message(1)),
        ] {
            let mut bench = keeping(100, 1);
            bench.limits.overflow = Overflow::DropOldest;
            bench.accept(only);
            bench.now = 5;
            bench.offer(newer).outcome.unwrap();
            bench.limits.messages = Unlimited;
            bench.accept(message(1));
            bench.drop_all(DropReason::Purged);
            bench.expire_at(99);
            assert!(bench.dropped().contains(&(3, DropReason::Purged)));
            bench.expire_at(100);
            assert_eq!(bench.dropped(), []);
        }
    }

    #[test]
    fn a_drop_life_time_of_0_keeps_nothing() {
        let mut bench = keeping(0, 9);
        bench.accept(message(1));
        assert_eq!(bench.drop_all(DropReason::Purged).total(), 1);
        assert_eq!((bench.dropped(), bench.mailbox.next_deadline(&bench.limits)), (vec![], None));
    }

    #[test]
    fn drop_all_drops_what_waits_and_what_is_in_flight() {
        for reason in [DropReason::Abandoned, DropReason::Purged] {
            let mut bench = Bench::with(2);
            bench.offer_wishing(message(1), Some(s(5))).outcome.unwrap();
            bench.accept(typing("a", 1));
            bench.mailbox.take(Take::up_to(BatchLimits { messages: 1, ..ALL }), || None).unwrap();
            bench.now = 5;
            let left = bench.drop_all(reason);
            assert_eq!(left.by_reason().collect::<Vec<_>>().len(), 2);
            assert_eq!((left.total(), left.replaced()), (3, 1));
            assert_eq!(bench.dropped(), [(3, DropReason::Expired), (1, reason), (2, reason)]);
            assert_eq!(bench.mailbox.dropped().map(|d| d.dropped_at).collect::<Vec<_>>(), [at(5); 3]);
            assert_eq!((bench.held(), bench.gap()), (vec![], 3));
        }
    }
}

#[test]
#[should_panic(expected = "event ids grow for ever")]
fn an_id_that_does_not_grow_is_a_mistake_of_ours() {
    let mut bench = Bench::with(1);
    bench.newest = 0;
    bench.offer(message(1)).outcome.ok();
}
