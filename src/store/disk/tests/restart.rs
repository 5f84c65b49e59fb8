//! What a store knows after it was opened again is what it knew before.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::simulated::Disk;
use super::*;
use crate::clock::{Boot, Reading};
use crate::mailbox::{
    Batch, BatchLimits, Bound, Class, ConnectionSettings, DeliveryMode, DropReason, HandoutId, Outcome,
    Overflow, Subscription,
};
use crate::store::contract::{message, new_mailbox};
use crate::store::{CreateError, MailboxState, Shares};

const CAPS: Caps = Caps { mailboxes: 100, bytes: 1 << 30 };

/// Any time: the store's times are those that its callers name.
const START: Timestamp = Timestamp::from_millis(1_000_000_000_000);

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// A machine whose clocks a test sets: a disk, and a gateway that starts and stops.
struct Machine {
    disk: Disk,
    /// Seconds since the start, by the wall clock.
    wall: Arc<AtomicU64>,
    boot: u128,
    store: Option<DiskStore>,
    limits: Limits,
}

impl Machine {
    fn start() -> Self {
        let wall = Arc::new(AtomicU64::new(0));
        let mut machine =
            Self { disk: Disk::default(), wall, boot: 1, store: None, limits: Limits::default() };
        machine.open();
        machine
    }

    fn open(&mut self) {
        let (wall, id) = (self.wall.clone(), self.boot);
        // A machine that says nothing of its boots: then the wall clock counts.
        let clock = Clock(Arc::new(move || {
            let now = after(wall.load(Relaxed));
            Reading { now, wall: now, boot: (id > 1).then_some(Boot { id, up: Duration::ZERO }) }
        }));
        // Nothing is in the cache after a start; without one it shows in tests of a single run too.
        let options = DiskOptions { clock, cache_bytes: 0, ..options(CAPS) };
        self.store = Some(self.disk.open(options));
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().unwrap()
    }

    fn now(&self) -> Timestamp {
        after(self.wall.load(Relaxed))
    }

    fn pass(&self, seconds: u64) {
        self.wall.fetch_add(seconds, Relaxed);
    }

    /// Everything is written, and the gateway starts anew.
    async fn restart(&mut self) {
        self.store().close().await;
        self.store = None;
        self.open();
    }

    /// The process is killed: what it had not written is not written.
    fn kill(&mut self) {
        self.disk.cut(0);
        self.store = None;
        self.open();
    }

    async fn mailbox(&self, n: u64) -> MailboxId {
        let new = NewMailbox { created: self.now(), ..new_mailbox(n, after(10_000)) };
        self.store().create(new).await.unwrap()
    }

    async fn offer_as(&self, mailbox: MailboxId, body: &str, class: Class) -> EventId {
        let offered = self.store().offer(mailbox, message(body, class), &self.limits, self.now()).await;
        offered.unwrap().outcome.unwrap()
    }

    async fn offer(&self, mailbox: MailboxId, body: &str) -> EventId {
        self.offer_as(mailbox, body, Class::Message).await
    }

    /// What a poll takes; its answer is written to the end.
    async fn poll(&self, mailbox: MailboxId, last: Option<EventId>) -> Batch {
        let bell = Bell::default();
        let (turn, _) = self.store().begin_poll(mailbox, last.into(), &bell).unwrap();
        let room = BatchLimits { messages: 100, bytes: 1 << 20 };
        let (taken, _) = self.store().take(mailbox, turn, Take::up_to(room), &self.limits, self.now()).await;
        match taken {
            Taken::Batch(batch, mut settlement) => {
                settlement.settle(Outcome::Written);
                batch
            }
            Taken::Nothing => {
                Batch { handout: HandoutId(0), messages: vec![], pending: 0, gap: 0, answer: None }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn bodies(&self, mailbox: MailboxId) -> Vec<String> {
        bodies(&self.poll(mailbox, Some(EventId(0))).await)
    }

    fn expire(&self) -> Lost {
        self.store().expire(&self.limits, self.now()).all_lost()
    }
}

fn bodies(batch: &Batch) -> Vec<String> {
    batch.messages.iter().map(|m| String::from_utf8(m.message.body.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn messages_survive_with_their_ids_and_their_order() {
    let mut machine = Machine::start();
    let (first, second) = (machine.mailbox(1).await, machine.mailbox(2).await);
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(machine.offer(first, &n.to_string()).await);
        machine.offer(second, &format!("other {n}")).await;
    }
    machine.pass(60);
    for killed in [true, false] {
        if killed {
            machine.kill()
        } else {
            machine.restart().await
        }
        let totals = machine.store().totals();
        assert_eq!((totals.mailboxes, totals.messages), (2, 100));
        let batch = machine.poll(first, Some(EventId(0))).await;
        let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        assert_eq!(bodies(&batch), expected);
        assert_eq!(batch.messages.iter().map(|m| m.id).collect::<Vec<_>>(), ids);
        assert!(batch.messages.iter().all(|m| m.received == START));
        assert_eq!(machine.bodies(second).await.len(), 50);
    }
    let recovery = machine.store().status().disk.recovery;
    assert_eq!((recovery.mailboxes, recovery.messages), (2, 100));
}

#[tokio::test]
async fn a_message_comes_back_as_it_was() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let sent = [
        Message {
            method: "NOTIFY".into(),
            header_lines: "A: b\r\nc: D\r\n".into(),
            body: vec![0, 255, 10].into(),
            class: Class::Message,
        },
        message("", Class::Presence { key: "kari".into() }),
        message("typing", Class::Typing { key: "kari".into() }),
    ];
    for sent in &sent {
        let offered = machine.store().offer(mailbox, sent.clone(), &machine.limits, machine.now()).await;
        offered.unwrap().outcome.unwrap();
    }
    machine.restart().await;
    let batch = machine.poll(mailbox, None).await;
    assert_eq!(batch.messages.iter().map(|m| (*m.message).clone()).collect::<Vec<_>>(), sent);
}

#[tokio::test]
async fn what_was_acknowledged_stays_acknowledged() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let mut ids = Vec::new();
    for body in ["1", "2", "3"] {
        ids.push(machine.offer(mailbox, body).await);
    }
    machine.poll(mailbox, None).await;
    machine.poll(mailbox, Some(ids[1])).await;
    machine.restart().await;
    assert_eq!(machine.bodies(mailbox).await, ["3"]);
    machine.poll(mailbox, Some(ids[2])).await;
    machine.restart().await;
    assert_eq!(machine.bodies(mailbox).await, [""; 0]);
    assert_eq!(machine.store().totals().messages, 0);
}

/// What the client holds from before counts, whether the store knows that it was handed out or not.
#[tokio::test]
async fn an_acknowledgement_from_before_is_obeyed() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let first = machine.offer(mailbox, "1").await;
    machine.offer(mailbox, "2").await;
    machine.poll(mailbox, None).await;
    machine.restart().await;
    let batch = machine.poll(mailbox, Some(first)).await;
    assert_eq!(bodies(&batch), ["2"]);
    assert!(batch.messages[0].redelivered, "it may have been");
}

/// A client that acknowledges with ids does so after a restart too: a poll without one acknowledges nothing.
#[tokio::test]
async fn how_a_client_acknowledges_survives() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    machine.offer(mailbox, "1").await;
    machine.poll(mailbox, Some(EventId(0))).await;
    machine.restart().await;
    assert_eq!(bodies(&machine.poll(mailbox, None).await), ["1"]);
    assert_eq!(bodies(&machine.poll(mailbox, None).await), ["1"]);
}

#[tokio::test]
async fn ids_never_repeat() {
    let mut machine = Machine::start();
    let mut newest = EventId(0);
    let mut mailboxes = Vec::new();
    for round in 0..6 {
        let mailbox = machine.mailbox(round).await;
        assert!(!mailboxes.contains(&mailbox));
        mailboxes.push(mailbox);
        let id = machine.offer(mailbox, "x").await;
        assert!(id > newest);
        // Drained, and even ended: nothing is left that the next ids could be told from.
        machine.poll(mailbox, None).await;
        machine.poll(mailbox, Some(id)).await;
        machine.store().end(mailbox, EndedBy::Other, &machine.limits, machine.now()).await.unwrap();
        newest = id;
        if round % 2 == 0 {
            machine.restart().await
        } else {
            machine.kill()
        }
        assert_eq!(machine.store().totals(), Default::default());
    }
}

/// A mailbox that is over is not called back to life by what happens to older ones.
#[tokio::test]
async fn the_id_of_a_mailbox_that_is_over_is_not_given_again() {
    let mut machine = Machine::start();
    let (older, newer) = (machine.mailbox(1).await, machine.mailbox(2).await);
    machine.store().end(newer, EndedBy::Other, &machine.limits, machine.now()).await.unwrap();
    machine.store().grant(older, Some("7"), after(5000)).await.unwrap();
    machine.restart().await;
    assert!(machine.mailbox(3).await > newer);
}

/// An id that a client may have seen in the moment before a crash is not given again.
#[tokio::test]
async fn an_id_that_was_given_and_not_written_is_not_given_again() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    machine.disk.ignore_syncs();
    let mut seen = EventId(0);
    for _ in 0..100 {
        seen = machine.offer(mailbox, "x").await;
    }
    let left = machine.disk.synced();
    machine.disk.cut(1);
    machine.store = None;
    machine.disk = Disk::with(left);
    machine.open();
    assert!(machine.offer(mailbox, "y").await > seen);
}

#[tokio::test]
async fn a_mailbox_is_found_by_all_its_names() {
    let mut machine = Machine::start();
    let subscription = Subscription {
        node: "/instmsg/aliases/kari".into(),
        principal: Some("http://im.example/kari".into()),
        callback: Some("http://10.1.2.3:4".into()),
        host: "im.example".into(),
        subscriber: Some("10.1.2.3".parse().unwrap()),
        message_life_time: Some(Duration::from_secs(77)),
        connection: ConnectionSettings { mode: DeliveryMode::Default, ..ConnectionSettings::default() },
        dialect: "gena".into(),
        upstream: "kitchen".into(),
    };
    let new = NewMailbox { subscription: subscription.clone(), ..new_mailbox(1, after(100)) };
    let mailbox = machine.store().create(new.clone()).await.unwrap();
    machine.store().grant(mailbox, Some("7"), after(5000)).await.unwrap();
    let before = machine.store().report(mailbox).unwrap();
    machine.restart().await;
    for wanted in [
        Lookup::Token(new.token),
        Lookup::PollKey(new.poll_key),
        Lookup::SubscriptionId { id: "7", node: Some("/instmsg/aliases/kari") },
        Lookup::Principal("http://im.example/kari"),
    ] {
        let found = machine.store().find(wanted);
        assert_eq!(found.len(), 1, "{wanted:?}");
        assert_eq!((found[0].id, &*found[0].subscription), (mailbox, &subscription), "{wanted:?}");
    }
    assert_eq!(machine.store().report(mailbox).unwrap(), before);
    assert_eq!(before.lease_ends, after(5000));
    // The wish of the subscription applies to what comes now.
    machine.offer(mailbox, "1").await;
    let peeked = machine.store().messages(mailbox, EventId(0), 9).await.unwrap();
    assert_eq!(peeked[0].expires, machine.now() + Duration::from_secs(77));
}

#[tokio::test]
async fn a_poll_key_that_was_replaced_does_not_come_back() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let (old, new) = (new_mailbox(1, after(1)).poll_key, new_mailbox(2, after(1)).poll_key);
    machine.store().rotate_key(mailbox, new).await.unwrap();
    machine.restart().await;
    assert!(machine.store().find(Lookup::PollKey(old)).is_empty());
    assert_eq!(machine.store().find(Lookup::PollKey(new))[0].id, mailbox);
}

#[tokio::test]
async fn the_shares_of_mailboxes_are_known_again() {
    let mut machine = Machine::start();
    let of = |n| {
        let new = new_mailbox(n, after(5000));
        let subscriber = Some("10.1.2.3".parse().unwrap());
        let subscription = Subscription { subscriber, ..new.subscription };
        NewMailbox { subscription, shares: Shares { principal: 1, address: 2 }, ..new }
    };
    let first = machine.store().create(of(1)).await.unwrap();
    machine.store().create(of(2)).await.unwrap();
    machine.restart().await;
    assert_eq!(machine.store().create(of(1)).await, Err(CreateError::TooManyOfPrincipal));
    assert_eq!(machine.store().create(of(3)).await, Err(CreateError::TooManyOfAddress));
    machine.store().end(first, EndedBy::Other, &machine.limits, machine.now()).await.unwrap();
    machine.restart().await;
    machine.store().create(of(3)).await.unwrap();
}

#[tokio::test]
async fn what_is_to_be_delivered_is_known_again() {
    let mut machine = Machine::start();
    let mut mailboxes = Vec::new();
    for (n, mode) in [(1, DeliveryMode::Default), (2, DeliveryMode::Polling), (3, DeliveryMode::Default)] {
        let connection = ConnectionSettings { mode, ..ConnectionSettings::default() };
        let new = new_mailbox(n, after(5000));
        let callback = Some("http://10.1.2.3:4000".into());
        let subscription = Subscription { connection, callback, ..new.subscription };
        mailboxes.push(machine.store().create(NewMailbox { subscription, ..new }).await.unwrap());
    }
    let waiting = [mailboxes[0], mailboxes[1]];
    for mailbox in waiting {
        machine.offer(mailbox, "1").await;
    }
    machine.restart().await;
    assert_eq!(machine.store().arrivals().await, [mailboxes[0]], "the only one to be called with something");
    let (now, patience) = (machine.now(), Patience(Duration::ZERO));
    let bell = Bell::default();
    let (due, _) = machine.store().take_delivery(mailboxes[0], &bell, patience, &machine.limits, now).await;
    let Due::Message(delivery) = due else { panic!("{due:?}") };
    assert_eq!(&delivery.message.message.body[..], b"1");
    assert!(machine.store().accept_delivery(mailboxes[0], delivery));
    machine.restart().await;
    assert_eq!(machine.store().totals().messages, 1, "what was accepted is gone for good");
}

#[tokio::test]
async fn what_was_dropped_survives_with_reason_and_timer() {
    let mut machine = Machine::start();
    machine.limits.messages = Bound::AtMost(2);
    machine.limits.overflow = Overflow::DropOldest;
    let (live, ended) = (machine.mailbox(1).await, machine.mailbox(2).await);
    let mut ids = Vec::new();
    for body in ["1", "2", "3"] {
        ids.push(machine.offer(live, body).await);
    }
    machine.offer(ended, "4").await;
    machine.pass(5);
    machine.store().end(ended, EndedBy::Other, &machine.limits, machine.now()).await.unwrap();
    let before = (
        machine.store().dropped(live, EventId(0), 9).await.unwrap(),
        machine.store().dropped(ended, EventId(0), 9).await.unwrap(),
    );
    assert_eq!(before.0[0].reason, DropReason::Overflow);
    assert_eq!(before.1[0].reason, DropReason::Abandoned);
    assert!(before.0[0].message.is_some() && before.1[0].message.is_some());
    machine.restart().await;
    let after_restart = (
        machine.store().dropped(live, EventId(0), 9).await.unwrap(),
        machine.store().dropped(ended, EventId(0), 9).await.unwrap(),
    );
    assert_eq!(after_restart, before);
    assert_eq!(machine.store().report(ended).unwrap().state, MailboxState::Ended);
    assert_eq!(machine.poll(live, Some(EventId(0))).await.gap, 1);
    machine.restart().await;
    let told = machine.poll(live, Some(EventId(0))).await;
    assert_eq!(told.gap, 1, "nobody said that it arrived");
    machine.poll(live, told.answer).await;
    machine.restart().await;
    assert_eq!(machine.poll(live, Some(EventId(0))).await.gap, 0, "somebody did");
    // Replayed under a new id, and that survives too.
    machine.limits.messages = Bound::AtMost(9);
    let replay = machine.store().replay(live, &machine.limits, machine.now()).await.unwrap();
    assert_eq!(replay.replayed.replayed, 1);
    machine.restart().await;
    assert_eq!(machine.bodies(live).await, ["1"]);
    assert_eq!(machine.store().dropped(live, EventId(0), 9).await.unwrap(), []);
    // The timer began with the first message.
    machine.pass(57_600 - 5 - 1);
    machine.restart().await;
    machine.expire();
    assert_eq!(machine.store().dropped(ended, EventId(0), 9).await.unwrap().len(), 1);
    machine.pass(1);
    machine.expire();
    assert_eq!(machine.store().dropped(ended, EventId(0), 9).await, Err(Gone));
}

#[tokio::test]
async fn a_state_that_was_replaced_is_the_newer_one() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let presence = || Class::Presence { key: "kari".into() };
    let first = machine.offer_as(mailbox, "online", presence()).await;
    assert_eq!(machine.offer_as(mailbox, "away", presence()).await, first);
    machine.restart().await;
    let batch = machine.poll(mailbox, Some(EventId(0))).await;
    assert_eq!((batch.messages[0].id, bodies(&batch)), (first, vec!["away".to_owned()]));
    machine.poll(mailbox, Some(first)).await;
    machine.restart().await;
    assert_eq!(machine.disk_rows().await, (0, 0), "and nothing is left of either");
}

#[tokio::test]
async fn life_times_go_on_while_nobody_runs() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    machine.offer(mailbox, "1").await;
    machine.pass(1799);
    machine.restart().await;
    assert_eq!(machine.expire().total(), 0);
    machine.store().close().await;
    machine.pass(1);
    machine.restart().await;
    assert_eq!(machine.expire(), Lost::of(DropReason::Expired, 1));
    // And leases too.
    machine.store().close().await;
    machine.pass(10_000);
    machine.restart().await;
    machine.expire();
    assert_eq!(machine.store().totals().mailboxes, 0);
}

/// A clock that was set back keeps nothing longer than it had left; one that jumped ahead by years drops
/// nothing.
#[tokio::test]
async fn a_clock_that_was_set_changes_no_life_time() {
    for (jump, left) in [(-5 * 3600, 900), (365 * 24 * 3600, 900), (60, 840)] {
        let mut machine = Machine::start();
        machine.pass(10 * 3600);
        let mailbox = machine.store().create(new_mailbox(1, after(40_000))).await.unwrap();
        machine.offer(mailbox, "1").await;
        machine.pass(900);
        machine.store().close().await;
        machine.wall.store((10 * 3600 + 900_i64 + jump).cast_unsigned(), Relaxed);
        machine.restart().await;
        machine.pass(left - 1);
        assert_eq!(machine.expire().total(), 0, "{jump}");
        machine.pass(1);
        assert_eq!(machine.expire().total(), 1, "{jump}");
        // What is written now is on the same clock as what was written before.
        machine.offer(mailbox, "2").await;
        machine.restart().await;
        machine.pass(1799);
        assert_eq!(machine.expire().total(), 0, "{jump}");
        machine.pass(1);
        assert_eq!(machine.expire().total(), 1, "{jump}");
    }
}

#[tokio::test]
async fn nothing_is_left_of_what_is_over() {
    let mut machine = Machine::start();
    let mailbox = machine.mailbox(1).await;
    let presence = || Class::Presence { key: "kari".into() };
    for n in 0..20 {
        machine.offer(mailbox, &n.to_string()).await;
        machine.offer_as(mailbox, &n.to_string(), presence()).await;
        machine.offer_as(mailbox, &n.to_string(), Class::Typing { key: "kari".into() }).await;
    }
    let batch = machine.poll(mailbox, Some(EventId(0))).await;
    machine.poll(mailbox, Some(batch.messages[9].id)).await;
    machine.store().purge(mailbox, &machine.limits, machine.now()).await.unwrap();
    machine.restart().await;
    let dropped = machine.store().totals().dropped_messages;
    assert!(dropped > 5);
    assert_eq!(machine.disk_rows().await, (0, dropped as usize));
    machine.pass(57_600);
    machine.expire();
    machine.restart().await;
    assert_eq!(machine.disk_rows().await, (0, 0));
    assert_eq!(machine.store().totals(), Default::default());
}

impl Machine {
    /// How many rows of messages, and how many bodies, are in the file.
    async fn disk_rows(&self) -> (usize, usize) {
        assert!(self.store().caught_up().await);
        let count = |table| {
            let mut rows = 0;
            self.store().file.with(|database| tables::each(database, table, |_, _| rows += 1)).unwrap();
            rows
        };
        (count(Table::Index), count(Table::Bodies))
    }
}
