//! DESIGN §3: how much is buffered, and what the upstream is told when that is too much.

use pollgate::mailbox::{Bound, Overflow};

use crate::support::{Gate, bodies, chunks, life_times, poll, rvp, text};

#[tokio::test]
async fn a_full_mailbox_says_when_to_come_again() {
    let gate = Gate::with(|config| config.polling.limits.messages = Bound::new(2)).await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "1").await;
    gate.deliver(&login, "2").await;
    let refused = gate.call_back(rvp::notify(&login.token, "", "3")).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.number("retry-after").unwrap() > 0);
    assert_eq!(refused.field("rvp-notifications-version").as_deref(), Some("0.2"));
    assert_eq!(gate.callbacks("full").await, 1.0);

    // What is handed out but not acknowledged still counts.
    let answer = gate.poll(&login, "").await;
    assert_eq!(bodies(&answer), ["1", "2"]);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "3")).await.status(), 503);
    let acknowledge = format!("Prefer: wait=0\nLast-Event-ID: {}\n", answer.number("last-event-id").unwrap());
    assert_eq!(gate.poll(&login, &acknowledge).await.status(), 204);
    gate.deliver(&login, "3").await;
}

#[tokio::test]
async fn the_oldest_may_make_room() {
    let gate = Gate::with(|config| {
        config.polling.limits.messages = Bound::new(2);
        config.polling.limits.overflow = Overflow::DropOldest;
    })
    .await;
    let login = gate.login("kari").await;
    for body in ["1", "2", "3", "4"] {
        gate.deliver(&login, body).await;
    }
    let answer = gate.poll(&login, "").await;
    assert_eq!(bodies(&answer), ["3", "4"]);
    assert_eq!(answer.number("poll-dropped"), Some(2));
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"overflow\"}").await, 2.0);
}

/// The cost of a message is its body and its kept header lines.
#[tokio::test]
async fn a_body_up_to_the_limit_and_over_it() {
    let gate = Gate::with(|config| config.polling.limits.bytes = Bound::new(1024)).await;
    let login = gate.login("kari").await;
    let callback = |body: usize| {
        text(&format!("NOTIFY {} HTTP/1.1\nHost: h\nContent-Length: {body}", login.token), &"x".repeat(body))
    };
    let lines = "Content-Length: 1000\r\n".len();
    let refused = gate.call_back(callback(1024 - lines + 1)).await;
    assert_eq!(refused.status(), 413);
    assert_eq!(gate.callbacks("too-large").await, 1.0);
    assert_eq!(gate.call_back(callback(1024 - lines)).await.status(), 200);
    assert_eq!(gate.call_back(callback(0)).await.status(), 503, "now it is full");
}

#[tokio::test]
async fn a_body_larger_than_is_read_at_all() {
    let gate = Gate::with(|config| config.callback.max_body_bytes = 1000).await;
    let login = gate.login("kari").await;
    let head = format!("NOTIFY {} HTTP/1.1\nHost: h", login.token);
    for (what, request, status) in [
        ("at the limit", text(&format!("{head}\nContent-Length: 1000"), &"x".repeat(1000)), 200),
        ("over it", text(&format!("{head}\nContent-Length: 1001"), &"x".repeat(1001)), 413),
        ("over it, and not even sent", text(&format!("{head}\nContent-Length: 99999999999"), ""), 413),
        (
            "chunks at the limit",
            text(&format!("{head}\nTransfer-Encoding: chunked"), &chunks(&"x".repeat(1000))),
            200,
        ),
        (
            "chunks over it",
            text(&format!("{head}\nTransfer-Encoding: chunked"), &chunks(&"x".repeat(1001))),
            413,
        ),
    ] {
        assert_eq!(gate.call_back(request).await.status(), status, "{what}");
    }
    assert_eq!(gate.callbacks("body-too-large").await, 3.0);
}

#[tokio::test]
async fn buffering_can_be_disabled() {
    for change in [
        |config: &mut pollgate::config::Config| config.polling.limits.messages = Bound::new(0),
        |config: &mut pollgate::config::Config| config.polling.limits.bytes = Bound::new(0),
    ] {
        let gate = Gate::with(change).await;
        let login = gate.login("kari").await;
        let refused = gate.call_back(rvp::notify(&login.token, "", "x")).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(gate.callbacks("disabled").await, 1.0);
    }
}

#[tokio::test]
async fn with_life_time_zero_only_a_held_poll_gets_messages() {
    let gate = Gate::with(|config| config.polling.limits.life_time = life_times(0, 0, 0)).await;
    let login = gate.login("kari").await;
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "x")).await.status(), 503);
    assert_eq!(gate.callbacks("nobody-polls").await, 1.0);
    let mut client = gate.client().await;
    client.send(poll(&login, "")).await;
    gate.held(1).await;
    gate.deliver(&login, "now").await;
    assert_eq!(bodies(&client.answer().await), ["now"]);
}

#[tokio::test]
async fn a_store_that_is_full_refuses() {
    let gate = Gate::with(|config| config.store.max_buffered_bytes = 1500).await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    gate.deliver(&kari, &"x".repeat(1000)).await;
    let refused = gate.call_back(rvp::notify(&alan.token, "", &"x".repeat(1000))).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.number("retry-after").unwrap() > 0);
    assert_eq!(gate.callbacks("store-full").await, 1.0);
}
