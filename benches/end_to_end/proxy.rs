//! A small proxied request, beside a bare pingora proxy.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use pollgate::http1::client::{Call, call, connect};
use tokio::task::JoinSet;

use super::process::{Gateway, Server};
use super::upstream::{PATIENCE, Upstream};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 30_000;

pub async fn run() {
    let (_upstream, upstream) = Upstream::start();
    let gateway = Gateway::start(upstream);
    let (bare, bare_address) = start_bare(upstream).await;
    println!("proxy: {REQUESTS} small requests a round, {CONNECTIONS} connections");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let ours = cpu_per_request(gateway.process(), gateway.public).await;
        let theirs = cpu_per_request(&bare, bare_address).await;
        println!(
            "  CPU per request: pollgate {ours:.1} us, bare pingora {theirs:.1} us, ratio {:.2}",
            ours / theirs
        );
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("  median ratio {:.2}", ratios[ROUNDS / 2]);
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
