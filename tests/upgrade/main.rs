//! A gateway is replaced by another process, or ends, while clients poll and callbacks come.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod failing;
mod load;
mod pause;
mod process;

use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::load::{Load, Upstream};
use crate::process::{Gateway, PATIENCE, Successor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_see_one_early_answer_at_most_and_miss_nothing() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let state = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(state.path(), &upstream.address, &[]).await;
    let load = Load::start(&gateway, &upstream, 1000).await;
    load.received(500).await;

    gateway.signal("-QUIT");
    let successor = Successor::started_by(&mut gateway).await;
    gateway.says("handing over").await;
    let began = pollgate::clock::instant();
    gateway.says("serving").await;
    eprintln!("served again after {:?}", began.elapsed());
    gateway.says("stopped").await;
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
    let more = load.so_far() + 500;
    load.received(more).await;

    let early = load.finish().await;
    assert!(early.iter().all(|answers| *answers <= 1), "{early:?}");
    assert!(early.contains(&1), "some poll was held");
    successor.signal("-TERM");
    gateway.says("stopped").await;
}

#[tokio::test]
async fn a_successor_may_wait_already() {
    let state = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(state.path(), &upstream.address, &[]).await;
    let next = Gateway::spawn(state.path(), &upstream.address, &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("stopped").await;
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
    let (old, next) = (gateway.public, next.serves().await);
    assert_eq!(next.public, old);
    assert!(!state.path().join("upgrade.sock").exists());
}

#[tokio::test]
async fn a_gateway_whose_successor_cannot_start_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("pollgate.toml");
    std::fs::write(&file, "").unwrap();
    let upstream = Upstream::start().await;
    let settings = [("POLLGATE_CONFIG", file.to_str().unwrap())];
    let mut gateway = Gateway::start(state.path(), &upstream.address, &settings).await;
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    gateway.signal("-QUIT");
    let why = gateway.says("not handed over").await;
    assert!(why["error"].as_str().unwrap().contains("the new process ended (exit status: 2)"), "{why}");
    assert_eq!(gateway.metric("pollgate_held_polls").await, 0.0, "it answers still");
}

#[tokio::test]
async fn messages_in_memory_are_not_handed_over() {
    let state = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let settings = [("POLLGATE_STORE_KIND", "memory")];
    let mut gateway = Gateway::start(state.path(), &upstream.address, &settings).await;
    gateway.signal("-QUIT");
    let why = gateway.says("not handed over").await;
    assert!(why["error"].as_str().unwrap().contains("in memory"), "{why}");
    assert_eq!(gateway.metric("pollgate_held_polls").await, 0.0, "it answers still");
}

#[tokio::test]
async fn what_is_not_done_in_time_is_broken_off() {
    let state = tempfile::tempdir().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = [("POLLGATE_SHUTDOWN_DRAIN", "100ms"), ("POLLGATE_SHUTDOWN_DEADLINE", "200ms")];
    let address = silent.local_addr().unwrap().to_string();
    let mut gateway = Gateway::start(state.path(), &address, &settings).await;
    let waiting = tokio::spawn(load::get(gateway.public.clone()));
    // It is passed on, and never answered.
    let (_stream, _) = silent.accept().await.unwrap();
    gateway.signal("-TERM");
    gateway.says("stopped before these were done").await;
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test]
async fn systemd_is_told() {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    // All the time: who is not listened to waits.
    let (tell, mut said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let length = systemd.recv(&mut buffer).await.unwrap();
            let _ = tell.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    let mut hear = async |what: &str| {
        let heard = async {
            loop {
                let message = said.recv().await.unwrap();
                if message.lines().any(|line| line.starts_with(what)) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("never {what}"))
    };
    let upstream = Upstream::start().await;
    let path = socket.to_str().unwrap();
    let settings = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "60000")];
    let mut gateway = Gateway::start(state.path(), &upstream.address, &settings).await;
    assert!(hear("READY=1").await.contains("STATUS=serving clients at 127.0.0.1:"));
    hear("WATCHDOG=1").await;
    gateway.signal("-QUIT");
    let successor = Successor::started_by(&mut gateway).await;
    assert!(hear("MAINPID=").await.contains(&successor.process.to_string()));
    hear("READY=1").await;
    hear("WATCHDOG=1").await;
    successor.signal("-TERM");
    hear("STOPPING=1").await;
}

#[tokio::test]
async fn without_a_gateway_there_is_nothing_to_take_over() {
    let state = tempfile::tempdir().unwrap();
    let mut next = Gateway::spawn(state.path(), "127.0.0.1:9", &["--upgrade"], &[]);
    next.signal("-TERM");
    assert!(!timeout(Duration::from_secs(20), next.process.wait()).await.unwrap().unwrap().success());
}
