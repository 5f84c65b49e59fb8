//! What the whole store may hold, and what it says that it holds.

use super::Ground;
use super::ground::{bodies, new_mailbox, s};
use crate::mailbox::{Bound, Class, EventId, Outcome, Refusal, Subscription};
use crate::store::{Caps, CreateError, EndedBy, NewMailbox, OfferError, Shares, StoreTotals};

pub(crate) async fn mailboxes_are_bounded(ground: Ground) {
    let ground = ground.with_caps(Caps { mailboxes: 2, bytes: 100 });
    let (first, _second) = (ground.mailbox().await, ground.mailbox().await);
    let third = new_mailbox(3, ground.now);
    assert_eq!(ground.store.create(third.clone()).await, Err(CreateError::TooMany));
    assert_eq!(ground.store.totals().mailboxes, 2);
    ground.store.end(first, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert!(ground.store.create(third).await.is_ok());
}

pub(crate) async fn a_principal_and_an_address_have_a_share_of_mailboxes(ground: Ground) {
    let of = |n: u64, principal: &str, address: &str| NewMailbox {
        subscription: Subscription {
            principal: Some(principal.into()),
            subscriber: Some(address.parse().unwrap()),
            ..Subscription::default()
        },
        shares: Shares { principal: 2, address: 3 },
        ..new_mailbox(n, ground.now + s(10))
    };
    let create = async |new| ground.store.create(new).await;
    let first = create(of(1, "http://im.example/kari", "2001:db8::1")).await.unwrap();
    create(of(2, "http://IM.example:80/kari/", "2001:db8::2")).await.unwrap();
    let of_kari = Err(CreateError::TooManyOfPrincipal);
    assert_eq!(create(of(3, "http://im.example/Kari", "10.0.0.1")).await, of_kari);
    let alan = "http://im.example/alan";
    create(of(4, alan, "2001:db8::ffff:1")).await.unwrap();
    let of_address = Err(CreateError::TooManyOfAddress);
    assert_eq!(create(of(5, alan, "2001:db8::3")).await, of_address);
    create(of(6, alan, "2001:db8:0:1::3")).await.unwrap();
    // What ends gives its place back, both ways; what was refused took none.
    ground.store.end(first, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    create(of(7, "http://im.example/kari", "2001:db8::4")).await.unwrap();
    assert_eq!(create(of(8, "http://im.example/other", "2001:db8::4")).await, of_address);
    let expired = ground.store.expire(&ground.limits, ground.now + s(10));
    assert_eq!(expired.ended.len(), 4);
    create(of(9, "http://im.example/kari", "2001:db8::4")).await.unwrap();
}

pub(crate) async fn bytes_are_bounded(ground: Ground) {
    let ground = ground.with_caps(Caps { mailboxes: 10, bytes: 10 });
    let (first, second) = (ground.mailbox().await, ground.mailbox().await);
    let offer = async |mailbox, body| ground.offer_as(mailbox, body, Class::Message).await;
    let full = Err(OfferError::StoreFull);
    assert_eq!(offer(first, "12345678901").await, full);
    let id = offer(first, "123456").await.unwrap().outcome.unwrap();
    assert_eq!(offer(second, "12345").await, full);
    assert!(offer(second, "1234").await.is_ok());
    assert_eq!(offer(second, "1").await, full);
    ground.poll(first, None, Outcome::Written).await;
    assert_eq!(offer(second, "1").await, full, "handed out is not acknowledged");
    ground.poll(first, Some(id), Outcome::Written).await;
    assert!(offer(second, "123456").await.is_ok());
}

pub(crate) async fn a_smaller_limit_removes_nothing(mut ground: Ground) {
    let mailbox = ground.mailbox().await;
    for body in ["1", "2", "3"] {
        ground.offer(mailbox, body).await;
    }
    ground.limits.messages = Bound::AtMost(2);
    let refused = ground.offer_as(mailbox, "4", Class::Message).await.unwrap();
    assert_eq!(refused.outcome, Err(Refusal::Full));
    let batch = ground.poll(mailbox, None, Outcome::Written).await.unwrap();
    assert_eq!(bodies(&batch), ["1", "2", "3"]);
    ground.poll(mailbox, Some(batch.messages[1].id), Outcome::Written).await;
    ground.offer(mailbox, "5").await;
}

pub(crate) async fn totals_follow_every_step(ground: Ground) {
    let (one, other) = (ground.mailbox().await, ground.mailbox().await);
    let totals = |mailboxes, messages, bytes, dropped_messages, dropped_bytes| StoreTotals {
        mailboxes,
        ended_mailboxes: 2 - mailboxes,
        messages,
        bytes,
        dropped_messages,
        dropped_bytes,
    };
    assert_eq!(ground.store.totals(), totals(2, 0, 0, 0, 0));
    let presence = || Class::Presence { key: "kari".into() };
    ground.offer_as(one, "online", presence()).await.unwrap().outcome.unwrap();
    ground.offer(other, "hello").await;
    assert_eq!(ground.store.totals(), totals(2, 2, 11, 0, 0));
    ground.offer_as(one, "away", presence()).await.unwrap().outcome.unwrap();
    assert_eq!(ground.store.totals(), totals(2, 2, 9, 0, 0), "a newer state in the older one's place");
    let batch = ground.poll(one, Some(EventId(0)), Outcome::Written).await.unwrap();
    assert_eq!(ground.store.totals(), totals(2, 2, 9, 0, 0), "handed out still counts");
    ground.poll(one, Some(batch.messages[0].id), Outcome::Written).await;
    assert_eq!(ground.store.totals(), totals(2, 1, 5, 0, 0));
    ground.store.end(other, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.store.totals(), totals(1, 0, 0, 1, 5));
}
