//! Where a request's body ends.

use super::{NEXT, SMUGGLED, passes, passes_as, put, refused};
use crate::support::{Gate, Socket, rvp, text};

/// The head of a body in chunks.
fn chunked() -> String {
    put("Transfer-Encoding: chunked\r\n")
}

#[tokio::test]
async fn rfc9112_6_3_content_length_with_transfer_encoding_is_refused() {
    refused([
        put("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        put("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n",
        put("Content-Length: 0\r\nTransfer-Encoding: identity\r\n"),
        put("transfer-encoding: x\r\ncontent-length: 4\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn rfc9110_8_6_a_repeated_content_length_is_refused() {
    refused([
        put("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello",
        put("Content-Length: 5\r\ncontent-length: 0\r\n") + "hello",
        put("Content-Length: 0\r\nX: 1\r\nCONTENT-LENGTH: 5\r\n") + "hello",
        put("Content-Length: 5, 5\r\n") + "hello",
        put("Content-Length: 5,\r\n") + "hello",
    ])
    .await;
}

#[tokio::test]
async fn rfc9110_8_6_a_content_length_that_is_no_number_is_refused() {
    for length in
        ["", "+5", "-5", "0x5", "5 5", "5;", "5.0", "five", "\u{665}", "18446744073709551617", "1e1"]
    {
        refused([put(&format!("Content-Length: {length}\r\n")) + "hello"]).await;
    }
}

#[tokio::test]
async fn rfc9112_6_1_any_coding_but_chunked_is_refused() {
    for coding in [
        "xchunked",
        "chunkedx",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, identity",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "\"chunked\"",
        "'chunked'",
        "chunked;q=1",
        "\x0bchunked",
        "chun\0ked",
        "",
    ] {
        refused([put(&format!("Transfer-Encoding: {coding}\r\n")) + "0\r\n\r\n"]).await;
    }
}

#[tokio::test]
async fn rfc9112_6_1_a_repeated_transfer_encoding_is_refused() {
    for (first, second) in
        [("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("x", "chunked")]
    {
        refused([
            put(&format!("Transfer-Encoding: {first}\r\nTransfer-encoding: {second}\r\n")) + "0\r\n\r\n"
        ])
        .await;
    }
}

#[tokio::test]
async fn rfc9112_6_1_transfer_encoding_in_http_1_0_is_refused() {
    refused(["PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]).await;
}

#[tokio::test]
async fn rfc9112_5_1_white_space_around_chunked_means_nothing() {
    for coding in [" chunked", "\tchunked", "chunked \t", "Chunked"] {
        let body = "5\r\nhello\r\n0\r\n\r\n";
        let gate = Gate::start().await;
        let mut client = gate.client().await;
        let head = put(&format!("Transfer-Encoding: {coding}\r\n"));
        client.send(format!("{head}{body}{NEXT}")).await;
        for _ in 0..2 {
            assert_eq!(client.answer().await.status(), 200, "{coding:?}");
        }
        let seen = gate.upstream.seen();
        assert_eq!(seen.len(), 2, "{coding:?}");
        assert_eq!(seen[0].all("transfer-encoding"), ["chunked"]);
        assert_eq!((seen[0].body_text().as_str(), seen[1].raw_text().as_str()), ("hello", NEXT));
    }
}

#[tokio::test]
async fn rfc9112_7_1_chunks_pass_in_one_form() {
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n000\r\n\r\n",
        "5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\nHost: evil\r\n\r\n",
    ] {
        passes_as(chunked() + body, chunked() + "5\r\nhello\r\n0\r\n\r\n").await;
    }
}

/// The head is on its way before the chunks are seen: then the upstream's connection is given up, so that
/// nothing that follows is read as the body. The callback listener takes nothing.
async fn ends_both_connections(bodies: &[&str]) {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let before = gate.upstream.seen().len();
    for body in bodies {
        let notify = String::from_utf8(rvp::notify(&login.token, "", "")).unwrap();
        let notify = notify.replace("Content-Length: 0", "Transfer-Encoding: chunked");
        assert!(notify.contains("chunked"), "{notify}");
        for (listener, head) in [(gate.public, chunked()), (gate.callback, notify)] {
            let mut client = Socket::connect(listener).await;
            client.try_send(format!("{head}{body}{SMUGGLED}")).await;
            assert_eq!(client.answer().await.status(), 400, "{body:?}");
            client.is_closed().await;
        }
        assert_eq!(gate.upstream.seen().len(), before, "{body:?}: no request came to its end");
    }
    assert_eq!(gate.ask(NEXT).await.status(), 200);
    assert_eq!(gate.upstream.last().raw_text(), NEXT);
    assert!(gate.bodies(&login).await.is_empty());
}

#[tokio::test]
async fn rfc9112_7_1_a_chunk_size_that_is_no_number_ends_both_connections() {
    ends_both_connections(&[
        "x\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_7_1_a_chunk_size_that_overflows_ends_both_connections() {
    ends_both_connections(&["fffffffffffffffff\r\nhello", "10000000000000005\r\nhello\r\n0\r\n\r\n"]).await;
}

#[tokio::test]
async fn rfc9112_7_1_a_chunk_that_does_not_end_with_crlf_ends_both_connections() {
    ends_both_connections(&[
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_7_1_1_a_chunk_extension_that_is_none_ends_both_connections() {
    let endless = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(10_000));
    ends_both_connections(&[
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\x01\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\0\"\r\nhello\r\n0\r\n\r\n",
        &endless,
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_7_1_2_a_trailer_that_is_none_ends_both_connections() {
    ends_both_connections(&[
        "5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\rY: b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_requests_are_one_each() {
    passes(put("Content-Length: 5\r\n") + "he\r\no").await;
    let gate = Gate::start().await;
    let mut client = gate.client().await;
    let sized = put(&format!("Content-Length: {}\r\n", SMUGGLED.len())) + SMUGGLED;
    let in_chunks = chunked() + &format!("{:X}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    client.send([NEXT, &sized, NEXT, &in_chunks, NEXT].concat()).await;
    for _ in 0..5 {
        assert_eq!(client.answer().await.status(), 200);
    }
    let seen: Vec<_> = gate.upstream.seen().iter().map(|request| request.raw_text()).collect();
    assert_eq!(seen, [NEXT, &sized, NEXT, &in_chunks, NEXT]);
}

#[tokio::test]
async fn rfc9112_8_a_body_that_breaks_off_breaks_off_upstream() {
    let gate = Gate::start().await;
    for (head, body) in [("Content-Length: 10", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")] {
        let mut client = gate.client().await;
        client.send(text(&format!("PUT /a HTTP/1.1\nHost: im.example\n{head}"), body)).await;
        client.finish_sending().await;
        client.rest().await;
        assert!(gate.upstream.seen().is_empty(), "{head}");
    }
    assert_eq!(gate.ask(NEXT).await.status(), 200);
    assert_eq!(gate.upstream.seen().len(), 1);
}

/// A server that ignores the body of a GET, or one that was announced with `Expect`, reads it as the next
/// request: only the attacker's own.
#[tokio::test]
async fn rfc9110_9_3_1_an_unexpected_body_poisons_nobody_elses_connection() {
    let gate = Gate::start().await;
    let mut others = gate.client().await;
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
        others.send(NEXT).await;
        assert_eq!(others.answer().await.status(), 200);
        let fresh = usize::from(method == "GET");
        assert_eq!(gate.upstream.connections(), before + fresh, "{method}: not the attacker's connection");
    }
}
