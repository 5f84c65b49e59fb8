//! A small proxied request, beside a bare pingora proxy.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Instant;

use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;

use super::client::PATIENCE;
use super::process::{Gateway, Server, free_address};
use super::spread::Spread;
use super::upstream::Upstream;

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 16_000;

/// What is measured, in the words of every mode.
pub fn what(requests: usize) -> String {
    format!("{requests} small requests, {CONNECTIONS} connections")
}

/// The gateway and the bare proxy alone.
pub async fn run() {
    let (_upstream, upstream) = Upstream::start();
    let gateway = Gateway::start(upstream);
    let (bare, bare_address) = start_bare(upstream).await;
    println!("proxy: {ROUNDS} rounds, each of {}", what(REQUESTS));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever comes first in a round may have it easier.
        let turns = if round % 2 == 0 { [true, false] } else { [false, true] };
        for our_turn in turns {
            if our_turn {
                ours.push(measure(gateway.process(), gateway.public, REQUESTS).await.cpu_per_request);
            } else {
                theirs.push(measure(&bare, bare_address, REQUESTS).await.cpu_per_request);
            }
        }
    }
    let (ours, theirs) = (Spread::of(&ours), Spread::of(&theirs));
    println!("  CPU per request: pollgate {ours:.1} us, bare pingora {theirs:.1} us");
    println!(
        "  ratio of the medians {:.2}, of the least {:.2}",
        ours.median / theirs.median,
        ours.least / theirs.least
    );
}

/// A bare pingora proxy.
pub async fn start_bare(upstream: SocketAddr) -> (Server, SocketAddr) {
    let address = free_address();
    let this = std::env::current_exe().unwrap();
    let arguments = ["bare-pingora", &address.to_string(), &upstream.to_string()];
    let mut server = Server::start(this.to_str().unwrap(), &arguments);
    assert!(server.listens_on(address).await, "a bare pingora proxy that starts");
    (server, address)
}

/// How requests went through a proxy.
pub struct Proxied {
    pub requests_per_second: f64,
    /// Of the proxy, in microseconds.
    pub cpu_per_request: f64,
}

/// Sends as many requests, each connection its share one after the other.
pub async fn measure(server: &Server, address: SocketAddr, requests: usize) -> Proxied {
    let (cpu, began) = (server.cpu(), Instant::now());
    let mut load = JoinSet::new();
    for _ in 0..CONNECTIONS {
        load.spawn(async move {
            let mut connection = connect(&address.to_string(), PATIENCE).await.unwrap();
            for _ in 0..requests / CONNECTIONS {
                let request = Call::new("GET", "/instmsg/aliases/kari").with("Host", "im.example");
                let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
                assert_eq!(answer.head.status, 200);
            }
        });
    }
    load.join_all().await;
    Proxied {
        requests_per_second: requests as f64 / began.elapsed().as_secs_f64(),
        cpu_per_request: (server.cpu() - cpu).as_secs_f64() * 1e6 / requests as f64,
    }
}

impl Display for Proxied {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { requests_per_second, cpu_per_request } = self;
        write!(f, "{requests_per_second:.0} requests/s; server CPU {cpu_per_request:.1} us/request")
    }
}
