//! Days in the life of a few mailboxes, several clients and their polls, over every store that keeps messages here.
//!
//! Polls name one mailbox or several, are held, are overtaken, and end in the middle; answers and streams are written,
//! cut, reset after they were written, or forgotten with the future that made them; clients are called; leases and
//! messages end; operators purge; and a store that outlives its process is closed and opened again. A shadow follows
//! every message by the number in its body:
//! - what is acknowledged was received by a client;
//! - every message has exactly one end, and in = acknowledged + dropped + replaced + buffered;
//! - an answer brings the oldest messages of all its mailboxes first, and says how many more wait;
//! - every loss is told until a client has acknowledged an answer that told of it.
//!
//! Clients are honest: they acknowledge only what they received. A failure prints the seed and the step;
//! `POLLGATE_SIMULATION_SEED=<seed>` runs that one alone, `POLLGATE_SIMULATION_SEEDS=<n>` more of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::session::{Look, News, Session, Wanted};
use crate::mailbox::testing::Whereabouts;
use crate::mailbox::{
    Acknowledgement, BatchLimits, Bound, CallbackToken, Class, ConnectionSettings, DeliveryMode, EventId,
    Limits, Lost, MailboxId, Message, Outcome, Overflow, PollKey, Subscription, Timestamp,
};
use crate::store::{
    Bell, Caps, CommitWatch, Delivery, DiskOptions, DiskStore, Due, EndedBy, Ending, Found, Lookup,
    MailboxStore, MemoryStore, NewMailbox, Patience, Shares,
};

const CAPS: Caps = Caps { mailboxes: 1000, bytes: 1 << 30 };
const MAILBOXES: usize = 4;
const CLIENTS: usize = 4;
const LEASE: Duration = Duration::from_secs(100_000);

/// Where a message is, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Buffered,
    Acknowledged,
    Dropped,
    Replaced,
}

struct Tracked {
    fate: Fate,
    received: bool,
}

/// A mailbox, and the numbers of the messages that it should hold.
struct Shadow {
    id: MailboxId,
    key: PollKey,
    buffered: BTreeMap<EventId, usize>,
    losses: u64,
}

/// What a client remembers.
#[derive(Default)]
struct Client {
    /// Whether it acknowledges with `Last-Event-ID`.
    explicit: bool,
    /// Ids that it may name: of answers that it has as a whole, and of messages that it has.
    ids: Vec<EventId>,
}

/// A poll or a stream that waits.
struct Open {
    client: usize,
    boxes: Vec<MailboxId>,
    session: Session,
    stream: bool,
    /// Whether it is a stream that said something.
    has_begun: bool,
}

/// An answer, or a piece of a stream, on its way.
struct InFlight {
    client: usize,
    news: News,
    stream: Option<Open>,
}

struct World {
    random: StdRng,
    store: Arc<dyn MailboxStore>,
    /// Where the store is kept, if it outlives its process.
    folder: Option<TempDir>,
    limits: Limits,
    now: Timestamp,
    messages: Vec<Tracked>,
    boxes: Vec<Shadow>,
    created: u64,
    clients: Vec<Client>,
    open: Vec<Open>,
    answers: Vec<InFlight>,
    /// Answers that were written, whose connection may still be reset.
    written: Vec<InFlight>,
    delivery: Option<(usize, Delivery)>,
    /// What the facts that the store returned add up to.
    taken_in: u64,
    acknowledged: u64,
    left: Lost,
    seen: BTreeMap<&'static str, u64>,
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    match number("POLLGATE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("POLLGATE_SIMULATION_SEEDS").unwrap_or(usual),
    }
}

fn run(seeds: std::ops::Range<u64>, steps: u32, on_disk: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = BTreeMap::new();
    let all = seeds.end - seeds.start;
    for seed in seeds {
        let folder = on_disk.then(|| tempfile::tempdir().unwrap());
        let mut whereabouts = Whereabouts { seed, step: 0 };
        runtime.block_on(async {
            let mut world = World::new(seed, folder, seen.clone()).await;
            for step in 0..steps {
                whereabouts.step = step;
                world.step().await;
                if step % 50 == 0 {
                    world.add_up();
                }
            }
            world.drain().await;
            seen = world.seen;
        });
    }
    let expected = [
        "acknowledged by an id of several mailboxes",
        "acknowledged by going on",
        "answer from several mailboxes",
        "broken",
        "cut in the middle",
        "delivered by a call",
        "ended by its client",
        "forgotten with its future",
        "gap told",
        "held",
        "look forgotten",
        "piece of a stream",
        "purged",
        "reset after it was written",
        "superseded",
        "written",
    ];
    if all > 1 {
        // On the disk there are too few steps for all that is rare.
        let expected = if on_disk { &["restarted"][..] } else { &expected[..] };
        for what in expected {
            assert!(
                seen.get(*what).is_some_and(|times| *times >= all / 20),
                "{what}: too seldom, of {seen:?}"
            );
        }
    }
}

#[test]
fn every_message_has_one_end_in_memory() {
    run(seeds(500), 1000, false);
}

#[test]
fn every_message_has_one_end_in_memory_over_longer_times() {
    let seeds = seeds(50);
    run(seeds.start + 10_000..seeds.end + 10_000, 10_000, false);
}

#[test]
fn every_message_has_one_end_on_the_disk() {
    run(seeds(12), 300, true);
}

impl World {
    async fn new(seed: u64, folder: Option<TempDir>, seen: BTreeMap<&'static str, u64>) -> Self {
        let store = open(folder.as_ref().map(TempDir::path));
        let mut random = StdRng::seed_from_u64(seed);
        let limits = Limits {
            messages: *[Bound::AtMost(5), Bound::AtMost(30)].choose(&mut random).unwrap(),
            bytes: Bound::AtMost(*[200, 10_000].choose(&mut random).unwrap()),
            overflow: *[Overflow::Reject, Overflow::DropOldest].choose(&mut random).unwrap(),
            ..Limits::default()
        };
        let clients = {
            // Once a mailbox was acknowledged by id it is for good: in some worlds nobody does.
            let some = !seed.is_multiple_of(3);
            (0..CLIENTS).map(|_| Client { explicit: some && random.random(), ids: vec![] }).collect()
        };
        let mut world = World {
            random,
            store,
            folder,
            limits,
            now: Timestamp::from_millis(1_000_000_000_000),
            messages: vec![],
            boxes: vec![],
            created: 0,
            clients,
            open: vec![],
            answers: vec![],
            written: vec![],
            delivery: None,
            taken_in: 0,
            acknowledged: 0,
            left: Lost::default(),
            seen,
        };
        for _ in 0..MAILBOXES {
            let new = world.create().await;
            world.boxes.push(new);
        }
        world
    }

    async fn create(&mut self) -> Shadow {
        self.created += 1;
        let (token, key) =
            (CallbackToken::from_random(self.random.random()), PollKey::from_random(self.random.random()));
        let mode = if self.created.is_multiple_of(2) { DeliveryMode::Default } else { DeliveryMode::Polling };
        let new = NewMailbox {
            token,
            poll_key: key,
            subscription: Subscription {
                node: format!("/{}", self.created).into(),
                callback: Some("http://10.1.2.3:4000".into()),
                connection: ConnectionSettings { mode, ..ConnectionSettings::default() },
                ..Subscription::default()
            },
            created: self.now,
            lease_ends: self.now + LEASE,
            shares: Shares { principal: 1000, address: 1000 },
        };
        let id = self.store.create(new).await.unwrap();
        Shadow { id, key, buffered: BTreeMap::new(), losses: 0 }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    async fn step(&mut self) {
        match self.random.random_range(0..200) {
            0..60 => self.offer().await,
            60..90 => self.poll().await,
            90..115 => self.wake().await,
            115..150 => self.end_answer(),
            150..155 => self.reset(),
            155..158 => self.client_goes_away(),
            158..172 => self.call().await,
            172..185 => self.end_call().await,
            185..192 => self.pass().await,
            192..194 => self.purge().await,
            194 => self.end().await,
            195..197 => self.restart().await,
            _ => self.forget_future().await,
        }
    }

    async fn offer(&mut self) {
        let n = self.random.random_range(0..self.boxes.len());
        let number = self.messages.len();
        let class = match self.random.random_range(0..6) {
            0 => Class::Presence { key: "kari".into() },
            1 => Class::Typing { key: "kari".into() },
            _ => Class::Message,
        };
        let is_typing = class.is_typing();
        let mut body = format!("{number}\n");
        body.extend(std::iter::repeat_n('x', self.random.random_range(0..40)));
        let (method, header_lines, body) = ("NOTIFY".into(), Default::default(), body.into());
        let message = Message { method, header_lines, body, class };
        let offered = self.store.offer(self.boxes[n].id, message, &self.limits, self.now).await.unwrap();
        self.messages.push(Tracked { fate: Fate::Buffered, received: false });
        match offered.outcome {
            Ok(id) => {
                self.taken_in += 1;
                if let Some(older) = self.boxes[n].buffered.insert(id, number) {
                    self.end_of(older, Fate::Replaced);
                }
            }
            Err(refusal) => {
                self.messages.pop();
                let too_large = refusal == crate::mailbox::Refusal::TooLarge && !is_typing;
                // It was never taken in.
                self.boxes[n].losses += u64::from(too_large);
                if too_large {
                    self.taken_in += 1;
                }
            }
        }
        self.lost(n, &offered.lost).await;
    }

    fn end_of(&mut self, number: usize, fate: Fate) {
        let tracked = &mut self.messages[number];
        assert_eq!(tracked.fate, Fate::Buffered, "message {number} has one end");
        assert!(fate != Fate::Acknowledged || tracked.received, "message {number} never arrived");
        tracked.fate = fate;
    }

    /// What the mailbox does not hold any more has left it otherwise than by an acknowledgement.
    async fn lost(&mut self, n: usize, lost: &Lost) {
        self.left.add(*lost);
        let too_large =
            lost.by_reason().filter(|(reason, _)| reason.name() == "too-large").map(|(_, n)| n).sum();
        self.boxes[n].losses += lost.total() - std::cmp::min(lost.total(), too_large);
        if lost.left() == 0 {
            return;
        }
        for number in self.departed(n).await {
            self.end_of(number, Fate::Dropped);
        }
    }

    /// What the mailbox does not hold any more has left it because it was acknowledged: so many messages.
    async fn acknowledged(&mut self, n: usize, messages: u64) {
        self.acknowledged += messages;
        let departed = self.departed(n).await;
        assert_eq!(departed.len() as u64, messages, "of mailbox {}", self.boxes[n].id);
        for number in departed {
            self.end_of(number, Fate::Acknowledged);
        }
    }

    async fn departed(&mut self, n: usize) -> Vec<usize> {
        let held = match self.store.messages(self.boxes[n].id, EventId(0), usize::MAX).await {
            Ok(messages) => messages.into_iter().map(|message| message.id).collect(),
            Err(_) => std::collections::BTreeSet::new(),
        };
        let buffered = std::mem::take(&mut self.boxes[n].buffered);
        let (stay, departed) = buffered.into_iter().partition(|(id, _)| held.contains(id));
        self.boxes[n].buffered = stay;
        departed.into_values().collect()
    }

    fn find(&self, boxes: &[usize]) -> Vec<Found> {
        boxes.iter().flat_map(|n| self.store.find(Lookup::PollKey(self.boxes[*n].key))).collect()
    }

    async fn poll(&mut self) {
        if self.open.len() > 3 {
            return;
        }
        let client = self.random.random_range(0..CLIENTS);
        let most = if self.random.random() { 1 } else { MAILBOXES };
        let boxes: Vec<usize> = {
            let all: Vec<usize> = (0..self.boxes.len()).collect();
            let mut some: Vec<usize> = all.sample(&mut self.random, most).copied().collect();
            some.truncate(self.random.random_range(1..=most));
            some
        };
        let some = self.clients.iter().any(|client| client.explicit);
        let stream = some && self.random.random_ratio(1, 4);
        let names = self.clients[client].explicit;
        let last_event_id = match self.random.random_range(0..10) {
            _ if !names => None,
            0 => Some(EventId(0)),
            1 => self.clients[client].ids.choose(&mut self.random).copied(),
            _ => self.clients[client].ids.last().copied(),
        };
        self.begin(client, boxes, last_event_id, stream).await;
        self.wake_up(self.open.len() - 1, false).await;
    }

    async fn begin(
        &mut self,
        client: usize,
        boxes: Vec<usize>,
        last_event_id: Option<EventId>,
        stream: bool,
    ) {
        let by = Acknowledgement { last_event_id, explicitly: stream, shared: false };
        let (session, acknowledged) = Session::begin(self.store.clone(), self.find(&boxes), by);
        let several = boxes.len() > 1 && acknowledged.len() > 1 && last_event_id.is_some();
        for (mailbox, messages) in acknowledged {
            let n = self.boxes.iter().position(|b| b.id == mailbox).unwrap();
            self.acknowledged(n, messages).await;
            let how = if several { "acknowledged by an id of several mailboxes" } else { "acknowledged" };
            self.saw(if last_event_id.is_none() { "acknowledged by going on" } else { how });
        }
        let boxes = boxes.into_iter().map(|n| self.boxes[n].id).collect();
        self.open.push(Open { client, boxes, session, stream, has_begun: false });
    }

    /// A poll that is held looks again.
    async fn wake(&mut self) {
        if !self.open.is_empty() {
            let n = self.random.random_range(0..self.open.len());
            let last = self.random.random_ratio(1, 4);
            self.wake_up(n, last).await;
        }
    }

    async fn wake_up(&mut self, n: usize, last: bool) {
        let mut open = self.open.swap_remove(n);
        let room = BatchLimits {
            messages: self.random.random_range(0..6),
            bytes: *[0, 60, u64::MAX].choose(&mut self.random).unwrap(),
        };
        let last = if open.stream { !open.has_begun } else { last };
        let wanted = Wanted { room, each: false, goes_on: open.stream, last };
        let mut lost = Vec::new();
        let look =
            open.session.look(wanted, &self.limits, self.now, |mailbox, l| lost.push((mailbox, *l))).await;
        for (mailbox, lost) in lost {
            if let Some(n) = self.boxes.iter().position(|b| b.id == mailbox) {
                self.lost(n, &lost).await;
            }
        }
        match look {
            Look::News(news) => {
                self.look_at(&open, &news);
                if open.stream {
                    open.has_begun = true;
                    self.saw("piece of a stream");
                    self.answers.push(InFlight { client: open.client, news, stream: Some(open) });
                } else {
                    self.answers.push(InFlight { client: open.client, news, stream: None });
                }
            }
            Look::Nothing if last && !open.stream => {}
            Look::Nothing => {
                self.saw("held");
                self.open.push(open);
            }
            Look::Superseded => self.saw("superseded"),
            Look::Ended => {}
            Look::Unavailable => panic!("every message can be read"),
        }
    }

    fn look_at(&mut self, open: &Open, news: &News) {
        let ids: Vec<EventId> = news.messages.iter().map(|handed| handed.message.id).collect();
        assert!(ids.is_sorted(), "oldest first: {ids:?}");
        if let (Some(last), false) = (ids.last(), open.stream) {
            let polled = || self.boxes.iter().filter(|b| open.boxes.contains(&b.id));
            let older = polled().flat_map(|b| b.buffered.range(..=*last)).count();
            assert_eq!(older, ids.len(), "nothing older stays behind");
            let all: usize = polled().map(|b| b.buffered.len()).sum();
            assert_eq!(news.pending as usize, all - ids.len(), "how many more wait");
        }
        if open.boxes.iter().filter(|id| news.is_from(**id)).count() > 1 {
            self.saw("answer from several mailboxes");
        }
        if news.dropped > 0 {
            self.saw("gap told");
        }
        for handed in &news.messages {
            let n = self.boxes.iter().position(|b| b.id == handed.from).expect("it is polled");
            assert_eq!(
                self.boxes[n].buffered.get(&handed.message.id),
                Some(&number(&handed.message.message))
            );
        }
    }

    /// The transport has its word about an answer, or none.
    fn end_answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let n = self.random.random_range(0..self.answers.len());
        let mut answer = self.answers.swap_remove(n);
        match self.random.random_range(0..10) {
            0..6 => {
                self.receive(&answer, usize::MAX);
                answer.news.receipt.settle(Outcome::Written);
                self.saw("written");
                match answer.stream.take() {
                    Some(stream) => self.open.push(stream),
                    None => self.written.push(answer),
                }
                if self.written.len() > 3 {
                    self.written.remove(0);
                }
            }
            6 | 7 => {
                let most = self.random.random_range(0..=answer.news.messages.len());
                self.receive_part(&answer, most);
                answer.news.receipt.settle(Outcome::Broken);
                self.saw("cut in the middle");
            }
            8 => {
                // All of it arrived, and the transport does not know.
                self.receive(&answer, usize::MAX);
                answer.news.receipt.settle(Outcome::Broken);
                self.saw("broken");
            }
            // It is dropped, as it is with a future that is cancelled.
            _ => self.saw("forgotten with its future"),
        }
    }

    fn receive_part(&mut self, answer: &InFlight, most: usize) {
        if most < answer.news.messages.len() {
            self.receive(answer, most);
        }
    }

    fn receive(&mut self, answer: &InFlight, most: usize) {
        let client = &mut self.clients[answer.client];
        for handed in answer.news.messages.iter().take(most) {
            self.messages[number(&handed.message.message)].received = true;
            client.ids.push(handed.message.id);
        }
        if most >= answer.news.messages.len() {
            client.ids.extend(answer.news.last_event_id);
        }
        let excess = client.ids.len().saturating_sub(20);
        client.ids.drain(..excess);
    }

    /// A connection is reset after its answer was written: some of that was read, or all.
    fn reset(&mut self) {
        if let Some(mut answer) = self.written.pop() {
            answer.news.receipt.settle(Outcome::Broken);
            self.saw("reset after it was written");
        }
    }

    fn client_goes_away(&mut self) {
        if !self.open.is_empty() {
            let n = self.random.random_range(0..self.open.len());
            self.open.swap_remove(n);
        }
    }

    /// What is asked of a mailbox is given up in the middle: a poll at its look, a delivery at its start.
    async fn forget_future(&mut self) {
        if let Some(open) = self.open.pop() {
            let mut session = open.session;
            let room = BatchLimits { messages: 2, bytes: u64::MAX };
            let wanted = Wanted { room, each: false, goes_on: open.stream, last: false };
            let (limits, now) = (self.limits.clone(), self.now);
            let mut lost = Vec::new();
            {
                let look = session.look(wanted, &limits, now, |mailbox, l| lost.push((mailbox, *l)));
                let mut look = std::pin::pin!(look);
                // Polled once at most, and then dropped.
                let _ = poll_once(look.as_mut()).await;
            }
            drop(session);
            for (mailbox, lost) in lost {
                if let Some(n) = self.boxes.iter().position(|b| b.id == mailbox) {
                    self.lost(n, &lost).await;
                }
            }
            self.saw("look forgotten");
        }
    }

    /// A client is called.
    async fn call(&mut self) {
        if self.delivery.is_some() {
            return;
        }
        let n = self.random.random_range(0..self.boxes.len());
        let patience = Patience(*[Duration::ZERO, Duration::from_secs(30)].choose(&mut self.random).unwrap());
        let bell = Bell::default();
        let id = self.boxes[n].id;
        let (due, lost) = self.store.take_delivery(id, &bell, patience, &self.limits, self.now).await;
        let acknowledged = match &due {
            Due::Message(delivery) => delivery.acknowledged,
            _ => 0,
        };
        if lost.left() == 0 {
            self.acknowledged(n, acknowledged).await;
        } else {
            self.left.add(lost);
            self.boxes[n].losses += lost.total();
            self.acknowledged += acknowledged;
            for number in self.departed(n).await {
                // Which of them expired is not told.
                let received = self.messages[number].received;
                self.end_of(number, if received { Fate::Acknowledged } else { Fate::Dropped });
            }
        }
        if let Due::Message(delivery) = due {
            self.delivery = Some((n, delivery));
        }
    }

    async fn end_call(&mut self) {
        let Some((n, delivery)) = self.delivery.take() else { return };
        if self.random.random_ratio(1, 3) {
            return;
        }
        self.messages[number(&delivery.message.message)].received = true;
        if self.random.random_ratio(3, 4) {
            let is_there = self.boxes[n].buffered.contains_key(&delivery.event());
            let left = self.store.accept_delivery(self.boxes[n].id, delivery);
            assert_eq!(left, is_there);
            self.acknowledged(n, u64::from(left)).await;
            if left {
                self.saw("delivered by a call");
            }
        }
    }

    async fn pass(&mut self) {
        let seconds = *[1, 5, 600, 2000].choose(&mut self.random).unwrap();
        self.now = self.now + Duration::from_secs(seconds);
        let expired = self.store.expire(&self.limits, self.now);
        for (mailbox, lost) in expired.lost {
            if let Some(n) = self.boxes.iter().position(|b| b.id == mailbox) {
                self.lost(n, &lost).await;
            }
        }
        for (mailbox, _) in expired.ended {
            if let Some(n) = self.boxes.iter().position(|b| b.id == mailbox) {
                self.boxes[n] = self.create().await;
            }
        }
        for n in 0..self.boxes.len() {
            let (id, until) = (self.boxes[n].id, self.now + LEASE);
            if self.random.random_ratio(3, 4) {
                let _ = self.store.grant(id, None, until).await;
            }
        }
    }

    async fn purge(&mut self) {
        let n = self.random.random_range(0..self.boxes.len());
        let lost = self.store.purge(self.boxes[n].id, &self.limits, self.now).await.unwrap();
        self.lost(n, &lost).await;
        assert!(self.boxes[n].buffered.is_empty());
        self.saw("purged");
    }

    /// A subscription ends; another one begins.
    async fn end(&mut self) {
        let n = self.random.random_range(0..self.boxes.len());
        let by = if self.random.random() { EndedBy::Client } else { EndedBy::Other };
        let id = self.boxes[n].id;
        let Ending { lost, acknowledged } = self.store.end(id, by, &self.limits, self.now).await.unwrap();
        assert!(acknowledged == 0 || by == EndedBy::Client);
        if acknowledged > 0 {
            self.saw("ended by its client");
        }
        let all = std::mem::take(&mut self.boxes[n].buffered);
        assert_eq!(all.len() as u64, acknowledged + lost.left());
        self.acknowledged += acknowledged;
        self.left.add(lost);
        for (place, number) in all.into_values().enumerate() {
            let is_acknowledged = (place as u64) < acknowledged;
            self.end_of(number, if is_acknowledged { Fate::Acknowledged } else { Fate::Dropped });
        }
        self.delivery.take_if(|(of, _)| *of == n);
        self.boxes[n] = self.create().await;
    }

    /// The process ends, and another one begins: whatever was on its way is gone.
    async fn restart(&mut self) {
        if self.folder.is_none() {
            return;
        }
        self.open.clear();
        self.answers.clear();
        self.written.clear();
        self.delivery = None;
        self.store.close().await;
        self.store = open(None);
        self.store = open(self.folder.as_ref().map(TempDir::path));
        self.saw("restarted");
        for n in 0..self.boxes.len() {
            assert!(self.departed(n).await.is_empty(), "a restart takes nothing away");
        }
    }

    /// In = acknowledged + dropped + replaced + buffered.
    fn add_up(&self) {
        let buffered = self.boxes.iter().map(|b| b.buffered.len() as u64).sum::<u64>();
        assert_eq!(self.store.totals().messages, buffered);
        assert_eq!(self.taken_in, self.acknowledged + self.left.left() + buffered, "{:?}", self.left);
    }

    /// Explicit clients poll each mailbox until there is nothing more, and every loss is told.
    async fn drain(&mut self) {
        self.open.clear();
        self.answers.clear();
        self.delivery = None;
        for n in 0..self.boxes.len() {
            let mut last = Some(EventId(0));
            let mut told = 0;
            for polls in 0.. {
                assert!(polls < 1000, "it never ends");
                self.begin(0, vec![n], last, false).await;
                let mut open = self.open.pop().unwrap();
                let room = BatchLimits { messages: 3, bytes: u64::MAX };
                let wanted = Wanted { room, each: false, goes_on: false, last: true };
                let (limits, now) = (self.limits.clone(), self.now);
                let mut lost = Lost::default();
                let look = open.session.look(wanted, &limits, now, |_, l| lost.add(*l)).await;
                self.lost(n, &lost).await;
                let Look::News(mut news) = look else { break };
                told = news.dropped.max(told);
                last = news.last_event_id;
                news.receipt.settle(Outcome::Written);
                let answer = InFlight { client: 0, news, stream: None };
                self.receive(&answer, usize::MAX);
            }
            assert!(self.boxes[n].buffered.is_empty());
            assert!(told <= self.boxes[n].losses, "no loss is told of that did not happen");
            assert_eq!(self.store.report(self.boxes[n].id).unwrap().gap, 0, "all of them are known");
        }
        self.add_up();
        assert!(self.messages.iter().all(|message| message.fate != Fate::Buffered));
        self.store.close().await;
    }
}

/// Whether it is done after it was polled once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

fn open(folder: Option<&Path>) -> Arc<dyn MailboxStore> {
    match folder {
        None => Arc::new(MemoryStore::new(CAPS, EventId(0))),
        Some(folder) => {
            let options = DiskOptions {
                caps: CAPS,
                // Every message is read, so that a look takes its time.
                cache_bytes: 0,
                min_free_bytes: 0,
                clock: crate::store::Clock::default(),
                on_commit: CommitWatch(Arc::new(|_| {})),
            };
            Arc::new(DiskStore::open(folder, options).unwrap())
        }
    }
}

/// The number in a message's body.
fn number(message: &Message) -> usize {
    std::str::from_utf8(&message.body).unwrap().lines().next().unwrap().parse().unwrap()
}
