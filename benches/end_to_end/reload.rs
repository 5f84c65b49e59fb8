//! Proxied requests while the gateway reads its configuration again, beside the same while it does not.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call, connect};

use super::client::PATIENCE;
use super::process::Gateway;
use super::spread::Spread;
use super::upstream::Upstream;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 4;
/// Of each round.
const RELOADS: usize = 1000;

/// Prints the p99 of both, and their ratio; fails if that is too high.
pub async fn run() -> ExitCode {
    let (_upstream, upstream) = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pollgate.toml");
    std::fs::write(&file, "").unwrap();
    let gateway = Gateway::with(upstream, &[("POLLGATE_CONFIG", file.to_str().unwrap())]);
    println!("reload: {ROUNDS} rounds, each of {RELOADS} reloads and as long without any");
    let (mut quiet, mut reloading) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        reloading.push(p99_while(&gateway, reloads(&gateway, &file)).await);
        quiet.push(p99_while(&gateway, tokio::time::sleep(began.elapsed())).await);
    }
    let (quiet, reloading) = (Spread::of(&quiet), Spread::of(&reloading));
    let ratio = reloading.median / quiet.median;
    println!("  p99 of a proxied request: {reloading:.2} ms while reloading, {quiet:.2} ms without");
    let holds = ratio <= 1.5;
    println!("  ratio {ratio:.2}; must be at most 1.5: {}", if holds { "yes" } else { "no" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Changes a setting and reloads, again and again.
async fn reloads(gateway: &Gateway, file: &std::path::Path) {
    let mut admin = connect(&gateway.admin.to_string(), PATIENCE).await.unwrap();
    for n in 0..RELOADS {
        std::fs::write(file, format!("[polling]\npoll_msg_limit = {}\n", 100 + n % 2)).unwrap();
        let request = Call::new("POST", "/-/reload").with("Host", "localhost");
        let answer = call(&mut admin, request, b"", 4096, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 200);
    }
}

/// The p99 of requests in milliseconds, sent one after the other on each connection until `work` is done.
async fn p99_while(gateway: &Gateway, work: impl Future<Output = ()>) -> f64 {
    let public = gateway.public.to_string();
    let (over, watch) = tokio::sync::watch::channel(false);
    let load: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (public, watch) = (public.clone(), watch.clone());
            tokio::spawn(async move {
                let mut connection = connect(&public, PATIENCE).await.unwrap();
                let mut times: Vec<Duration> = Vec::new();
                while !*watch.borrow() {
                    let request = Call::new("GET", "/instmsg/aliases/kari").with("Host", "im.example");
                    let began = Instant::now();
                    let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
                    times.push(began.elapsed());
                    assert_eq!(answer.head.status, 200);
                }
                times
            })
        })
        .collect();
    work.await;
    over.send_replace(true);
    let mut times = Vec::new();
    for connection in load {
        times.extend(connection.await.unwrap());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1e3
}
