//! A successor that does not come to serve: the gateway goes on.

use pollgate::app::handover::{Predecessor, take_over};
use pollgate::config::Config;

use crate::load::{Load, Upstream};
use crate::process::{Gateway, PATIENCE};
use tokio::time::timeout;

/// Takes the sockets of this gateway over, as a successor that is ready does; it has them as long as this lives.
async fn ready(gateway: &Gateway, state: &std::path::Path) -> (pollgate::app::Listeners, Predecessor) {
    let mut config = Config::default();
    let any = "127.0.0.1:0".parse().unwrap();
    config.listen.public = vec![any];
    (config.listen.callback, config.listen.admin) = (any, any);
    config.store.path = state.to_owned();
    gateway.signal("-QUIT");
    timeout(PATIENCE, take_over(&config, || Ok(()))).await.unwrap().unwrap()
}

/// Clients poll all the time, and miss nothing, whatever the successor does.
async fn goes_on_when_the_successor_ends(end: impl AsyncFnOnce((pollgate::app::Listeners, Predecessor))) {
    let state = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(state.path(), &upstream.address, &[]).await;
    let load = Load::start(&gateway, &upstream, 20).await;
    load.received(50).await;
    let successor = ready(&gateway, state.path()).await;
    end(successor).await;
    let why = gateway.says("not handed over: this process opens its store again and goes on").await;
    assert_eq!(why["level"], "ERROR", "{why}");
    assert!(why["error"].as_str().unwrap().starts_with("the new process ended before it served"), "{why}");
    gateway.says("serving").await;
    let more = load.so_far() + 50;
    load.received(more).await;
    // And it can be replaced later.
    let next = Gateway::spawn(state.path(), &upstream.address, &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("stopped").await;
    let _next = next.serves().await;
    let more = load.so_far() + 50;
    load.received(more).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_when_its_successor_ends_before_it_has_the_store() {
    goes_on_when_the_successor_ends(async |successor| drop(successor)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_when_its_successor_ends_with_the_store() {
    let end = async |(_listeners, mut predecessor): (pollgate::app::Listeners, Predecessor)| {
        timeout(PATIENCE, predecessor.store_is_free()).await.unwrap();
    };
    goes_on_when_the_successor_ends(end).await;
}

#[tokio::test]
async fn a_successor_that_cannot_open_the_store_takes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(state.path(), &upstream.address, &[]).await;
    let file = state.path().join("pollgate.redb");
    // Its beginning is damaged; the process that has it open has read that long ago.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..9].fill(b'x');
    std::fs::write(state.path().join("damaged"), bytes).unwrap();
    std::fs::rename(state.path().join("damaged"), &file).unwrap();
    gateway.signal("-QUIT");
    let why = gateway.says("not handed over").await;
    assert_eq!(why["message"], "not handed over; this process goes on", "{why}");
    // Whichever is seen first.
    let error = why["error"].as_str().unwrap();
    assert!(["the successor gave up", "the new process ended"].iter().any(|e| error.starts_with(e)), "{why}");
    assert_eq!(gateway.metric("pollgate_held_polls").await, 0.0, "it answers still");
}
