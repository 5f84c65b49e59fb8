//! Requests and callbacks held against rules; what belongs to one file is tested there.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{CallbackRefusal, Reading, Subscribe, Verdict};
use crate::http1::{Fields, HeadLimits, Headers, RequestHead, ResponseHead};
use crate::mailbox::{Refusal, Subscription};

const CLIENT: [u8; 4] = [10, 1, 2, 3];
const GATEWAY: &str = "http://10.0.0.9:8081/token";

fn place(text: &str) -> Place {
    Place::parse(text).expect(text)
}

fn pattern(method: &str, path: &str, when: &[(&str, &str)]) -> RequestPattern {
    let when =
        when.iter().map(|(at, value)| Condition { place: place(at), values: vec![(*value).to_owned()] });
    RequestPattern {
        method: method.to_owned(),
        path: PathPattern::parse(path).unwrap(),
        content_type: None,
        when: when.collect(),
    }
}

/// A server with the address in any of these places.
fn rules(callback: &[&str]) -> Rules {
    Rules {
        registration: Some(Registration {
            request: pattern("POST", "/p/*/hooks", &[]),
            callback: callback.iter().map(|at| place(at)).collect(),
            callback_optional: false,
            id: Vec::new(),
            lease: None,
        }),
        renewal: Some(Known { request: pattern("PUT", "/p/*/hooks/{id}", &[]), id: Vec::new() }),
        end: Some(Known { request: pattern("DELETE", "/p/*/hooks/{id}", &[]), id: Vec::new() }),
        answer: Answer { id: Some(place("header:X-Id")), lease: None },
        ..Rules::default()
    }
}

fn polling(callback: &[&str]) -> Rules {
    let mut rules = rules(callback);
    rules.registration.as_mut().unwrap().callback_optional = true;
    rules
}

fn head(request: &str) -> RequestHead {
    let text = format!("{}\r\n\r\n", request.trim_end().replace('\n', "\r\n"));
    RequestHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect(request).0
}

fn post(target: &str, content_type: &str, body: &str) -> RequestHead {
    let length = body.len();
    head(&format!("POST {target} HTTP/1.1\nHost: git.example\n{content_type}Content-Length: {length}\n"))
}

fn read(rules: &Rules, head: &RequestHead, body: &str) -> Reading {
    read_request(rules, head, Some(body.as_bytes()), &["git-alias.example".into()], IpAddr::from(CLIENT))
}

fn sent(rules: &Rules, head: &RequestHead, body: &str) -> String {
    String::from_utf8(with_callback(rules, head, Some(body.as_bytes()), GATEWAY).to_vec()).unwrap()
}

fn callback_of(reading: Reading) -> Option<String> {
    match reading {
        Reading::Subscribe(Subscribe { subscription, .. }) => subscription.callback.map(Into::into),
        reading => panic!("{reading:?}"),
    }
}

const JSON: &str = "Content-Type: application/json; charset=utf-8\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\n";

#[test]
fn an_address_is_found_in_any_place_and_replaced_there() {
    let everywhere = ["json:/config/url", "form:url", "query:url", "header:X-Url", "xml:/hook/url"];
    for (target, content_type, body, expected) in [
        (
            "/p/7/hooks",
            JSON,
            r#"{"config": { "url" : "http:\/\/c\/", "n": 1.50 }}"#,
            r#"{"config": { "url" : "http://10.0.0.9:8081/token", "n": 1.50 }}"#,
        ),
        (
            "/p/7/hooks",
            FORM,
            "a=%7e&url=http%3a%2F%2Fc%2F&b=+",
            "a=%7e&url=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken&b=+",
        ),
        (
            "/p/7/hooks",
            "Content-Type: text/xml\n",
            "<hook ><url>http://c/</url></hook>\n",
            "<hook ><url>http://10.0.0.9:8081/token</url></hook>\n",
        ),
        ("/p/7/hooks?a=1&url=http://c/", "", "", ""),
        ("/p/7/hooks", "X-URL: http://c/\n", "", ""),
    ] {
        let (rules, head) = (rules(&everywhere), post(target, content_type, body));
        assert!(reads_content(&rules, &head) != body.is_empty());
        assert_eq!(callback_of(read(&rules, &head, body)).as_deref(), Some("http://c/"), "{body}");
        let sent = sent(&rules, &head, body);
        let (head_lines, content) = sent.split_once("\r\n\r\n").unwrap();
        assert_eq!(content, expected);
        assert!(head_lines.ends_with(&format!("Content-Length: {}", expected.len())), "{head_lines}");
        if target.contains('?') {
            let start = "POST /p/7/hooks?a=1&url=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken HTTP/1.1\r\n";
            assert!(head_lines.starts_with(start), "{head_lines}");
        }
        if content_type.starts_with("X-URL") {
            assert!(head_lines.contains("\r\nX-URL: http://10.0.0.9:8081/token\r\n"), "{head_lines}");
        }
    }
}

#[test]
fn what_registers_nobody_passes_as_it_came() {
    let rules = rules(&["json:/url", "query:url"]);
    for (target, content_type, body) in [
        ("/p/7/hook", JSON, r#"{"url":"http://c/"}"#),
        ("/p/7/hooks", JSON, r#"{"name":"x"}"#),
        ("/p/7/hooks", JSON, r#"{"url":null}"#),
        ("/p/7/hooks", JSON, r#"{"url":"EventHub:x"}"#),
        ("/p/7/hooks", JSON, r#"{"url":"http://git.example/inside"}"#),
        ("/p/7/hooks", JSON, r#"{"url":"http://git-alias.example/inside"}"#),
        ("/p/7/hooks", FORM, "url=http://c/"),
    ] {
        let head = post(target, content_type, body);
        assert_eq!(read(&rules, &head, body), Reading::Other, "{body}");
    }
    assert!(!reads_content(&rules, &post("/elsewhere", JSON, "{}")));
    assert_eq!(read(&Rules::default(), &post("/p/7/hooks", JSON, "{}"), "{}"), Reading::Other);
}

#[test]
fn what_would_be_misread_is_refused() {
    let rules = rules(&["json:/url", "query:url"]);
    let coded = format!("{JSON}Content-Encoding: gzip\n");
    for (target, content_type, body, status) in [
        ("/p/7/hooks", JSON, r#"{"url":"http://c/""#, 400),
        ("/p/7/hooks", JSON, r#"{"url":"http://c/","url":"http://d/"}"#, 400),
        ("/p/7/hooks?url=http://c/", JSON, r#"{"url":"http://c/"}"#, 400),
        ("/p/7/hooks?url=http://c/&url=http://d/", "", "", 400),
        ("/p/7/hooks", &coded, "\u{1f}\u{8b}", 415),
    ] {
        let reading = read(&rules, &post(target, content_type, body), body);
        assert!(matches!(&reading, Reading::Invalid { status: s, .. } if *s == status), "{body} {reading:?}");
    }
}

#[test]
fn a_client_may_choose_polling_where_that_is_allowed() {
    let polling = polling(&["json:/config/url", "form:url"]);
    let (empty, room) = (post("/p/7/hooks", JSON, "{}"), post("/p/7/hooks", JSON, r#"{"config":{}}"#));
    assert_eq!(read(&polling, &empty, "{}"), Reading::Other, "there is no place for an address");
    assert_eq!(callback_of(read(&polling, &room, r#"{"config":{}}"#)), None);
    assert!(
        sent(&polling, &room, r#"{"config":{}}"#)
            .ends_with(r#"{"config":{"url":"http://10.0.0.9:8081/token"}}"#)
    );
    let form = post("/p/7/hooks", FORM, "a=1");
    assert_eq!(callback_of(read(&polling, &form, "a=1")), None);
    assert!(sent(&polling, &form, "a=1").ends_with("\r\n\r\na=1&url=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken"));
    let header = self::polling(&["header:X-Url"]);
    let head = post("/p/7/hooks", "", "");
    assert_eq!(callback_of(read(&header, &head, "")), None);
    assert!(sent(&header, &head, "").contains("\r\nX-Url: http://10.0.0.9:8081/token\r\n"));
    let query = self::polling(&["query:url"]);
    assert!(
        sent(&query, &head, "")
            .starts_with("POST /p/7/hooks?url=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken HTTP/1.1\r\n")
    );
    assert_eq!(read(&rules(&["form:url"]), &form, "a=1"), Reading::Other);
}

#[test]
fn a_body_that_was_read_goes_on_with_a_length() {
    let head = head(
        "POST /p/7/hooks HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nExpect: 100-continue\nTrailer: X\nX-A: b\n\
         Content-Type: application/json\nAccept-Encoding: gzip",
    );
    let mut rules = rules(&["json:/url"]);
    rules.answer.id = Some(place("json:/id"));
    let body = r#"{"url":"http://c/"}"#;
    assert_eq!(
        sent(&rules, &head, body),
        "POST /p/7/hooks HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Type: application/json\r\n\
         Accept-Encoding: identity\r\nContent-Length: 36\r\n\r\n{\"url\":\"http://10.0.0.9:8081/token\"}"
    );
    let untouched = head.with_content(Some(b"{}"));
    assert_eq!(
        String::from_utf8_lossy(&untouched),
        "POST /p/7/hooks HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    );
}

#[test]
fn later_requests_name_their_subscription() {
    let rules = rules(&["json:/url"]);
    let (put, delete) = ("PUT /p/7/hooks/12 HTTP/1.1\nHost: h", "DELETE /p/7/hooks/12?x HTTP/1.1\nHost: h");
    assert_eq!(read(&rules, &head(put), ""), Reading::Renew { ids: vec!["12".into()], lease: None });
    assert_eq!(read(&rules, &head(delete), ""), Reading::Unsubscribe { ids: vec!["12".into()] });
    assert_eq!(node(&rules, &head(delete)), "/p/7/hooks");
    assert_eq!(node(&rules, &post("/p/7/hooks", "", "")), "/p/7/hooks");
    let subscription =
        Subscription { node: "/p/7/hooks".into(), host: "h".into(), ..Subscription::default() };
    assert!(unsubscribe(&rules, &subscription, "12").is_some());
    assert!(unsubscribe(&rules, &subscription, "1/2").is_none());
    assert!(unsubscribe(&Rules::default(), &subscription, "12").is_none());
}

fn websub() -> Rules {
    let id = || vec![place("form:hub.topic"), place("form:hub.callback")];
    let question = |mode: &str| Challenge {
        method: "GET".into(),
        when: vec![Condition { place: place("query:hub.mode"), values: vec![mode.into()] }],
        echo: Some(place("query:hub.challenge")),
        content_type: "text/plain".into(),
        id: Some(place("query:hub.topic")),
        lease: Some(place("query:hub.lease_seconds")),
        ends: false,
        of_the_gone: false,
    };
    Rules {
        registration: Some(Registration {
            request: pattern("POST", "/**", &[("form:hub.mode", "subscribe")]),
            callback: vec![place("form:hub.callback")],
            callback_optional: false,
            id: id(),
            lease: Some(place("form:hub.lease_seconds")),
        }),
        end: Some(Known { request: pattern("POST", "/**", &[("form:hub.mode", "unsubscribe")]), id: id() }),
        challenges: vec![
            question("subscribe"),
            Challenge {
                echo: None,
                id: None,
                lease: None,
                ends: true,
                of_the_gone: true,
                ..question("denied")
            },
        ],
        ..Rules::default()
    }
}

#[test]
fn a_request_may_identify_its_subscription_itself() {
    let rest = "&hub.topic=http://t/&hub.callback=http%3A%2F%2Fc%2F&hub.lease_seconds=600";
    let body = format!("hub.mode=subscribe{rest}");
    let Reading::Subscribe(subscribe) = read(&websub(), &post("/hub", FORM, &body), &body) else { panic!() };
    assert_eq!(subscribe.renews.as_deref(), Some("http://t/ http://c/"));
    assert_eq!(subscribe.lease, Some(Duration::from_secs(600)));
    let body = format!("hub.mode=unsubscribe{rest}");
    let head = post("/hub", FORM, &body);
    assert_eq!(
        read(&websub(), &head, &body),
        Reading::Unsubscribe { ids: vec!["http://t/ http://c/".into()] }
    );
    assert!(sent(&websub(), &head, &body).contains("&hub.callback=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken&"));
    assert!(unsubscribe(&websub(), &Subscription::default(), "x").is_none(), "only its client can ask that");
    let publish = "hub.mode=publish&hub.url=http://t/";
    assert_eq!(read(&websub(), &post("/hub", FORM, publish), publish), Reading::Other);
}

#[test]
fn a_server_that_asks_first_is_answered() {
    let ask = |target: &str| {
        challenge(&websub(), &head(&format!("GET {target} HTTP/1.1\nHost: h")), b"").map(|handshake| {
            (handshake.answer.body.clone(), handshake.lease, handshake.is_about(Some("http://t/ http://c/")))
        })
    };
    let target = "/t?hub.mode=subscribe&hub.challenge=a%2Bb&hub.lease_seconds=60&hub.topic=http://t/";
    assert_eq!(ask(target), Some(("a+b".into(), Some(Duration::from_secs(60)), true)));
    assert_eq!(ask(&format!("{target}x")).map(|(.., about)| about), Some(false));
    assert_eq!(ask("/t?hub.mode=subscribe&hub.challenge=a").map(|(.., about)| about), Some(false));
    assert_eq!(ask("/t?hub.mode=subscribe&hub.topic=x"), None, "there is nothing to echo");
    assert_eq!(ask("/t?hub.mode=other&hub.challenge=a"), None);
    let denied = challenge(&websub(), &head("GET /t?hub.mode=denied HTTP/1.1\nHost: h"), b"").unwrap();
    assert!(denied.ends && denied.of_the_gone && denied.answer.body.is_empty());

    // As Slack has it: a field of a JSON body is echoed.
    let mut slack = Rules::default();
    let json_type = Condition { place: place("json:/type"), values: vec!["url_verification".into()] };
    slack.challenges = vec![Challenge {
        method: "POST".into(),
        when: vec![json_type],
        echo: Some(place("json:/challenge")),
        id: None,
        lease: None,
        ..websub().challenges.remove(0)
    }];
    let post = post("/t", JSON, "");
    let answer = |body: &str| challenge(&slack, &post, body.as_bytes()).map(|h| h.answer.body);
    assert_eq!(answer(r#"{"type":"url_verification","challenge":"3eZ"}"#), Some("3eZ".into()));
    assert_eq!(answer(r#"{"type":"event_callback","challenge":"3eZ"}"#), None);
    assert_eq!(answer("not JSON"), None);
}

fn fields(text: &str) -> Fields {
    let head = format!("HTTP/1.1 200 OK\n{text}\n\n");
    ResponseHead::parse(head.as_bytes(), HeadLimits::default()).unwrap().unwrap().0.fields
}

#[test]
fn an_answer_may_say_the_id_and_the_lease_anywhere() {
    let mut rules = Rules::default();
    let json = fields("content-type: application/json\ndate: Thu, 26 Nov 2026 02:00:00 GMT");
    let body = br#"{"id": 17, "expires":"2026-11-26T03:00:00.5Z"}"#;
    rules.answer = Answer { id: Some(place("json:/id")), lease: Some(place("json:/expires")) };
    rules.lease.unit = Unit::Time;
    assert_eq!(read_grant(&rules, &json), crate::dialect::Grant::default());
    let grant = read_content(&rules, &json, body);
    assert_eq!(grant.subscription_id.as_deref(), Some("17"));
    assert_eq!(grant.lease, Some(Duration::from_millis(3_600_500)));
    assert_eq!(read_content(&rules, &fields("content-type: application/json"), body).lease, None);
    assert_eq!(read_content(&rules, &json, b"{").subscription_id, None);
    rules.answer = Answer { id: Some(place("location")), lease: Some(place("header:X-Lease")) };
    rules.lease.unit = Unit::Minutes;
    let moved = fields("location: https://h/subscriptions/a-b/?x=1\nx-lease: 5");
    let grant = read_grant(&rules, &moved);
    assert_eq!(
        (grant.subscription_id.as_deref(), grant.lease),
        (Some("a-b"), Some(Duration::from_secs(300)))
    );
    for (text, lease) in [("0", None), ("-1", None), ("x", None), ("99999999999999", Some(LONGEST_LEASE))] {
        assert_eq!(Unit::Seconds.read(text, None), lease, "{text}");
    }
}

#[test]
fn callbacks_are_answered_as_the_rules_have_it_and_the_end_is_410() {
    let mut rules = Rules::default();
    assert_eq!(word(&rules, Verdict::Accepted).status, 200);
    rules.callback.status = 202;
    rules.callback.body = "taken".into();
    let answer = word(&rules, Verdict::Accepted);
    assert_eq!((answer.status, answer.body.as_ref()), (202, b"taken".as_slice()));
    for refusal in CallbackRefusal::ALL {
        let over = matches!(refusal, CallbackRefusal::Unknown | CallbackRefusal::Ambiguous);
        assert_eq!(word(&rules, Verdict::Refused(refusal)).status == 410, over, "{refusal:?}");
    }
    assert_eq!(word(&rules, Verdict::Refused(Refusal::Full.into())).status, 503);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\/~]{0,4}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What is replaced is the value, and every other byte is as it was.
    #[test]
    fn a_replaced_value_leaves_the_rest_of_a_json_body_as_it_was(
        before in any_json(), inside in any_json(), behind in any_json(), pretty in any::<bool>(),
    ) {
        let whole = json!({ "a": before, "config": { "n": inside, "url": "http://c/\"x\"" }, "z": [behind] });
        let text = match pretty {
            true => serde_json::to_string_pretty(&whole).unwrap(),
            false => whole.to_string(),
        };
        let rules = rules(&["json:/config/url"]);
        let head = post("/p/7/hooks", JSON, &text);
        let sent = sent(&rules, &head, &text);
        let content = sent.split_once("\r\n\r\n").unwrap().1;
        let old = r#""http://c/\"x\"""#;
        // The value may stand elsewhere too, by chance; the one that was replaced is the one at the pointer.
        let mut expected = whole.clone();
        expected["config"]["url"] = GATEWAY.into();
        prop_assert_eq!(serde_json::from_str::<Value>(content).unwrap(), expected);
        prop_assert_eq!(content.len() + old.len(), text.len() + GATEWAY.len() + 2);
        let at = content.find(GATEWAY).unwrap() - 1;
        prop_assert_eq!(&content[..at], &text[..at]);
        prop_assert_eq!(&content[at + GATEWAY.len() + 2..], &text[at + old.len()..]);
    }

    #[test]
    fn a_replaced_value_leaves_the_rest_of_a_form_as_it_was(before in "[a-z=%+]{0,20}", behind in "[b-z=%+&]{0,20}") {
        let text = format!("{before}&url=http%3A%2F%2Fc%2F&{behind}");
        let rules = rules(&["form:url"]);
        let head = post("/p/7/hooks", FORM, &text);
        prop_assume!(matches!(read(&rules, &head, &text), Reading::Subscribe(_)));
        let sent = sent(&rules, &head, &text);
        let expected = format!("{before}&url=http%3A%2F%2F10.0.0.9%3A8081%2Ftoken&{behind}");
        prop_assert_eq!(sent.split_once("\r\n\r\n").unwrap().1, expected);
    }

    /// Whatever comes: nothing panics, and what is no registration keeps its bytes.
    #[test]
    fn no_body_is_too_strange(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4_usize) {
        let kinds = [JSON, FORM, "Content-Type: text/xml\n", ""];
        let rules = rules(&["json:/a/0", "form:a", "xml:/a/b"]);
        let head = post("/p/7/hooks", kinds[kind], "x");
        let reading = read_request(&rules, &head, Some(&body), &[], IpAddr::from(CLIENT));
        if reading == Reading::Other {
            prop_assert!(head.with_content(Some(&body)).ends_with(&body));
        }
        let _ = challenge(&websub(), &head, &body);
        prop_assert!(head.fields.contains("host"));
    }
}
