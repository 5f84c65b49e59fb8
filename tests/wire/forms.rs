//! DESIGN §4.3: the forms in which messages are written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{CLIENT, Gate, Login, bodies, life_times, parts, poll, request, rvp, text};

async fn gate_with_login() -> (Gate, Login) {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    (gate, login)
}

/// Delivers a callback with any bytes for a body.
async fn deliver(gate: &Gate, login: &Login, body: &[u8]) {
    let head = text(&format!("NOTIFY {} HTTP/1.1\nHost: h\nContent-Length: {}", login.token, body.len()), "");
    assert_eq!(gate.call_back([&head, body].concat()).await.status(), 200);
}

#[tokio::test]
async fn a_part_for_each_message() {
    let (gate, login) = gate_with_login().await;
    let sent: [&[u8]; 6] = [
        b"plain",
        b"",
        b"\r\n",
        b"--boundary\r\nContent-Type: x\r\n\r\n--boundary--\r\n",
        b"\x00\xff\xfe\r\n--",
        rvp::message("alan", "kari", "hello").leak().as_bytes(),
    ];
    for body in sent {
        deliver(&gate, &login, body).await;
    }
    let parts = parts(&gate.poll(&login, "Accept: multipart/mixed\n").await);
    assert_eq!(parts.len(), sent.len());
    for (part, body) in parts.iter().zip(sent) {
        assert_eq!(part.content_type, "application/http; msgtype=request");
        let head = format!("NOTIFY {CLIENT} HTTP/1.1\nHost: 10.1.2.3:1234\nContent-Length: {}", body.len());
        assert_eq!(part.request.raw(), [&text(&head, ""), body].concat());
    }
    assert!(parts.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[tokio::test]
async fn one_message_by_itself() {
    let (gate, login) = gate_with_login().await;
    for body in ["1", "2"] {
        gate.deliver(&login, body).await;
    }
    for (body, pending) in [("1", 1), ("2", 0)] {
        let answer = gate.poll(&login, "Accept: application/http\n").await;
        assert_eq!(answer.field("content-type").as_deref(), Some("application/http; msgtype=request"));
        let message = request(&answer.body);
        assert_eq!(message.start_line(), format!("NOTIFY {CLIENT} HTTP/1.1"));
        assert_eq!(message.body_text(), body);
        assert_eq!(answer.number("poll-pending"), Some(pending));
    }
}

#[tokio::test]
async fn messages_as_json() {
    let (gate, login) = gate_with_login().await;
    let typing = rvp::typing("alan", "kari");
    let head = format!(
        "NOTIFY {} HTTP/1.1\nHost: h\nX-Twice: 1\nx-twice: caf\u{e9}\nContent-Length: {}",
        login.token,
        typing.len()
    );
    let latin1: Vec<u8> = text(&head, &typing).iter().copied().filter(|byte| *byte != 0xc3).collect();
    assert_eq!(gate.call_back(latin1.clone()).await.status(), 200);
    deliver(&gate, &login, b"\xff not UTF-8").await;
    let answer = gate.poll(&login, "Accept: application/json\n").await;
    let json = answer.json();
    assert_eq!((&json["dropped"], &json["pending"]), (&0.into(), &0.into()));
    let messages = json["messages"].as_array().unwrap();
    let [first, second] = &messages[..] else { panic!("{json}") };
    assert_eq!(second["id"].as_u64(), answer.number("last-event-id"));
    assert_eq!((first["class"].as_str(), second["class"].as_str()), (Some("typing"), Some("message")));
    assert_eq!((first["method"].as_str(), first["target"].as_str()), (Some("NOTIFY"), Some(CLIENT)));
    let length = typing.len().to_string();
    let headers = serde_json::json!([
        ["Host", "10.1.2.3:1234"],
        ["X-Twice", "1"],
        ["x-twice", "caf\u{a9}"],
        ["Content-Length", length]
    ]);
    assert_eq!(first["headers"], headers);
    assert_eq!((first["body"].as_str(), first.get("body_base64")), (Some(&*typing), None));
    assert_eq!(second.get("body"), None);
    let body = STANDARD.decode(second["body_base64"].as_str().unwrap()).unwrap();
    assert_eq!(body, b"\xff not UTF-8");
    let received = humantime::parse_rfc3339(first["received_at"].as_str().unwrap()).unwrap();
    let age = pollgate::clock::wall().duration_since(received).unwrap();
    assert!(age.as_secs() < 60, "{age:?}");
}

#[tokio::test]
async fn the_form_is_what_accept_prefers() {
    let (gate, login) = gate_with_login().await;
    for (accept, form) in [
        ("", "multipart/mixed"),
        ("Accept: */*\n", "multipart/mixed"),
        ("Accept: application/json\n", "application/json"),
        ("Accept: APPLICATION/HTTP\n", "application/http"),
        ("Accept: multipart/mixed;q=0.1, application/json;q=0.2\n", "application/json"),
        ("Accept: text/html\nAccept: application/json\n", "application/json"),
        ("Accept: text/html\n", "multipart/mixed"),
        ("Accept: ,,;q=,/;q=9,\u{e9}\n", "multipart/mixed"),
        ("Accept: application/json;q=NaN\n", "multipart/mixed"),
    ] {
        gate.deliver(&login, "x").await;
        let answer = gate.poll(&login, accept).await;
        let content_type = answer.field("content-type").unwrap();
        assert_eq!(content_type.split(';').next(), Some(form), "{accept}");
    }
}

/// What a client sees of an event: id, name, data.
fn event(text: &[u8]) -> (String, String, serde_json::Value) {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        lines.next().unwrap_or_else(|| panic!("no {name} in {text:?}")).to_owned()
    };
    (field("id"), field("event"), serde_json::from_str(&field("data")).unwrap())
}

#[tokio::test]
async fn messages_as_events() {
    let (gate, login) = gate_with_login().await;
    gate.deliver(&login, "1\r\ndata: not a field").await;
    gate.deliver(&login, "2").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "Accept: text/event-stream\n")).await;
    let head = client.head_only().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(head.field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(head.field("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(head.field("preference-applied").as_deref(), Some("wait=3600"));
    let first = client.read_to(b"}\n\n").await;
    let (first_id, name, data) = event(&first);
    assert_eq!((name.as_str(), data["body"].as_str()), ("NOTIFY", Some("1\r\ndata: not a field")));
    assert_eq!(data["id"].to_string(), first_id);
    let (_, _, data) = event(&client.read_to(b"}\n\n").await);
    assert_eq!(data["body"], "2");
    gate.held(1).await;
    gate.deliver(&login, "3").await;
    let (_, _, data) = event(&client.read_to(b"}\n\n").await);
    assert_eq!(data["body"], "3");
    gate.held(1).await;
    drop(client);
    gate.held(0).await;

    // An EventSource comes back with the last id that it saw; say that it saw the first only.
    let mut client = gate.client().await;
    client.send(poll(&login, &format!("Accept: text/event-stream\nLast-Event-ID: {first_id}\n"))).await;
    client.head_only().await;
    for body in ["2", "3"] {
        assert_eq!(event(&client.read_to(b"}\n\n").await).2["body"], body);
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_hold_and_leaves_the_connection_usable() {
    let gate = Gate::with(|config| config.polling.poll_life_time = life_times(1, 0, 1)).await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "Accept: text/event-stream\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.body_text(), "retry: 100\n\n");
    client.send(poll(&login, "Prefer: wait=0\n")).await;
    assert_eq!(client.answer().await.status(), 204);
    assert_eq!(gate.metric("pollgate_polls_total{result=\"empty\"}").await, 2.0);
}

#[tokio::test]
async fn a_stream_ends_when_it_carried_as_much_as_an_answer_may() {
    let gate = Gate::with(|config| config.polling.batch.messages = 2).await;
    let login = gate.login("kari").await;
    for body in ["1", "2", "3"] {
        gate.deliver(&login, body).await;
    }
    let mut client = gate.client().await;
    client.send(poll(&login, "Accept: text/event-stream\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.body_text().matches("event: NOTIFY").count(), 2);
    // What it carried is not acknowledged because the client comes again; only its id does that.
    assert_eq!(gate.bodies(&login).await, ["1", "2"]);
    let last = answer
        .body_text()
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .next_back()
        .unwrap()
        .to_owned();
    let rest = gate.poll(&login, &format!("Prefer: wait=0\nLast-Event-ID: {last}\n")).await;
    assert_eq!(bodies(&rest), ["3"]);
}

#[tokio::test]
async fn a_stream_for_an_old_client_ends_with_its_connection() {
    let gate = Gate::with(|config| config.polling.batch.messages = 1).await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "1").await;
    let mut client = gate.client().await;
    let old = format!("GET {} HTTP/1.0\nConnection: keep-alive\nAccept: text/event-stream", login.poll);
    client.send(text(&old, "")).await;
    let answer = client.answer().await;
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    assert!(answer.body_text().starts_with("retry: 100\n\nid: "), "{}", answer.body_text());
    client.is_closed().await;
}

#[tokio::test]
async fn a_stream_tells_of_a_gap() {
    let (gate, login) = gate_with_login().await;
    let mut client = gate.client().await;
    client.send(poll(&login, "Accept: text/event-stream\n")).await;
    gate.held(1).await;
    let large = rvp::notify(&login.token, "", &"x".repeat(200 * 1024));
    assert_eq!(gate.call_back(large).await.status(), 413);
    client.read_to(b"event: gap\ndata: {\"dropped\":1}\n\n").await;
}

#[tokio::test]
async fn a_stream_gives_way_to_a_newer_poll() {
    let (gate, login) = gate_with_login().await;
    let mut client = gate.client().await;
    client.send(poll(&login, "Accept: text/event-stream\n")).await;
    gate.held(1).await;
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 204);
    assert_eq!(client.answer().await.body_text(), "retry: 100\n\n");
    assert_eq!(gate.metric("pollgate_polls_total{result=\"superseded\"}").await, 1.0);
}
