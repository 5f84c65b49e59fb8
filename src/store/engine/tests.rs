use super::*;
use crate::mailbox::{Class, Message};
use crate::store::contract::new_mailbox;

/// Follows nothing, and keeps nothing.
#[derive(Debug)]
struct Nobody;

impl Journal for Nobody {
    type Content = ();
    type Body = ();

    const FOLLOWS: bool = false;

    fn content(&self, _: EventId, (): &()) {}

    fn may_give(&self, _: EventId) -> bool {
        true
    }

    fn record(&self, _: Step<'_, Self>) -> Receipt {
        Receipt::nothing()
    }
}

fn engine() -> Engine<Nobody> {
    Engine::new(Nobody, Caps { mailboxes: 1000, bytes: 1 << 20 }, EventId(0), MailboxId(0))
}

#[test]
fn idle_mailboxes_cost_a_tick_nothing() {
    let engine = engine();
    for n in 0..100 {
        engine.create(new_mailbox(n, Timestamp::from_millis(1_000_000))).unwrap().1.ignore();
    }
    assert!(engine.due(Timestamp::from_millis(999_999)).is_empty());
    assert_eq!(engine.due(Timestamp::from_millis(1_000_000)).len(), 100);
}

#[test]
fn nothing_stays_of_what_is_over() {
    let engine = engine();
    let limits = Limits::default();
    for n in 0..100 {
        let end = Timestamp::from_millis(1_000 + n);
        let (mailbox, _) = engine.create(new_mailbox(n, end)).unwrap();
        engine.grant(mailbox, Some("7"), end).unwrap().ignore();
        let incoming = Incoming { class: Class::Message, cost: 1, message: () };
        engine.offer(mailbox, incoming, &limits, Timestamp::default()).unwrap().1.ignore();
    }
    engine.expire(&limits, Timestamp::from_millis(2_000));
    engine.expire(&limits, Timestamp::default() + limits.drop_life_time);
    assert!(engine.is_empty());
}

#[test]
fn an_empty_mailbox_that_ends_leaves_nothing_until_its_lease_would_have_ended() {
    let engine = engine();
    let limits = Limits::default();
    for n in 0..100 {
        let (mailbox, _) = engine.create(new_mailbox(n, Timestamp::from_millis(u64::MAX))).unwrap();
        engine.end(mailbox, EndedBy::Client, &limits, Timestamp::default()).unwrap().1.ignore();
    }
    assert!(engine.is_empty());
}

/// Whoever subscribes and unsubscribes again and again, with a message in between, has a bounded share.
#[test]
fn few_mailboxes_are_kept_of_one_address_after_their_end() {
    let limits = Limits::default();
    let subscriber = |n: u64| std::net::IpAddr::from([10, 0, 0, n as u8]);
    for (mailboxes, others, kept) in [(1000, 0, 64), (1000, 10, 74), (40, 0, 40)] {
        let caps = Caps { mailboxes, bytes: 1 << 20 };
        let engine = Engine::new(Nobody, caps, EventId(0), MailboxId(0));
        for n in 0..others + 300 {
            let mut new = new_mailbox(n, Timestamp::from_millis(u64::MAX));
            new.subscription.subscriber = Some(subscriber(if n < others { n + 2 } else { 1 }));
            let (mailbox, _) = engine.create(new).unwrap();
            let incoming = Incoming { class: Class::Message, cost: 1, message: () };
            engine.offer(mailbox, incoming, &limits, Timestamp::default()).unwrap().1.ignore();
            engine.end(mailbox, EndedBy::Other, &limits, Timestamp::default()).unwrap().1.ignore();
        }
        let totals = engine.totals();
        assert_eq!((totals.mailboxes, totals.ended_mailboxes), (0, kept));
        assert_eq!((totals.dropped_messages, totals.dropped_bytes), (kept, kept));
        assert_eq!(engine.deadlines().len() as u64, kept);
        engine.expire(&limits, Timestamp::default() + limits.drop_life_time);
        assert!(engine.is_empty());
    }
}

/// The tick found the lease over; before it could end the mailbox, the lease was renewed.
#[test]
fn a_lease_that_is_renewed_in_time_does_not_end() {
    let engine = engine();
    let (over, now) = (Timestamp::from_millis(1000), Timestamp::from_millis(2000));
    let (mailbox, _) = engine.create(new_mailbox(1, over)).unwrap();
    assert_eq!(engine.due(now), [mailbox]);
    engine.grant(mailbox, None, Timestamp::from_millis(9000)).unwrap().ignore();
    let slot = engine.slot(mailbox).unwrap();
    let lapsed = |state: &SlotState<()>| state.lease_ends <= now;
    assert!(engine.end_if(&slot, lapsed, EndedBy::Other, &Limits::default(), now, false).is_err());
    assert_eq!(engine.totals().mailboxes, 1);
}

/// Where messages are kept makes no difference to what a mailbox costs beside them.
#[test]
fn a_mailbox_without_contents_is_no_larger() {
    assert!(size_of::<SlotState<u64>>() <= size_of::<SlotState<Arc<Message>>>());
}
