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

/// Where messages are kept makes no difference to what a mailbox costs beside them.
#[test]
fn a_mailbox_without_contents_is_no_larger() {
    assert!(size_of::<SlotState<u64>>() <= size_of::<SlotState<Arc<Message>>>());
}
