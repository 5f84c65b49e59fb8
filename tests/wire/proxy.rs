//! DESIGN §4.1: everything else passes, byte for byte; and what a client is told if it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use crate::support::{ByHand, Gate, Message, Step, Upstream, answer, rvp, text};

fn get(path: &str) -> Vec<u8> {
    text(&format!("GET {path} HTTP/1.1\nHost: im.example"), "")
}

async fn upstream_errors(gate: &Gate, reason: &str) -> f64 {
    gate.metric(&format!("pollgate_upstream_errors_total{{reason=\"{reason}\",upstream=\"legacy\"}}")).await
}

/// A gateway before an upstream that does what it is told, and has all the time of the world for it.
async fn by_hand() -> (ByHand, Gate) {
    let raw = Upstream::by_hand().await;
    let gate = Gate::with(|config| {
        config.upstreams[0].address = raw.address();
        config.upstreams[0].read_timeout = Duration::from_secs(3600);
    });
    let gate = gate.await;
    (raw, gate)
}

#[tokio::test]
async fn requests_pass_byte_for_byte() {
    let gate = Gate::start().await;
    let find =
        "<?xml version=\"1.0\"?>\r\n<d:propfind xmlns:d=\"DAV:\"><d:prop><d:href/></d:prop></d:propfind>";
    let message = rvp::message("kari", "alan", "gr\u{fc}\u{df}e");
    let path = "/instmsg/aliases/kari";
    let sized = |body: &str| format!("Content-Length: {}", body.len());
    for (head, body) in [
        (format!("PROPFIND {path} HTTP/1.1\nHost: im.example\nDepth: 0\n{}", sized(find)), find),
        (format!("PROPPATCH {path} HTTP/1.1\nHost: im.example\nRVP-Hop-Count: 1\n{}", sized(find)), find),
        (
            format!("NOTIFY {path} HTTP/1.1\nHost: im.example\nRVP-Ack-Type: DeepOr\n{}", sized(&message)),
            &message,
        ),
        (format!("SUBSCRIPTIONS {path} HTTP/1.1\nHost: im.example\nNotification-Type: pragma/notify"), ""),
        (format!("ACL {path} HTTP/1.1\nHost: im.example\n{}", sized("x")), "x"),
        (format!("X-NEW.Method {path} HTTP/1.1\nHost: im.example\nContent-Length: 0"), ""),
        (format!("subscribe {path} HTTP/1.1\nHost: im.example\nX-Call-Back: nonsense"), ""),
        ("OPTIONS * HTTP/1.1\nHost: im.example".into(), ""),
        ("GET http://im.example/a%20b?c=%2F&d=[e] HTTP/1.1\nHost: im.example".into(), ""),
        ("GET //odd/../path;p?q=1?r=2 HTTP/1.1\nHost: im.example".into(), ""),
        (
            "GET / HTTP/1.1\nHOST: im.example\nx-lower: 1\nX-LOWER: 2\nX-Empty: \nX-Latin: caf\u{e9}".into(),
            "",
        ),
        (
            "GET / HTTP/1.1\nAuthorization: Basic eDp5\nCookie: a=b; c=d\nHost: im.example\nVia: 1.0 old"
                .into(),
            "",
        ),
    ] {
        let head: Vec<u8> = text(&head, "").iter().copied().filter(|byte| *byte != 0xc3).collect();
        let request = [&head, body.as_bytes()].concat();
        let answer = gate.ask(&request).await;
        assert_eq!((answer.status(), answer.body_text().as_str()), (200, "upstream"));
        assert_eq!(gate.upstream.last().raw_text(), Message::latin1(&request));
    }
}

#[tokio::test]
async fn answers_pass_byte_for_byte() {
    let gate = Gate::start().await;
    let date = "Date: Thu, 23 Aug 2001 12:00:00 GMT";
    for (head, body) in [
        (format!("HTTP/1.1 207 Multi-Status\n{date}\nContent-Type: text/xml\nContent-Length: 4"), "<d/>"),
        (format!("HTTP/1.1 200 Very Successful, Indeed!\n{date}\nContent-Length: 0"), ""),
        (format!("HTTP/1.1 299 \n{date}\nContent-Length: 0"), ""),
        (format!("HTTP/1.1 302 Moved\n{date}\nLocation: http://b.example/a\nContent-Length: 1"), "x"),
        (
            format!(
                "HTTP/1.1 401 Unauthorized\n{date}\nWWW-Authenticate: NTLM\nWWW-Authenticate: Digest realm=\"r\"\n\
                 www-authenticate: Basic realm=\"r\"\nContent-Length: 0"
            ),
            "",
        ),
        (
            format!(
                "HTTP/1.1 200 OK\nserver: Odd/1.0\n{date}\nX-empty: \nX-Latin: caf\u{e9}\nContent-Length: 0"
            ),
            "",
        ),
        (format!("HTTP/1.1 204 No Content\n{date}\nETag: \"1\""), ""),
        (format!("HTTP/1.1 304 Not Modified\n{date}\nETag: \"1\""), ""),
        (format!("HTTP/1.1 500 Oops\n{date}\nContent-Length: 4"), "oops"),
    ] {
        let sent: Vec<u8> = text(&head, body).iter().copied().filter(|byte| *byte != 0xc3).collect();
        gate.upstream.answers(sent.clone());
        let mut client = gate.client().await;
        for _ in 0..2 {
            client.send(get("/")).await;
            assert_eq!(client.answer().await.raw_text(), Message::latin1(&sent));
        }
    }
}

#[tokio::test]
async fn bodies_in_chunks_pass_both_ways() {
    let gate = Gate::start().await;
    let chunks = "5\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\n\r\n";
    gate.upstream.answers(text("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", chunks));
    let mut client = gate.client().await;
    for _ in 0..3 {
        client.send(text("PUT /a HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked", chunks)).await;
        assert_eq!(client.answer().await.body_text(), "hello 0123456789");
        let request = gate.upstream.last();
        assert_eq!(request.body_text(), "hello 0123456789");
        assert_eq!(request.field("transfer-encoding").as_deref(), Some("chunked"));
    }
    assert_eq!(gate.upstream.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let gate = Gate::start().await;
    let body: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\nContent-Length: {}", body.len());
    gate.upstream.answers([&text(&head, ""), &body[..]].concat());
    let mut client = gate.client().await;
    let head = format!("PUT /large HTTP/1.1\nHost: im.example\nContent-Length: {}", body.len());
    client.send([&text(&head, ""), &body[..]].concat()).await;
    assert!(client.answer().await.body == body);
    assert!(gate.upstream.last().body == body);
}

#[tokio::test]
async fn an_answer_until_the_connection_ends() {
    let gate = Gate::start().await;
    for version in ["1.0", "1.1"] {
        let bytes = text(&format!("HTTP/{version} 200 OK\nContent-Type: text/plain"), "to the end");
        gate.upstream.script(move |_| vec![Step::Send(bytes.clone()), Step::Close]);
        let mut client = gate.client().await;
        for _ in 0..2 {
            client.send(get("/")).await;
            let answer = client.answer().await;
            assert_eq!((answer.status(), answer.body_text().as_str()), (200, "to the end"));
        }
    }
}

#[tokio::test]
async fn old_clients_are_answered_in_their_version() {
    let gate = Gate::start().await;
    for (answer_head, body) in [
        ("HTTP/1.1 200 OK\nContent-Length: 5", "hello"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("HTTP/1.1 200 OK\nConnection: close", "hello"),
    ] {
        let bytes = text(answer_head, body);
        let closes = answer_head.contains("close");
        gate.upstream.script(move |_| {
            let mut steps = vec![Step::Send(bytes.clone())];
            steps.extend(closes.then_some(Step::Close));
            steps
        });
        for fields in ["", "Host: im.example\n", "Host: im.example\nConnection: keep-alive\n"] {
            let mut client = gate.client().await;
            client.send(text(&format!("GET /old HTTP/1.0\n{fields}"), "")).await;
            let answer = client.answer().await;
            assert_eq!(
                answer.field("transfer-encoding"),
                None,
                "{answer_head}: an old client knows no chunks"
            );
            assert_eq!(
                (answer.status(), answer.body_text().as_str()),
                (200, "hello"),
                "{answer_head} {fields}"
            );
            if !fields.contains("keep-alive") {
                client.is_closed().await;
            }
            // RFC 9112 §2.3: what goes on is in the gateway's version, which needs to say whom it is for.
            let request = gate.upstream.last();
            assert_eq!(request.start_line(), "GET /old HTTP/1.1");
            let server = gate.upstream.address.to_string();
            let host = if fields.contains("Host") { "im.example" } else { &server };
            assert_eq!(request.field("host").as_deref(), Some(host));
        }
    }
}

/// RFC 9110 §6.6.1: what the upstream says of the time stays, and what it does not say is added.
#[tokio::test]
async fn an_answer_without_a_date_gets_one() {
    let gate = Gate::start().await;
    gate.upstream.answers(text("HTTP/1.1 200 OK\nContent-Length: 0", ""));
    let dates = gate.ask(get("/")).await.all("date");
    assert!(dates.len() == 1 && dates[0].ends_with(" GMT"), "{dates:?}");
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let gate = Gate::start().await;
    gate.upstream.answers(text("HTTP/1.1 200 OK\nContent-Length: 5000", ""));
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(text("HEAD /page HTTP/1.1\nHost: im.example", "")).await;
        assert_eq!(client.head_only().await.number("content-length"), Some(5000));
    }
    gate.upstream.grants();
    client.send(get("/")).await;
    assert_eq!(client.answer().await.body_text(), "upstream");
}

#[tokio::test]
async fn interim_answers_pass_before_the_final_one() {
    let gate = Gate::start().await;
    let bytes =
        [text("HTTP/1.1 103 Early Hints\nLink: </a>", ""), text("HTTP/1.1 200 OK\nContent-Length: 2", "ok")];
    gate.upstream.answers(bytes.concat());
    let mut client = gate.client().await;
    client.send(get("/")).await;
    assert_eq!(client.head_only().await.status(), 103);
    assert_eq!(client.answer().await.body_text(), "ok");
}

/// Neither grants an interim answer a subscription, nor does it refuse one.
#[tokio::test]
async fn an_interim_answer_decides_nothing() {
    let gate = Gate::start().await;
    for (status, mailboxes) in [("403 Forbidden", 0), ("200 Successful", 1)] {
        let last = text(&format!("HTTP/1.1 {status}\nSubscription-Id: 7\nContent-Length: 0"), "");
        gate.upstream.answers([text("HTTP/1.1 102 Processing", ""), last].concat());
        let mut client = gate.client().await;
        client.send(rvp::login("kari", "http://10.1.2.3:1234")).await;
        let interim = client.head_only().await;
        assert_eq!((interim.status(), interim.field("content-location")), (102, None));
        let answer = client.answer().await;
        assert_eq!(answer.field("content-location").is_some(), mailboxes == 1, "{}", answer.raw_text());
        gate.mailboxes(mailboxes).await;
    }
}

/// A client that asks before it sends its body gets on, whether the upstream answers that or not.
#[tokio::test]
async fn a_client_that_awaits_a_go_ahead_gets_it() {
    let (mut raw, gate) = by_hand().await;
    let mut client = gate.client().await;
    client.send(text("PUT / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 5", "")).await;
    let mut server = raw.accept().await;
    server.read_to(b"\r\n\r\n").await;
    server.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head_only().await.status(), 100);
    client.send("hello").await;
    server.read_to(b"hello").await;
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 200);
}

/// Who is refused does not send its body: what follows would be read as that. Only 100 tells it to go on.
#[tokio::test]
async fn a_client_that_awaits_a_go_ahead_and_is_refused_is_parted_with() {
    let (mut raw, gate) = by_hand().await;
    for interim in ["", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let mut client = gate.client().await;
        client.send(text("PUT / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 5", "")).await;
        let mut server = raw.accept().await;
        server.read_to(b"\r\n\r\n").await;
        server.send(format!("{interim}HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")).await;
        if !interim.is_empty() {
            assert_eq!(client.head_only().await.status(), 103);
        }
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.field("connection").as_deref()), (417, Some("close")));
        client.is_closed().await;
        server.is_closed().await;
    }
}

/// It is the upstream that takes too long, and not the client.
#[tokio::test]
async fn a_client_that_awaits_a_go_ahead_in_vain() {
    let gate = Gate::with(|config| config.upstreams[0].read_timeout = Duration::from_millis(100)).await;
    gate.upstream.script(|_| vec![Step::Wait(Arc::new(Notify::new()))]);
    let put = "PUT / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 5";
    assert_eq!(gate.ask(text(put, "")).await.status(), 504);
    assert_eq!(upstream_errors(&gate, "timeout").await, 1.0);
}

/// That a server takes no other request says nothing of this one.
#[tokio::test]
async fn a_server_that_closes_may_begin_its_answer_before_it_has_read_the_request() {
    let (mut raw, gate) = by_hand().await;
    let mut client = gate.client().await;
    let body = "x".repeat(40_000);
    client.send(text("PUT / HTTP/1.1\nHost: h\nContent-Length: 40001", &body[..20_000])).await;
    let mut server = raw.accept().await;
    server.read_to(b"x").await;
    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n").await;
    let head = client.head_only().await;
    assert_eq!((head.status(), head.field("connection").as_deref()), (200, Some("close")));
    client.send(format!("{}!", &body[20_000..])).await;
    server.read_to(b"!").await;
    server.send("whole").await;
    assert_eq!(String::from_utf8(client.rest().await).unwrap(), "whole");
}

/// The handshake of NTLM with a body: each of the connections goes on, whoever is ready first.
#[tokio::test]
async fn what_is_answered_early_is_sent_to_its_end_all_the_same() {
    let (mut raw, gate) = by_hand().await;
    let mut client = gate.client().await;
    let body = "x".repeat(40_000);
    client.send(text("PUT / HTTP/1.1\nHost: h\nContent-Length: 40000", &body[..30_000])).await;
    let mut server = raw.accept().await;
    server.read_to(b"x").await;
    server.send("HTTP/1.1 401 U\r\nContent-Length: 3\r\n\r\nno!").await;
    assert_eq!(client.answer().await.body_text(), "no!");
    client.send([&body.as_bytes()[30_000..], &get("/next")[..]].concat()).await;
    server.read_to(b"/next HTTP/1.1\r\nHost: im.example\r\n\r\n").await;
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body_text(), "ok");
}

/// Nobody needs the answer, and a legacy server has few connections to lose to requests for nobody.
#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let (mut raw, gate) = by_hand().await;
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin"] {
        let mut client = gate.client().await;
        client.send(get("/slow")).await;
        let mut server = raw.accept().await;
        server.read_to(b"\r\n\r\n").await;
        server.send(begun).await;
        if !begun.is_empty() {
            client.read_to(b"begin").await;
        }
        drop(client);
        server.is_closed().await;
    }
}

#[tokio::test]
async fn connections_to_the_upstream_are_shared_and_replaced() {
    let gate = Gate::start().await;
    let mut clients = vec![gate.client().await, gate.client().await];
    for client in &mut clients {
        client.send(get("/")).await;
        assert_eq!(client.answer().await.status(), 200);
    }
    assert_eq!(gate.upstream.connections(), 1);
    // One that the upstream closed without a word is not used again.
    let idle = answer("HTTP/1.1 200 OK", "last");
    let Some(Step::Send(bytes)) = idle.into_iter().next() else { unreachable!() };
    gate.upstream.script(move |_| vec![Step::Send(bytes.clone()), Step::Close]);
    for client in &mut clients {
        for request in [get("/"), text("PROPPATCH / HTTP/1.1\nHost: h\nContent-Length: 1", "x")] {
            client.send(request).await;
            assert_eq!(client.answer().await.body_text(), "last");
        }
    }
    assert_eq!(gate.upstream.connections(), 4, "the first of these was sent on the old one");
}

/// The upstream closes at the moment when the next request comes: what changes nothing is asked again.
#[tokio::test]
async fn a_stale_connection_costs_a_harmless_request_nothing() {
    let gate = Gate::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    let script = {
        let count = count.clone();
        move |_: &Message| match count.fetch_add(1, SeqCst) {
            1 => vec![Step::Close],
            _ => answer("HTTP/1.1 200 OK", "here"),
        }
    };
    gate.upstream.script(script);
    for method in ["GET", "PROPFIND", "SUBSCRIPTIONS"] {
        let mut client = gate.client().await;
        for asked in [1, 3] {
            client.send(text(&format!("{method} / HTTP/1.1\nHost: im.example"), "")).await;
            let answer = client.answer().await;
            match method {
                // It may change something: what became of it nobody knows.
                "SUBSCRIPTIONS" if asked > 1 => assert_eq!((answer.status(), count.load(SeqCst)), (502, 2)),
                _ => assert_eq!((answer.body_text().as_str(), count.load(SeqCst)), ("here", asked)),
            }
        }
        count.store(0, SeqCst);
    }
}

#[tokio::test]
async fn an_upstream_that_answers_is_seen_to() {
    let gate = Gate::start().await;
    let done = Arc::new(Notify::new());
    let told = done.clone();
    gate.upstream.script(move |_| {
        let mut steps = vec![Step::Wait(told.clone())];
        steps.extend(answer("HTTP/1.1 200 OK", "late"));
        steps
    });
    let mut client = gate.client().await;
    client.send(get("/")).await;
    gate.upstream.saw(1).await;
    assert_eq!(gate.metric("pollgate_upstream_requests{upstream=\"legacy\"}").await, 1.0);
    done.notify_one();
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(
        gate.metric("pollgate_upstream_request_duration_seconds_count{upstream=\"legacy\"}").await,
        1.0
    );
    assert_eq!(gate.metric("pollgate_upstream_up{upstream=\"legacy\"}").await, 1.0);
    assert_eq!(gate.metric("pollgate_upstream_last_error_timestamp_seconds{upstream=\"legacy\"}").await, 0.0);
    assert_eq!(gate.metric("pollgate_connections_opened_total").await, 1.0);
    let in_flight =
        async { while gate.metric("pollgate_upstream_requests{upstream=\"legacy\"}").await > 0.0 {} };
    crate::support::within("the end of the request", in_flight).await;
}

#[tokio::test]
async fn an_upstream_that_is_down() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = Gate::with(|config| config.upstreams[0].address = gone.to_string()).await;
    let answer = gate.ask(get("/")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.body_text(), "the server behind this gateway takes no connection\n");
    assert_eq!(gate.ask(rvp::login("kari", "http://10.1.2.3:1234")).await.status(), 502);
    gate.mailboxes(0).await;
    assert_eq!(upstream_errors(&gate, "connect").await, 2.0);
    assert_eq!(gate.metric("pollgate_upstream_up{upstream=\"legacy\"}").await, 0.0);
    assert!(gate.metric("pollgate_upstream_last_error_timestamp_seconds{upstream=\"legacy\"}").await > 1.7e9);
    assert_eq!(gate.metric("pollgate_proxied_requests_total{status=\"502\"}").await, 2.0);
}

#[tokio::test]
async fn an_upstream_that_takes_no_connection_and_refuses_none() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    // The backlog takes a few; behind that the kernel says nothing.
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    let gate = Gate::with(|config| {
        config.upstreams[0].address = address.to_string();
        config.upstreams[0].connect_timeout = Duration::from_millis(100);
    })
    .await;
    let answer = gate.ask(get("/")).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.body_text(), "the server behind this gateway did not answer in time\n");
    assert_eq!(upstream_errors(&gate, "timeout").await, 1.0);
}

#[tokio::test]
async fn an_upstream_that_is_silent() {
    let gate = Gate::with(|config| config.upstreams[0].read_timeout = Duration::from_millis(100)).await;
    gate.upstream.script(|_| vec![Step::Wait(Arc::new(Notify::new()))]);
    for request in [get("/"), rvp::login("kari", "http://10.1.2.3:1234")] {
        let answer = gate.ask(request).await;
        assert_eq!(answer.status(), 504);
        assert_eq!(answer.body_text(), "the server behind this gateway did not answer in time\n");
    }
    gate.mailboxes(0).await;
    assert_eq!(upstream_errors(&gate, "timeout").await, 2.0);
}

#[tokio::test]
async fn an_upstream_that_does_not_exist() {
    let gate = Gate::with(|config| {
        config.upstreams[0].address = "nowhere.invalid:80".into();
        config.upstreams[0].connect_timeout = Duration::from_millis(500);
    })
    .await;
    let answer = gate.ask(get("/")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.body_text(), "the server behind this gateway cannot be found\n");
    assert_eq!(upstream_errors(&gate, "resolve").await, 1.0);
}

#[tokio::test]
async fn an_upstream_that_answers_nonsense() {
    let gate = Gate::start().await;
    let mut errors = 0.0;
    for bytes in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello",
    ] {
        gate.upstream.script(move |_| vec![Step::Send(bytes.into()), Step::Close]);
        let answer = gate.ask(text("PUT / HTTP/1.1\nHost: h\nContent-Length: 1", "x")).await;
        assert_eq!(answer.status(), 502, "{bytes:?}");
        assert_eq!(answer.body_text(), "the server behind this gateway broke off its answer\n", "{bytes:?}");
        errors += 1.0;
        assert_eq!(upstream_errors(&gate, "broken").await, errors, "{bytes:?}");
    }
}

/// A client must not take half an answer for a whole one.
#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let gate = Gate::start().await;
    for (head, body, last) in [
        ("Content-Length: 10", "hello", &b"hello"[..]),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", b"hello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nnonsense\r\n", b"hello\r\n"),
    ] {
        let bytes = text(&format!("HTTP/1.1 200 OK\n{head}"), body);
        gate.upstream.script(move |_| vec![Step::Send(bytes.clone()), Step::Close]);
        let mut client = gate.client().await;
        client.send(get("/")).await;
        assert_eq!(client.head_only().await.status(), 200);
        let rest = client.rest().await;
        assert!(rest.ends_with(last), "{head}: {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream_errors(&gate, "broken").await, 3.0);
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_sent() {
    let (mut raw, gate) = by_hand().await;
    let mut client = gate.client().await;
    client.send(text("PUT / HTTP/1.1\nHost: h\nContent-Length: 100000", "only the start")).await;
    let mut server = raw.accept().await;
    server.read_to(b"start").await;
    server.send(text("HTTP/1.1 413 Too Large\nContent-Length: 3\nConnection: close", "no!")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.body_text().as_str()), (413, "no!"));
}
