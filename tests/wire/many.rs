//! A thousand mailboxes at once: nothing lost, nothing mixed up, each in its order.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::support::{Gate, Login, Socket, bodies, poll, rvp};

const MAILBOXES: usize = 1000;
const MESSAGES: usize = 5;
/// How many connections the upstream delivers on.
const PUBLISHERS: usize = 20;

async fn gate_with_logins() -> (Arc<Gate>, Vec<Login>) {
    // All clients are one address here.
    let gate = Arc::new(Gate::with(|config| config.limits.request_burst_per_address = 1_000_000).await);
    let mut client = gate.client().await;
    let mut logins = Vec::with_capacity(MAILBOXES);
    for n in 0..MAILBOXES {
        // One after the other, so that the upstream's latest request is this one.
        client.send(rvp::login(&format!("user{n}"), "http://10.1.2.3:1234")).await;
        let answer = client.answer().await;
        let location = answer.field("content-location").expect("a place to poll");
        let path = location.strip_prefix("http://im.example").unwrap().to_owned();
        logins.push(Login { poll: path, token: gate.token(), id: answer.field("subscription-id").unwrap() });
    }
    gate.mailboxes(MAILBOXES as u64).await;
    (gate, logins)
}

/// Delivers every message of these mailboxes, mailbox by turns, on one connection.
async fn publish(gate: Arc<Gate>, logins: Vec<(usize, Login)>) {
    let mut upstream = Socket::connect(gate.callback).await;
    for n in 0..MESSAGES {
        for (mailbox, login) in &logins {
            upstream.send(rvp::notify(&login.token, "", &format!("{mailbox}.{n}"))).await;
            assert_eq!(upstream.answer().await.status(), 200);
        }
    }
}

/// Polls until every message of the mailbox is there.
async fn read(gate: Arc<Gate>, mailbox: usize, login: Login) {
    let mut client = gate.client().await;
    let mut got = Vec::new();
    while got.len() < MESSAGES {
        client.send(poll(&login, "")).await;
        got.extend(bodies(&client.answer().await));
    }
    let expected: Vec<String> = (0..MESSAGES).map(|n| format!("{mailbox}.{n}")).collect();
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_held_polls_get_what_is_theirs_in_order() {
    let (gate, logins) = gate_with_logins().await;
    let mut readers = JoinSet::new();
    for (mailbox, login) in logins.iter().cloned().enumerate() {
        readers.spawn(read(gate.clone(), mailbox, login));
    }
    gate.held(MAILBOXES as u64).await;
    // Others are not disturbed.
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);

    let numbered: Vec<(usize, Login)> = logins.iter().cloned().enumerate().collect();
    let mut publishers = JoinSet::new();
    for share in numbered.chunks(MAILBOXES / PUBLISHERS) {
        publishers.spawn(publish(gate.clone(), share.to_vec()));
    }
    publishers.join_all().await;
    readers.join_all().await;

    let all = (MAILBOXES * MESSAGES) as f64;
    assert_eq!(gate.metric("pollgate_messages_total{class=\"message\"}").await, all);
    assert_eq!(gate.metric("pollgate_delivery_delay_seconds_count").await, all);
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 0.0);
    for reason in ["overflow", "expired", "too-large", "abandoned", "purged"] {
        let sample = format!("pollgate_messages_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(gate.metric(&sample).await, 0.0, "{reason}");
    }
}

/// Many connections deliver to one mailbox: all of it arrives, and each connection's in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_may_meet_in_one_mailbox() {
    let gate = Arc::new(
        Gate::with(|config| {
            config.polling.limits.messages = pollgate::mailbox::Bound::Unlimited;
            config.limits.request_burst_per_address = 1_000_000;
        })
        .await,
    );
    let login = gate.login("kari").await;
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(gate.clone(), vec![(publisher, login.clone())]));
    }
    let mut client = gate.client().await;
    let mut got = Vec::new();
    while got.len() < PUBLISHERS * MESSAGES {
        client.send(poll(&login, "")).await;
        got.extend(bodies(&client.answer().await));
    }
    publishers.join_all().await;
    for publisher in 0..PUBLISHERS {
        let prefix = format!("{publisher}.");
        let of_this: Vec<&String> = got.iter().filter(|body| body.starts_with(&prefix)).collect();
        let expected: Vec<String> = (0..MESSAGES).map(|n| format!("{prefix}{n}")).collect();
        assert!(of_this.into_iter().eq(&expected), "publisher {publisher}: {got:?}");
    }
}
