//! One answer of the upstream is one answer to the client; what is left over is nobody's.

use super::NEXT;
use crate::support::{Gate, Message, Socket, Step, answer, text};

/// What an attacker who has a hand in an answer wants the next client to be told.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// What the client is told when the upstream sends this, and `POISON` behind it.
async fn told(gate: &Gate, method: &str, sent: &str) -> Message {
    let bytes = format!("{sent}{POISON}").into_bytes();
    gate.upstream.script(move |request| match request.start_line().contains("/first") {
        true => vec![Step::Send(bytes.clone())],
        false => answer("HTTP/1.1 200 OK", "clean"),
    });
    let (mut client, mut other) = (gate.client().await, gate.client().await);
    client.send(text(&format!("{method} /first HTTP/1.1\nHost: im.example"), "")).await;
    let told = match method {
        "HEAD" => client.head_only().await,
        _ => client.answer().await,
    };
    let before = gate.upstream.connections();
    other.send(text("GET /second HTTP/1.1\nHost: im.example", "")).await;
    assert_eq!(other.answer().await.body_text(), "clean", "{sent:?}");
    assert_eq!(gate.upstream.connections(), before + 1, "{sent:?}: the connection is given up");
    is_done(client, sent).await;
    told
}

/// Nothing else was said to this client.
async fn is_done(mut client: Socket, sent: &str) {
    client.try_send(text("GET /third HTTP/1.1\nHost: im.example\nConnection: close", "")).await;
    let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(rest.is_empty() || rest.ends_with("\r\n\r\nclean"), "{sent:?}: {rest}");
    assert!(!rest.contains("poison"), "{sent:?}: {rest}");
}

async fn refused(answers: &[&str]) {
    let gate = Gate::start().await;
    for sent in answers {
        assert_eq!(told(&gate, "GET", sent).await.status(), 502, "{sent:?}");
    }
}

#[tokio::test]
async fn rfc9112_6_3_an_answer_of_two_lengths_is_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_6_1_an_answer_of_other_codings_is_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_2_2_control_characters_in_an_answer_are_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_6_3_nothing_belongs_to_an_answer_that_has_no_body() {
    let gate = Gate::start().await;
    for (method, head, status) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", 304),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200),
    ] {
        let told = told(&gate, method, head).await;
        assert_eq!(told.status(), status, "{head}");
        assert_eq!(told.body_text(), if head.contains("hello") { "hello" } else { "" }, "{head}");
    }
}

#[tokio::test]
async fn rfc9110_15_2_only_the_final_answer_is_one() {
    let gate = Gate::start().await;
    let interim = ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"];
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    gate.upstream.script({
        let bytes = [interim[0], interim[1], interim[0], last, POISON].concat().into_bytes();
        move |request| match request.start_line().contains("/first") {
            true => vec![Step::Send(bytes.clone())],
            false => answer("HTTP/1.1 200 OK", "clean"),
        }
    });
    let mut client = gate.client().await;
    client.send(text("GET /first HTTP/1.1\nHost: im.example", "")).await;
    for status in [102, 103, 102] {
        assert_eq!(client.head_only().await.status(), status);
    }
    assert_eq!(client.answer().await.body_text(), "hello");
    is_done(client, last).await;
}

/// What both lengths are given for has one for the client.
#[tokio::test]
async fn rfc9112_6_3_chunks_overrule_the_length_of_an_answer() {
    let gate = Gate::start().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 999",
    ] {
        let sent = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let told = told(&gate, "GET", &sent).await;
        assert_eq!(told.field("content-length"), None, "{}", told.raw_text());
        assert_eq!((told.status(), told.body_text().as_str()), (200, "hello"));
        // RFC 9112 §6.1: nothing else is read of such a server.
        gate.upstream.answers(sent);
        let before = gate.upstream.connections();
        for _ in 0..2 {
            assert_eq!(gate.ask(NEXT).await.status(), 200);
        }
        assert!(gate.upstream.connections() > before, "{fields}");
    }
}

#[tokio::test]
async fn rfc9112_5_2_a_field_of_an_answer_that_goes_on_in_the_next_line_does_not_here() {
    let gate = Gate::start().await;
    let sent = "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 50\r\nContent-Length: 5\r\n\r\nhello";
    let told = told(&gate, "GET", sent).await;
    assert!(!told.head_text().contains("\r\n "), "{}", told.raw_text());
    assert_eq!((told.number("content-length"), told.body_text().as_str()), (Some(5), "hello"));
}

#[tokio::test]
async fn rfc9112_5_1_white_space_before_the_colon_of_an_answer_ends_here() {
    let gate = Gate::start().await;
    let told = told(&gate, "GET", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello").await;
    assert!(!told.head_text().contains(" :"), "{}", told.raw_text());
    assert_eq!((told.number("content-length"), told.body_text().as_str()), (Some(5), "hello"));
}

#[tokio::test]
async fn rfc9112_2_2_bare_line_feeds_of_an_answer_end_here() {
    let gate = Gate::start().await;
    let told = told(&gate, "GET", "HTTP/1.1 200 OK\nX: 1\nContent-Length: 5\n\nhello").await;
    let lone = told.head_text().replace("\r\n", "").contains('\n');
    assert!(!lone, "{}", told.raw_text());
    assert_eq!((told.number("content-length"), told.body_text().as_str()), (Some(5), "hello"));
}

/// A 204 has no body, and who says that there is one may send it all the same.
#[tokio::test]
async fn rfc9112_6_1_an_answer_without_a_body_says_nothing_of_one() {
    let gate = Gate::start().await;
    for (framing, connections) in [("Transfer-Encoding: chunked", 2), ("Content-Length: 5", 2), ("X: 1", 1)] {
        gate.upstream.answers(format!("HTTP/1.1 204 No Content\r\n{framing}\r\n\r\n"));
        let before = gate.upstream.connections();
        // The first may find one that is kept still.
        for _ in 0..3 {
            let answer = gate.ask(NEXT).await;
            assert_eq!((answer.field("transfer-encoding"), answer.field("content-length")), (None, None));
        }
        assert!(gate.upstream.connections() - before <= 3, "{framing}");
        assert_eq!(gate.upstream.connections() - before >= 2, connections == 2, "{framing}");
    }
}
