//! The traffic as operators follow it.

use pollgate::config::Token;
use pollgate::mailbox::{Bound, Overflow};
use serde_json::Value;

use crate::support::{Document, Gate, Socket, text};

/// Follows what these parameters say.
struct Follower(Socket);

impl Follower {
    async fn of(gate: &Gate, query: &str) -> Self {
        let mut socket = Socket::connect(gate.admin).await;
        socket.send(text(&format!("GET /api/v1/events{query} HTTP/1.1\nHost: localhost"), "")).await;
        let head = socket.answer_or_stream().await;
        assert_eq!(head.status(), 200, "{}", head.raw_text());
        assert_eq!(head.field("transfer-encoding").unwrap(), "chunked");
        socket.read_to(b": following\n\n\r\n").await;
        Self(socket)
    }

    /// The next event, which is one that the document knows.
    async fn next(&mut self) -> Value {
        self.0.read_to(b"data: ").await;
        let data = self.0.read_to(b"\n\n\r\n").await;
        let event: Value = serde_json::from_slice(&data[..data.len() - 4]).unwrap();
        Document::served().check_schema("Event", &event);
        event
    }

    /// The names of the next events.
    async fn names<const N: usize>(&mut self) -> [String; N] {
        let mut names = [const { String::new() }; N];
        for name in &mut names {
            *name = self.next().await["event"].as_str().unwrap().to_owned();
        }
        names
    }
}

#[tokio::test]
async fn a_message_is_followed_from_its_callback_to_its_acknowledgement() {
    let gate = Gate::start().await;
    let mut all = Follower::of(&gate, "").await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "hello").await;
    assert_eq!(gate.poll(&login, "").await.status(), 200);
    gate.poll(&login, "Prefer: wait=0\n").await;
    assert_eq!(all.names().await, ["subscribed", "callback", "buffered", "polled", "acknowledged"]);
}

#[tokio::test]
async fn no_event_has_a_body_unless_asked_or_any_secret() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut without = Follower::of(&gate, "").await;
    let mut with = Follower::of(&gate, "?bodies=true").await;
    gate.deliver(&login, "hello").await;
    gate.poll(&login, "").await;
    let secrets = [&login.poll, &login.token].map(|path| path.rsplit('/').next().unwrap());
    for follower in [&mut without, &mut with] {
        let events = [follower.next().await, follower.next().await, follower.next().await];
        let told = serde_json::to_string(&events).unwrap();
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told}");
        assert_eq!((&events[0]["event"], &events[2]["event"]), (&"callback".into(), &"polled".into()));
        assert_eq!(events[0]["bytes"], 5);
        assert_eq!(events[1]["message"], events[2]["first"]);
        let body = events[0]["body"].as_str();
        assert!(body.is_none() || body == Some("hello"), "{told}");
        assert_eq!(body.is_some(), told.contains("hello"));
    }
    let shown = gate.deliver(&login, "shown");
    shown.await;
    assert_eq!(with.next().await["body"], "shown");
    assert_eq!(without.next().await.get("body"), None);
}

#[tokio::test]
async fn one_mailbox_or_one_principal_alone_can_be_followed() {
    let gate = Gate::start().await;
    let kari = gate.login("kari").await;
    let alan = gate.login("alan").await;
    let ids = gate.ids().await;
    let report = gate.operate("GET", &format!("/api/v1/mailboxes/{}", ids[1])).await.json();
    let mut by_id = Follower::of(&gate, &format!("?mailbox={}", ids[1])).await;
    let mut all = Follower::of(&gate, "").await;
    gate.deliver(&kari, "one").await;
    gate.deliver(&alan, "two").await;
    assert_eq!(by_id.next().await["mailbox"], ids[1]);
    for id in [ids[0], ids[0], ids[1], ids[1]] {
        assert_eq!(all.next().await["mailbox"], id);
    }
    let principal = report["subscription"]["principal"].as_str().unwrap();
    let mut by_principal = Follower::of(&gate, &format!("?principal={principal}")).await;
    gate.deliver(&kari, "one").await;
    gate.deliver(&alan, "two").await;
    let event = by_principal.next().await;
    assert_eq!((&event["mailbox"], &event["principal"]), (&ids[1].into(), &principal.into()));
}

#[tokio::test]
async fn what_is_refused_or_lost_is_told_with_its_reason() {
    let gate = Gate::with(|config| config.polling.limits.messages = Bound::AtMost(1)).await;
    let login = gate.login("kari").await;
    let [id] = gate.ids().await[..] else { panic!("one mailbox") };
    let mut all = Follower::of(&gate, "").await;
    gate.deliver(&login, "one").await;
    gate.call_back(crate::support::rvp::notify(&login.token, "", "two")).await;
    assert_eq!(all.names().await, ["callback", "buffered", "callback"]);
    let refused = all.next().await;
    assert_eq!((&refused["event"], &refused["mailbox"]), (&"refused".into(), &id.into()));
    gate.follow(|config| config.polling.limits.overflow = Overflow::DropOldest);
    gate.deliver(&login, "three").await;
    assert_eq!(all.names().await, ["callback"]);
    let dropped = all.next().await;
    assert_eq!((&dropped["event"], &dropped["reason"]), (&"dropped".into(), &"overflow".into()));
    assert_eq!(all.names().await, ["buffered"]);
    gate.operate("DELETE", &format!("/api/v1/mailboxes/{id}")).await;
    let rest: [String; 2] = all.names().await;
    assert!(rest.contains(&"ended".to_owned()) && rest.contains(&"dropped".to_owned()), "{rest:?}");
}

#[tokio::test]
async fn only_eight_follow_at_a_time_and_a_place_is_given_back() {
    let gate = Gate::start().await;
    let mut followers = Vec::new();
    for _ in 0..8 {
        followers.push(Follower::of(&gate, "").await);
    }
    assert_eq!(gate.operate("GET", "/api/v1/events").await.status(), 503);
    assert_eq!(gate.operate("HEAD", "/api/v1/events").await.status(), 200);
    followers.pop();
    let free = async { while gate.operate("GET", "/api/v1/events").await.status() == 503 {} };
    crate::support::within("a place", free).await;
}

#[tokio::test]
async fn who_may_not_ask_may_not_follow() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "s3cret").unwrap();
    let token = Token::read(file.path()).unwrap();
    let gate = Gate::with(|config| config.admin.token = Some(token)).await;
    assert_eq!(gate.operate("GET", "/api/v1/events").await.status(), 401);
    let fields = "Authorization: Bearer s3cret\n";
    assert_eq!(gate.operate_with("GET", "/api/v1/events", fields).await.status(), 200);
    let open = Gate::start().await;
    assert_eq!(open.operate_with("GET", "/api/v1/events", "Host: evil.example\n").await.status(), 403);
    for query in ["?mailbox=x", "?bodies=1", "?nonsense=1"] {
        assert_eq!(open.operate("GET", &format!("/api/v1/events{query}")).await.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_gateway() {
    let gate = Gate::start().await;
    let mut follower = Follower::of(&gate, "").await;
    gate.stop().await;
    assert_eq!(follower.0.rest().await, b"0\r\n\r\n");
}
