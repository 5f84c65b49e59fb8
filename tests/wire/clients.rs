//! DESIGN §4.4: what users set for themselves, and what it means for who signs in.

use pollgate::config::{ClientPolicy, StoreKind};
use pollgate::mailbox::PollingPeriod;
use serde_json::{Value, json};

use crate::support::Gate;

const KARI: &str = "/api/v1/clients/http%3A%2F%2Fim.example%2Finstmsg%2Faliases%2Fkari/connection";

fn minutes(minutes: u64) -> PollingPeriod {
    PollingPeriod::from_minutes(minutes).unwrap()
}

async fn set(gate: &Gate, target: &str, content: &Value) -> Value {
    let answer = gate.tell("PUT", target, &content.to_string()).await;
    assert_eq!(answer.status(), 200, "{}", answer.raw_text());
    answer.json()
}

/// How the newest mailbox's client is told.
async fn mode(gate: &Gate) -> String {
    let newest = *gate.ids().await.last().unwrap();
    let mailbox = gate.operate("GET", &format!("/api/v1/mailboxes/{newest}")).await.json();
    mailbox["mode"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_set_is_shown_until_it_is_unset() {
    let gate = Gate::start().await;
    assert_eq!(gate.operate("GET", KARI).await.status(), 404);
    let content = json!({"mode": "fixed-ports", "polling_period_minutes": 3, "ports": "1050-1060"});
    let answered = set(&gate, KARI, &content).await;
    assert_eq!(answered["effective"], "takes effect at the next sign-in");
    let other = "/api/v1/clients/IM.EXAMPLE%2Finstmsg%2Faliases%2FKari%2F/connection";
    for target in [KARI, other] {
        let shown = gate.operate("GET", target).await.json();
        assert_eq!(shown, answered);
        for (member, expected) in [
            ("principal", json!("http://im.example/instmsg/aliases/kari")),
            ("mode", json!("fixed-ports")),
            ("polling_period_minutes", json!(3)),
            ("ports", json!("1050-1060")),
            ("set_by", json!("user")),
            ("warnings", json!([])),
            ("later_policies", json!([])),
        ] {
            assert_eq!(shown[member], expected, "{member}");
        }
    }
    // In the place of all of it.
    let shown = set(&gate, other, &json!({"mode": "polling"})).await;
    assert_eq!((&shown["polling_period_minutes"], shown.get("ports")), (&json!(10), None));
    let list = gate.operate("GET", "/api/v1/clients").await.json();
    assert_eq!(list["clients"].as_array().unwrap().len(), 1);
    assert_eq!(gate.operate("DELETE", KARI).await.status(), 200);
    assert_eq!(gate.operate("DELETE", KARI).await.status(), 404);
    assert_eq!(gate.operate("GET", KARI).await.status(), 404);
}

#[tokio::test]
async fn the_white_papers_bounds_hold_for_users_too() {
    let gate = Gate::start().await;
    for (content, status, says) in [
        (r#"{"mode":"polling","polling_period_minutes":1}"#, 200, ""),
        (r#"{"mode":"polling","polling_period_minutes":15}"#, 200, ""),
        (r#"{"mode":"polling","polling_period_minutes":0}"#, 422, "enter a value between 1 and 15 minutes"),
        (r#"{"mode":"polling","polling_period_minutes":16}"#, 422, "enter a value between 1 and 15 minutes"),
        (r#"{"mode":"polling","polling_period_minutes":"5"}"#, 422, "invalid type"),
        (r#"{"mode":"fixed-ports","ports":"1025-65535"}"#, 200, ""),
        (
            r#"{"mode":"fixed-ports","ports":"80-2000"}"#,
            200,
            "random port selection takes the place of 80-2000",
        ),
        (r#"{"mode":"fixed-ports","ports":"65536"}"#, 422, "ports: enter a value in the permissible range"),
        (r#"{"mode":"fixed-ports","ports":"1060-1050"}"#, 422, "first port is not larger than its last"),
        (r#"{"mode":"fixed-ports","ports":"many"}"#, 422, "ports: must be one port or a range"),
        (r#"{"mode":"fixed-ports","ports":null}"#, 422, "fixed-ports needs ports"),
        (r#"{"mode":"loud"}"#, 422, "mode: must be one of default, polling, fixed-ports"),
        (r#"{"ports":"1050"}"#, 422, "missing field `mode`"),
        (r#"{"mode":"polling","colour":"red"}"#, 422, "unknown field `colour`"),
        (r#"{"mode":"polling","mode":"default"}"#, 422, "duplicate field"),
        ("[]", 422, "invalid"),
        ("{", 422, "EOF"),
    ] {
        let answer = gate.tell("PUT", KARI, content).await;
        assert_eq!(answer.status(), status, "{content}: {}", answer.raw_text());
        assert!(answer.body_text().contains(says), "{content}: {}", answer.raw_text());
    }
    // What was refused changed nothing.
    assert_eq!(gate.operate("GET", KARI).await.json()["ports"], "80-2000");
}

#[tokio::test]
async fn only_json_of_a_sensible_size_is_read() {
    let gate = Gate::start().await;
    let content = r#"{"mode":"polling"}"#;
    for (fields, status) in [
        ("", 415),
        ("Content-Type: text/plain\n", 415),
        ("Content-Type: application/jsonx\n", 415),
        ("Content-Type: Application/JSON; charset=utf-8\n", 200),
        ("Content-Type: application/json\nOrigin: http://evil.example\n", 403),
    ] {
        assert_eq!(gate.tell_with("PUT", KARI, fields, content).await.status(), status, "{fields}");
    }
    let padded = |length: usize| format!("{content}{}", " ".repeat(length - content.len()));
    for (length, status) in [(4096, 200), (4097, 413)] {
        assert_eq!(gate.tell("PUT", KARI, &padded(length)).await.status(), status);
    }
    for target in ["/api/v1/clients/kari/connection", "/api/v1/clients//connection"] {
        assert_eq!(gate.tell("PUT", target, content).await.status(), 400, "{target}");
    }
}

#[tokio::test]
async fn a_setting_counts_from_the_next_sign_in_on() {
    let gate = Gate::start().await;
    let before = gate.login("kari").await;
    set(&gate, KARI, &json!({"mode": "polling", "polling_period_minutes": 2})).await;
    assert_eq!(gate.poll(&before, "Prefer: wait=0\n").await.number("poll-interval"), Some(600));
    let after = gate.login("kari").await;
    assert_eq!(gate.poll(&after, "Prefer: wait=0\n").await.number("poll-interval"), Some(120));
    let alan = gate.login("alan").await;
    assert_eq!(gate.poll(&alan, "Prefer: wait=0\n").await.number("poll-interval"), Some(600));
    set(&gate, KARI, &json!({"mode": "default"})).await;
    gate.login("kari").await;
    assert_eq!(mode(&gate).await, "default");
    gate.operate("DELETE", KARI).await;
    gate.login("kari").await;
    assert_eq!(mode(&gate).await, "polling");
}

#[tokio::test]
async fn a_policy_that_is_followed_while_the_gateway_runs_is_written_then() {
    let gate = Gate::start().await;
    let interval = async || {
        let login = gate.login("kari").await;
        gate.poll(&login, "Prefer: wait=0\n").await.number("poll-interval").unwrap() / 60
    };
    set(&gate, KARI, &json!({"mode": "polling", "polling_period_minutes": 2})).await;
    gate.follow(|config| config.polling.limits.coalesce = false);
    assert_eq!(interval().await, 2, "that was no policy");
    gate.follow(|config| config.delivery.polling_period = minutes(7));
    gate.follow(|config| config.delivery.polling_period = minutes(10));
    assert_eq!(interval().await, 10, "it went away and came back, and nobody looked meanwhile");
    set(&gate, KARI, &json!({"mode": "polling", "polling_period_minutes": 3})).await;
    assert_eq!(interval().await, 3);
}

#[tokio::test]
async fn of_a_setting_and_a_policy_the_last_one_written_counts() {
    let state = tempfile::tempdir().unwrap();
    let policy = |period| ClientPolicy {
        source: vec!["127.0.0.0/8".parse().unwrap()],
        polling_period: Some(minutes(period)),
        ..ClientPolicy::default()
    };
    let start = async |period| {
        let path = state.path().to_owned();
        Gate::with(move |config| {
            config.client_policy = vec![policy(period)];
            config.store.kind = StoreKind::Disk;
            config.store.path = path;
        })
        .await
    };
    let interval = async |gate: &Gate| {
        let login = gate.login("kari").await;
        gate.poll(&login, "Prefer: wait=0\n").await.number("poll-interval").unwrap() / 60
    };
    let gate = start(5).await;
    assert_eq!(interval(&gate).await, 5);
    set(&gate, KARI, &json!({"mode": "polling", "polling_period_minutes": 2})).await;
    assert_eq!(interval(&gate).await, 2);
    // A restart is no write, and neither is a policy that is as it was.
    gate.stop().await;
    let gate = start(5).await;
    assert_eq!(interval(&gate).await, 2);
    gate.stop().await;
    let gate = start(7).await;
    assert_eq!(interval(&gate).await, 7);
    let shown = gate.operate("GET", KARI).await.json();
    assert_eq!(shown["later_policies"], json!(["client_policy[0]"]));
    gate.stop().await;
    let gate = start(7).await;
    assert_eq!(interval(&gate).await, 7);
    set(&gate, KARI, &json!({"mode": "polling", "polling_period_minutes": 3})).await;
    assert_eq!(interval(&gate).await, 3);
    gate.stop().await;
}
