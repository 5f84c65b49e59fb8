//! What operators see and do.

use super::Ground;
use super::ground::{LEASE, bodies, new_mailbox, rung, s, was_rung};
use crate::mailbox::{Bound, Class, DropReason, EventId, Lost, MailboxId, Outcome, Overflow, Replayed};
use crate::store::{EndedBy, Filter, Gone, MailboxState, ReplayError, Taken};

pub(crate) async fn mailboxes_are_listed_page_by_page(ground: Ground) {
    let mut mailboxes = Vec::new();
    for _ in 0..5 {
        mailboxes.push(ground.mailbox().await);
    }
    let list = async |after, most| -> Vec<MailboxId> {
        let page = ground.store.list(Filter::default(), after, most);
        page.iter().map(|report| report.id).collect()
    };
    assert_eq!(list(None, 9).await, mailboxes);
    assert_eq!(list(None, 2).await, mailboxes[..2]);
    assert_eq!(list(Some(mailboxes[1]), 2).await, mailboxes[2..4]);
    assert_eq!(list(Some(mailboxes[4]), 2).await, []);
}

pub(crate) async fn mailboxes_are_listed_by_principal_and_state(ground: Ground) {
    let (idle, polled, ended) = (ground.mailbox().await, ground.mailbox().await, ground.mailbox().await);
    let (turn, _bell) = ground.begin(polled, None);
    assert!(matches!(ground.take(polled, turn).await, Taken::Nothing));
    ground.offer(ended, "1").await;
    ground.store.end(ended, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    let with_principal = new_mailbox(2, ground.now).subscription.principal.unwrap().to_uppercase();
    for (principal, state, expected) in [
        (None, None, vec![idle, polled, ended]),
        (None, Some(MailboxState::Live), vec![idle, polled]),
        (None, Some(MailboxState::Polled), vec![polled]),
        (None, Some(MailboxState::Ended), vec![ended]),
        (Some(with_principal.as_str()), None, vec![polled]),
        (Some(with_principal.as_str()), Some(MailboxState::Ended), vec![]),
        (Some("http://im.example/people/nobody"), None, vec![]),
    ] {
        let listed = ground.store.list(Filter { principal, state }, None, 9);
        let listed: Vec<MailboxId> = listed.iter().map(|report| report.id).collect();
        assert_eq!(listed, expected, "{principal:?} {state:?}");
    }
}

pub(crate) async fn a_report_says_what_is_in_a_mailbox(mut ground: Ground) {
    let mailbox = ground.mailbox().await;
    let start = ground.now;
    ground.store.grant(mailbox, Some("7"), start + s(500)).await.unwrap();
    let report = ground.store.report(mailbox).unwrap();
    assert_eq!((report.id, report.state, report.created), (mailbox, MailboxState::Live, start));
    assert_eq!((report.subscription_id.as_deref(), report.lease_ends), (Some("7"), start + s(500)));
    assert_eq!(*report.subscription, new_mailbox(1, start).subscription);
    assert_eq!((report.last_poll, report.oldest, report.gap), (None, None, 0));
    assert_eq!(report.totals, Default::default());

    ground.offer(mailbox, "12345").await;
    ground.now = start + s(5);
    ground.offer(mailbox, "123").await;
    ground.poll(mailbox, None, Outcome::Broken).await;
    let report = ground.store.report(mailbox).unwrap();
    assert_eq!((report.totals.messages, report.totals.bytes), (2, 8));
    assert_eq!((report.oldest, report.last_poll), (Some(start), Some(ground.now)));

    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    let report = ground.store.report(mailbox).unwrap();
    assert_eq!((report.state, report.gap), (MailboxState::Ended, 2));
    assert_eq!((report.totals.messages, report.totals.dropped_messages), (0, 2));
    assert_eq!(ground.store.report(MailboxId(u64::MAX)), Err(Gone));
}

pub(crate) async fn to_peek_hands_nothing_out(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let first = ground.offer(mailbox, "one").await;
    let presence = Class::Presence { key: "kari".into() };
    let second = ground.offer_as(mailbox, "online", presence.clone()).await.unwrap().outcome.unwrap();
    let third = ground.offer(mailbox, "three").await;
    let peeked = ground.store.messages(mailbox, EventId(0), 9).await.unwrap();
    let life_time = ground.limits.life_time.default_value();
    for (peeked, (id, class, body)) in peeked.iter().zip([
        (first, Class::Message, "one"),
        (second, presence, "online"),
        (third, Class::Message, "three"),
    ]) {
        assert_eq!((peeked.id, &peeked.class, peeked.cost), (id, &class, body.len() as u64));
        assert_eq!((peeked.received, peeked.expires), (ground.now, ground.now + life_time));
        assert_eq!(peeked.message.as_ref().unwrap().body, body);
        assert!(!peeked.handed_out);
    }
    let ids = async |after, most| -> Vec<EventId> {
        ground.store.messages(mailbox, after, most).await.unwrap().iter().map(|m| m.id).collect()
    };
    assert_eq!(ids(EventId(0), 2).await, [first, second]);
    assert_eq!(ids(second, 2).await, [third]);
    let batch = ground.poll(mailbox, None, Outcome::Broken).await.unwrap();
    assert!(batch.messages.iter().all(|m| !m.redelivered), "nothing was handed out before");
    let peeked = ground.store.messages(mailbox, EventId(0), 9).await.unwrap();
    assert!(peeked.iter().all(|m| m.handed_out));
    assert_eq!(ground.store.messages(MailboxId(u64::MAX), EventId(0), 9).await, Err(Gone));
}

pub(crate) async fn dropped_messages_may_be_looked_at(mut ground: Ground) {
    ground.limits.messages = Bound::AtMost(2);
    ground.limits.overflow = Overflow::DropOldest;
    let mailbox = ground.mailbox().await;
    let start = ground.now;
    let first = ground.offer(mailbox, "one").await;
    let second = ground.offer(mailbox, "two").await;
    ground.now = start + s(1);
    let third = ground.offer(mailbox, "three").await;
    for live in [true, false] {
        if !live {
            ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
        }
        let dropped = ground.store.dropped(mailbox, EventId(0), 9).await.unwrap();
        let rows: Vec<_> = dropped
            .iter()
            .map(|d| (d.id, d.reason, d.received, d.dropped_at, d.message.as_ref().unwrap().body.clone()))
            .collect();
        let abandoned = DropReason::Abandoned;
        let all = [
            (first, DropReason::Overflow, start, ground.now, "one".into()),
            (second, abandoned, start, ground.now, "two".into()),
            (third, abandoned, ground.now, ground.now, "three".into()),
        ];
        assert_eq!(rows, all[..if live { 1 } else { 3 }]);
    }
    let ids: Vec<EventId> =
        ground.store.dropped(mailbox, first, 1).await.unwrap().iter().map(|d| d.id).collect();
    assert_eq!(ids, [second]);
    assert_eq!(ground.store.dropped(MailboxId(u64::MAX), EventId(0), 9).await, Err(Gone));
}

pub(crate) async fn a_replay_offers_dropped_messages_again(mut ground: Ground) {
    let mailbox = ground.mailbox().await;
    let mut ids = Vec::new();
    for body in ["1", "2", "3"] {
        ids.push(ground.offer(mailbox, body).await);
    }
    let purged = ground.store.purge(mailbox, &ground.limits, ground.now).await.unwrap();
    assert_eq!(purged, Lost::of(DropReason::Purged, 3));
    assert_eq!(ground.store.totals().dropped_messages, 3);
    assert_eq!(ground.poll(mailbox, None, Outcome::Written).await.unwrap().gap, 3);
    ground.offer(mailbox, "4").await;

    ground.now = ground.now + s(60);
    ground.limits.messages = Bound::AtMost(3);
    ground.limits.overflow = Overflow::DropOldest;
    let replay = ground.store.replay(mailbox, &ground.limits, ground.now).await.unwrap();
    assert_eq!(replay.replayed, Replayed { replayed: 2, refused: 1 });
    let batch = ground.poll(mailbox, None, Outcome::Written).await.unwrap();
    assert_eq!(bodies(&batch), ["4", "1", "2"], "nothing made room for them");
    assert!(batch.messages.iter().all(|m| m.id > ids[2]), "ids never repeat");
    assert_eq!(batch.messages[1].received, ground.now);
    let stays: Vec<EventId> =
        ground.store.dropped(mailbox, EventId(0), 9).await.unwrap().iter().map(|d| d.id).collect();
    assert_eq!(stays, [ids[2]]);

    // The poll that waits is woken.
    let (turn, bell) = ground.begin(mailbox, None);
    assert!(matches!(ground.take(mailbox, turn).await, Taken::Nothing));
    let replay = ground.store.replay(mailbox, &ground.limits, ground.now).await.unwrap();
    assert_eq!(replay.replayed, Replayed { replayed: 1, refused: 0 });
    rung(&bell).await;
    let Taken::Batch(batch, _settlement) = ground.take(mailbox, turn).await else { panic!() };
    assert_eq!(bodies(&batch), ["3"]);
    let totals = ground.store.totals();
    assert_eq!((totals.messages, totals.dropped_messages, totals.dropped_bytes), (1, 0, 0));
    let nothing = ground.store.replay(mailbox, &ground.limits, ground.now).await.unwrap();
    assert_eq!(nothing.replayed, Replayed::default());
    // Replayed messages expire like others.
    ground.now = ground.now + ground.limits.life_time.default_value();
    assert_eq!(ground.expire().total(), 1);
}

pub(crate) async fn a_replay_needs_a_live_mailbox_and_room_in_the_store(ground: Ground) {
    let ground = ground.with_caps(crate::store::Caps { mailboxes: 9, bytes: 10 });
    let (ended, live, other) = (ground.mailbox().await, ground.mailbox().await, ground.mailbox().await);
    ground.offer(ended, "1").await;
    ground.store.end(ended, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    let replay = ground.store.replay(ended, &ground.limits, ground.now).await;
    assert_eq!(replay, Err(ReplayError::Ended));
    let nowhere = ground.store.replay(MailboxId(u64::MAX), &ground.limits, ground.now).await;
    assert_eq!(nowhere, Err(ReplayError::Gone(Gone)));
    ground.offer(live, "2").await;
    ground.store.purge(live, &ground.limits, ground.now).await.unwrap();
    ground.offer(other, "1234567890").await;
    let replay = ground.store.replay(live, &ground.limits, ground.now).await.unwrap();
    assert_eq!(replay.replayed, Replayed { replayed: 0, refused: 1 });
}

pub(crate) async fn a_purge_drops_everything_and_says_so(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let (_turn, bell) = ground.begin(mailbox, None);
    let event = ground.offer(mailbox, "1").await;
    assert!(was_rung(&bell).await);
    let store = ground.store.clone();
    let waiter = tokio::spawn(async move { store.left(mailbox, event).await });
    let lost = ground.store.purge(mailbox, &ground.limits, ground.now).await.unwrap();
    assert_eq!(lost, Lost::of(DropReason::Purged, 1));
    assert!(was_rung(&bell).await, "a gap is news");
    assert!(!waiter.await.unwrap(), "it was not acknowledged");
    assert_eq!(ground.store.totals().messages, 0);
    let batch = ground.poll(mailbox, None, Outcome::Written).await.unwrap();
    assert_eq!((batch.gap, batch.messages.len()), (1, 0));
    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now + LEASE).await.unwrap();
    assert_eq!(ground.store.purge(mailbox, &ground.limits, ground.now).await, Err(Gone));
}
