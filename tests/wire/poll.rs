//! DESIGN §4.3: what a poll may say, and what it is answered.

use std::time::Duration;

use pollgate::clock;
use pollgate::mailbox::Bound;

use crate::support::{Gate, Socket, bodies, life_times, poll, rvp, text, until};

/// A poll by node and ids, as Exchange's clients do it.
fn by_id(name: &str, ids: &str) -> Vec<u8> {
    let path = format!("/instmsg/aliases/{name}");
    text(&format!("POLL {path} HTTP/1.1\nHost: im.example\nSubscription-Id: {ids}\nPrefer: wait=0"), "")
}

#[tokio::test]
async fn a_wish_for_a_hold_is_clamped_and_answered() {
    let gate = Gate::with(|config| config.polling.poll_life_time = life_times(300, 60, 600)).await;
    let login = gate.login("kari").await;
    for (prefer, applied) in [
        ("", 300),
        ("Prefer: wait=100\n", 100),
        ("Prefer: wait=10\n", 60),
        ("Prefer: wait=9999\n", 600),
        ("Prefer: wait=99999999999999999999\n", 300),
        ("Prefer: wait=0\n", 0),
        ("Prefer: respond-async, WAIT=\"70\"; x=1\n", 70),
        ("Prefer: respond-async\nPrefer: wait=70\n", 70),
        ("Prefer: wait\n", 300),
        ("Prefer: wait=\n", 300),
        ("Prefer: wait=-1\n", 300),
        ("Prefer: wait=soon\n", 300),
        ("Prefer: ,;=,\n", 300),
    ] {
        gate.deliver(&login, "x").await;
        let answer = gate.poll(&login, prefer).await;
        assert_eq!(answer.status(), 200, "{prefer}");
        assert_eq!(answer.field("preference-applied"), Some(format!("wait={applied}")), "{prefer}");
    }
}

#[tokio::test]
async fn a_poll_that_does_not_wait_is_answered_at_once() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    for fields in ["Prefer: wait=0\n", "Prefer: wait=0\nLast-Event-ID: 41\n"] {
        client.send(poll(&login, fields)).await;
        let answer = client.answer().await;
        assert_eq!(answer.start_line(), "HTTP/1.1 204 No Content");
        assert_eq!(answer.field("preference-applied").as_deref(), Some("wait=0"));
        assert_eq!(answer.number("poll-pending"), Some(0));
        assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
        assert_eq!(answer.field("content-length"), None, "RFC 9110 §8.6");
        assert_eq!(answer.field("poll-dropped"), None);
        assert!(answer.field("date").is_some());
        assert_eq!(answer.number("last-event-id"), fields.contains("41").then_some(41));
    }
    assert_eq!(gate.metric("pollgate_polls_total{result=\"empty\"}").await, 2.0);
}

#[tokio::test]
async fn a_hold_ends_in_time() {
    let gate = Gate::with(|config| config.polling.poll_life_time = life_times(1, 0, 1)).await;
    let login = gate.login("kari").await;
    let began = clock::instant();
    let answer = gate.poll(&login, "").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.field("preference-applied").as_deref(), Some("wait=1"));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(gate.metric("pollgate_poll_hold_seconds_count").await, 1.0);
    gate.held(0).await;
}

#[tokio::test]
async fn an_answer_with_messages() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for body in ["1", "2"] {
        gate.deliver(&login, body).await;
    }
    let answer = gate.poll(&login, "Prefer: wait=60\n").await;
    assert_eq!(answer.start_line(), "HTTP/1.1 200 OK");
    let ids: Vec<u64> = crate::support::parts(&answer).iter().map(|part| part.id).collect();
    assert!(ids[0] < ids[1], "ids grow");
    assert_eq!(answer.number("last-event-id"), Some(ids[1]));
    assert_eq!(answer.number("poll-pending"), Some(0));
    assert_eq!(answer.field("poll-dropped"), None);
    assert_eq!(answer.field("preference-applied").as_deref(), Some("wait=60"));
    assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(answer.number("content-length"), Some(answer.body.len() as u64));
}

#[tokio::test]
async fn a_poll_in_every_way_that_names_the_mailbox() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let path = &login.poll;
    for request in [
        format!("POLL {path} HTTP/1.1\nHost: im.example"),
        format!("GET {path} HTTP/1.1\nHost: im.example"),
        format!("GET {path}?nocache=1 HTTP/1.1\nHost: another.example"),
        format!("GET http://im.example{path} HTTP/1.1\nHost: im.example"),
        format!("POLL {path} HTTP/1.1\nHost: im.example\nContent-Length: 5"),
        format!("POLL {path} HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked"),
        format!("GET {path} HTTP/1.0"),
        format!("POLL /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-ID: {}", login.id),
        format!(
            "POLL http://im.example/instmsg/aliases/kari HTTP/1.1\nHost: h\nsubscription-id:{}",
            login.id
        ),
    ] {
        gate.deliver(&login, "hello").await;
        let body = match &request {
            sized if sized.contains("Length") => "hello",
            chunked if chunked.contains("chunked") => "5\r\nhello\r\n0\r\n\r\n",
            _ => "",
        };
        let answer = gate.ask(text(&request, body)).await;
        assert_eq!(answer.status(), 200, "{request}");
        assert_eq!(bodies(&answer), ["hello"], "{request}");
    }
    assert_eq!(gate.upstream.seen().len(), 1, "the upstream saw the login and no poll");
}

#[tokio::test]
async fn several_subscriptions_in_one_poll() {
    let gate = Gate::start().await;
    let (one, two, three) = (gate.login("kari").await, gate.login("kari").await, gate.login("kari").await);
    for (login, body) in [(&one, "1"), (&two, "2"), (&one, "3"), (&three, "not asked for"), (&two, "4")] {
        gate.deliver(login, body).await;
    }
    let answer = gate.ask(by_id("kari", &format!("{}, {} ,{}, 4711", one.id, two.id, one.id))).await;
    assert_eq!(bodies(&answer), ["1", "2", "3", "4"]);
    let mut client = gate.client().await;
    let held = String::from_utf8(by_id("kari", &format!("{},{}", one.id, two.id))).unwrap();
    client.send(held.replace("wait=0", "wait=60")).await;
    gate.held(1).await;
    gate.deliver(&two, "5").await;
    assert_eq!(bodies(&client.answer().await), ["5"]);
}

/// Ids of subscriptions are small numbers: whoever counts must not read other people's messages.
#[tokio::test]
async fn without_a_key_only_who_subscribed_may_poll() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "secret").await;
    let mut stranger = Socket::connect_from("127.0.0.2", gate.public).await;
    stranger.send(by_id("kari", &login.id)).await;
    assert_eq!(stranger.answer().await.status(), 412);
    // The key is a capability, wherever its owner is.
    stranger.send(poll(&login, "Prefer: wait=0\n")).await;
    assert_eq!(bodies(&stranger.answer().await), ["secret"]);
}

#[tokio::test]
async fn what_is_not_known_and_what_is_not_understood() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let key = "/.pollgate/0123456789abcdef0123456789abcdef";
    let path = &login.poll;
    let mut client = gate.client().await;
    for (request, status) in [
        (format!("POLL {key} HTTP/1.1\nHost: h"), 404),
        (format!("GET {key} HTTP/1.1\nHost: h"), 404),
        (format!("GET {path}0 HTTP/1.1\nHost: h"), 404),
        (format!("GET {path}/ HTTP/1.1\nHost: h"), 404),
        ("GET /.pollgate/ HTTP/1.1\nHost: h".into(), 404),
        (format!("GET /.pollgate{} HTTP/1.1\nHost: h", login.token), 404),
        (format!("POLL /instmsg/aliases/kari HTTP/1.1\nHost: h\nSubscription-Id: {}0", login.id), 412),
        (format!("POLL /instmsg/aliases/alan HTTP/1.1\nHost: h\nSubscription-Id: {}", login.id), 412),
        ("POLL /instmsg/aliases/kari HTTP/1.1\nHost: h".into(), 400),
        (format!("POLL /n HTTP/1.1\nHost: h\nSubscription-Id: {}1", "1,".repeat(64)), 400),
        (format!("POLL {path} HTTP/1.1\nHost: h\nLast-Event-ID: x"), 400),
        (format!("POLL {path} HTTP/1.1\nHost: h\nLast-Event-ID: -1"), 400),
        (format!("POST {path} HTTP/1.1\nHost: h\nContent-Length: 0"), 405),
        (format!("DELETE {path} HTTP/1.1\nHost: h"), 405),
        (format!("SUBSCRIBE {path} HTTP/1.1\nHost: h"), 405),
    ] {
        client.send(text(&request, "")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), status, "{request}");
        assert!(!answer.body.is_empty(), "it says what is wrong");
    }
    assert_eq!(gate.upstream.seen().len(), 1, "nothing of this went on");
    gate.deliver(&login, "all the same").await;
    assert_eq!(gate.bodies(&login).await, ["all the same"]);
}

/// An answer to HEAD has no body: whatever came behind the head would be taken for the next answer.
#[tokio::test]
async fn a_mailbox_has_no_head() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(text(&format!("HEAD {} HTTP/1.1\nHost: h", login.poll), "")).await;
    assert_eq!(client.head_only().await.status(), 405);
    client.send(poll(&login, "Prefer: wait=0\n")).await;
    assert_eq!(client.answer().await.status(), 204);
}

#[tokio::test]
async fn a_body_means_nothing_but_is_bounded() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let head = format!("POLL {} HTTP/1.1\nHost: h\nPrefer: wait=0", login.poll);
    let limit = 64 * 1024;
    let request = text(&format!("{head}\nContent-Length: {limit}"), &"x".repeat(limit));
    assert_eq!(gate.ask(request).await.status(), 204);
    let request = text(&format!("{head}\nContent-Length: {}", limit + 1), "");
    assert_eq!(gate.ask(request).await.status(), 413);
    let mut client = gate.client().await;
    client.send(text(&format!("{head}\nExpect: 100-continue\nContent-Length: 1"), "")).await;
    assert_eq!(client.head_only().await.status(), 100);
    client.send("x").await;
    assert_eq!(client.answer().await.status(), 204);
}

#[tokio::test]
async fn one_poll_more_than_may_be_held() {
    let gate = Gate::with(|config| config.polling.max_held_polls = 1).await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    let mut held = gate.client().await;
    held.send(poll(&kari, "")).await;
    gate.held(1).await;
    let mut client = gate.client().await;
    client.send(poll(&alan, "")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 429);
    assert!(answer.number("retry-after").unwrap() > 0);
    // What need not be held is still answered, on the same connection.
    client.send(poll(&alan, "Prefer: wait=0\n")).await;
    assert_eq!(client.answer().await.status(), 204);
    gate.deliver(&kari, "x").await;
    assert_eq!(bodies(&held.answer().await), ["x"]);
    gate.held(0).await;
    client.send(poll(&alan, "")).await;
    gate.held(1).await;
    assert_eq!(gate.metric("pollgate_polls_total{result=\"too-many\"}").await, 1.0);
}

#[tokio::test]
async fn an_answer_carries_so_many_messages() {
    let gate = Gate::with(|config| config.polling.batch.messages = 2).await;
    let login = gate.login("kari").await;
    for body in ["1", "2", "3", "4", "5"] {
        gate.deliver(&login, body).await;
    }
    for (expected, pending) in [(vec!["1", "2"], 3), (vec!["3", "4"], 1), (vec!["5"], 0)] {
        let answer = gate.poll(&login, "").await;
        assert_eq!(bodies(&answer), expected);
        assert_eq!(answer.number("poll-pending"), Some(pending));
    }
}

#[tokio::test]
async fn an_answer_carries_so_many_bytes() {
    let gate = Gate::with(|config| {
        config.polling.batch.bytes = 1500;
        config.polling.limits.bytes = Bound::Unlimited;
    })
    .await;
    let login = gate.login("kari").await;
    let sizes = [500, 500, 500, 5000, 500];
    for size in sizes {
        gate.deliver(&login, &"x".repeat(size)).await;
    }
    // A first message that is larger goes alone.
    for (expected, pending) in [(vec![500, 500], 3), (vec![500], 2), (vec![5000], 1), (vec![500], 0)] {
        let answer = gate.poll(&login, "").await;
        let got: Vec<usize> = bodies(&answer).iter().map(String::len).collect();
        assert_eq!((got, answer.number("poll-pending")), (expected, Some(pending)));
    }
}

#[tokio::test]
async fn a_gap_is_told_once() {
    let gate = Gate::with(|config| config.polling.limits.bytes = Bound::new(1024)).await;
    let login = gate.login("kari").await;
    let large = rvp::notify(&login.token, "", &"x".repeat(2000));
    assert_eq!(gate.call_back(&large).await.status(), 413);
    let answer = gate.poll(&login, "").await;
    assert_eq!((answer.status(), answer.number("poll-dropped")), (204, Some(1)), "a gap is news by itself");
    gate.deliver(&login, "small").await;
    let answer = gate.poll(&login, "").await;
    assert_eq!((bodies(&answer), answer.number("poll-dropped")), (vec!["small".to_owned()], None));
    // And a poll that is held is told at once.
    let mut held = gate.client().await;
    held.send(poll(&login, "")).await;
    gate.held(1).await;
    gate.call_back(&large).await;
    assert_eq!(held.answer().await.number("poll-dropped"), Some(1));
}

#[tokio::test]
async fn a_message_whose_time_is_over_is_a_gap() {
    let gate = Gate::with(|config| config.polling.limits.life_time = life_times(1, 1, 1)).await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "short-lived").await;
    until("an empty mailbox", || gate.gateway().store.totals().messages == 0).await;
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"expired\"}").await, 1.0);
    let answer = gate.poll(&login, "").await;
    assert_eq!((answer.status(), answer.number("poll-dropped")), (204, Some(1)));
}

/// One connection carries polls and other requests, in any order and in pieces of any size.
#[tokio::test]
async fn polls_and_other_requests_take_turns_on_a_connection() {
    let gate = Gate::with(|config| config.polling.min_poll_interval = Duration::ZERO).await;
    let login = gate.login("kari").await;
    let get = "GET /page HTTP/1.1\r\nHost: im.example\r\n\r\n".as_bytes().to_vec();
    let post = text("POST /form HTTP/1.1\nHost: im.example\nContent-Length: 4", "POLL");
    let chunked =
        text("PUT /f HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked", "4\r\nPOLL\r\n0\r\n\r\n");
    let poll = poll(&login, "Prefer: wait=0\n");
    let order = [&poll, &get, &poll, &poll, &post, &poll, &chunked, &get, &get, &poll, &chunked, &poll];
    let all = order.map(|request| request.to_vec()).concat();
    for piece in [1, 7, 100, all.len()] {
        let mut client = gate.client().await;
        // Written and read at once: answers come while requests are still being sent.
        for bytes in all.chunks(piece) {
            client.send(bytes).await;
        }
        for (place, request) in order.iter().enumerate() {
            let status = if *request == &poll { 204 } else { 200 };
            assert_eq!(client.answer().await.status(), status, "request {place}, pieces of {piece}");
        }
    }
    assert_eq!(gate.upstream.seen().len(), 1 + 4 * 6);
}

#[tokio::test]
async fn old_clients_poll_too() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let old = |fields: &str| text(&format!("GET {} HTTP/1.0\nPrefer: wait=0\n{fields}", login.poll), "");
    let mut client = gate.client().await;
    client.send(old("Connection: keep-alive\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.field("connection").as_deref(), Some("keep-alive"));
    client.send(old("")).await;
    assert_eq!(client.answer().await.status(), 204);
    client.is_closed().await;
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_closed() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "Prefer: wait=0\nConnection: close\n")).await;
    assert_eq!(client.answer().await.field("connection").as_deref(), Some("close"));
    client.is_closed().await;
}
