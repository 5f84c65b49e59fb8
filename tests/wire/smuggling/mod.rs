//! One request of a client is one request of the upstream: what could be read in two ways is refused by both
//! listeners, and goes on in one form only otherwise. The same for answers.
//!
//! Each test is named after the section that tells how it must be read.

mod answers;
mod body;
mod head;
mod hop;

use crate::support::{Gate, Socket, Upstream, text, within};

/// What an attacker wants the upstream to take for a request of somebody else.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: im.example\r\n\r\n";

/// What comes after the request that a test is about.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: im.example\r\n\r\n";

/// Each of these is refused by both listeners, which close the connection, and nothing of it goes on.
async fn refused<R: AsRef<[u8]>>(requests: impl IntoIterator<Item = R>) {
    let gate = Gate::start().await;
    for request in requests {
        let request = request.as_ref();
        let shown = String::from_utf8_lossy(request);
        for listener in [gate.public, gate.callback] {
            let mut client = Socket::connect(listener).await;
            client.try_send(&[request, SMUGGLED.as_bytes()].concat()).await;
            let answer = client.answer().await;
            // Where a version is expected, what else stands there is a version that is not spoken.
            assert!([400, 505].contains(&answer.status()), "{shown:?}: {}", answer.raw_text());
            client.is_closed().await;
        }
        assert_eq!(gate.upstream.connections(), 0, "{shown:?}: something of it went on");
    }
}

/// The request goes on as exactly these bytes, and so does what comes after it.
async fn passes_as(request: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    let (request, expected) = (request.as_ref(), expected.as_ref());
    let mut raw = Upstream::by_hand().await;
    let gate = Gate::with(|config| config.upstreams[0].address = raw.address()).await;
    let mut client = gate.client().await;
    client.send([request, NEXT.as_bytes()].concat()).await;
    let mut server = raw.accept().await;
    for wanted in [expected, NEXT.as_bytes()] {
        // To the end of the head first, so that another head is shown and not waited for.
        let head = server.read_to(b"\r\n\r\n").await;
        assert_eq!(String::from_utf8_lossy(&head), String::from_utf8_lossy(&wanted[..head.len()]));
        let body = &wanted[head.len()..];
        if !body.is_empty() {
            assert_eq!(within("the body", server.read_to(body)).await, body);
        }
        assert!(!server.has_input().await, "more came before it was answered");
        server.send(text("HTTP/1.1 200 OK\nContent-Length: 2", "ok")).await;
        assert_eq!(client.answer().await.status(), 200);
    }
}

/// The same for what needs no change.
async fn passes(request: impl AsRef<[u8]>) {
    passes_as(&request, &request).await;
}

/// The head of a request with a body, with these fields; each ends its line.
fn put(fields: &str) -> String {
    format!("PUT /a HTTP/1.1\r\nHost: im.example\r\n{fields}\r\n")
}
