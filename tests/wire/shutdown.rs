//! Starting, being looked at, and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pollgate::app::Listeners;
use pollgate::clock;
use pollgate::config::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{Gate, Socket, Step, answer, exchange, poll, rvp, until, within};

#[tokio::test]
async fn held_polls_are_answered_early_when_the_gateway_stops() {
    let gate = Gate::start().await;
    let mut held = Vec::new();
    for n in 0..20 {
        let login = gate.login(&format!("user{n}")).await;
        let mut client = gate.client().await;
        client.send(poll(&login, "")).await;
        held.push(client);
    }
    let login = gate.login("stream").await;
    let mut stream = gate.client().await;
    stream.send(poll(&login, "Accept: text/event-stream\n")).await;
    stream.head_only().await;
    gate.held(21).await;

    let drain = gate.gateway().config().shutdown.drain;
    let (public, began) = (gate.public, clock::instant());
    let stopped = tokio::spawn(gate.stop());
    for mut client in held {
        let answer = client.answer().await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.field("connection").as_deref(), Some("close"));
    }
    stream.rest().await;
    within("the stop", stopped).await.unwrap();
    let longest = began.elapsed();
    assert!(longest < drain + Duration::from_secs(3), "{longest:?}");
    assert!(longest > drain / 4, "not all at once: {longest:?}");
    assert!(TcpStream::connect(public).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_is_on_its_way_is_finished_when_the_gateway_stops() {
    let gate = Gate::start().await;
    let public = gate.public;
    let mut idle = gate.client().await;
    let go = Arc::new(Notify::new());
    let told = go.clone();
    gate.upstream.script(move |_| {
        let mut steps = vec![Step::Wait(told.clone())];
        steps.extend(answer("HTTP/1.1 200 OK", "finished"));
        steps
    });
    let mut client = gate.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.upstream.saw(1).await;
    let mut callback = Socket::connect(gate.callback).await;
    callback.send("NOTIFY /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx").await;
    within("a login that is refused", async {
        // The callback's head was read before this one's was.
        gate.call_back(rvp::notify("/nobody", "", "x")).await
    })
    .await;

    let mut stopped = tokio::spawn(gate.stop());
    refuses(public).await;
    callback.send("y").await;
    assert_eq!(callback.answer().await.status(), 412);
    let early = timeout(Duration::from_millis(50), &mut stopped).await;
    assert!(early.is_err(), "somebody still waits for an answer");
    go.notify_one();
    assert_eq!(client.answer().await.body_text(), "finished");
    client.is_closed().await;
    within("the stop", stopped).await.unwrap();
    idle.is_closed().await;
}

#[tokio::test]
async fn who_is_called_back_before_its_request_is_answered_is_so_during_a_stop_too() {
    let udp: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let gate = Gate::with(|config| config.listen.callback_udp = Some(udp)).await;
    let kari = gate.login("kari").await;
    let go = Arc::new(Notify::new());
    let told = go.clone();
    gate.upstream.script(move |_| {
        let mut steps = vec![Step::Wait(told.clone())];
        steps.extend(answer("HTTP/1.1 200 OK", "finished"));
        steps
    });
    let (public, callback, admin, gateway) = (gate.public, gate.callback, gate.admin, gate.gateway().clone());
    let seen = gate.upstream.seen().len();
    let mut client = gate.client().await;
    client.send("PROPPATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    gate.upstream.saw(seen + 1).await;
    let mut kept = Socket::connect(callback).await;
    kept.send(rvp::notify(&kari.token, "", "before")).await;
    assert_eq!(kept.answer().await.status(), 200);

    let stopped = tokio::spawn(gate.stop());
    refuses(public).await;
    let ready = exchange(admin, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(ready.body_text().contains("failed  listeners: stopping"), "{}", ready.body_text());
    // On a connection that was kept, on a new one, and as a datagram.
    kept.send(rvp::notify(&kari.token, "", "kept")).await;
    assert_eq!(kept.answer().await.status(), 200);
    assert_eq!(exchange(callback, rvp::notify(&kari.token, "", "new")).await.status(), 200);
    let port = *gateway.datagram_port.get().expect("a port for datagrams");
    let sender = tokio::net::UdpSocket::bind(udp).await.unwrap();
    sender.send_to(&rvp::notify(&kari.token, "", "datagram"), (udp.ip(), port)).await.unwrap();
    until("all callbacks", || gateway.store.totals().messages == 4).await;

    go.notify_one();
    assert_eq!(client.answer().await.body_text(), "finished");
    client.is_closed().await;
    refuses(callback).await;
    within("the stop", stopped).await.unwrap();
    kept.is_closed().await;
    refuses(admin).await;
}

/// Waits until nobody listens at this address.
async fn refuses(address: SocketAddr) {
    within("the end of listening", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for key in ["public", "callback", "admin"] {
        let mut listen = Config::default().listen;
        listen.public = vec![any, if key == "public" { address } else { any }];
        listen.callback = if key == "callback" { address } else { any };
        listen.admin = if key == "admin" { address } else { any };
        let error = Listeners::bind(&listen).expect_err("the address is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} (listen.{key}): ")), "{error}");
    }
}

#[tokio::test]
async fn every_public_address_serves() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let gate = Gate::with(|config| config.listen.public = vec![any, any]).await;
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
}

#[tokio::test]
async fn health_and_readiness() {
    let gate = Gate::with(|config| {
        config.store.max_buffered_bytes = 1000;
        config.polling.limits.bytes = pollgate::mailbox::Bound::Unlimited;
    })
    .await;
    assert_eq!(gate.operate("GET", "/healthz").await.body_text(), "ok\n");
    let ready = gate.operate("GET", "/readyz").await;
    assert_eq!(ready.status(), 200);
    for what in ["upstream", "store", "listeners"] {
        assert!(ready.body_text().contains(&format!("ok      {what}: ")), "{}", ready.body_text());
    }
    assert_eq!(gate.operate("HEAD", "/readyz").await.status(), 200);
    assert_eq!(gate.operate("GET", "/nothing").await.status(), 404);
    let answer = gate.operate("POST", "/metrics").await;
    assert_eq!((answer.status(), answer.field("allow").as_deref()), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_gateway_whose_upstream_is_down_lives_but_is_not_ready() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = Gate::with(|config| config.upstreams[0].address = gone.to_string()).await;
    let ready = gate.operate("GET", "/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.body_text().contains("failed  upstream: "), "{}", ready.body_text());
    assert!(ready.body_text().contains("ok      store: "), "{}", ready.body_text());
    assert_eq!(gate.operate("GET", "/healthz").await.status(), 200);
}

#[tokio::test]
async fn metrics_follow_what_happens() {
    let gate = Gate::start().await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    gate.deliver(&kari, "12345").await;
    gate.call_back(rvp::notify("/nobody", "", "x")).await;
    let mut held = gate.client().await;
    held.send(poll(&alan, "")).await;
    gate.held(1).await;
    for (sample, value) in [
        ("pollgate_mailboxes", 2.0),
        ("pollgate_mailboxes_created_total", 2.0),
        ("pollgate_buffered_messages", 1.0),
        ("pollgate_held_polls", 1.0),
        ("pollgate_callbacks_total{result=\"accepted\"}", 1.0),
        ("pollgate_callbacks_total{result=\"unknown\"}", 1.0),
        ("pollgate_proxied_requests_total{status=\"200\"}", 2.0),
        ("pollgate_build_info{version=\"0.1.0\"}", 1.0),
    ] {
        assert_eq!(gate.metric(sample).await, value, "{sample}");
    }
    assert!(gate.metric("pollgate_buffered_bytes").await > 5.0);
    gate.bodies(&kari).await;
    gate.poll(&kari, "Prefer: wait=0\n").await;
    drop(held);
    gate.held(0).await;
    for (sample, value) in [
        ("pollgate_buffered_messages", 0.0),
        ("pollgate_buffered_bytes", 0.0),
        ("pollgate_oldest_message_age_seconds", 0.0),
        ("pollgate_messages_acknowledged_total", 1.0),
        ("pollgate_polls_total{result=\"news\"}", 1.0),
        ("pollgate_polls_total{result=\"empty\"}", 1.0),
        ("pollgate_polls_total{result=\"gone\"}", 1.0),
    ] {
        assert_eq!(gate.metric(sample).await, value, "{sample}");
    }
    let text = gate.operate("GET", "/metrics").await.body_text();
    for secret in [&kari.poll, &kari.token, &kari.id, "kari"] {
        assert!(!text.contains(secret.trim_start_matches("/.pollgate/").trim_start_matches('/')), "{secret}");
    }
}
