//! DESIGN §4.1: what a subscription becomes on its way, and what its answer tells the client.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::{CLIENT, Gate, Step, answer, bodies, life_times, rvp, text};

/// A login in odd letters and order.
const ODD: &str = "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nx-twice: 1\nX-Twice: 2, 3\nhOST: im.example\n\
                   notification-TYPE: pragma/notify\ncall-BACK: http://10.1.2.3:1234/\nX-Empty: \n\
                   Subscription-Lifetime: 14400\nRVP-Notifications-Version: 0.2\nContent-Length: 5";

#[tokio::test]
async fn the_callback_address_is_replaced_and_nothing_else() {
    let gate = Gate::start().await;
    let answer = gate.ask(text(ODD, "hello")).await;
    assert_eq!(answer.status(), 200);
    let request = gate.upstream.last();
    let address = format!("http://{}{}", gate.callback, gate.token());
    let expected = text(&ODD.replace("http://10.1.2.3:1234/", &address), "hello");
    assert_eq!(request.raw_text(), String::from_utf8(expected).unwrap());
}

#[tokio::test]
async fn a_logical_callback_passes_untouched() {
    let gate = Gate::with(|config| config.upstreams[0].server_names = vec!["alias.example".into()]).await;
    for callback in [
        "http://im.example/instmsg/aliases/kari",
        "http://IM.example:80/instmsg/aliases/kari",
        "http://alias.example/instmsg/aliases/kari",
    ] {
        let head = format!(
            "SUBSCRIBE /instmsg/aliases/alan HTTP/1.1\nHost: im.example\nCall-Back: {callback}\n\
             Notification-Type: update/propchange\nSubscription-Lifetime: 14400"
        );
        let request = text(&head, "");
        let answer = gate.ask(&request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-location"), None, "{callback}");
        assert_eq!(gate.upstream.last().raw(), request, "{callback}");
    }
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_client_that_gives_no_address_is_given_ours() {
    let gate = Gate::start().await;
    let request = rvp::login_with("kari", "");
    let login = gate.login_as(&request).await;
    let address = format!("http://{}{}", gate.callback, login.token);
    let sent = String::from_utf8(request).unwrap();
    let expected = sent.replace("\r\n\r\n", &format!("\r\nCall-Back: {address}\r\n\r\n"));
    assert_eq!(gate.upstream.last().raw_text(), expected);
    gate.deliver(&login, "hello").await;
    assert_eq!(gate.bodies(&login).await, ["hello"]);
}

#[tokio::test]
async fn an_empty_address_is_no_address() {
    let gate = Gate::start().await;
    assert_eq!(gate.ask(rvp::login("kari", "")).await.status(), 400);
    assert!(gate.upstream.seen().is_empty());
}

#[tokio::test]
async fn targets_in_absolute_form() {
    let gate = Gate::start().await;
    for (target, host, to_poll) in [
        ("http://im.example/instmsg/aliases/kari", "im.example", "http://im.example/.pollgate/"),
        // RFC 9112 §3.2.2: the target counts, and the Host that goes on is the target's.
        ("http://im.example/instmsg/aliases/kari", "other.example", "http://im.example/.pollgate/"),
        ("http://im.example/instmsg/aliases/kari", "im.example:80", "http://im.example/.pollgate/"),
        ("http://im.example:8080/instmsg/aliases/kari", "IM.example", "http://im.example:8080/.pollgate/"),
    ] {
        let head =
            format!("SUBSCRIBE {target} HTTP/1.1\nHost: {host}\nCall-Back: {CLIENT}\nContent-Length: 0");
        let answer = gate.ask(text(&head, "")).await;
        assert_eq!(answer.status(), 200, "{target} at {host}: {}", answer.raw_text());
        let location = answer.field("content-location").expect("a place to poll");
        assert!(location.starts_with(to_poll), "{location}");
        let request = gate.upstream.last();
        assert_eq!(request.start_line(), format!("SUBSCRIBE {target} HTTP/1.1"));
        let authority = target.split('/').nth(2).unwrap();
        assert_eq!(request.field("host").as_deref(), Some(authority));
        assert_eq!(gate.token().len(), 33);
    }
}

#[tokio::test]
async fn either_version_of_the_protocol_passes() {
    let gate = Gate::start().await;
    for version in ["0.2", "1.0"] {
        let login = String::from_utf8(rvp::login("kari", CLIENT)).unwrap();
        let login = login.replace("Version: 0.2", &format!("Version: {version}"));
        let answer = gate.ask(login).await;
        assert_eq!(answer.start_line(), "HTTP/1.1 200 Successful");
        assert_eq!(answer.field("rvp-notifications-version").as_deref(), Some(version));
        assert_eq!(gate.upstream.last().field("rvp-notifications-version").as_deref(), Some(version));
    }
}

#[tokio::test]
async fn the_answer_says_where_to_poll() {
    let gate = Gate::start().await;
    let answer = gate.ask(rvp::login("kari", CLIENT)).await;
    let location = answer.field("content-location").expect("a place to poll");
    let key = location.strip_prefix("http://im.example/.pollgate/").expect("the name that the client knows");
    assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    assert_ne!(format!("/{key}"), gate.token(), "who delivers may not poll");
    assert_eq!(answer.field("subscription-id").as_deref(), Some("98210"));
    assert_eq!(answer.field("subscription-lifetime").as_deref(), Some("14400"));
    assert_eq!(answer.field("poll-message-lifetime"), None);
}

/// A client of the time that names no host is told a path, which it resolves against what it asked.
#[tokio::test]
async fn an_old_client_is_told_a_path() {
    let gate = Gate::start().await;
    let login = format!("SUBSCRIBE /instmsg/aliases/kari HTTP/1.0\nCall-Back: {CLIENT}");
    let location = gate.ask(text(&login, "")).await.field("content-location").expect("a place to poll");
    assert!(location.starts_with("/.pollgate/"), "{location}");
}

#[tokio::test]
async fn a_life_time_of_messages_is_answered_with_what_applies() {
    let gate = Gate::with(|config| config.polling.limits.life_time = life_times(1800, 10, 3600)).await;
    for (wish, applied) in [("60", "60"), ("0", "10"), ("86400", "3600")] {
        let fields = format!("Call-Back: {CLIENT}\nPoll-Message-Lifetime: {wish}\n");
        let answer = gate.ask(rvp::login_with("kari", &fields)).await;
        assert_eq!(answer.field("poll-message-lifetime").as_deref(), Some(applied), "{wish}");
    }
}

#[tokio::test]
async fn what_the_upstream_does_not_grant_has_no_mailbox() {
    let gate = Gate::start().await;
    for status in [
        "300 Multiple Choices",
        "302 Moved",
        "401 Unauthorized",
        "403 Forbidden",
        "412 Precondition Failed",
        "500 Oops",
        "503 Busy",
    ] {
        let answer =
            text(&format!("HTTP/1.1 {status}\nLocation: http://b.example/\nContent-Length: 4"), "what");
        gate.upstream.answers(answer.clone());
        let got = gate.ask(rvp::login("kari", CLIENT)).await;
        assert_eq!(got.start_line(), format!("HTTP/1.1 {status}"));
        assert_eq!(got.field("location").as_deref(), Some("http://b.example/"));
        assert_eq!(got.field("content-location"), None);
        assert_eq!(got.body_text(), "what");
        gate.mailboxes(0).await;
        assert_eq!(gate.call_back(rvp::notify(&gate.token(), "", "late")).await.status(), 412, "{status}");
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_has_granted_nothing() {
    let gate = Gate::start().await;
    gate.upstream.script(|_| vec![Step::Close]);
    assert_eq!(gate.ask(rvp::login("kari", CLIENT)).await.status(), 502);
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_no_mailbox() {
    let gate = Gate::start().await;
    gate.upstream.script(|_| vec![Step::Wait(Arc::new(Notify::new()))]);
    let mut client = gate.client().await;
    client.send(rvp::login("kari", CLIENT)).await;
    gate.upstream.saw(1).await;
    gate.mailboxes(1).await;
    drop(client);
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_callback_may_be_faster_than_the_answer() {
    let gate = Gate::start().await;
    let go = Arc::new(Notify::new());
    let granted = go.clone();
    gate.upstream.script(move |_| {
        let mut steps = vec![Step::Wait(granted.clone())];
        steps.extend(answer("HTTP/1.1 200 Successful\nSubscription-Id: 7", ""));
        steps
    });
    let mut client = gate.client().await;
    client.send(rvp::login("kari", CLIENT)).await;
    gate.upstream.saw(1).await;
    let early = gate.call_back(rvp::notify(&gate.token(), "", "first")).await;
    assert_eq!(early.status(), 200);
    go.notify_one();
    let location = client.answer().await.field("content-location").expect("a place to poll");
    let path = location.strip_prefix("http://im.example").unwrap();
    client.send(text(&format!("POLL {path} HTTP/1.1\nHost: im.example"), "")).await;
    assert_eq!(bodies(&client.answer().await), ["first"]);
}

#[tokio::test]
async fn a_lease_may_be_shorter_than_was_asked() {
    let gate = Gate::start().await;
    gate.upstream
        .script(|_| answer("HTTP/1.1 200 Successful\nSubscription-Id: 7\nSubscription-Lifetime: 1", ""));
    let login = gate.login("kari").await;
    gate.deliver(&login, "left behind").await;
    // The lease is the upstream's: clients that crash never unsubscribe.
    gate.mailboxes(0).await;
    assert_eq!(gate.poll(&login, "").await.status(), 404);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "late")).await.status(), 412);
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"abandoned\"}").await, 1.0);
    assert_eq!(gate.metric("pollgate_mailboxes_expired_total").await, 1.0);
}

#[tokio::test]
async fn an_unusable_address_never_reaches_the_upstream() {
    let gate = Gate::start().await;
    for callback in [
        "10.1.2.3:1234",
        "/only/a/path",
        "https://10.1.2.3/",
        "httpu://10.1.2.3:1234/",
        "file:///etc/passwd",
        "http://",
        "http://user@10.1.2.3/",
        "http://user:secret@10.1.2.3/",
        "http://10.1.2.3:99999/",
        "http://10.1.2.3/\r\n folded",
        "http://10.1.2.3/a b",
        "http://10.1.2.3/\u{e9}",
        "http://10.1.2.3/\r\nCall-Back: http://10.1.2.4/",
    ] {
        let answer = gate.ask(rvp::login("kari", callback)).await;
        assert_eq!(answer.status(), 400, "{callback:?}");
        assert!(!answer.body.is_empty(), "it says why");
        assert!(gate.upstream.seen().is_empty(), "{callback:?}");
    }
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn one_mailbox_more_than_there_may_be_is_refused() {
    let gate = Gate::with(|config| config.store.max_mailboxes = 2).await;
    gate.login("kari").await;
    gate.login("alan").await;
    let refused = gate.ask(rvp::login("bo", CLIENT)).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.number("retry-after").unwrap() > 0);
    assert_eq!(refused.body_text(), "too many mailboxes\n");
    assert_eq!(gate.upstream.seen().len(), 2, "the upstream is not asked for what could not be kept");
    // What needs no mailbox still passes.
    assert_eq!(gate.ask("GET / HTTP/1.1\r\nHost: im.example\r\n\r\n").await.status(), 200);
}

#[tokio::test]
async fn without_poll_support_the_gateway_is_transparent() {
    let gate = Gate::with(|config| config.polling.poll_support = false).await;
    let requests = [
        rvp::login("kari", CLIENT),
        rvp::login("kari", "nonsense"),
        rvp::login_with("kari", ""),
        rvp::login_with("kari", "Subscription-Id: 7\n"),
    ];
    for request in requests {
        let answer = gate.ask(&request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-location"), None);
        assert_eq!(gate.upstream.last().raw(), request);
    }
    gate.mailboxes(0).await;
    for poll in [
        "POLL /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-Id: 98210",
        "POLL /.pollgate/0123456789abcdef0123456789abcdef HTTP/1.1\nHost: im.example",
    ] {
        assert_eq!(gate.ask(text(poll, "")).await.status(), 501, "{poll}");
    }
    assert_eq!(gate.upstream.seen().len(), 4, "a poll is ours even then");
}

#[tokio::test]
async fn a_subscription_that_grows_too_large_leaves_no_mailbox() {
    let gate = Gate::with(|config| config.limits.header_fields = 128).await;
    let login = String::from_utf8(rvp::login("kari", "http://10.1.2.3:1234")).unwrap();
    let lines: Vec<&str> = login.trim_end().lines().filter(|line| !line.starts_with("Call-Back")).collect();
    // As many as there may be, and the address of the gateway's own is one more.
    let more: String = (lines.len()..129).map(|number| format!("X-{number}: 1\r\n")).collect();
    let answer = gate.ask(format!("{}\r\n{more}\r\n", lines.join("\r\n"))).await;
    assert_eq!(answer.status(), 431, "{}", answer.raw_text());
    gate.mailboxes(0).await;
}
