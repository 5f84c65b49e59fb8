//! The API's document: everything that it says there is, is there; and every answer is as it says.

use std::collections::BTreeSet;

use pollgate::mailbox::{Bound, DeliveryMode, DropReason};
use pollgate::store::MailboxState;

use crate::support::{Document, Gate};

#[tokio::test]
async fn it_is_served_as_it_is() {
    let gate = Gate::start().await;
    let answer = gate.operate("GET", "/api/v1/openapi.json").await;
    assert_eq!(&answer.json(), Document::served().value());
}

/// What `{id}` stands for; who is asked for by name has the number as a name.
fn target(path: &str, id: u64) -> String {
    path.replace("{id}", &id.to_string()).replace("{principal}", &format!("h%2F{id}"))
}

#[tokio::test]
async fn every_documented_answer_is_given() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "s3cret").unwrap();
    let token = pollgate::config::Token::read(token.path()).unwrap();
    let locked = Gate::with(|config| config.admin.token = Some(token)).await;
    let gate = Gate::with(|config| {
        config.polling.limits.messages = Bound::AtMost(2);
        config.store.max_clients = 1;
    })
    .await;
    let live = gate.login("kari").await;
    gate.deliver(&live, "one").await;
    let ended = gate.login("alan").await;
    gate.deliver(&ended, "two").await;
    let [kari, alan] = gate.ids().await[..] else { panic!("two mailboxes") };
    gate.operate("DELETE", &format!("/api/v1/mailboxes/{alan}")).await;

    let document = Document::served();
    let mut given = BTreeSet::new();
    let mut documented = BTreeSet::new();
    // What is set is looked at after that; those that end a mailbox come last.
    let mut operations = document.operations();
    operations.sort_by_key(|(path, method)| {
        let is_last = method == "DELETE" && (path.ends_with("{id}") || path.ends_with("connection"));
        (is_last, method != "PUT")
    });
    for (path, method) in operations {
        for status in document.statuses(&path, &method) {
            documented.insert((path.clone(), method.clone(), status));
        }
        let mut answered = |status: u16| _ = given.insert((path.clone(), method.clone(), status));
        answered(locked.operate(&method, &target(&path, kari)).await.status());
        answered(gate.operate_with(&method, &target(&path, kari), "Host: evil.example\n").await.status());
        let odd = gate.operate(&method, &format!("{}?nonsense=1", target(&path, kari))).await;
        let problem: serde_json::Value = serde_json::from_slice(&odd.body).unwrap();
        assert_eq!(problem["parameter"], "nonsense");
        answered(odd.status());
        for id in [kari, alan, 999_999] {
            answered(gate.operate(&method, &target(&path, id)).await.status());
        }
        if method == "PUT" {
            let large = format!("{{{}}}", " ".repeat(5000));
            for content in [r#"{"mode":"polling"}"#, r#"{"mode":"loud"}"#, &large] {
                answered(gate.tell("PUT", &target(&path, kari), content).await.status());
            }
            answered(gate.tell("PUT", &target(&path, alan), r#"{"mode":"polling"}"#).await.status());
        }
    }
    // A store in memory is always available.
    documented.retain(|(_, _, status)| *status != 503);
    assert_eq!(given, documented);
}

#[tokio::test]
async fn every_other_method_is_refused_with_those_that_are_allowed() {
    let gate = Gate::start().await;
    let operations = Document::served().operations();
    let paths: BTreeSet<&String> = operations.iter().map(|(path, _)| path).collect();
    for path in paths {
        let mut allowed: BTreeSet<&str> =
            operations.iter().filter(|(other, _)| other == path).map(|(_, method)| method.as_str()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if !allowed.contains(method) {
                let answer = gate.operate(method, &target(path, 7)).await;
                let field = answer.field("allow").expect("Allow");
                assert_eq!((answer.status(), field.split(", ").collect()), (405, allowed.clone()), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_documented_is_not_there() {
    let gate = Gate::start().await;
    for path in ["/api/", "/api/v1", "/api/v1/mailboxes/7/", "/api/v1/mailbox", "/api/v2/mailboxes"] {
        assert_eq!(gate.operate("GET", path).await.status(), 404, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(members) => {
                references.extend(members.get("$ref").map(|to| to.as_str().unwrap().to_owned()));
                members.values().for_each(|member| walk(member, references));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, references)),
            _ => {}
        }
    }
    let document = Document::served().value();
    let mut references = Vec::new();
    walk(document, &mut references);
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[test]
fn its_words_are_the_gateways() {
    let schemas = &Document::served().value()["components"]["schemas"];
    let states = MailboxState::ALL.map(MailboxState::name);
    let modes = DeliveryMode::ALL.map(DeliveryMode::as_str);
    assert_eq!(schemas["Mode"]["enum"], serde_json::json!(modes));
    assert_eq!(schemas["State"]["enum"], serde_json::json!(states));
    let reasons = DropReason::ALL.map(DropReason::name);
    assert_eq!(schemas["DroppedMessage"]["properties"]["reason"]["enum"], serde_json::json!(reasons));
}
