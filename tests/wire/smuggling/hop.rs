//! Fields that are for the next hop only.

use pollgate::config::Forwarded;

use crate::support::{Gate, rvp, text};

#[tokio::test]
async fn rfc9110_7_6_1_fields_of_one_hop_end_here() {
    let gate = Gate::start().await;
    let head = "GET / HTTP/1.1\nHost: im.example\nKeep-Alive: 300\nTE: trailers\nX-Hop: 1\nProxy-Connection: close\n\
                Connection: Keep-Alive, TE, X-Hop\nX-End: 1";
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(text(head, "")).await;
        assert_eq!(client.answer().await.status(), 200);
        let request = gate.upstream.last();
        for name in ["keep-alive", "te", "x-hop", "proxy-connection"] {
            assert_eq!(request.field(name), None, "{}", request.raw_text());
        }
        assert_eq!(request.field("x-end").as_deref(), Some("1"));
    }
}

/// Behind a switch of protocols nothing would be looked at any more: a client asks for none here.
#[tokio::test]
async fn rfc9110_7_8_nobody_switches_protocols() {
    let gate = Gate::start().await;
    let mut client = gate.client().await;
    for protocol in ["h2c", "websocket"] {
        let head =
            "GET / HTTP/1.1\nHost: im.example\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: AAMAAABk";
        client.send(text(&format!("{head}\nUpgrade: {protocol}"), "")).await;
        assert_eq!(client.answer().await.body_text(), "upstream");
        let request = gate.upstream.last();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.field(name), None, "{}", request.raw_text());
        }
    }
    gate.upstream.answers(text("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: h2c", ""));
    client.send(text("GET / HTTP/1.1\nHost: im.example\nConnection: Upgrade\nUpgrade: h2c", "")).await;
    assert_eq!(client.answer().await.status(), 502);
    client.is_closed().await;
}

/// `Connection` must not take fields away that say where a body ends or whom it is for.
#[tokio::test]
async fn rfc9110_7_6_1_a_client_nominates_nothing_that_matters() {
    let gate = Gate::start().await;
    for name in ["Content-Length", "Host", "Transfer-Encoding"] {
        let request = String::from_utf8(rvp::login("kari", "http://10.1.2.3:1234")).unwrap();
        let request =
            request.replace("Content-Length: 0", &format!("Content-Length: 5\r\nConnection: {name}"));
        let answer = gate.ask(format!("{request}hello")).await;
        if answer.status() == 200 {
            let request = gate.upstream.last();
            assert_eq!(request.body_text(), "hello", "{name}: {}", request.raw_text());
            assert_eq!(request.field("host").as_deref(), Some("im.example"), "{name}");
            gate.token();
        } else {
            assert_eq!(answer.status(), 400, "{name}");
        }
    }
}

/// The same for answers, whose fields are for the gateway.
#[tokio::test]
async fn rfc9110_7_6_1_fields_of_the_upstreams_hop_end_here() {
    let gate = Gate::start().await;
    let head = "HTTP/1.1 200 OK\nKeep-Alive: timeout=5\nX-Hop: 1\nProxy-Connection: keep-alive\nUpgrade: h2c\n\
                Connection: Keep-Alive, X-Hop, Upgrade\nX-End: 1\nContent-Length: 2";
    gate.upstream.answers(text(head, "ok"));
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(text("GET / HTTP/1.1\nHost: im.example", "")).await;
        let answer = client.answer().await;
        for name in ["keep-alive", "x-hop", "proxy-connection", "upgrade"] {
            assert_eq!(answer.field(name), None, "{}", answer.raw_text());
        }
        assert_eq!((answer.field("x-end").as_deref(), answer.body_text().as_str()), (Some("1"), "ok"));
    }
}

/// `Connection` in an answer must not take away what says where its body ends.
#[tokio::test]
async fn rfc9110_7_6_1_an_upstream_nominates_nothing_that_matters() {
    let gate = Gate::start().await;
    for (name, framing, body) in [
        ("Content-Length", "Content-Length: 2", "ok"),
        ("transfer-encoding", "Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        gate.upstream.answers(text(&format!("HTTP/1.1 200 OK\nConnection: {name}\n{framing}"), body));
        let mut client = gate.client().await;
        for _ in 0..2 {
            client.send(text("GET / HTTP/1.1\nHost: im.example", "")).await;
            assert_eq!(client.answer().await.body_text(), "ok", "{name}");
        }
    }
}

/// Nor what the gateway itself says to the upstream.
#[tokio::test]
async fn rfc9110_7_6_1_a_client_nominates_nothing_of_the_gateways() {
    let gate = Gate::with(|config| config.upstreams[0].forwarded = Some(Forwarded::XForwardedFor)).await;
    let head =
        "GET / HTTP/1.1\nHost: im.example\nX-Forwarded-For: 192.0.2.1\nConnection: X-Forwarded-For, close";
    let mut client = gate.client().await;
    client.send(text(head, "")).await;
    assert_eq!(client.answer().await.status(), 200);
    client.is_closed().await;
    assert_eq!(gate.upstream.last().all("x-forwarded-for"), ["127.0.0.1"]);
    let login = String::from_utf8(rvp::login("kari", "http://10.1.2.3:1234")).unwrap();
    let login = login.replace("Content-Length: 0", "Content-Length: 0\r\nConnection: Call-Back");
    gate.ask(login).await;
    let request = gate.upstream.last();
    assert!(!request.raw_text().contains("10.1.2.3"), "{}", request.raw_text());
    assert_eq!(request.all("call-back").len(), 1, "the address of the gateway's own: {}", request.raw_text());
}
