//! Callbacks in, polls out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use memchr::memmem;
use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;

use super::process::Gateway;
use super::upstream::{Client, PATIENCE, Upstream};

const ROUNDS: usize = 3;
const CLIENTS: usize = 200;
const PUBLISHERS: usize = 16;
const MESSAGES: usize = 50_000;
const BODY: usize = 500;

/// Stands before the time at which a callback was sent, in its body.
const STAMP: &[u8] = b"<sent-us>";

pub async fn run() {
    println!("flow: {MESSAGES} messages of {BODY} bytes, {PUBLISHERS} publishers, {CLIENTS} polling clients");
    for _ in 0..ROUNDS {
        round().await;
    }
}

async fn round() {
    let (upstream, address) = Upstream::start();
    let gateway = Gateway::start(address);
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(Client::subscribe(gateway.public, n).await);
    }
    let callbacks: Arc<Vec<_>> = Arc::new(clients.iter().map(|c| upstream.callback(&c.node)).collect());
    let start = Instant::now();
    let mut polls = JoinSet::new();
    for mut client in clients {
        polls.spawn(async move {
            let mut delays = Vec::new();
            while delays.len() < MESSAGES / CLIENTS {
                let answer = client.poll(60).await;
                let now = start.elapsed().as_micros() as u64;
                delays.extend(sent_times(&answer.body).map(|sent| now - sent));
            }
            delays
        });
    }
    let cpu = gateway.process().cpu();
    let next = Arc::new(AtomicUsize::new(0));
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        publishers.spawn(publish(callbacks.clone(), next.clone(), start));
    }
    let began = Instant::now();
    publishers.join_all().await;
    let mut delays: Vec<u64> = polls.join_all().await.concat();
    let seconds = began.elapsed().as_secs_f64();
    let cpu = (gateway.process().cpu() - cpu).as_secs_f64() * 1e6 / MESSAGES as f64;
    delays.sort_unstable();
    let at = |share: f64| delays[(share * (delays.len() - 1) as f64) as usize] as f64 / 1000.0;
    println!(
        "  {:.0} messages/s; gateway CPU {cpu:.1} us/message; callback to poll p50 {:.2} ms, p99 {:.2} ms",
        delays.len() as f64 / seconds,
        at(0.5),
        at(0.99)
    );
}

/// Sends callbacks one after the other, each to the next mailbox, until all are sent.
async fn publish(callbacks: Arc<Vec<(String, String)>>, next: Arc<AtomicUsize>, start: Instant) {
    let mut connection = connect(&callbacks[0].0, PATIENCE).await.unwrap();
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= MESSAGES {
            return;
        }
        let (address, path) = &callbacks[n % callbacks.len()];
        let mut body = STAMP.to_vec();
        body.extend_from_slice(format!("{}<", start.elapsed().as_micros()).as_bytes());
        body.resize(BODY, b'x');
        let request = Call::new("NOTIFY", path)
            .with("Host", address)
            .with("Content-Type", "text/xml")
            .with("Content-Length", BODY);
        let answer = call(&mut connection, request, &body, 1024, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 200);
    }
}

fn sent_times(body: &[u8]) -> impl Iterator<Item = u64> {
    memmem::find_iter(body, STAMP).map(|at| {
        let digits = body[at + STAMP.len()..].iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}
