//! Memory of held polls, and a proxied request beside them.

use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;

use super::process::Gateway;
use super::upstream::{Client, PATIENCE, Upstream};

/// As many as the usual descriptor limit of 20,000 allows on both sides.
const POLLS: usize = 15_000;

pub async fn run() {
    let (_upstream, address) = Upstream::start();
    let gateway = Gateway::start(address);
    let before = gateway.process().memory_kib();
    let mut polls = JoinSet::new();
    for n in 0..POLLS {
        let mut client = Client::subscribe(gateway.public, n).await;
        polls.spawn(async move { client.poll(600).await.head.status });
    }
    // The last ones are held when the kernel has nothing left to hand over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(polls.try_join_next().is_none(), "a poll was answered early");
    let after = gateway.process().memory_kib();
    let mut other = connect(&gateway.public.to_string(), PATIENCE).await.unwrap();
    let began = Instant::now();
    let request = Call::new("GET", "/").with("Host", "im.example");
    let answer = call(&mut other, request, b"", 1024, PATIENCE).await.unwrap();
    assert_eq!(answer.head.status, 200);
    println!(
        "hold: {POLLS} polls held, {:.2} KiB each ({before} -> {after} KiB); a proxied request meanwhile took {:.2} ms",
        (after - before) as f64 / POLLS as f64,
        began.elapsed().as_secs_f64() * 1000.0
    );
}
