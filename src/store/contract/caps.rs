//! What the whole store may hold, and what it says that it holds.

use super::Ground;
use super::ground::{bodies, new_mailbox};
use crate::mailbox::{Bound, Class, EventId, Outcome, Refusal};
use crate::store::{Caps, CreateError, OfferError, StoreTotals};

pub(crate) async fn mailboxes_are_bounded(ground: Ground) {
    let ground = ground.with_caps(Caps { mailboxes: 2, bytes: 100 });
    let (first, _second) = (ground.mailbox().await, ground.mailbox().await);
    let third = new_mailbox(3, ground.now);
    assert_eq!(ground.store.create(third.clone()).await, Err(CreateError::TooMany));
    assert_eq!(ground.store.totals().mailboxes, 2);
    ground.store.end(first, &ground.limits, ground.now).await.unwrap();
    assert!(ground.store.create(third).await.is_ok());
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
    ground.store.end(other, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.store.totals(), totals(1, 0, 0, 1, 5));
}
