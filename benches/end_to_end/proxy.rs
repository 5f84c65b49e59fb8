//! A small proxied request, beside a bare pingora proxy.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;

use super::process::{Gateway, Server};
use super::upstream::{PATIENCE, Upstream};

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 16_000;

pub async fn run() {
    let (_upstream, upstream) = Upstream::start();
    let gateway = Gateway::start(upstream);
    let (bare, bare_address) = start_bare(upstream).await;
    println!("proxy: {ROUNDS} rounds of {REQUESTS} small requests each, {CONNECTIONS} connections");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever comes first in a round may have it easier.
        let turns = if round % 2 == 0 { [true, false] } else { [false, true] };
        for our_turn in turns {
            if our_turn {
                ours.push(cpu_per_request(gateway.process(), gateway.public).await);
            } else {
                theirs.push(cpu_per_request(&bare, bare_address).await);
            }
        }
    }
    let (ours, theirs) = (Spread::of(ours), Spread::of(theirs));
    println!("  CPU per request: pollgate {ours}, bare pingora {theirs}");
    println!(
        "  ratio of the medians {:.2}, of the least {:.2}",
        ours.median / theirs.median,
        ours.least / theirs.least
    );
}

/// What the rounds measured, in microseconds.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self { least: figures[0], median: figures[figures.len() / 2], most: figures[figures.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} us ({:.1}..{:.1})", self.median, self.least, self.most)
    }
}

async fn start_bare(upstream: SocketAddr) -> (Server, SocketAddr) {
    // Pingora binds by itself: a port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["bare-pingora", &address.to_string(), &upstream.to_string()])
        .spawn()
        .unwrap();
    while connect(&address.to_string(), PATIENCE).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (Server(child), address)
}

async fn cpu_per_request(server: &Server, address: SocketAddr) -> f64 {
    let before = server.cpu();
    let mut load = JoinSet::new();
    for _ in 0..CONNECTIONS {
        load.spawn(async move {
            let mut connection = connect(&address.to_string(), PATIENCE).await.unwrap();
            for _ in 0..REQUESTS / CONNECTIONS {
                let request = Call::new("GET", "/instmsg/aliases/kari").with("Host", "im.example");
                let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
                assert_eq!(answer.head.status, 200);
            }
        });
    }
    load.join_all().await;
    (server.cpu() - before).as_secs_f64() * 1e6 / REQUESTS as f64
}
