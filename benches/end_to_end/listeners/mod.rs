//! Which parser the callback listener should use: our own server beside hyper's, with the same trivial
//! service, under the same load, interleaved. Then what each makes of requests that two servers could read
//! in two ways.

mod raw;
mod serving;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use pollgate::http1::Connection;
use pollgate::http1::client::{Call, call, connect};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub use self::serving::serve;
use super::client::PATIENCE;
use super::process::Server;
use super::spread::Spread;

const ROUNDS: usize = 6;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 48_000;
const BODY: &[u8] = &[b'x'; 500];

/// Connections that are open and say nothing, after one request each.
const IDLE: usize = 5_000;

/// In the order of the figures.
const NAMES: [&str; 2] = ["http1", "hyper"];

pub async fn run() -> ExitCode {
    println!(
        "listeners: {ROUNDS} rounds of {REQUESTS} callbacks of {} bytes, {CONNECTIONS} connections;",
        BODY.len()
    );
    println!("  then {IDLE} idle connections, each after a callback; both with glibc's allocator");
    let (mut cpu, mut memory) = ([vec![], vec![]], [vec![], vec![]]);
    for round in 0..ROUNDS {
        for which in [round % 2, 1 - round % 2] {
            let (server, address) = Server::start_self(&["listener", NAMES[which]]);
            let (each, per_second) = cpu_each(&server, address).await;
            let kib = idle_kib_each(&server, address).await;
            println!(
                "  {}: {each:.2} us/callback, {per_second:.0}/s; {kib:.2} KiB/idle connection",
                NAMES[which]
            );
            cpu[which].push(each);
            memory[which].push(kib);
        }
    }
    let ([ours, theirs], [our_memory, their_memory]) =
        (cpu.map(|figures| Spread::of(&figures)), memory.map(|figures| Spread::of(&figures)));
    println!("\n| | http1 | hyper | ratio |\n|---|---|---|---|");
    println!("| CPU per callback | {ours:.2} µs | {theirs:.2} µs | {:.2} |", ours.median / theirs.median);
    println!(
        "| memory of an idle connection | {our_memory:.2} KiB | {their_memory:.2} KiB | {:.2} |",
        our_memory.median / their_memory.median
    );
    println!("\n{}", raw::answers().await);
    ExitCode::SUCCESS
}

/// CPU time of the server for each callback, in microseconds, and how many it took a second.
async fn cpu_each(server: &Server, address: SocketAddr) -> (f64, f64) {
    send(address, REQUESTS / 10).await;
    let (cpu, began) = (server.cpu(), Instant::now());
    send(address, REQUESTS).await;
    let seconds = began.elapsed().as_secs_f64();
    ((server.cpu() - cpu).as_secs_f64() * 1e6 / REQUESTS as f64, REQUESTS as f64 / seconds)
}

async fn send(address: SocketAddr, requests: usize) {
    let mut load = JoinSet::new();
    for _ in 0..CONNECTIONS {
        load.spawn(async move {
            let mut connection = connect(&address.to_string(), PATIENCE).await.unwrap();
            for _ in 0..requests / CONNECTIONS {
                notify(&mut connection).await;
            }
        });
    }
    load.join_all().await;
}

async fn idle_kib_each(server: &Server, address: SocketAddr) -> f64 {
    server.settled().await;
    let before = server.memory_kib();
    let mut connections = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut connection = connect(&address.to_string(), PATIENCE).await.unwrap();
        notify(&mut connection).await;
        connections.push(connection);
    }
    server.settled().await;
    server.memory_kib().saturating_sub(before) as f64 / IDLE as f64
}

async fn notify(connection: &mut Connection<TcpStream>) {
    let request = Call::new("NOTIFY", "/callback/0123456789abcdef")
        .with("Host", "127.0.0.1:8081")
        .with("Content-Type", "text/xml")
        .with("RVP-Notifications-Version", "0.2")
        .with("RVP-Ack-Type", "DeepOr")
        .with("Content-Length", BODY.len());
    let answer = call(connection, request, BODY, 1024, PATIENCE).await.unwrap();
    assert_eq!(answer.head.status, 200);
}
