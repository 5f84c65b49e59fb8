//! Messages in, polls out.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use memchr::memmem;
use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Client, Inbox, PATIENCE};
use super::servers::Poller;

const ROUNDS: usize = 3;
const CLIENTS: usize = 200;
const PUBLISHERS: usize = 16;
const MESSAGES: usize = 50_000;
const BODY: usize = 500;

/// Stands in a message's body before its number and the time at which it was sent.
const STAMP: &[u8] = b"<message>";

/// In which time all must have arrived.
const ARRIVAL: Duration = Duration::from_secs(120);

/// How long to look for messages that come once more.
const AFTERMATH: Duration = Duration::from_millis(300);

/// What is measured, in the words of every mode.
pub fn what() -> String {
    format!("{MESSAGES} messages of {BODY} bytes, {PUBLISHERS} publishers, {CLIENTS} polling clients")
}

/// The gateway alone.
pub async fn run() {
    println!("flow: {}", what());
    for _ in 0..ROUNDS {
        println!("  {}", measure(&Poller::pollgate(None)).await);
    }
}

/// How messages went through a server.
pub struct Flow {
    pub messages_per_second: f64,
    /// Of the server, in microseconds.
    pub cpu_per_message: f64,
    /// From being sent to the poll's answer, in milliseconds.
    pub p50: f64,
    pub p99: f64,
}

/// Sends all messages, and panics if one of them does not arrive exactly once.
pub async fn measure(server: &Poller) -> Flow {
    let start = Instant::now();
    let (mut inboxes, mut polls) = (Vec::new(), JoinSet::new());
    for n in 0..CLIENTS {
        let client = server.client(n).await;
        inboxes.push(client.inbox().clone());
        polls.spawn(receive(client, n, start));
    }
    server.holds(CLIENTS).await;
    server.process().settled().await;
    let cpu = server.process().cpu();
    let (inboxes, next) = (Arc::new(inboxes), Arc::new(AtomicUsize::new(0)));
    let mut publishers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..PUBLISHERS {
        publishers.spawn(publish(inboxes.clone(), next.clone(), start));
    }
    let all = async {
        publishers.join_all().await;
        polls.join_all().await
    };
    let received = timeout(ARRIVAL, all).await.expect("messages that all arrive");
    let seconds = began.elapsed().as_secs_f64();
    let cpu_per_message = (server.process().cpu() - cpu).as_secs_f64() * 1e6 / MESSAGES as f64;
    let (clients, delays): (Vec<Client>, Vec<Vec<u64>>) = received.into_iter().unzip();
    nothing_comes_again(clients).await;
    let mut delays = delays.concat();
    delays.sort_unstable();
    let at = |share: f64| delays[(share * (delays.len() - 1) as f64) as usize] as f64 / 1000.0;
    let messages_per_second = delays.len() as f64 / seconds;
    Flow { messages_per_second, cpu_per_message, p50: at(0.5), p99: at(0.99) }
}

impl Display for Flow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { messages_per_second, cpu_per_message, p50, p99 } = self;
        write!(f, "{messages_per_second:.0} messages/s; server CPU {cpu_per_message:.1} us/message; ")?;
        write!(f, "sent to received p50 {p50:.2} ms, p99 {p99:.2} ms")
    }
}

/// Sends messages one after the other, each to the next client, until all are sent.
async fn publish(inboxes: Arc<Vec<Inbox>>, next: Arc<AtomicUsize>, start: Instant) {
    let mut connection = connect(&inboxes[0].address, PATIENCE).await.unwrap();
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= MESSAGES {
            return;
        }
        let Inbox { method, address, path } = &inboxes[n % CLIENTS];
        let mut body = STAMP.to_vec();
        body.extend_from_slice(format!("{n}<{}<", start.elapsed().as_micros()).as_bytes());
        body.resize(BODY, b'x');
        let request = Call::new(method, path)
            .with("Host", address)
            .with("Content-Type", "text/xml")
            .with("Content-Length", BODY);
        let answer = call(&mut connection, request, &body, 1024, PATIENCE).await.unwrap();
        assert!((200..300).contains(&answer.head.status), "a message was refused: {}", answer.head.status);
    }
}

/// Polls until every message for this client has come; how many microseconds each took.
async fn receive(mut client: Client, number: usize, start: Instant) -> (Client, Vec<u64>) {
    const EXPECTED: usize = MESSAGES / CLIENTS;
    let (mut seen, mut delays) = (HashSet::with_capacity(EXPECTED), Vec::with_capacity(EXPECTED));
    while delays.len() < EXPECTED {
        let answer = client.poll().await;
        assert_eq!(answer.head.status, 200);
        let now = start.elapsed().as_micros() as u64;
        for (n, sent) in stamps(&answer.body) {
            assert_eq!(n as usize % CLIENTS, number, "a message came to another client");
            assert!(seen.insert(n), "a message came twice");
            delays.push(now - sent);
        }
    }
    (client, delays)
}

/// Panics if a client that has everything gets something more.
async fn nothing_comes_again(clients: Vec<Client>) {
    let mut polls = JoinSet::new();
    for mut client in clients {
        polls.spawn(async move { client.poll().await.head.status });
    }
    let more = timeout(AFTERMATH, polls.join_next()).await;
    assert!(more.is_err(), "a message came once more");
}

/// The numbers of the messages in there, and when each was sent.
fn stamps(body: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    memmem::find_iter(body, STAMP).map(|at| {
        let mut numbers = body[at + STAMP.len()..]
            .split(|b| *b == b'<')
            .map(|digits| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        (numbers.next().unwrap(), numbers.next().unwrap())
    })
}
