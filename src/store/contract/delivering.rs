//! Delivering: turns, order, and who is called at all.

use super::Ground;
use super::ground::{new_mailbox, rung, s, was_rung};
use crate::mailbox::{ConnectionSettings, DeliveryMode, MailboxId, Outcome, Subscription};
use crate::store::{Bell, Delivery, Due, EndedBy, NewMailbox, Patience, Standing, Taken};

const PATIENCE: Patience = Patience(s(30));

/// A mailbox whose client is called.
async fn called(ground: &Ground, n: u64) -> MailboxId {
    let new = new_mailbox(n, ground.now + s(10_000));
    let connection = ConnectionSettings { mode: DeliveryMode::Default, ..ConnectionSettings::default() };
    let callback = Some("http://10.1.2.3:4000".into());
    let subscription = Subscription { connection, callback, ..new.subscription };
    ground.store.create(NewMailbox { subscription, ..new }).await.unwrap()
}

async fn due(ground: &Ground, mailbox: MailboxId, bell: &Bell) -> Due {
    ground.store.take_delivery(mailbox, bell, PATIENCE, &ground.limits, ground.now).await.0
}

fn standing(ground: &Ground, mailbox: MailboxId) -> Standing {
    ground.store.standing(mailbox, PATIENCE, ground.now)
}

async fn begin(ground: &Ground, mailbox: MailboxId) -> (Delivery, Bell) {
    let bell = Bell::default();
    match due(ground, mailbox, &bell).await {
        Due::Message(delivery) => (delivery, bell),
        other => panic!("{other:?}"),
    }
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.message.body.to_vec()).unwrap()
}

pub(crate) async fn messages_are_delivered_in_order_one_at_a_time(ground: Ground) {
    let mailbox = called(&ground, 1).await;
    ground.offer(mailbox, "1").await;
    ground.offer(mailbox, "2").await;
    for (expected, accepted) in [("1", false), ("1", true), ("2", true)] {
        assert_eq!(standing(&ground, mailbox), Standing::Waiting);
        let (delivery, bell) = begin(&ground, mailbox).await;
        assert_eq!(body(&delivery), expected);
        assert!(matches!(due(&ground, mailbox, &Bell::default()).await, Due::Polled), "one at a time");
        if expected == "2" {
            ground.offer(mailbox, "3").await;
            assert!(!was_rung(&bell).await, "what comes does not disturb a delivery");
        }
        assert!(!accepted || ground.store.accept_delivery(mailbox, delivery));
    }
    assert_eq!(ground.polled(mailbox, None).await, ["3"]);
    assert_eq!(ground.store.totals().messages, 1);
}

pub(crate) async fn only_mailboxes_to_be_called_are_named(ground: Ground) {
    let (polled, first, second) =
        (ground.mailbox().await, called(&ground, 7).await, called(&ground, 8).await);
    for mailbox in [polled, second, first, second] {
        ground.offer(mailbox, "1").await;
    }
    assert_eq!(ground.store.arrivals().await, [first, second]);
    // Nothing is named twice: the next word is about what comes next.
    let (named, _) = tokio::join!(ground.store.arrivals(), ground.offer(first, "2"));
    assert_eq!(named, [first]);
    ground.store.purge(second, &ground.limits, ground.now).await.unwrap();
    ground.store.replay(second, &ground.limits, ground.now).await.unwrap();
    assert_eq!(ground.store.arrivals().await, [second], "what is replayed is to be delivered too");
}

pub(crate) async fn a_poll_takes_the_turn_from_a_deliverer(ground: Ground) {
    let mailbox = called(&ground, 1).await;
    ground.offer(mailbox, "1").await;
    ground.offer(mailbox, "2").await;
    let (delivery, bell) = begin(&ground, mailbox).await;
    let (turn, _poll) = ground.begin(mailbox, None);
    rung(&bell).await;
    let Taken::Batch(batch, mut settlement) = ground.take(mailbox, turn).await else { panic!() };
    assert_eq!(batch.messages.len(), 2, "a poll takes what is waiting");
    assert!(batch.messages[0].redelivered && !batch.messages[1].redelivered);
    // What the deliverer says afterwards takes nothing from the poll.
    drop(delivery);
    settlement.settle(Outcome::Written);
    assert_eq!(ground.polled(mailbox, None).await, [""; 0]);
}

pub(crate) async fn a_deliverer_takes_the_turn_from_no_poll(ground: Ground) {
    let mailbox = called(&ground, 1).await;
    let (turn, poll) = ground.begin(mailbox, None);
    assert!(matches!(ground.take(mailbox, turn).await, Taken::Nothing));
    ground.offer(mailbox, "1").await;
    assert_eq!(standing(&ground, mailbox), Standing::Polled);
    assert!(matches!(due(&ground, mailbox, &Bell::default()).await, Due::Polled));
    rung(&poll).await;
    // A poll that waits no longer, and took nothing.
    ground.store.leave(mailbox, turn);
    let (delivery, _) = begin(&ground, mailbox).await;
    assert_eq!(body(&delivery), "1");
}

pub(crate) async fn what_an_answer_carried_is_left_to_the_client(mut ground: Ground) {
    let mailbox = called(&ground, 1).await;
    ground.offer(mailbox, "1").await;
    let (turn, _) = ground.begin(mailbox, None);
    let Taken::Batch(_, mut settlement) = ground.take(mailbox, turn).await else { panic!() };
    assert_eq!(standing(&ground, mailbox), Standing::Polled, "the answer is being written");
    settlement.settle(Outcome::Written);
    assert_eq!(standing(&ground, mailbox), Standing::Nothing);
    ground.offer(mailbox, "2").await;
    let (delivery, _) = begin(&ground, mailbox).await;
    assert_eq!((body(&delivery).as_str(), delivery.acknowledged), ("2", 1));
    let event = delivery.event();
    ground.store.accept_delivery(mailbox, delivery);
    // A client that acknowledges explicitly is waited for, and not for ever.
    ground.offer(mailbox, "3").await;
    ground.polled(mailbox, Some(event)).await;
    assert_eq!(standing(&ground, mailbox), Standing::Polled);
    ground.now = ground.now + PATIENCE.0;
    let (delivery, _) = begin(&ground, mailbox).await;
    assert_eq!((body(&delivery).as_str(), delivery.acknowledged), ("3", 0));
}

pub(crate) async fn the_end_of_a_mailbox_ends_its_delivery(ground: Ground) {
    let mailbox = called(&ground, 1).await;
    ground.offer(mailbox, "1").await;
    let (delivery, bell) = begin(&ground, mailbox).await;
    assert_eq!(
        ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap().lost.total(),
        1
    );
    rung(&bell).await;
    assert!(!ground.store.accept_delivery(mailbox, delivery));
    assert_eq!(standing(&ground, mailbox), Standing::Ended);
    assert!(matches!(due(&ground, mailbox, &bell).await, Due::Ended));
}

pub(crate) async fn who_waits_for_a_delivered_message_is_told(ground: Ground) {
    let mailbox = called(&ground, 1).await;
    let event = ground.offer(mailbox, "1").await;
    let left = ground.store.left(mailbox, event);
    tokio::pin!(left);
    let (delivery, _) = begin(&ground, mailbox).await;
    let delivered = async {
        tokio::task::yield_now().await;
        ground.store.accept_delivery(mailbox, delivery)
    };
    assert_eq!(tokio::join!(left, delivered), (true, true));
}
