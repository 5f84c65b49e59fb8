//! Finding mailboxes.

use super::Ground;
use super::ground::{new_mailbox, poll_key, token, was_rung};
use crate::mailbox::Subscription;
use crate::store::{EndedBy, Gone, Lookup, NewMailbox, RotateError, Taken};

pub(crate) async fn by_token_and_poll_key(ground: Ground) {
    let (first, second) = (ground.mailbox().await, ground.mailbox().await);
    assert_ne!(first, second);
    for (wanted, found) in [
        (Lookup::Token(token(1)), vec![first]),
        (Lookup::Token(token(2)), vec![second]),
        (Lookup::Token(token(3)), vec![]),
        (Lookup::PollKey(poll_key(1)), vec![first]),
        (Lookup::PollKey(poll_key(2)), vec![second]),
        (Lookup::PollKey(poll_key(3)), vec![]),
    ] {
        assert_eq!(ground.find(wanted), found, "{wanted:?}");
    }
    ground.store.end(first, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    for wanted in [Lookup::Token(token(1)), Lookup::PollKey(poll_key(1))] {
        assert_eq!(ground.find(wanted), [], "{wanted:?} after the end");
    }
    assert_eq!(ground.find(Lookup::Token(token(2))), [second]);
}

pub(crate) async fn by_the_upstreams_id(ground: Ground) {
    let (first, second) = (ground.mailbox().await, ground.mailbox().await);
    let by = |node| Lookup::SubscriptionId { id: "7", node };
    assert_eq!(ground.find(by(None)), []);
    for mailbox in [first, second] {
        ground.store.grant(mailbox, Some("7"), ground.now).await.unwrap();
    }
    assert_eq!(ground.find(by(None)), [first, second]);
    assert_eq!(ground.find(by(Some("/node/1"))), [first]);
    assert_eq!(ground.find(by(Some("/node/2"))), [second]);
    assert_eq!(ground.find(by(Some("/node/3"))), []);
    ground.store.end(first, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.find(by(None)), [second]);
}

pub(crate) async fn a_new_id_takes_the_place_of_the_old_one(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let by = |id| Lookup::SubscriptionId { id, node: None };
    for (granted, found) in [(Some("7"), "7"), (None, "7"), (Some("7"), "7"), (Some("8"), "8")] {
        ground.store.grant(mailbox, granted, ground.now).await.unwrap();
        assert_eq!(ground.find(by(found)), [mailbox], "{granted:?}");
    }
    assert_eq!(ground.find(by("7")), []);
    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.store.grant(mailbox, Some("9"), ground.now).await, Err(Gone));
    for id in ["7", "8", "9"] {
        assert_eq!(ground.find(by(id)), [], "{id}");
    }
}

pub(crate) async fn a_new_poll_key_takes_the_place_of_the_old_one(ground: Ground) {
    let (mailbox, other) = (ground.mailbox().await, ground.mailbox().await);
    ground.offer(mailbox, "1").await;
    let (turn, bell) = ground.begin(mailbox, None);
    for (new, older) in [(7, 1), (8, 7)] {
        ground.store.rotate_key(mailbox, poll_key(new)).await.unwrap();
        assert_eq!(ground.find(Lookup::PollKey(poll_key(new))), [mailbox]);
        assert_eq!(ground.find(Lookup::PollKey(poll_key(older))), []);
    }
    assert_eq!(ground.find(Lookup::PollKey(poll_key(2))), [other]);
    assert_eq!(ground.find(Lookup::Token(token(1))), [mailbox]);
    // Whoever polls with the old key gets nothing more.
    assert!(was_rung(&bell).await);
    assert!(matches!(ground.take(mailbox, turn).await, Taken::Superseded));
    assert_eq!(ground.polled(mailbox, None).await, ["1"]);

    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.find(Lookup::PollKey(poll_key(8))), []);
    assert_eq!(ground.store.rotate_key(mailbox, poll_key(9)).await, Err(RotateError::Gone(Gone)));
    assert_eq!(ground.find(Lookup::PollKey(poll_key(9))), []);
}

pub(crate) async fn by_principal(ground: Ground) {
    let of = |n, principal: Option<&str>| NewMailbox {
        subscription: Subscription { principal: principal.map(Into::into), ..Subscription::default() },
        ..new_mailbox(n, ground.now)
    };
    let kari = "http://im.example/people/kari";
    let first = ground.store.create(of(1, Some(kari))).await.unwrap();
    let second = ground.store.create(of(2, Some("http://IM.example:80/people/Kari/"))).await.unwrap();
    let nobody = ground.store.create(of(3, None)).await.unwrap();
    assert_eq!(ground.find(Lookup::Principal(kari)), [first, second]);
    assert_eq!(ground.find(Lookup::Principal("http://im.example/people/alan")), []);
    for mailbox in [first, nobody] {
        ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    }
    assert_eq!(ground.find(Lookup::Principal(kari)), [second]);
}

pub(crate) async fn what_is_known_of_a_mailbox(ground: Ground) {
    let mailbox = ground.mailbox().await;
    let found = ground.store.find(Lookup::Token(token(1)));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, mailbox);
    assert_eq!(*found[0].subscription, new_mailbox(1, ground.now).subscription);
}

pub(crate) async fn a_mailbox_that_was_handed_on_is_polled_with_the_newer_one(ground: Ground) {
    let (older, newer) = (ground.mailbox().await, ground.mailbox().await);
    let lease = ground.now + super::ground::LEASE;
    for mailbox in [older, newer] {
        ground.store.grant(mailbox, Some("7"), lease).await.unwrap();
    }
    let (old_key, key) =
        (ground.store.keys(older).unwrap().poll_key, ground.store.keys(newer).unwrap().poll_key);
    ground.store.hand_on(older, newer).await.unwrap();
    assert_eq!(ground.find(Lookup::PollKey(old_key)), []);
    let mut both = ground.find(Lookup::PollKey(key));
    both.sort_unstable();
    assert_eq!(both, [older, newer]);
    assert_eq!(ground.find(Lookup::SubscriptionId { id: "7", node: None }), [newer]);
    // They go on together, until one of them ends.
    let next = poll_key(99);
    ground.store.rotate_key(newer, next).await.unwrap();
    assert_eq!((ground.find(Lookup::PollKey(key)).len(), ground.find(Lookup::PollKey(next)).len()), (0, 2));
    ground.store.end(newer, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.find(Lookup::PollKey(next)), [older]);
    ground.store.end(older, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.find(Lookup::PollKey(next)), []);
}
