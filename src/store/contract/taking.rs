//! Offering, polling, taking, acknowledging.

use std::sync::Arc;

use super::Ground;
use super::ground::{ROOM, bodies, rung, s, was_rung};
use crate::mailbox::{BatchLimits, Bound, Class, EventId, LifeTimes, Outcome, Overflow, Refusal, Take};
use crate::store::{EndedBy, Taken};

pub(crate) async fn messages_leave_in_order_when_they_are_acknowledged(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (first, second) = (ground.offer(mailbox, "1").await, ground.offer(mailbox, "2").await);
    assert!(second > first);
    let batch = ground.poll(mailbox, None, Outcome::Written).await.unwrap();
    assert_eq!(
        batch.messages.iter().map(|m| (m.id, m.received)).collect::<Vec<_>>(),
        [(first, ground.now), (second, ground.now)]
    );
    let third = ground.offer(mailbox, "3").await;
    assert_eq!(ground.polled(mailbox, Some(first)).await, ["2", "3"]);
    assert_eq!(ground.polled(mailbox, Some(EventId(0))).await, ["2", "3"], "nothing more was acknowledged");
    let unknown = EventId(second.0 + 1_000_000);
    assert_eq!(ground.polled(mailbox, Some(unknown)).await, ["2", "3"], "no answer carried it");
    assert_eq!(ground.polled(mailbox, Some(third)).await, [""; 0]);
    assert_eq!(ground.store.totals().messages, 0);
}

pub(crate) async fn an_answer_that_was_written_is_acknowledged_by_the_next_poll(ground: Ground) {
    let mailbox = ground.mailbox().await;
    ground.offer(mailbox, "1").await;
    assert_eq!(ground.polled(mailbox, None).await, ["1"]);
    ground.offer(mailbox, "2").await;
    assert_eq!(ground.store.totals().messages, 2, "written is not yet acknowledged");
    assert_eq!(ground.polled(mailbox, None).await, ["2"]);
    assert_eq!(ground.polled(mailbox, None).await, [""; 0]);
}

pub(crate) async fn a_broken_answer_is_handed_out_again(ground: Ground) {
    let mailbox = ground.mailbox().await;
    ground.offer(mailbox, "1").await;
    let (turn, _bell) = ground.begin(mailbox, None);
    let Taken::Batch(batch, mut settlement) = ground.take(mailbox, turn).await else { panic!() };
    assert!(!batch.messages[0].redelivered);
    settlement.settle(Outcome::Broken);
    ground.offer(mailbox, "2").await;
    let again = ground.poll(mailbox, None, Outcome::Written).await.unwrap();
    assert_eq!(bodies(&again), ["1", "2"]);
    assert_eq!(again.messages.iter().map(|m| m.redelivered).collect::<Vec<_>>(), [true, false]);
    // The word about an answer that is not the latest one counts for nothing.
    settlement.settle(Outcome::Written);
    assert_eq!(ground.polled(mailbox, None).await, [""; 0]);
}

pub(crate) async fn a_stream_goes_on_behind_what_it_carried(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (turn, _bell) = ground.begin(mailbox, None);
    let mut seen = Vec::new();
    for body in ["1", "2", "3"] {
        ground.offer(mailbox, body).await;
        let (taken, _) = ground
            .store
            .take(
                mailbox,
                turn,
                Take { goes_on: true, last: false, ..Take::up_to(ROOM) },
                &ground.limits,
                ground.now,
            )
            .await;
        let Taken::Batch(batch, mut settlement) = taken else { panic!("{taken:?}") };
        settlement.settle(Outcome::Written);
        assert!(seen.is_empty() || batch.messages.iter().all(|m| !m.redelivered));
        seen.extend(bodies(&batch));
    }
    assert_eq!(seen, ["1", "2", "3"]);
    let (taken, _) = ground
        .store
        .take(
            mailbox,
            turn,
            Take { goes_on: true, last: false, ..Take::up_to(ROOM) },
            &ground.limits,
            ground.now,
        )
        .await;
    assert!(matches!(taken, Taken::Nothing), "{taken:?}");
    assert_eq!(ground.store.totals().messages, 3, "they stay until the client comes back");
    assert_eq!(ground.polled(mailbox, None).await, [""; 0]);
}

pub(crate) async fn a_batch_has_its_bounds(ground: Ground) {
    let mailbox = ground.mailbox().await;
    for body in ["1234", "5678", "9"] {
        ground.offer(mailbox, body).await;
    }
    for (messages, bytes, expected, pending) in
        [(1, 100, 1, 2), (2, 100, 2, 1), (100, 8, 2, 1), (100, 7, 1, 2), (100, 1, 1, 2), (100, 9, 3, 0)]
    {
        let (turn, _) = ground.begin(mailbox, Some(EventId(0)));
        let room = BatchLimits { messages, bytes };
        let taken = ground.store.take(mailbox, turn, Take::up_to(room), &ground.limits, ground.now).await.0;
        let Taken::Batch(batch, _settlement) = taken else { panic!("{taken:?}") };
        assert_eq!((batch.messages.len(), batch.pending), (expected, pending), "{room:?}");
    }
}

pub(crate) async fn a_newer_poll_takes_the_turn(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (older, older_bell) = ground.begin(mailbox, None);
    assert!(matches!(ground.take(mailbox, older).await, Taken::Nothing));
    let (newer, newer_bell) = ground.begin(mailbox, None);
    rung(&older_bell).await;
    assert!(matches!(ground.take(mailbox, older).await, Taken::Superseded));
    // That the older one leaves concerns nobody.
    ground.store.leave(mailbox, older);
    assert!(matches!(ground.take(mailbox, newer).await, Taken::Nothing));
    ground.offer(mailbox, "1").await;
    rung(&newer_bell).await;
    assert!(matches!(ground.take(mailbox, older).await, Taken::Superseded));
    assert!(matches!(ground.take(mailbox, newer).await, Taken::Batch(..)));
}

pub(crate) async fn the_bell_rings_for_whoever_has_the_turn(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (turn, bell) = ground.begin(mailbox, None);
    assert!(!was_rung(&bell).await);
    ground.offer(mailbox, "1").await;
    assert!(was_rung(&bell).await, "an offer");
    ground.store.leave(mailbox, turn);
    ground.offer(mailbox, "2").await;
    assert!(!was_rung(&bell).await, "it left");
    let (_, bell) = ground.begin(mailbox, None);
    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert!(was_rung(&bell).await, "the end");
}

/// A poll that found nothing waits for the bell; an offer at any moment must end that wait.
pub(crate) async fn a_wake_up_is_never_lost(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let ground = Arc::new(ground);
    const MESSAGES: usize = 2_000;
    let poller = {
        let ground = ground.clone();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < MESSAGES {
                let (turn, bell) = ground.begin(mailbox, None);
                loop {
                    match ground.take(mailbox, turn).await {
                        Taken::Nothing => rung(&bell).await,
                        Taken::Batch(batch, mut settlement) => {
                            seen.extend(bodies(&batch));
                            settlement.settle(Outcome::Written);
                            break;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            seen
        })
    };
    for n in 0..MESSAGES {
        while ground.offer_as(mailbox, &n.to_string(), Class::Message).await.unwrap().outcome
            == Err(Refusal::Full)
        {
            tokio::task::yield_now().await;
        }
    }
    let expected: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(poller.await.unwrap(), expected);
}

pub(crate) async fn with_life_time_zero_only_a_held_poll_gets_messages(mut ground: Ground) {
    let zero = LifeTimes::new(s(0), s(0), s(0)).unwrap();
    ground.limits.life_time = zero;
    let mailbox = ground.mailbox().await;
    let offer = async |body| ground.offer_as(mailbox, body, Class::Message).await.unwrap().outcome;
    assert_eq!(offer("nobody is there").await, Err(Refusal::NobodyPolls));
    let (turn, bell) = ground.begin(mailbox, None);
    assert_eq!(offer("it does not wait yet").await, Err(Refusal::NobodyPolls));
    assert!(matches!(ground.take(mailbox, turn).await, Taken::Nothing));
    assert!(offer("it waits").await.is_ok());
    rung(&bell).await;
    let Taken::Batch(batch, _settlement) = ground.take(mailbox, turn).await else { panic!() };
    assert_eq!(bodies(&batch), ["it waits"]);
    assert_eq!(offer("it is being answered").await, Err(Refusal::NobodyPolls));
}

pub(crate) async fn a_gap_is_told_until_an_answer_with_it_is_acknowledged(mut ground: Ground) {
    ground.limits.messages = Bound::AtMost(1);
    ground.limits.overflow = Overflow::DropOldest;
    let mailbox = ground.mailbox().await;
    for body in ["1", "2", "3"] {
        ground.offer(mailbox, body).await;
    }
    let mut answer = EventId(0);
    for (outcome, has_id) in [(Outcome::Broken, false), (Outcome::Written, true), (Outcome::Written, true)] {
        let batch = ground.poll(mailbox, Some(EventId(0)), outcome).await.unwrap();
        assert_eq!((batch.gap, bodies(&batch)), (2, vec!["3".to_owned()]));
        assert_eq!(batch.answer.is_some(), has_id, "at first the message stands for the answer");
        answer = batch.answer.unwrap_or_default();
    }
    assert!(ground.poll(mailbox, Some(answer), Outcome::Written).await.is_none());
    assert_eq!(ground.store.totals().messages, 0);
}

pub(crate) async fn who_waits_for_a_message_to_leave_is_told(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (first, second) = (ground.offer(mailbox, "1").await, ground.offer(mailbox, "2").await);
    let store = ground.store.clone();
    let acknowledged = tokio::spawn({
        let store = store.clone();
        async move { store.left(mailbox, first).await }
    });
    let abandoned = tokio::spawn(async move { store.left(mailbox, second).await });
    ground.poll(mailbox, None, Outcome::Written).await;
    ground.poll(mailbox, Some(first), Outcome::Written).await;
    assert!(acknowledged.await.unwrap());
    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert!(!abandoned.await.unwrap());
    assert!(!ground.store.left(mailbox, second).await, "long after");
}
