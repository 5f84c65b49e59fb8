//! Serving, over a pipe.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const LIMITS: ServeLimits =
    ServeLimits { head: HeadLimits { bytes: 512, fields: 10 }, body: 8, times: Times::CLIENT };

/// Says what it was asked; `/secret` is admitted to nobody.
struct Echo;

impl Service for Echo {
    fn admit(&self, head: &RequestHead, _peer: SocketAddr) -> Result<(), Response> {
        if head.path() == "/secret" { Err(Response::text(403, "no")) } else { Ok(()) }
    }

    async fn call(&self, request: Request) -> Response {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Response::text(200, format_args!("{} {} {body}", request.head.method(), request.head.path()))
    }
}

fn start(stop: &CancellationToken) -> DuplexStream {
    let (client, server) = duplex(64 * 1024);
    let stop = stop.clone();
    let peer = ([127, 0, 0, 1], 1).into();
    tokio::spawn(async move { serve(Connection::new(server), peer, &Echo, || LIMITS, stop).await });
    client
}

/// Sends it all at once, and reads until the server closes.
async fn exchange(request: &str) -> String {
    let mut client = start(&CancellationToken::new());
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The bodies of the answers that do not close the connection, then the status of the one that does.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_turn_until_one_closes() {
    for (requests, expected) in [
        (
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            vec!["200", "200"],
        ),
        (
            "P / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.0\r\n\r\nGET /c HTTP/1.0\r\n\r\n",
            vec!["200", "200"],
        ),
        ("GET /secret HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", vec!["403"]),
        ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", vec!["400"]),
        ("GET / HTTP/9.1\r\nHost: h\r\n\r\n", vec!["505"]),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", vec!["413"]),
        (
            "P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
            vec!["413"],
        ),
        ("P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi", vec!["400"]),
        // Nothing comes any more: the head, and the body, are waited for only so long.
        ("GET / HTTP/1.1\r\nHo", vec!["408"]),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhi", vec!["408"]),
    ] {
        let answers = exchange(requests).await;
        assert_eq!(statuses(&answers), expected, "{requests:?}: {answers:?}");
        assert!(answers.contains("Connection: close\r\n"), "{answers:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(600));
    assert_eq!(statuses(&exchange(&long).await), ["431"]);
    assert_eq!(statuses(&exchange(&"x".repeat(600)).await), ["414"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_tells_of_content_and_has_none() {
    let answer = exchange("HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("Content-Length: 9\r\n") && answer.ends_with("\r\n\r\n"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_be_told_to_go_on_is_told() {
    let mut client = start(&CancellationToken::new());
    let head =
        "P /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    client.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hi").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("P /a hi\n"), "{answer}");
    let refused = exchange(&head.replace("Content-Length: 2", "Content-Length: 9")).await;
    assert_eq!(statuses(&refused), ["413"], "not told to send what will be refused");
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_idle_connections_and_lets_an_answer_out() {
    let stop = CancellationToken::new();
    let mut idle = start(&stop);
    let mut busy = start(&stop);
    busy.write_all(b"P /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nh").await.unwrap();
    // Until the server has begun to read it.
    tokio::task::yield_now().await;
    stop.cancel();
    let mut nothing = String::new();
    idle.read_to_string(&mut nothing).await.unwrap();
    assert_eq!(nothing, "");
    busy.write_all(b"i").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("Connection: close\r\n") && answer.ends_with("P /a hi\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_the_answer_is_given_up() {
    let (mut client, server) = duplex(16);
    let peer = ([127, 0, 0, 1], 1).into();
    let serving = tokio::spawn(async move {
        serve(Connection::new(server), peer, &Echo, || LIMITS, CancellationToken::new()).await;
    });
    let request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    client.write_all(request).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), serving).await.expect("to be given up").unwrap();
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn who_connected_a_moment_before_the_stop_is_answered() {
    let stop = CancellationToken::new();
    let (mut late, mut silent) = (start(&stop), start(&stop));
    stop.cancel();
    tokio::task::yield_now().await;
    late.write_all(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    // Who says nothing is not waited for.
    assert_eq!(silent.read_to_string(&mut answer).await.unwrap(), 0);
}
