//! The end of leases, mailboxes and messages.

use super::Ground;
use super::ground::{LEASE, ROOM, rung, s, token};
use crate::mailbox::{Acknowledgement, Class, DropReason, EventId, Outcome, Take};
use crate::store::{EndedBy, Gone, Lookup, OfferError, Taken, Turn};

pub(crate) async fn the_end_abandons_what_is_left(ground: Ground) {
    let mailbox = ground.mailbox().await;
    for body in ["1", "2", "3"] {
        ground.offer(mailbox, body).await;
    }
    let batch = ground.poll(mailbox, Some(EventId(0)), Outcome::Written).await.unwrap();
    ground.poll(mailbox, Some(batch.messages[0].id), Outcome::Broken).await;
    let lost = ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(lost.lost.by_reason().collect::<Vec<_>>(), [(DropReason::Abandoned, 2)]);
    let totals = ground.store.totals();
    assert_eq!((totals.mailboxes, totals.messages, totals.bytes), (0, 0, 0));
    assert_eq!((totals.dropped_messages, totals.dropped_bytes), (2, 2));
}

pub(crate) async fn a_lease_ends_and_may_be_prolonged_or_shortened(mut ground: Ground) {
    let start = ground.now;
    let (longer, shorter, left) = (ground.mailbox().await, ground.mailbox().await, ground.mailbox().await);
    ground.store.grant(longer, None, start + LEASE + s(10)).await.unwrap();
    ground.store.grant(shorter, None, start + s(10)).await.unwrap();
    for (seconds, ended, alive) in [
        (9, 0, vec![longer, shorter, left]),
        (10, 1, vec![longer, left]),
        (LEASE.as_secs() - 1, 0, vec![longer, left]),
        (LEASE.as_secs(), 1, vec![longer]),
        (LEASE.as_secs() + 9, 0, vec![longer]),
        (LEASE.as_secs() + 10, 1, vec![]),
        (LEASE.as_secs() + 99, 0, vec![]),
    ] {
        ground.now = start + s(seconds);
        assert_eq!(ground.store.expire(&ground.limits, ground.now).ended.len(), ended, "{seconds} s");
        let mut found = Vec::new();
        for n in 1..=3 {
            found.extend(ground.find(Lookup::Token(token(n))));
        }
        assert_eq!(found, alive, "{seconds} s");
        assert_eq!(ground.store.totals().mailboxes, alive.len() as u64);
    }
}

pub(crate) async fn messages_expire(mut ground: Ground) {
    let mailbox = ground.mailbox().await;
    let start = ground.now;
    ground.offer(mailbox, "1").await;
    ground.now = ground.now + s(60);
    ground.offer(mailbox, "2").await;
    assert_eq!(ground.store.oldest(), Some(start));
    let (_turn, bell) = ground.begin(mailbox, None);
    // Ended by the tick …
    ground.now = ground.now + s(1800 - 60);
    assert_eq!(ground.expire().by_reason().collect::<Vec<_>>(), [(DropReason::Expired, 1)]);
    rung(&bell).await;
    assert_eq!(ground.store.totals().messages, 1);
    // … or by the poll that comes before it.
    ground.now = ground.now + s(60);
    let (turn, _) = ground.begin(mailbox, None);
    let (taken, lost) = ground.store.take(mailbox, turn, Take::up_to(ROOM), &ground.limits, ground.now).await;
    assert_eq!(lost.total(), 1);
    let Taken::Batch(batch, _settlement) = taken else { panic!("a gap is to be told: {taken:?}") };
    assert_eq!((batch.messages.len(), batch.gap), (0, 2));
    assert_eq!(ground.store.oldest(), None);
}

pub(crate) async fn dropped_messages_are_kept_for_their_time(mut ground: Ground) {
    let mailbox = ground.mailbox().await;
    ground.offer(mailbox, "1").await;
    let start = ground.now;
    ground.now = start + s(1);
    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    for (seconds, kept) in [(1, 1), (57_599, 1), (57_600, 0)] {
        ground.now = start + s(seconds);
        ground.expire();
        assert_eq!(ground.store.totals().dropped_messages, kept, "{seconds} s");
    }
}

pub(crate) async fn an_ended_mailbox_does_nothing(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (turn, bell) = ground.begin(mailbox, None);
    let store = &ground.store;
    store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await, Err(Gone));
    assert_eq!(store.grant(mailbox, None, ground.now).await, Err(Gone));
    assert_eq!(store.begin_poll(mailbox, Acknowledgement::default(), &bell).unwrap_err(), Gone);
    assert!(matches!(ground.take(mailbox, turn).await, Taken::Ended));
    let offered = ground.offer_as(mailbox, "late", Class::Message).await;
    assert_eq!(offered.unwrap_err(), OfferError::Gone(Gone));
    store.leave(mailbox, Turn(99));
    assert_eq!(store.totals(), Default::default());
}
