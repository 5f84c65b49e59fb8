//! Requests that two servers could read in two ways, or that cost more than they should: the public
//! listener refuses them, and the upstream sees nothing.

use crate::support::{Gate, Socket, poll, rvp, text};

/// What an attacker wants the upstream to take for a request of somebody else.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: im.example\r\n\r\n";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let gate = Gate::start().await;
    let line = "PUT /a HTTP/1.1\r\nHost: im.example\r\n";
    for request in [
        // Two ways to tell where the body ends (RFC 9112 §6.1, RFC 9110 §8.6).
        format!("{line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("{line}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("{line}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        format!("{line}Content-Length: 5\r\ncontent-length: 0\r\n\r\nhello"),
        format!("{line}Content-Length: 5, 5\r\n\r\nhello"),
        format!("{line}Content-Length: +5\r\n\r\nhello"),
        format!("{line}Content-Length: 0x5\r\n\r\nhello"),
        format!("{line}Content-Length: 18446744073709551617\r\n\r\nh"),
        format!("{line}Content-Length: \r\n\r\n{SMUGGLED}"),
        format!("{line}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        format!("{line}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{line}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        format!("{line}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        format!("PUT /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        // Names that some take for others.
        format!("{line}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("{line}Content-Length\r\n: 5\r\n\r\nhello"),
        format!("{line}X: 1\r\n Content-Length: 5\r\n\r\nhello"),
        format!("{line} Content-Length: 5\r\n\r\nhello"),
        format!("{line}X: a\rb\r\n\r\n"),
        format!("{line}X: a\0b\r\n\r\n"),
        format!("{line}: empty\r\n\r\n"),
        format!("{line}N\u{e9}: 1\r\n\r\n"),
        // For whom is it? (RFC 9112 §3.2)
        "GET / HTTP/1.1\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(),
        "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET http:///path HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        // What is asked for? (RFC 9112 §3.2.4)
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(),
        "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET /\r\nHost: a\r\n\r\n".into(),
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\r\n\r\n".into(),
    ] {
        let mut client = gate.client().await;
        client.try_send(&request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), 400, "{request:?}: {}", answer.raw_text());
        client.is_closed().await;
        assert!(gate.upstream.seen().is_empty(), "{request:?}");
    }
    assert_eq!(gate.upstream.connections(), 0, "no byte of all that went on");
}

#[tokio::test]
async fn versions_that_are_not_spoken() {
    let gate = Gate::start().await;
    for request in
        ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/3\r\n\r\n"]
    {
        let status = gate.ask(request).await.status();
        assert!([400, 505].contains(&status), "{request:?}: {status}");
    }
    assert_eq!(gate.upstream.connections(), 0);
}

/// The head is on its way before the chunks are seen: then the upstream's connection is given up, so that
/// nothing that follows is read as the body.
#[tokio::test]
async fn a_malformed_chunk_ends_both_connections() {
    let gate = Gate::start().await;
    for chunks in [
        "x\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\x01\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
    ] {
        let mut client = gate.client().await;
        let head = text("PUT /a HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked", "");
        client.try_send([&head, chunks.as_bytes(), SMUGGLED.as_bytes()].concat()).await;
        assert_eq!(client.answer().await.status(), 400, "{chunks:?}");
        client.is_closed().await;
        assert!(gate.upstream.seen().is_empty(), "{chunks:?}: no request came to its end");
    }
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
    assert_eq!(gate.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_breaks_off_upstream() {
    let gate = Gate::start().await;
    for (head, body) in [("Content-Length: 10", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")] {
        let mut client = gate.client().await;
        client.send(text(&format!("PUT /a HTTP/1.1\nHost: im.example\n{head}"), body)).await;
        client.finish_sending().await;
        client.rest().await;
        assert!(gate.upstream.seen().is_empty(), "{head}");
    }
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
    assert_eq!(gate.upstream.seen().len(), 1);
}

/// RFC 9112 §2.2 allows a lone LF to end a line; what not everybody reads alike goes no further.
#[tokio::test]
async fn lone_line_feeds_in_a_head_are_refused() {
    let gate = Gate::start().await;
    let head = "PROPFIND /a HTTP/1.1\nHost: im.example\nContent-Length: 5\n\n";
    assert_eq!(gate.ask(format!("{head}hello")).await.status(), 400);
    assert!(gate.upstream.seen().is_empty());
}

/// A server that ignores the body of a GET reads it as the next request: only the attacker's own.
#[tokio::test]
async fn an_unexpected_body_poisons_nobody_elses_connection() {
    let gate = Gate::start().await;
    let mut others = gate.client().await;
    let get = text("GET / HTTP/1.1\nHost: im.example", "");
    for (method, more) in [("GET", ""), ("HEAD", ""), ("PUT", "\nExpect: 100-continue")] {
        let mut client = gate.client().await;
        let head =
            format!("{method} /a HTTP/1.1\nHost: im.example{more}\nContent-Length: {}", SMUGGLED.len());
        let before = gate.upstream.connections();
        client.send(text(&head, SMUGGLED)).await;
        assert_eq!(client.head_only().await.status(), 200);
        assert_eq!(gate.upstream.last().body_text(), SMUGGLED);
        assert_eq!(gate.upstream.connections(), before + 1, "{method}");
        let before = gate.upstream.connections();
        others.send(&get).await;
        assert_eq!(others.answer().await.status(), 200);
        let fresh = usize::from(method == "GET");
        assert_eq!(gate.upstream.connections(), before + fresh, "{method}: not the attacker's connection");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let gate = Gate::start().await;
    let limit = 32 * 1024;
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(limit - 100)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(limit)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(limit)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(99)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(100)), 431),
        // One that never ends.
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: 1\r\n".repeat(20_000)), 431),
    ] {
        let mut client = gate.client().await;
        client.try_send(&request).await;
        assert_eq!(client.answer().await.status(), status, "{} bytes", request.len());
    }
    assert_eq!(gate.upstream.seen().len(), 2);
}

#[tokio::test]
async fn hop_by_hop_fields_end_here() {
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
async fn nobody_switches_protocols() {
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
async fn a_client_nominates_nothing_that_matters() {
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

#[tokio::test]
async fn a_client_that_trickles_is_served_and_disturbs_nobody() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut slow: Vec<Socket> = Vec::new();
    for _ in 0..100 {
        let mut client = gate.client().await;
        client.send("POLL /.poll").await;
        slow.push(client);
    }
    gate.deliver(&login, "x").await;
    assert_eq!(gate.bodies(&login).await, ["x"]);
    let rest = String::from_utf8(poll(&login, "Prefer: wait=0\n")).unwrap();
    let mut last = slow.pop().unwrap();
    last.send(rest.strip_prefix("POLL /.poll").unwrap()).await;
    assert_eq!(last.answer().await.status(), 204);
}
