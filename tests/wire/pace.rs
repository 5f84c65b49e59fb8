//! How often clients are told to poll, and what becomes of those who poll more often.

use std::time::Duration;

use pollgate::config::Config;
use pollgate::mailbox::DeliveryMode;

use crate::support::{CLIENT, Gate, bodies, life_times, poll, rvp};

const NOW: &str = "Prefer: wait=0\n";

/// No test lasts as long as the floor: nobody is let in because of the time.
fn strict(config: &mut Config) {
    config.polling.min_poll_interval = Duration::from_secs(60);
}

#[tokio::test]
async fn a_client_that_polls_is_told_its_period() {
    let gate = Gate::start().await;
    let signed_in = gate.ask(rvp::login("kari", CLIENT)).await;
    assert_eq!(signed_in.number("poll-interval"), Some(600));
    let login = gate.login("alan").await;
    assert_eq!(gate.poll(&login, NOW).await.number("poll-interval"), Some(600), "with nothing");
    gate.deliver(&login, "x").await;
    let answer = gate.poll(&login, NOW).await;
    assert_eq!((answer.status(), answer.number("poll-interval")), (200, Some(600)), "with a message");
    let mut stream = gate.client().await;
    stream.send(poll(&login, "Accept: text/event-stream\n")).await;
    assert_eq!(stream.head_only().await.number("poll-interval"), Some(600), "before a stream");
}

#[tokio::test]
async fn a_client_that_is_called_is_told_none_unless_it_polls_by_its_own_wish() {
    let gate = Gate::with(|config| config.delivery.mode = DeliveryMode::Default).await;
    let signed_in = gate.ask(rvp::login("kari", CLIENT)).await;
    assert_eq!((signed_in.status(), signed_in.field("poll-interval")), (200, None));
    let login = gate.login("alan").await;
    assert_eq!(gate.poll(&login, NOW).await.field("poll-interval"), None);
    let polls = gate.ask(rvp::login_with("mona", "")).await;
    assert_eq!(polls.number("poll-interval"), Some(600));
}

#[tokio::test]
async fn who_polls_in_vain_again_and_again_is_told_to_wait() {
    let gate = Gate::with(strict).await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    for _ in 0..10 {
        assert_eq!(gate.poll(&kari, NOW).await.status(), 204);
    }
    let mut client = gate.client().await;
    for fields in [NOW, ""] {
        client.send(poll(&kari, fields)).await;
        let refused = client.answer().await;
        assert_eq!(refused.status(), 429);
        let seconds = refused.number("retry-after").unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // It does not cost a message, nor anybody else a poll.
    gate.deliver(&kari, "kept").await;
    assert_eq!(gate.poll(&alan, NOW).await.status(), 204);
    assert_eq!(gate.gateway().store.totals().messages, 1);
    assert_eq!(gate.metric("pollgate_polls_total{result=\"too-often\"}").await, 2.0);
}

#[tokio::test]
async fn polls_that_bring_something_may_follow_each_other() {
    let gate = Gate::with(strict).await;
    let login = gate.login("kari").await;
    for n in 0..30 {
        gate.deliver(&login, &n.to_string()).await;
        let answer = gate.poll(&login, NOW).await;
        assert_eq!(bodies(&answer), [n.to_string()]);
        // To acknowledge is not in vain either.
        let last = answer.number("last-event-id").unwrap();
        let answer = gate.poll(&login, &format!("{NOW}Last-Event-ID: {last}\n")).await;
        assert_eq!(answer.status(), 204);
    }
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_held_to_their_end_may_follow_each_other() {
    let gate = Gate::with(|config| {
        strict(config);
        config.polling.poll_life_time = life_times(1, 1, 1);
    })
    .await;
    let login = gate.login("kari").await;
    for _ in 0..15 {
        assert_eq!(gate.poll(&login, "").await.status(), 204);
    }
}

#[tokio::test]
async fn held_polls_that_chase_each_other_are_in_vain() {
    let gate = Gate::with(strict).await;
    let login = gate.login("kari").await;
    let mut held = gate.client().await;
    held.send(poll(&login, "")).await;
    gate.held(1).await;
    for _ in 0..10 {
        let mut next = gate.client().await;
        next.send(poll(&login, "")).await;
        assert_eq!(held.answer().await.status(), 204);
        held = next;
    }
    assert_eq!(gate.poll(&login, "").await.status(), 429);
    // The poll that is held stays where it is.
    gate.deliver(&login, "x").await;
    assert_eq!(bodies(&held.answer().await), ["x"]);
}

#[tokio::test]
async fn without_a_floor_anything_goes() {
    let gate = Gate::with(|config| config.polling.min_poll_interval = Duration::ZERO).await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    for _ in 0..50 {
        client.send(poll(&login, NOW)).await;
        assert_eq!(client.answer().await.status(), 204);
    }
}
