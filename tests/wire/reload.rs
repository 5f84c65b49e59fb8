//! The configuration changes while the gateway runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pollgate::config::AuthMode;
use pollgate::mailbox::Bound;

use crate::support::{Gate, Upstream, answer, poll, rvp};

#[tokio::test]
async fn the_next_request_finds_what_is_set_now() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.follow(|config| config.polling.limits.messages = Bound::AtMost(1));
    gate.deliver(&login, "one").await;
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "two")).await.status(), 503);

    gate.follow(|config| config.callback.max_body_bytes = 3);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "four")).await.status(), 413);
    gate.follow(|config| config.callback.allow = vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "two")).await.status(), 403);

    gate.follow(|config| config.limits.header_fields = 1);
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n").await.status(), 431);
    gate.follow(|config| config.polling.max_held_polls = 7);
    assert_eq!(gate.metric("pollgate_held_polls_limit").await, 7.0);
    gate.follow(|config| config.polling.poll_support = false);
    assert_eq!(gate.poll(&login, "").await.status(), 501);
}

#[tokio::test]
async fn the_next_request_goes_to_the_upstream_that_is_set_now() {
    let gate = Gate::start().await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK", "the old one"));
    let mut client = gate.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body_text(), "the old one");

    let other = Upstream::start().await;
    other.script(|_| answer("HTTP/1.1 200 OK", "the new one"));
    let address = other.address.to_string();
    gate.follow(|config| config.upstreams[0].address = address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body_text(), "the new one", "on the connection that was there before");
}

#[tokio::test]
async fn a_held_poll_stays_held_and_is_answered() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "")).await;
    gate.held(1).await;
    gate.follow(|config| {
        config.polling.limits.messages = Bound::AtMost(7);
        config.limits.connections = 1;
        config.limits.held_polls_per_address = 1;
        config.polling.max_held_polls = 1;
    });
    gate.deliver(&login, "news").await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn credentials_are_asked_for_as_soon_as_that_is_set() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let users = tempfile::NamedTempFile::new().unwrap();
    let file = users.path().to_owned();
    gate.follow(|config| {
        config.auth.mode = AuthMode::Digest;
        config.auth.users_file = Some(file);
    });
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 401);

    let missing = Path::new("/nowhere/users").to_owned();
    let refused = gate.try_follow(|config| {
        config.auth.users_file = Some(missing);
        config.polling.poll_support = false;
    });
    assert!(refused.unwrap_err().problems()[0].contains("/nowhere/users"));
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 401, "all of it is as before");

    gate.follow(|config| config.auth.mode = AuthMode::Capability);
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 204);
}

#[tokio::test]
async fn a_thousand_reloads_lose_no_request() {
    let gate = Arc::new(Gate::start().await);
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK", "passed on"));
    let login = gate.login("kari").await;
    let over = Arc::new(AtomicBool::new(false));
    let passing = tokio::spawn({
        let (gate, over) = (gate.clone(), over.clone());
        async move {
            let mut client = gate.client().await;
            let mut passed = 0;
            while !over.load(Ordering::Relaxed) {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                assert_eq!(client.answer().await.body_text(), "passed on");
                passed += 1;
            }
            passed
        }
    });
    let polling = tokio::spawn({
        let (gate, over, login) = (gate.clone(), over.clone(), login.clone());
        async move {
            let mut sent = 0;
            let mut client = gate.client().await;
            while !over.load(Ordering::Relaxed) {
                let body = format!("message {sent}");
                gate.deliver(&login, &body).await;
                client.send(poll(&login, "Accept: application/http\n")).await;
                let got = client.answer().await;
                assert_eq!(got.status(), 200);
                assert!(got.body_text().ends_with(&body), "in order: {}", got.body_text());
                sent += 1;
            }
            sent
        }
    });
    for n in 1..=1000_u64 {
        let changes = gate.follow(|config| config.polling.limits.messages = Bound::AtMost(100 + n % 2));
        assert_eq!(changes.followed, ["polling"]);
        // The others have their turn.
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    let (passed, sent): (u64, u64) = (passing.await.unwrap(), polling.await.unwrap());
    assert!(passed > 0 && sent > 0, "{passed} requests, {sent} messages");
}
