//! Webhooks, told by rules: those that come with it, against servers that act as they are documented to.
//!
//! - WebSub: W3C Recommendation of 23 January 2018, <https://www.w3.org/TR/websub/>.
//! - GitLab: <https://docs.gitlab.com/api/project_webhooks/>.
//! - Gitea: its API's document (`/api/swagger`), "repository".
//! - Handshakes: <https://docs.slack.dev/reference/events/url_verification/>, and "notificationUrl validation" of
//!   Microsoft Graph.

use std::path::Path;
use std::time::Duration;

use pollgate::agent::{Agent, Polling, Reach, Settings, StateFile};
use pollgate::config::{self, Config, Overrides};
use pollgate::http1::accept;
use pollgate::mailbox::{DeliveryMode, MailboxId};

use crate::support::{Gate, Login, Message, Step, Upstream, answer, bodies, chunks, exchange, parts, text};

const CLIENT: &str = "http://10.1.2.3:5000/hook";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The upstream has the rules in this file.
fn obeys(config: &mut Config, file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pollgate.toml");
    let set = format!("[upstream]\ndialect = 'webhook'\nwebhook = '{}'\n", file.display());
    std::fs::write(&path, set).unwrap();
    let upstream =
        config::load(Some(&path), [], &Overrides::default()).expect("valid rules").upstreams.remove(0);
    config.upstreams[0].dialect = upstream.dialect;
    config.upstreams[0].webhook = upstream.webhook;
    config.upstreams[0].rules = upstream.rules;
}

/// The upstream is one of those that are known.
fn is(config: &mut Config, name: &str) {
    let file = format!("{}/conf/dialects/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    obeys(config, Path::new(&file));
}

/// The upstream has these rules.
fn has(config: &mut Config, rules: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, rules).unwrap();
    obeys(config, &file);
}

fn request(method: &str, target: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let fields = format!("Content-Type: {content_type}\nContent-Length: {length}");
    text(&format!("{method} {target} HTTP/1.1\nHost: hub.example\n{fields}"), body)
}

fn get(target: &str) -> Vec<u8> {
    text(&format!("GET {target} HTTP/1.1\nHost: gateway"), "")
}

/// Registers, and returns where to poll and the path that the upstream was told, which is found in its latest request.
async fn register(gate: &Gate, request: Vec<u8>, status: u16) -> Login {
    let granted = gate.ask(request).await;
    assert_eq!(granted.status(), status, "{}", granted.raw_text());
    Login { poll: poll_path(&granted), token: told(gate), id: String::new() }
}

fn poll_path(granted: &Message) -> String {
    let location = granted.field("content-location").expect("a place to poll");
    location.strip_prefix("http://hub.example").expect("a place on the gateway").to_owned()
}

/// The path of the gateway's address in the latest request of the upstream, however that is written.
fn told(gate: &Gate) -> String {
    let sent = gate.upstream.last().raw_text().replace("%3A", ":").replace("%2F", "/");
    let (_, rest) = sent.split_once(&format!("http://{}", gate.callback)).expect("an address of the gateway");
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "/-_".contains(*c)).collect()
}

async fn lease(gate: &Gate) -> Duration {
    let id = *gate.ids().await.first().expect("a mailbox");
    let report = gate.gateway().store.report(MailboxId(id)).unwrap();
    Duration::from_millis(report.lease_ends.as_millis() - report.created.as_millis())
}

fn about(lease: Duration, seconds: u64) -> bool {
    (seconds..seconds + 60).contains(&lease.as_secs())
}

fn hub(mode: &str, rest: &str) -> Vec<u8> {
    let body = format!(
        "hub.callback=http%3A%2F%2F10.1.2.3%3A5000%2Fhook&hub.mode={mode}&hub.topic=http://t.example/feed{rest}"
    );
    request("POST", "/", FORM, &body)
}

#[tokio::test]
async fn a_hub_is_answered_while_its_subscriber_is_away() {
    let gate = Gate::with(|config| is(config, "websub")).await;
    gate.upstream.script(|_| answer("HTTP/1.1 202 Accepted", ""));
    let login = register(&gate, hub("subscribe", "&hub.lease_seconds=3600&hub.secret=s%3d"), 202).await;
    let sent = gate.upstream.last();
    let address = format!("http://{}{}", gate.callback, login.token).replace(':', "%3A").replace('/', "%2F");
    assert_eq!(
        sent.body_text(),
        format!(
            "hub.callback={address}&hub.mode=subscribe&hub.topic=http://t.example/feed&hub.lease_seconds=3600&hub.secret=s%3d"
        )
    );
    assert_eq!(sent.number("content-length"), Some(sent.body.len() as u64));
    assert!(about(lease(&gate).await, 3600));

    // §5.3: the hub verifies the intent, and says how long the lease really is.
    let question = |mode: &str, topic: &str| {
        let rest = "hub.lease_seconds=7200&hub.challenge=x%26y";
        get(&format!("{}?hub.mode={mode}&hub.topic={topic}&{rest}", login.token))
    };
    let verified = gate.call_back(question("subscribe", "http%3A%2F%2Ft.example%2Ffeed")).await;
    assert_eq!((verified.status(), verified.body_text().as_str()), (200, "x&y"));
    assert!(about(lease(&gate).await, 7200));
    assert_eq!(gate.call_back(question("subscribe", "http://t.example/other")).await.status(), 410);

    // §7: content, with a signature over every byte of it.
    let fields = "X-Hub-Signature: sha256=00\nLink: <http://t.example/feed>; rel=self\nContent-Length: 7\nContent-Type: application/atom+xml";
    let content = text(&format!("POST {} HTTP/1.1\nHost: gateway\n{fields}", login.token), "<feed/>");
    assert_eq!(gate.call_back(&content).await.status(), 204);
    let polled = gate.poll(&login, "Prefer: wait=0\n").await;
    let message = &parts(&polled)[0].request;
    assert_eq!(message.start_line(), format!("POST {CLIENT} HTTP/1.1"));
    assert_eq!(
        (message.field("x-hub-signature").as_deref(), message.body_text().as_str()),
        (Some("sha256=00"), "<feed/>")
    );

    // A renewal keeps the mailbox, and is a renewal to the hub.
    let again = gate.ask(hub("subscribe", "&hub.lease_seconds=600")).await;
    assert_eq!(
        (again.status(), poll_path(&again), told(&gate)),
        (202, login.poll.clone(), login.token.clone())
    );
    gate.mailboxes(1).await;

    let ended = gate.ask(hub("unsubscribe", "")).await;
    assert_eq!((ended.status(), told(&gate)), (202, login.token.clone()));
    gate.mailboxes(0).await;
    let verified = gate.call_back(question("unsubscribe", "http://t.example/feed")).await;
    assert_eq!((verified.status(), verified.body_text().as_str()), (200, "x&y"));
    assert_eq!(gate.call_back(question("subscribe", "http://t.example/feed")).await.status(), 410);
    assert_eq!(gate.call_back(&content).await.status(), 410, "the hub drops the subscription");
}

/// Topic and callback are no secrets: whoever knows them and comes from elsewhere ends nothing, and is told no key.
#[tokio::test]
async fn a_stranger_who_knows_topic_and_callback_ends_no_subscription() {
    let gate = Gate::with(|config| is(config, "websub")).await;
    gate.upstream.script(|_| answer("HTTP/1.1 202 Accepted", ""));
    let login = register(&gate, hub("subscribe", "&hub.lease_seconds=3600"), 202).await;
    for mode in ["unsubscribe", "subscribe"] {
        let mut stranger = crate::support::Socket::connect_from("127.0.0.2", gate.public).await;
        stranger.send(hub(mode, "")).await;
        let answer = stranger.answer().await;
        assert_eq!(answer.status(), 202);
        assert!(!answer.raw_text().contains(login.poll.trim_start_matches("/.pollgate/")), "{mode}");
    }
    let content =
        format!("POST {} HTTP/1.1\nHost: gateway\nContent-Length: 7\nContent-Type: text/plain", login.token);
    assert_eq!(gate.call_back(text(&content, "<feed/>")).await.status(), 204);
    assert_eq!(parts(&gate.poll(&login, "Prefer: wait=0\n").await).len(), 1);
}

#[tokio::test]
async fn a_hub_may_ask_before_it_answers_and_may_deny() {
    let mut upstream = Upstream::by_hand().await;
    let gate = Gate::with(|config| {
        is(config, "websub");
        config.upstreams[0].address = upstream.address();
    })
    .await;
    let mut client = gate.client().await;
    client.send(hub("subscribe", "")).await;
    let mut server = upstream.accept().await;
    let sent = server.request().await.expect("a subscription").body_text();
    let token =
        sent.split('&').next().and_then(|pair| pair.rsplit_once("%2F")).expect("a token").1.to_owned();
    let rest = "hub.topic=http://t.example/feed&hub.challenge=c";
    let verified = gate.call_back(get(&format!("/{token}?hub.mode=subscribe&{rest}"))).await;
    assert_eq!((verified.status(), verified.body_text().as_str()), (200, "c"));
    server.send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 202);
    gate.mailboxes(1).await;
    let denied = gate.call_back(get(&format!("/{token}?hub.mode=denied&hub.topic=x&hub.reason=y"))).await;
    assert_eq!(denied.status(), 200);
    gate.mailboxes(0).await;
    assert_eq!(gate.call_back(get(&format!("/{token}?hub.mode=other"))).await.status(), 405);
}

/// Creates webhooks with ids from 17 on, and forgets them.
fn git_server(upstream: &Upstream) {
    upstream.script(|request| match request.method().as_str() {
        "POST" => {
            let body = r#"{"project_id":5,"id":17,"url":"http://a.example/"}"#;
            answer("HTTP/1.1 201 Created\nContent-Type: application/json; charset=utf-8", body)
        }
        "DELETE" => answer("HTTP/1.1 204 No Content", "").into_iter().take(1).collect(),
        _ => answer("HTTP/1.1 200 OK\nContent-Type: application/json", r#"{"id":17}"#),
    });
}

fn event(login: &Login, body: &str) -> Vec<u8> {
    let fields = format!("X-Gitlab-Event: Push Hook\nContent-Type: {JSON}\nContent-Length: {}", body.len());
    text(&format!("POST {} HTTP/1.1\nHost: gateway\n{fields}", login.token), body)
}

#[tokio::test]
async fn a_webhook_of_gitlab_is_registered_changed_and_ended() {
    let gate = Gate::with(|config| is(config, "gitlab")).await;
    git_server(&gate.upstream);
    let hooks = "/api/v4/projects/5/hooks";
    let json = format!(r#"{{ "push_events":true, "url": "{CLIENT}", "token":"\u0041" }}"#);
    let form = "url=http://10.1.2.3:5000/hook&push_events=true";
    for (request, sent) in [
        (request("POST", hooks, JSON, &json), json.replace(CLIENT, "{}")),
        (request("POST", hooks, FORM, form), "url={}&push_events=true".into()),
        (request("POST", &format!("{hooks}?{form}"), FORM, ""), String::new()),
    ] {
        let login = register(&gate, request, 201).await;
        let address = format!("http://{}{}", gate.callback, login.token);
        let written =
            match sent.starts_with('{') && sent.ends_with('}') && sent.len() > 2 && sent.contains('"') {
                true => address,
                false => address.replace(':', "%3A").replace('/', "%2F"),
            };
        let last = gate.upstream.last();
        assert_eq!(last.body_text(), sent.replace("{}", &written));
        assert_eq!(last.field("accept-encoding").as_deref(), Some("identity"));
        assert_eq!(gate.call_back(event(&login, "{\"ref\":1}")).await.status(), 200);
        assert_eq!(bodies(&gate.poll(&login, "Prefer: wait=0\n").await), ["{\"ref\":1}"]);
        assert!(about(lease(&gate).await, 365 * 24 * 3600));

        // PUT has the address in it, and the project may have its name.
        let change = format!(r#"{{"url":"{CLIENT}","push_events":false}}"#);
        let changed = gate.ask(self::request("PUT", &format!("{hooks}/17"), JSON, &change)).await;
        assert_eq!((changed.status(), told(&gate)), (200, login.token.clone()));
        let end = get("/api/v4/projects/g%2Fp/hooks/17");
        let end = String::from_utf8(end).unwrap().replace("GET", "DELETE");
        assert_eq!(gate.ask(end).await.status(), 204);
        gate.mailboxes(0).await;
        assert_eq!(gate.call_back(event(&login, "{}")).await.status(), 410);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_unregistered_by_the_rules() {
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    let gate = Gate::with(|config| {
        is(config, "gitea");
        config.delivery.mode = DeliveryMode::Default;
        config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    git_server(&gate.upstream);
    let hooks = "/api/v1/repos/o/r/hooks";
    let body = format!(
        r#"{{"type":"gitea","config":{{"content_type":"json","url":"http://{}/hook?x=1"}},"events":["push"],"active":true}}"#,
        client.address
    );
    let login = register(&gate, request("POST", hooks, JSON, &body), 201).await;
    let address = format!("http://{}{}", gate.callback, login.token);
    let sent = body.replace(&format!("http://{}/hook?x=1", client.address), &address);
    assert_eq!(gate.upstream.last().body_text(), sent);
    assert_eq!(gate.call_back(event(&login, "{}")).await.status(), 200);
    gate.upstream.saw(2).await;
    assert_eq!(gate.upstream.last().start_line(), format!("DELETE {hooks}/17 HTTP/1.1"));
    assert_eq!(client.last().start_line(), "POST /hook?x=1 HTTP/1.1");
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_registration_is_read_whole_or_not_at_all() {
    let gate = Gate::with(|config| is(config, "gitea")).await;
    git_server(&gate.upstream);
    let hooks = "/api/v1/repos/o/r/hooks";
    let body = format!(r#"{{"config":{{"url":"{CLIENT}"}}}}"#);
    let head =
        format!("POST {hooks} HTTP/1.1\nHost: hub.example\nContent-Type: {JSON}\nTransfer-Encoding: chunked");
    register(&gate, text(&head, &chunks(&body)), 201).await;
    let last = gate.upstream.last();
    assert_eq!(
        (last.all("transfer-encoding").len(), last.number("content-length")),
        (0, Some(last.body.len() as u64))
    );

    let large = format!(r#"{{"config":{{"url":"{CLIENT}"}},"x":"{}"}}"#, "x".repeat(256 * 1024));
    assert_eq!(gate.ask(request("POST", hooks, JSON, &large)).await.status(), 413);
    assert_eq!(gate.ask(text(&head, &chunks(&large))).await.status(), 413);
    assert_eq!(gate.ask(request("POST", hooks, JSON, &body[1..])).await.status(), 400);
    let coded = format!("{JSON}\nContent-Encoding: gzip");
    assert_eq!(gate.ask(request("POST", hooks, &coded, "x")).await.status(), 415);
    gate.mailboxes(1).await;
    assert_eq!(gate.upstream.seen().len(), 1);

    // Nothing of ours: it passes, and the connection goes on.
    let mut client = gate.client().await;
    for other in ["{\"config\":{}}", "{\"config\":{\"url\":\"http://hub.example/inside\"}}"] {
        client.send(request("POST", hooks, JSON, other)).await;
        let passed = client.answer().await;
        assert_eq!((passed.status(), passed.field("content-location")), (201, None));
        assert_eq!(gate.upstream.last().body_text(), other);
    }
    client.send(request("POST", "/elsewhere", JSON, &large)).await;
    assert_eq!(client.answer().await.status(), 201);
    assert_eq!(gate.upstream.last().body_text(), large);
    gate.mailboxes(1).await;
    assert_eq!(gate.gateway().bodies.used(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_grant_leaves_no_mailbox() {
    let gate = Gate::with(|config| is(config, "gitea")).await;
    gate.upstream.script(|_| answer("HTTP/1.1 422 Unprocessable Entity", "no"));
    let body = format!(r#"{{"config":{{"url":"{CLIENT}"}}}}"#);
    let refused = gate.ask(request("POST", "/api/v1/repos/o/r/hooks", JSON, &body)).await;
    assert_eq!((refused.status(), refused.body_text().as_str()), (422, "no"));
    gate.mailboxes(0).await;
}

/// As Microsoft Graph has it: the address is asked with a token in its query before the registration is answered, and
/// the end of the lease is a time. As Slack has it: with a field of a JSON body.
const RULES: &str = r#"
[registration]
path = "/v1.0/subscriptions"
callback = ["json:/notificationUrl"]
callback_optional = true
lease = "json:/expirationDateTime"
[renewal]
path = "/v1.0/subscriptions/{id}"
[end]
path = "/v1.0/subscriptions/{id}"
[answer]
id = "json:/id"
lease = "json:/expirationDateTime"
[lease]
default = "1h"
unit = "time"
[callback]
status = 202
body = "{}"
content_type = "application/json"
[[challenge]]
method = "POST"
echo = "query:validationToken"
content_type = "text/plain"
[[challenge]]
method = "POST"
when = ["json:/type=url_verification"]
echo = "json:/challenge"
"#;

#[tokio::test]
async fn handshakes_and_leases_are_as_the_rules_have_them() {
    let gate = Gate::with(|config| has(config, RULES)).await;
    let expires = |time: &str| {
        let head =
            "HTTP/1.1 201 Created\nDate: Thu, 26 Nov 2026 02:00:00 GMT\nContent-Type: application/json";
        answer(head, &format!(r#"{{"id":"7f-b","expirationDateTime":"{time}"}}"#))
    };
    gate.upstream.script(move |request| match request.method().as_str() {
        "PATCH" => expires("2026-11-26T05:00:00Z"),
        "DELETE" => answer("HTTP/1.1 200 OK", ""),
        _ => expires("2026-11-26T04:00:00.0000000Z"),
    });
    // Without an address the client chooses polling.
    for (given, sent) in [
        (format!(r#"{{"notificationUrl":"{CLIENT}"}}"#), r#"{"notificationUrl":"ADDRESS"}"#),
        ("{\"x\":1}".to_owned(), r#"{"notificationUrl":"ADDRESS","x":1}"#),
    ] {
        let login = register(&gate, request("POST", "/v1.0/subscriptions", JSON, &given), 201).await;
        let address = format!("http://{}{}", gate.callback, login.token);
        assert_eq!(gate.upstream.last().body_text(), sent.replace("ADDRESS", &address));
        assert!(about(lease(&gate).await, 7200));
        let target = format!("{}?validationToken=Validation%3a+x", login.token);
        let validated = gate.call_back(request("POST", &target, "text/plain", "")).await;
        assert_eq!((validated.status(), validated.body_text().as_str()), (200, "Validation: x"));
        assert_eq!(validated.field("content-type").as_deref(), Some("text/plain"));
        let body = r#"{"type":"url_verification","challenge":"3eZ"}"#;
        let verified = gate.call_back(request("POST", &login.token, JSON, body)).await;
        assert_eq!((verified.status(), verified.body_text().as_str()), (200, "3eZ"));
        let taken = gate.call_back(request("POST", &login.token, JSON, r#"{"value":[]}"#)).await;
        assert_eq!((taken.status(), taken.body_text().as_str()), (202, "{}"));
        assert_eq!(bodies(&gate.poll(&login, "Prefer: wait=0\n").await), [r#"{"value":[]}"#]);

        let longer = r#"{"expirationDateTime":"2026-11-26T05:00:00Z"}"#;
        let renewed = gate.ask(request("PATCH", "/v1.0/subscriptions/7f-b", JSON, longer)).await;
        assert_eq!(renewed.status(), 201);
        assert!(about(lease(&gate).await, 3 * 3600));
        let ended = gate.ask(request("DELETE", "/v1.0/subscriptions/7f-b", JSON, "")).await;
        assert_eq!(ended.status(), 200);
        gate.mailboxes(0).await;
    }
}

#[tokio::test]
async fn rules_can_be_others_while_it_runs() {
    let gate = Gate::with(|config| is(config, "gitea")).await;
    git_server(&gate.upstream);
    let body = format!(r#"{{"config":{{"url":"{CLIENT}"}}}}"#);
    let login = register(&gate, request("POST", "/api/v1/repos/o/r/hooks", JSON, &body), 201).await;
    assert_eq!(gate.call_back(event(&login, "1")).await.status(), 200);
    let changes = gate.follow(|config| has(config, RULES));
    assert_eq!(changes.followed, ["upstream"]);
    assert_eq!(gate.call_back(event(&login, "2")).await.status(), 202, "it is answered as they have it now");
    gate.follow(|config| {
        config.upstreams[0].dialect = pollgate::dialect::Choice::Auto;
        config.upstreams[0].rules = None;
    });
    assert_eq!(gate.call_back(event(&login, "3")).await.status(), 200, "what was registered goes on");
    assert_eq!(bodies(&gate.poll(&login, "Prefer: wait=0\n").await), ["1", "2", "3"]);
}

fn agent(gate: &Gate) -> Agent {
    let settings = Settings {
        reach: Reach::new(gate.public.to_string(), None),
        host: Some("hub.example".to_owned()),
        dialect: pollgate::dialect::Choice::Webhook,
        rules: gate.gateway().config().upstreams[0].rules.clone(),
        called_by_gateway: false,
        allow: Vec::new(),
        polling: Polling { credentials: None, longest_hold: Duration::from_secs(300), pause: Duration::ZERO },
        state: StateFile::default(),
    };
    Agent::start(settings, accept::bind("127.0.0.1:0".parse().unwrap()).unwrap(), None).unwrap()
}

/// A listener that knows nothing of gateways, on the client's side of the firewall.
async fn listener() -> Upstream {
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    client
}

#[tokio::test]
async fn the_agent_brings_webhooks_to_a_listener_that_is_not_changed() {
    let gate = Gate::with(|config| is(config, "gitlab")).await;
    gate.upstream.script(|request| match request.method().as_str() {
        "DELETE" => vec![Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())],
        _ => {
            let head = "HTTP/1.1 201 Created\nContent-Type: application/json\nTransfer-Encoding: chunked";
            vec![Step::Send(text(head, &chunks(r#"{"project_id":5,"id":17}"#)))]
        }
    });
    let (agent, client) = (agent(&gate), listener().await);
    let body = format!(r#"{{"url":"http://{}/hook?x=1"}}"#, client.address);
    let hooks = "/api/v4/projects/5/hooks";
    let granted = exchange(agent.address(), request("POST", hooks, JSON, &body)).await;
    assert_eq!((granted.status(), granted.field("content-location")), (201, None));
    assert_eq!(granted.body_text(), r#"{"project_id":5,"id":17}"#);
    let login = Login { poll: String::new(), token: told(&gate), id: String::new() };
    for (index, text) in ["{\"ref\":1}", "{\"ref\":2}"].into_iter().enumerate() {
        assert_eq!(gate.call_back(event(&login, text)).await.status(), 200);
        client.saw(index + 1).await;
        assert_eq!(client.last().start_line(), "POST /hook?x=1 HTTP/1.1");
        assert_eq!(
            (client.last().field("x-gitlab-event").as_deref(), client.last().body_text().as_str()),
            (Some("Push Hook"), text)
        );
    }
    // A listener that is gone is unregistered at the server, by the id in the answer's body.
    client.answers("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(gate.call_back(event(&login, "3")).await.status(), 200);
    gate.upstream.saw(2).await;
    assert_eq!(gate.upstream.last().start_line(), format!("DELETE {hooks}/17 HTTP/1.1"));
    gate.mailboxes(0).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_agent_goes_on_with_a_subscription_that_is_renewed() {
    let gate = Gate::with(|config| is(config, "websub")).await;
    gate.upstream.script(|_| answer("HTTP/1.1 202 Accepted", ""));
    let (agent, client) = (agent(&gate), listener().await);
    let callback = format!("http%3A%2F%2F{}%2Ffeed", client.address.to_string().replace(':', "%3A"));
    let ask = |mode: &str| {
        request("POST", "/", FORM, &format!("hub.mode={mode}&hub.topic=t&hub.callback={callback}"))
    };
    let mut token = String::new();
    for index in 0..3 {
        assert_eq!(exchange(agent.address(), ask("subscribe")).await.status(), 202);
        assert!(token.is_empty() || token == told(&gate), "the hub sees a renewal");
        token = told(&gate);
        let body = format!("<feed n='{index}'/>");
        assert_eq!(
            gate.call_back(request("POST", &token, "application/atom+xml", &body)).await.status(),
            204
        );
        client.saw(index + 1).await;
        assert_eq!(client.last().body_text(), body);
    }
    assert_eq!(client.seen().len(), 3, "nothing comes twice");
    assert_eq!(exchange(agent.address(), ask("unsubscribe")).await.status(), 202);
    gate.mailboxes(0).await;
    let within_tls = format!("hub.mode=subscribe&hub.topic=t&hub.callback=https://{}/", client.address);
    let refused = exchange(agent.address(), request("POST", "/", FORM, &within_tls)).await;
    assert_eq!(refused.status(), 403, "{}", refused.raw_text());
    agent.stop().await;
}
