//! Requests that cost more than they should: the public listener bounds them, and others are not disturbed.

use crate::support::{Gate, Socket, poll};

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
