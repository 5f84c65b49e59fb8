//! DESIGN §4.2: the callback listener.

use pollgate::config::DeepAck;

use crate::support::{CLIENT, Gate, Socket, bodies, chunks, parts, poll, rvp, text};

#[tokio::test]
async fn a_callback_is_answered_as_the_drafts_say() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for version in ["0.2", "1.0"] {
        let callback = String::from_utf8(rvp::notify(&login.token, "", "hello")).unwrap();
        let answer = gate.call_back(callback.replace("Version: 0.2", &format!("Version: {version}"))).await;
        assert_eq!(answer.start_line(), "HTTP/1.1 200 Successful");
        assert_eq!(answer.field("rvp-notifications-version").as_deref(), Some(version));
        assert_eq!(answer.number("content-length"), Some(0));
    }
    assert_eq!(gate.callbacks("accepted").await, 2.0);
}

#[tokio::test]
async fn the_message_is_the_callback_as_it_was_sent() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let body = rvp::message("alan", "kari", "gr\u{fc}\u{df}e");
    let head = format!(
        "NOTIFY {} HTTP/1.1\nHost: edge:8081\nrvp-NOTIFICATIONS-version: 0.2\nConnection: keep-alive, X-Hop\n\
         X-Hop: 1\nX-Twice: 1\nRVP-Ack-Type: DeepOr\nX-Twice: 2\nContent-Type: text/xml\nContent-Length: {}",
        login.token,
        body.len()
    );
    assert_eq!(gate.call_back(text(&head, &body)).await.status(), 200);
    let answer = gate.poll(&login, "").await;
    let [part] = &parts(&answer)[..] else { panic!("{}", answer.raw_text()) };
    let expected = format!(
        "NOTIFY {CLIENT} HTTP/1.1\nHost: 10.1.2.3:1234\nrvp-NOTIFICATIONS-version: 0.2\nX-Twice: 1\n\
         RVP-Ack-Type: DeepOr\nX-Twice: 2\nContent-Type: text/xml\nContent-Length: {}",
        body.len()
    );
    assert_eq!(part.request.raw(), text(&expected, &body));
}

#[tokio::test]
async fn servers_may_ignore_the_path_of_a_callback() {
    let gate = Gate::start().await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    let by_id = |login: &crate::support::Login| format!("Subscription-Id: {}\n", login.id);
    let to = |name: &str| rvp::message("bo", name, "x");
    for (what, path, fields, body, reader) in [
        ("the token", kari.token.clone(), String::new(), "a".into(), &kari),
        ("the token below another path", format!("/base{}", kari.token), String::new(), "a".into(), &kari),
        ("the token before the id", kari.token.clone(), by_id(&alan), "a".into(), &kari),
        ("the id", "/".into(), by_id(&alan), "a".into(), &alan),
        ("the id before the body", "/".into(), by_id(&alan), to("kari"), &alan),
        ("the body", "/".into(), String::new(), to("alan"), &alan),
        ("the body, at any path", "/other/path?x".into(), String::new(), to("kari"), &kari),
        ("the body, if no mailbox has the id", "/".into(), "Subscription-Id: 1\n".into(), to("kari"), &kari),
    ] {
        let answer = gate.call_back(rvp::notify(&path, &fields, &body)).await;
        assert_eq!(answer.status(), 200, "{what}");
        assert_eq!(gate.bodies(reader).await, [body], "{what}");
    }
}

#[tokio::test]
async fn it_is_never_guessed_whom_a_callback_is_for() {
    let gate = Gate::start().await;
    let kari = gate.login("kari").await;
    gate.login("kari").await;
    let unknown = "/0123456789abcdef0123456789abcdef";
    for (path, fields, body, reason) in [
        ("/", "", rvp::message("bo", "kari", "x"), "ambiguous"),
        ("/", "", rvp::message("bo", "nobody", "x"), "unknown"),
        ("/", "Subscription-Id: 1\n", "x".into(), "unknown"),
        ("/", "", "x".into(), "unknown"),
        // A token that was ours once is for nobody else, whatever the body says.
        (unknown, "", rvp::message("bo", "kari", "x"), "unknown"),
        (unknown, &format!("Subscription-Id: {}\n", kari.id), "x".into(), "unknown"),
    ] {
        let before = gate.callbacks(reason).await;
        let answer = gate.call_back(rvp::notify(path, fields, &body)).await;
        assert_eq!(answer.status(), 412, "{path} {fields} {body}");
        assert_eq!(answer.field("rvp-notifications-version").as_deref(), Some("0.2"));
        assert_eq!(gate.callbacks(reason).await, before + 1.0, "{path} {fields} {body}");
    }
    // Two upstream subscriptions with the same id, at different nodes.
    gate.upstream.answers(text("HTTP/1.1 200 OK\nSubscription-Id: 5\nContent-Length: 0", ""));
    let (one, _two) = (gate.login("one").await, gate.login("two").await);
    assert_eq!(gate.call_back(rvp::notify("/", "Subscription-Id: 5\n", "x")).await.status(), 412);
    assert_eq!(gate.bodies(&one).await, [""; 0]);
}

#[tokio::test]
async fn only_who_may_deliver_delivers() {
    let gate = Gate::with(|config| config.callback.allow = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let login = gate.login("kari").await;
    let answer = gate.call_back(rvp::notify(&login.token, "", "x")).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(gate.callbacks("source").await, 1.0);
    assert_eq!(gate.bodies(&login).await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_a_callback_is_refused() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for method in ["GET", "POST", "POLL", "SUBSCRIBE", "notify"] {
        let request = format!("{method} {} HTTP/1.1\nHost: h\nContent-Length: 0", login.token);
        let answer = gate.call_back(text(&request, "")).await;
        assert_eq!((answer.status(), answer.field("allow").as_deref()), (405, Some("NOTIFY")), "{method}");
    }
    for bytes in ["NONSENSE\r\n\r\n", "NOTIFY / HTTP/1.1\r\n\r\n", "NOTIFY /\t HTTP/1.1\r\nHost: h\r\n\r\n"] {
        assert_eq!(gate.call_back(bytes).await.status(), 400, "{bytes:?}");
    }
    assert_eq!((gate.callbacks("method").await, gate.callbacks("unreadable").await), (5.0, 3.0));
}

#[tokio::test]
async fn a_deep_acknowledgement_waits_for_the_client_if_that_is_wanted() {
    for ack in ["DeepOr", "DeepAnd", "deepor"] {
        let gate = Gate::with(|config| config.callback.deep_ack = DeepAck::Delivered).await;
        let login = gate.login("kari").await;
        let mut upstream = Socket::connect(gate.callback).await;
        upstream.send(rvp::notify(&login.token, &format!("RVP-Ack-Type: {ack}\n"), "x")).await;
        let mut client = gate.client().await;
        client.send(poll(&login, "")).await;
        let answer = client.answer().await;
        assert_eq!(bodies(&answer), ["x"]);
        // One that asks for less is answered at once, on a connection of its own, while the first waits.
        gate.deliver(&login, "shallow").await;
        assert!(!upstream.has_input().await, "{ack}: handed out, but not acknowledged");
        let id = answer.number("last-event-id").unwrap();
        client.send(poll(&login, &format!("Last-Event-ID: {id}\nPrefer: wait=0\n"))).await;
        assert_eq!(bodies(&client.answer().await), ["shallow"]);
        assert_eq!(upstream.answer().await.status(), 200, "{ack}");
    }
}

#[tokio::test]
async fn a_deep_acknowledgement_that_the_client_never_gives() {
    let gate = Gate::with(|config| {
        config.callback.deep_ack = DeepAck::Delivered;
        config.callback.deep_ack_timeout = std::time::Duration::from_millis(10);
    })
    .await;
    let login = gate.login("kari").await;
    let answer = gate.call_back(rvp::notify(&login.token, "RVP-Ack-Type: DeepOr\n", "x")).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(gate.callbacks("not-taken").await, 1.0);
}

#[tokio::test]
async fn a_deep_acknowledgement_is_answered_at_once_by_default() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for ack in ["DeepOr", "DeepAnd", "Shallow"] {
        let answer = gate.call_back(rvp::notify(&login.token, &format!("RVP-Ack-Type: {ack}\n"), "x")).await;
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_chunked_body_is_kept_without_its_chunks() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let body = rvp::message("alan", "kari", "in pieces");
    let head = format!("NOTIFY {} HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nX-Last: 1", login.token);
    let mut upstream = Socket::connect(gate.callback).await;
    for byte in text(&head, &chunks(&body)) {
        upstream.send([byte]).await;
    }
    assert_eq!(upstream.answer().await.status(), 200);
    let answer = gate.poll(&login, "").await;
    let request = &parts(&answer)[0].request;
    assert_eq!(request.body_text(), body);
    let head = request.head_text();
    assert!(head.ends_with(&format!("X-Last: 1\r\nContent-Length: {}\r\n\r\n", body.len())), "{head}");
}

#[tokio::test]
async fn where_a_callback_ends_must_be_plain() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for (fields, body) in [
        ("Content-Length: 5\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 5\nContent-Length: 5", "hello"),
        ("Content-Length: 5\nContent-Length: 6", "hello!"),
        ("Content-Length: 5, 5", "hello"),
        ("Content-Length: +5", "hello"),
        ("Content-Length: -1", ""),
        ("Content-Length: 0x5", "hello"),
        ("Content-Length: ", ""),
        ("Content-Length: 99999999999999999999999", ""),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "x\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhelloX"),
        ("Transfer-Encoding: chunked", "5\nhello\n0\n\n"),
    ] {
        let request = text(&format!("NOTIFY {} HTTP/1.1\nHost: h\n{fields}", login.token), body);
        let mut upstream = Socket::connect(gate.callback).await;
        upstream.send(request).await;
        upstream.finish_sending().await;
        assert_eq!(upstream.answer().await.status(), 400, "{fields} {body:?}");
        upstream.is_closed().await;
    }
    assert_eq!(gate.bodies(&login).await, [""; 0]);
}

#[tokio::test]
async fn a_callback_that_breaks_off_is_none() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut upstream = Socket::connect(gate.callback).await;
    let head = format!("NOTIFY {} HTTP/1.1\nHost: h\nContent-Length: 10", login.token);
    upstream.send(text(&head, "hello")).await;
    upstream.finish_sending().await;
    assert_eq!(upstream.answer().await.status(), 400);
    assert_eq!(gate.bodies(&login).await, [""; 0]);
}

#[tokio::test]
async fn callbacks_share_a_connection_pipelined_or_in_turn() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut upstream = Socket::connect(gate.callback).await;
    upstream.send([rvp::notify(&login.token, "", "1"), rvp::notify(&login.token, "", "2")].concat()).await;
    assert_eq!(upstream.answer().await.status(), 200);
    assert_eq!(upstream.answer().await.status(), 200);
    upstream.send(rvp::notify("/nobody", "", "lost")).await;
    assert_eq!(upstream.answer().await.status(), 412);
    upstream.send(rvp::notify(&login.token, "Connection: close\n", "3")).await;
    assert_eq!(upstream.answer().await.status(), 200);
    upstream.is_closed().await;
    assert_eq!(gate.bodies(&login).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn an_expectation_is_met_before_the_body() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut upstream = Socket::connect(gate.callback).await;
    let head = format!("NOTIFY {} HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 5", login.token);
    upstream.send(text(&head, "")).await;
    assert_eq!(upstream.head_only().await.status(), 100);
    upstream.send("hello").await;
    assert_eq!(upstream.answer().await.status(), 200);
    assert_eq!(gate.bodies(&login).await, ["hello"]);
}

#[tokio::test]
async fn a_newer_state_takes_the_place_of_the_older() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let states = ["online", "busy"].map(|state| rvp::presence("alan", "kari", state));
    let words = rvp::message("alan", "kari", "hello");
    let typing = rvp::typing("alan", "kari");
    for body in [&states[0], &typing, &words, &typing, &states[1]] {
        gate.deliver(&login, body).await;
    }
    let answer = gate.poll(&login, "").await;
    assert_eq!(bodies(&answer), [states[1].clone(), words, typing]);
    assert_eq!(answer.field("poll-dropped"), None);
    for (class, messages) in [("presence", 2.0), ("typing", 2.0), ("message", 1.0)] {
        let sample = format!("pollgate_messages_total{{class=\"{class}\"}}");
        assert_eq!(gate.metric(&sample).await, messages, "{class}");
    }
}

#[tokio::test]
async fn every_state_is_kept_without_coalescing() {
    let gate = Gate::with(|config| config.polling.limits.coalesce = false).await;
    let login = gate.login("kari").await;
    let states = ["online", "busy"].map(|state| rvp::presence("alan", "kari", state));
    for state in &states {
        gate.deliver(&login, state).await;
    }
    assert_eq!(gate.bodies(&login).await, states);
}
