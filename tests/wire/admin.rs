//! What operators see and do. Each answer is held against the API's document on the way.

use std::time::Duration;

use pollgate::mailbox::{Bound, Overflow};
use serde_json::{Value, json};

use crate::support::{CLIENT, Gate, Login, life_times, rvp};

fn ids(list: &Value, of: &str) -> Vec<u64> {
    list[of].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect()
}

/// Follows the pages from here on: the ids on each.
async fn pages(gate: &Gate, of: &str, target: &str) -> Vec<Vec<u64>> {
    let (mut target, mut pages) = (target.to_owned(), Vec::new());
    loop {
        let answer = gate.operate("GET", &target).await;
        pages.push(ids(&answer.json(), of));
        let Some(link) = answer.field("link") else { return pages };
        let (next, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"");
        target = next.to_owned();
    }
}

#[tokio::test]
async fn mailboxes_are_listed_page_by_page() {
    let gate = Gate::start().await;
    for name in ["kari", "alan", "kari", "mona", "kari"] {
        gate.login(name).await;
    }
    let all = gate.ids().await;
    assert!(all.len() == 5 && all.is_sorted());
    for (query, expected) in [
        ("", vec![vec![all[0], all[1], all[2], all[3], all[4]]]),
        ("?limit=5", vec![vec![all[0], all[1], all[2], all[3], all[4]]]),
        ("?limit=2", vec![vec![all[0], all[1]], vec![all[2], all[3]], vec![all[4]]]),
        (&format!("?after={}", all[3]), vec![vec![all[4]]]),
        ("?after=999999", vec![vec![]]),
        (
            "?principal=HTTP%3A%2F%2Fim.example%2Finstmsg%2Faliases%2FKari&limit=2&state=live",
            vec![vec![all[0], all[2]], vec![all[4]]],
        ),
        ("?principal=http://im.example/instmsg/aliases/nobody", vec![vec![]]),
        ("?state=ended", vec![vec![]]),
    ] {
        assert_eq!(
            pages(&gate, "mailboxes", &format!("/api/v1/mailboxes{query}")).await,
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn mailboxes_are_listed_by_their_state() {
    let gate = Gate::start().await;
    let [polled, quiet, over] = [gate.login("a").await, gate.login("b").await, gate.login("c").await];
    let mut poll = gate.client().await;
    poll.send(crate::support::poll(&polled, "")).await;
    gate.held(1).await;
    gate.deliver(&over, "left behind").await;
    gate.deliver(&quiet, "waits").await;
    let all = gate.ids().await;
    gate.operate("DELETE", &format!("/api/v1/mailboxes/{}", all[2])).await;
    for (state, expected) in [("polled", &all[..1]), ("live", &all[..2]), ("ended", &all[2..])] {
        let list = gate.operate("GET", &format!("/api/v1/mailboxes?state={state}")).await.json();
        assert_eq!(ids(&list, "mailboxes"), expected, "{state}");
    }
}

#[tokio::test]
async fn a_mailbox_tells_all_but_its_secrets() {
    let gate = Gate::with(|config| {
        config.polling.limits.bytes = Bound::Unlimited;
        config.polling.limits.life_time = life_times(100, 10, 1000);
    })
    .await;
    let login = gate
        .login_as(&rvp::login_with("kari", &format!("Call-Back: {CLIENT}\nPoll-Message-Lifetime: 5\n")))
        .await;
    gate.deliver(&login, "one").await;
    gate.deliver(&login, "two").await;
    let id = gate.ids().await[0];
    let answer = gate.operate("GET", &format!("/api/v1/mailboxes/{id}")).await;
    for secret in [&login.token, &login.poll] {
        let secret = secret.rsplit('/').next().unwrap();
        assert!(secret.len() == 32 && !answer.raw_text().contains(secret));
    }
    let shown = answer.json();
    let cost = shown["bytes"].as_u64().unwrap();
    assert!(cost > 6, "{cost}");
    for (member, expected) in [
        ("/state", json!("live")),
        ("/mode", json!("polling")),
        ("/messages", json!(2)),
        ("/gap", json!(0)),
        ("/dropped_messages", json!(0)),
        ("/subscription/node", json!("/instmsg/aliases/kari")),
        ("/subscription/principal", json!(rvp::principal("kari"))),
        ("/subscription/host", json!("im.example")),
        ("/subscription/upstream_id", json!(login.id)),
        ("/subscription/callback", json!(CLIENT)),
        ("/subscription/subscriber", json!("127.0.0.1")),
        ("/limits/messages", json!(100)),
        ("/limits/bytes", json!("unlimited")),
        ("/limits/message_life_time_seconds", json!(10.0)),
        ("/limits/dropped_life_time_seconds", json!(57_600.0)),
        ("/limits/overflow", json!("reject")),
    ] {
        assert_eq!(shown.pointer(member), Some(&expected), "{member}");
    }
    assert!(shown.get("last_poll_at").is_none() && shown["oldest_age_seconds"].is_number());
    let lease = shown["subscription"]["lease_left_seconds"].as_f64().unwrap();
    assert!((14_000.0..=14_400.0).contains(&lease), "{lease}");
    gate.bodies(&login).await;
    let shown = gate.operate("GET", &format!("/api/v1/mailboxes/{id}")).await.json();
    assert!(shown["last_poll_at"].is_string());
}

#[tokio::test]
async fn to_peek_hands_nothing_out() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "grün").await;
    let binary = [&rvp::notify(&login.token, "Content-Encoding: x\n", "")[..]].concat();
    let binary = String::from_utf8(binary).unwrap().replace("Content-Length: 0", "Content-Length: 2");
    let status = gate.call_back([binary.as_bytes(), b"\xff\x00"].concat()).await.status();
    assert_eq!(status, 200);
    gate.deliver(&login, "three").await;
    let id = gate.ids().await[0];
    let messages = format!("/api/v1/mailboxes/{id}/messages");
    let without = gate.operate("GET", &messages).await;
    assert!(!without.body_text().contains("gr") && !without.body_text().contains("headers"));
    let with = gate.operate("GET", &format!("{messages}?body=1")).await.json();
    let [first, second, third] = &with["messages"].as_array().unwrap()[..] else { panic!("{with}") };
    assert_eq!((&first["method"], &first["class"]), (&json!("NOTIFY"), &json!("message")));
    assert_eq!((&first["body"], first.get("body_base64")), (&json!("grün"), None));
    assert_eq!((second.get("body"), &second["body_base64"]), (None, &json!("/wA=")));
    assert_eq!(third["handed_out"], false);
    let headers = second["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["Content-Encoding", "x"])), "{headers:?}");
    assert!(!with.to_string().contains(login.token.trim_start_matches('/')));

    let all = ids(&with, "messages");
    let by_page = pages(&gate, "messages", &format!("{messages}?limit=2&body=1")).await;
    assert_eq!(by_page, [&all[..2], &all[2..]]);
    let answer = gate.poll(&login, "Prefer: wait=0\nAccept: application/http\n").await;
    assert_eq!(answer.number("last-event-id"), Some(all[0]), "the first is still to come");
    let after = gate.operate("GET", &messages).await.json();
    assert_eq!((&after["messages"][0]["handed_out"], ids(&after, "messages")), (&json!(true), all));
}

#[tokio::test]
async fn a_page_with_bodies_ends_before_it_is_too_large() {
    let gate = Gate::with(|config| config.polling.limits.bytes = Bound::Unlimited).await;
    let login = gate.login("kari").await;
    let large = "x".repeat(1024 * 1024 - 1024);
    for _ in 0..6 {
        gate.deliver(&login, &large).await;
    }
    let id = gate.ids().await[0];
    let lengths = |pages: Vec<Vec<u64>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
    let messages = format!("/api/v1/mailboxes/{id}/messages");
    assert_eq!(lengths(pages(&gate, "messages", &format!("{messages}?body=1")).await), [4, 2]);
    assert_eq!(lengths(pages(&gate, "messages", &messages).await), [6]);
}

#[tokio::test]
async fn many_messages_are_listed_in_order() {
    let gate = Gate::with(|config| config.polling.limits.messages = Bound::Unlimited).await;
    let login = gate.login("kari").await;
    for number in 0..150 {
        gate.deliver(&login, &number.to_string()).await;
    }
    let id = gate.ids().await[0];
    let by_page = pages(&gate, "messages", &format!("/api/v1/mailboxes/{id}/messages?limit=64")).await;
    assert_eq!(by_page.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    assert!(by_page.concat().is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn what_is_purged_is_told_kept_and_can_be_replayed() {
    let gate = Gate::with(|config| config.polling.limits.messages = Bound::AtMost(2)).await;
    let login = gate.login("kari").await;
    for words in ["one", "two"] {
        gate.deliver(&login, words).await;
    }
    let id = gate.ids().await[0];
    let at = |path: &str| format!("/api/v1/mailboxes/{id}{path}");
    let before = gate.operate("GET", &at("/messages")).await.json();
    assert_eq!(gate.operate("DELETE", &at("/messages")).await.json(), json!({ "dropped": 2 }));
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"purged\"}").await, 2.0);
    let dropped = gate.operate("GET", &at("/dropped?body=1")).await.json();
    assert_eq!(ids(&dropped, "messages"), ids(&before, "messages"));
    assert_eq!(
        (&dropped["messages"][0]["reason"], &dropped["messages"][0]["body"]),
        (&json!("purged"), &json!("one"))
    );
    let paged = pages(&gate, "messages", &at("/dropped?limit=1")).await;
    assert_eq!(paged.concat(), ids(&dropped, "messages"));
    let shown = gate.operate("GET", &at("")).await.json();
    assert_eq!(
        (&shown["gap"], &shown["dropped_messages"], &shown["messages"]),
        (&json!(2), &json!(2), &json!(0))
    );

    gate.deliver(&login, "three").await;
    assert_eq!(
        gate.operate("POST", &at("/dropped/replay")).await.json(),
        json!({ "replayed": 1, "refused": 1 })
    );
    assert_eq!(gate.bodies(&login).await, ["three", "one"]);
    assert_eq!(gate.bodies(&login).await, [""; 0]);
    assert_eq!(
        gate.operate("POST", &at("/dropped/replay")).await.json(),
        json!({ "replayed": 1, "refused": 0 })
    );
    assert_eq!(gate.bodies(&login).await, ["two"]);
}

#[tokio::test]
async fn a_replayed_message_answers_the_poll_that_waits() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "one").await;
    let id = gate.ids().await[0];
    gate.operate("DELETE", &format!("/api/v1/mailboxes/{id}/messages")).await;
    // The gap is news; the next poll waits.
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.number("poll-dropped"), Some(1));
    let mut client = gate.client().await;
    client.send(crate::support::poll(&login, "")).await;
    gate.held(1).await;
    gate.operate("POST", &format!("/api/v1/mailboxes/{id}/dropped/replay")).await;
    assert_eq!(crate::support::bodies(&client.answer().await), ["one"]);
}

#[tokio::test]
async fn a_mailbox_that_was_ended_is_kept_for_looking_only() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "one").await;
    let id = gate.ids().await[0];
    let at = |path: &str| format!("/api/v1/mailboxes/{id}{path}");
    assert_eq!(gate.operate("DELETE", &at("")).await.json(), json!({ "dropped": 1 }));
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"abandoned\"}").await, 1.0);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "two")).await.status(), 412);
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 404);
    assert_eq!(gate.operate("GET", &at("")).await.json()["state"], "ended");
    let dropped = gate.operate("GET", &at("/dropped?body=1")).await.json();
    assert_eq!(dropped["messages"][0]["body"], "one");
    assert_eq!(ids(&gate.operate("GET", &at("/messages")).await.json(), "messages"), [0; 0]);
    for (method, path) in [("POST", "/dropped/replay"), ("DELETE", "/messages"), ("DELETE", "")] {
        assert_eq!(gate.operate(method, &at(path)).await.status(), 409, "{method} {path}");
    }

    // Without anything dropped, nothing of it is kept.
    let other = gate.login("alan").await;
    let id = *gate.ids().await.last().unwrap();
    gate.operate("DELETE", &format!("/api/v1/mailboxes/{id}")).await;
    assert_eq!(gate.operate("GET", &format!("/api/v1/mailboxes/{id}")).await.status(), 404);
    assert_eq!(gate.poll(&other, "Prefer: wait=0\n").await.status(), 404);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let gate = Gate::start().await;
    gate.login("kari").await;
    gate.login("alan").await;
    let target = "/api/v1/mailboxes?limit=1";
    let (get, head) = (gate.operate("GET", target).await, gate.operate("HEAD", target).await);
    assert_eq!((head.status(), head.field("link")), (200, get.field("link")));
    assert!(head.number("content-length").is_some_and(|length| length > 100));
}

#[tokio::test]
async fn why_a_message_was_dropped_is_told() {
    let gate = Gate::with(|config| {
        config.polling.limits.messages = Bound::AtMost(1);
        config.polling.limits.overflow = Overflow::DropOldest;
        config.polling.limits.drop_life_time = Duration::from_secs(3600);
    })
    .await;
    let login = gate.login("kari").await;
    for words in ["one", "two"] {
        gate.deliver(&login, words).await;
    }
    let id = gate.ids().await[0];
    let dropped = gate.operate("GET", &format!("/api/v1/mailboxes/{id}/dropped")).await.json();
    assert_eq!((ids(&dropped, "messages").len(), &dropped["messages"][0]["reason"]), (1, &json!("overflow")));
}

#[tokio::test]
async fn a_poll_key_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let on_disk = |config: &mut pollgate::config::Config| {
        config.store.kind = pollgate::config::StoreKind::Disk;
        config.store.path = path.clone();
    };
    let gate = Gate::with(on_disk).await;
    let login = gate.login("kari").await;
    let id = gate.ids().await[0];
    let rotate = format!("/api/v1/mailboxes/{id}/poll-key/rotate");
    let mut held = gate.client().await;
    held.send(crate::support::poll(&login, "")).await;
    gate.held(1).await;
    let answer = gate.operate("POST", &rotate).await;
    assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
    let new = answer.json()["poll_path"].as_str().unwrap().to_owned();
    assert_ne!(new, login.poll);
    // The poll that was held by the old key is over, and has nothing of what comes now.
    assert_eq!(held.answer().await.status(), 204);
    gate.held(0).await;
    gate.deliver(&login, "hello").await;
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 404);
    let renewed = Login { poll: new, ..login.clone() };
    let upstream = gate.stop().await;
    let gate = Gate::before(upstream, on_disk);
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 404, "after a restart too");
    assert_eq!(gate.bodies(&renewed).await, ["hello"]);
    gate.stop().await;
}
