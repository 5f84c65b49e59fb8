//! The agent: clients that only listen, and know nothing of a gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pollgate::agent::{Agent, Polling, Reach, Settings, StateFile};
use pollgate::auth::digest::Credentials;
use pollgate::config::AuthMode;
use pollgate::dialect::Choice;
use pollgate::http1::accept;
use tokio::net::TcpListener;

use super::auth::{Guarded, PASSWORD};
use super::support::{Gate, Login, Message, Socket, Step, Upstream, answer, exchange, rvp, text, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// How an agent works in these tests, beside a gateway.
pub fn settings(gate: &Gate) -> Settings {
    Settings {
        reach: Reach::new(gate.public.to_string(), None),
        host: None,
        dialect: Choice::Auto,
        rules: None,
        called_by_gateway: false,
        allow: Vec::new(),
        polling: Polling { credentials: None, longest_hold: Duration::from_secs(300), pause: Duration::ZERO },
        state: StateFile::default(),
    }
}

fn any_port() -> TcpListener {
    accept::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

pub fn start(settings: Settings) -> Agent {
    Agent::start(settings, any_port(), Some(any_port())).unwrap()
}

/// A client that listens, and takes everything.
async fn listening() -> Upstream {
    let client = Upstream::start().await;
    client.answers(OK);
    client
}

/// Signs a client in through the agent.
async fn login(agent: &Agent, gate: &Gate, name: &str, client: SocketAddr) -> Login {
    let granted = exchange(agent.address(), rvp::login(name, &format!("http://{client}"))).await;
    assert_eq!(granted.status(), 200);
    assert_eq!(granted.field("content-location"), None, "the place to poll is not for the client");
    Login { poll: String::new(), token: gate.token(), id: granted.field("subscription-id").unwrap() }
}

fn bodies(client: &Upstream) -> Vec<String> {
    client.seen().iter().map(Message::body_text).collect()
}

async fn all_taken(gate: &Gate) {
    until("an empty store", || gate.gateway().store.totals().messages == 0).await;
}

async fn metric(agent: &Agent, sample: &str) -> f64 {
    let request = text("GET /metrics HTTP/1.1\nHost: localhost\nConnection: close", "");
    let page = exchange(agent.admin_address().unwrap(), request).await.body_text();
    let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

/// To connect to no address at all is to connect to this machine.
#[tokio::test]
async fn nobodys_address_is_not_called() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    for host in ["0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]"] {
        let refused = exchange(agent.address(), rvp::login("kari", &format!("http://{host}:4000"))).await;
        assert_eq!(refused.status(), 403, "{host}");
    }
    gate.mailboxes(0).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_client_that_only_listens_gets_every_byte_of_its_messages() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    // As Net::RVP answers: no length, a bare LF, a stray line, and the connection stays.
    client.answers("HTTP/1.1 200 Change Notification Accepted\n\n\n");
    let callback = format!("http://{}/in%20box?a=b", client.address);
    let granted = exchange(agent.address(), rvp::login("kari", &callback)).await;
    assert_eq!((granted.status(), granted.field("content-location")), (200, None));
    let told = gate.upstream.last().field("call-back").unwrap();
    assert!(told.starts_with(&format!("http://{}/", gate.callback)), "{told}");
    let notify = format!(
        "NOTIFY /{} HTTP/1.1\r\nhOst: gateway\r\nRVP-notifications-VERSION: 0.2\r\nX-Twice: 1\r\nX-Twice: \u{e9}\r\n\
         Content-Length: 3\r\n\r\n",
        gate.token()
    );
    let notify = [notify.chars().map(|c| c as u8).collect::<Vec<u8>>(), vec![0, 255, 10]].concat();
    assert_eq!(gate.call_back(notify).await.status(), 200);
    client.saw(1).await;
    let got = client.last();
    assert_eq!(
        Message::latin1(&got.head),
        format!(
            "NOTIFY /in%20box?a=b HTTP/1.1\r\nHost: {}\r\nRVP-notifications-VERSION: 0.2\r\nX-Twice: 1\r\nX-Twice: \u{e9}\r\n\
             Content-Length: 3\r\nConnection: close\r\n\r\n",
            client.address
        )
    );
    assert_eq!(got.body, [0, 255, 10]);
    all_taken(&gate).await;
    assert_eq!(metric(&agent, "pollgate_agent_messages_total{result=\"taken\"}").await, 1.0);
    assert_eq!(metric(&agent, "pollgate_agent_subscriptions").await, 1.0);
    agent.stop().await;
}

#[tokio::test]
async fn messages_keep_their_order_through_everything() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    // Nobody listens at first.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let login = login(&agent, &gate, "kari", address).await;
    for body in ["one", "two", "three"] {
        gate.deliver(&login, body).await;
    }
    let request = "pollgate_agent_messages_total{result=\"failed\"}";
    while metric(&agent, request).await == 0.0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(gate.gateway().store.totals().messages, 3, "nothing was acknowledged");
    let client = Upstream::on(TcpListener::bind(address).await.expect("the port is free still"));
    // Nor does it take the first at once.
    client.script(move |request| match request.body_text().as_str() {
        "one" => answer("HTTP/1.1 503 Busy", ""),
        _ => answer("HTTP/1.1 200 OK", ""),
    });
    client.saw(1).await;
    client.answers(OK);
    all_taken(&gate).await;
    let mut seen = bodies(&client);
    seen.dedup();
    assert_eq!(seen, ["one", "two", "three"]);
    agent.stop().await;
}

/// Clients of RVP answer 500 for a conversation that they left.
#[tokio::test]
async fn what_a_client_will_never_take_holds_up_nothing() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.script(|request| match request.body_text().as_str() {
        "left" => answer("HTTP/1.1 500 Internal Error", ""),
        _ => answer("HTTP/1.1 200 OK", ""),
    });
    let login = login(&agent, &gate, "kari", client.address).await;
    gate.deliver(&login, "left").await;
    gate.deliver(&login, "news").await;
    client.saw(2).await;
    assert_eq!(bodies(&client), ["left", "news"]);
    assert_eq!(metric(&agent, "pollgate_agent_messages_total{result=\"refused\"}").await, 1.0);
    agent.stop().await;
}

#[tokio::test]
async fn a_client_that_is_gone_ends_its_subscription() {
    for answer in ["410 Gone", "412 Precondition Failed"] {
        let gate = Gate::start().await;
        let agent = start(settings(&gate));
        let client = Upstream::start().await;
        client.answers(format!("HTTP/1.1 {answer}\r\n\r\n"));
        let login = login(&agent, &gate, "kari", client.address).await;
        gate.deliver(&login, "news").await;
        gate.mailboxes(0).await;
        let end = gate.upstream.last();
        assert_eq!((end.method().as_str(), end.field("subscription-id")), ("UNSUBSCRIBE", Some(login.id)));
        agent.stop().await;
    }
}

#[tokio::test]
async fn renewals_and_the_end_are_the_clients_own() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = listening().await;
    let login = login(&agent, &gate, "kari", client.address).await;
    let about = |method: &str, id: &str| {
        let head = format!(
            "{method} /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-Id: {id}\nSubscription-Lifetime: 60\n\
             Content-Length: 0"
        );
        text(&head, "")
    };
    // A new connection for each, as librvp makes them.
    for _ in 0..3 {
        let renewed = exchange(agent.address(), about("SUBSCRIBE", &login.id)).await;
        assert_eq!(renewed.status(), 200);
    }
    gate.deliver(&login, "news").await;
    client.saw(1).await;
    assert_eq!(exchange(agent.address(), about("UNSUBSCRIBE", &login.id)).await.status(), 200);
    gate.mailboxes(0).await;
    assert_eq!(metric(&agent, "pollgate_agent_subscriptions").await, 0.0);
    agent.stop().await;
}

/// A gateway that keeps messages in memory has lost them after its end; its clients do not know.
#[tokio::test]
async fn a_client_whose_subscription_was_lost_is_told_at_its_next_renewal() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = listening().await;
    let login = login(&agent, &gate, "kari", client.address).await;
    let about = |method: &str| {
        let head = format!(
            "{method} /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-Id: {}\nContent-Length: 0",
            login.id
        );
        text(&head, "")
    };
    gate.held(1).await;
    assert_eq!(gate.ask(about("UNSUBSCRIBE")).await.status(), 200);
    while metric(&agent, "pollgate_agent_subscriptions").await > 0.0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(exchange(agent.address(), about("SUBSCRIBE")).await.status(), 412);
    assert_eq!(exchange(agent.address(), about("SUBSCRIBE")).await.status(), 200, "it is told once");
    agent.stop().await;
}

#[tokio::test]
async fn what_comes_while_the_agent_is_away_comes_when_it_is_back() {
    let gate = Gate::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("agent.json");
    let kept = || Settings { state: StateFile::at(Some(file.clone())).unwrap(), ..settings(&gate) };
    let client = listening().await;
    let agent = start(kept());
    let login = login(&agent, &gate, "kari", client.address).await;
    gate.deliver(&login, "before").await;
    client.saw(1).await;
    agent.stop().await;
    gate.held(0).await;
    gate.deliver(&login, "meanwhile").await;
    let agent = start(kept());
    client.saw(2).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["before", "meanwhile"], "and nothing twice");
    agent.stop().await;
}

#[tokio::test]
async fn a_client_may_take_the_agent_for_its_proxy() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = listening().await;
    let login = text(
        &format!(
            "SUBSCRIBE http://im.example:8080/instmsg/aliases/kari HTTP/1.1\nHost: im.example:8080\nProxy-Connection: close\n\
             Call-Back: http://{}\nContent-Length: 0",
            client.address
        ),
        "",
    );
    assert_eq!(exchange(agent.address(), login).await.status(), 200);
    let passed = gate.upstream.last();
    assert_eq!(passed.start_line(), "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1");
    assert_eq!(passed.field("host").as_deref(), Some("im.example:8080"));
    assert_eq!(passed.field("proxy-connection"), None);
    let login = Login { poll: String::new(), token: gate.token(), id: String::new() };
    gate.deliver(&login, "news").await;
    client.saw(1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_server_known_by_another_name_is_asked_by_its_own() {
    let gate = Gate::start().await;
    let agent = start(Settings { host: Some("im.example".into()), ..settings(&gate) });
    let request = text("GET / HTTP/1.1\nHost: 127.0.0.1:8380", "");
    assert_eq!(exchange(agent.address(), request).await.status(), 200);
    assert_eq!(gate.upstream.last().field("host").as_deref(), Some("im.example"));
    agent.stop().await;
}

#[tokio::test]
async fn bodies_of_any_size_and_shape_pass_both_ways() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let large = "x".repeat(1_000_000);
    let body = large.clone();
    gate.upstream.script(move |request| match request.method().as_str() {
        "HEAD" => vec![Step::Send(text("HTTP/1.1 200 OK\nContent-Length: 1000000", ""))],
        "PUT" => {
            vec![Step::Send(text("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"))]
        }
        _ => answer("HTTP/1.1 200 OK", &body),
    });
    let mut client = Socket::connect(agent.address()).await;
    client.send(text("POST / HTTP/1.1\nHost: h\nContent-Length: 1000000", &large)).await;
    assert_eq!(client.answer().await.body_text(), large);
    assert_eq!(gate.upstream.last().body_text(), large);
    client.send(text("PUT / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")).await;
    assert_eq!(client.answer().await.body_text(), "abc");
    assert_eq!(gate.upstream.last().body_text(), "hello");
    client.send(text("HEAD / HTTP/1.1\nHost: h", "")).await;
    assert_eq!(client.head_only().await.status(), 200);
    client.send(text("GET / HTTP/1.1\nHost: h\nConnection: close", "")).await;
    assert_eq!(client.answer().await.body_text(), large);
    client.is_closed().await;
    agent.stop().await;
}

#[tokio::test]
async fn who_waits_to_be_told_is_told_to_go_on_with_the_body() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let mut client = Socket::connect(agent.address()).await;
    client.send(text("POST / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 5", "")).await;
    assert_eq!(client.head_only().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(gate.upstream.last().body_text(), "hello");
    agent.stop().await;
}

/// Servers that know a client by its connection must not take one for another.
#[tokio::test]
async fn each_client_has_a_connection_of_its_own_that_ends_with_it() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let (mut kari, mut alan) =
        (Socket::connect(agent.address()).await, Socket::connect(agent.address()).await);
    for _ in 0..2 {
        for client in [&mut kari, &mut alan] {
            client.send(text("GET / HTTP/1.1\nHost: h\nAuthorization: NTLM TlRM", "")).await;
            assert_eq!(client.answer().await.status(), 200);
        }
    }
    assert_eq!(gate.upstream.connections(), 2);
    gate.connections(2).await;
    drop(kari);
    gate.connections(1).await;
    gate.upstream.ended(1).await;
    agent.stop().await;
}

#[tokio::test]
async fn without_a_gateway_the_client_is_told() {
    let gate = Gate::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let agent = start(Settings { reach: Reach::new(nobody.to_string(), None), ..settings(&gate) });
    let answer = exchange(agent.address(), text("GET / HTTP/1.1\nHost: h", "")).await;
    assert_eq!((answer.status(), answer.body_text().as_str()), (502, "the gateway takes no connection\n"));
    assert_eq!(metric(&agent, "pollgate_agent_request_errors_total").await, 1.0);
    let ready = exchange(agent.admin_address().unwrap(), text("GET /readyz HTTP/1.1\nHost: h", "")).await;
    assert_eq!(ready.status(), 503);
    agent.stop().await;
}

/// A server behind no gateway grants a subscription, and nobody would ever be called.
#[tokio::test]
async fn a_subscription_without_a_place_to_poll_is_counted() {
    let gate = Gate::with(|config| config.polling.poll_support = false).await;
    let agent = start(settings(&gate));
    let client = listening().await;
    let granted = exchange(agent.address(), rvp::login("kari", &format!("http://{}", client.address))).await;
    assert_eq!(granted.status(), 200);
    assert_eq!(metric(&agent, "pollgate_agent_unpolled_subscriptions_total").await, 1.0);
    agent.stop().await;
}

/// PollingFlag 0 and 2: the gateway calls the client, and the agent stands aside.
#[tokio::test]
async fn a_client_that_the_gateway_calls_keeps_its_address() {
    let gate = Gate::start().await;
    let agent = start(Settings { called_by_gateway: true, ..settings(&gate) });
    let granted = exchange(agent.address(), rvp::login("kari", "http://10.1.2.3:1234")).await;
    assert!(granted.field("content-location").is_some());
    assert_eq!(metric(&agent, "pollgate_agent_subscriptions").await, 0.0);
    agent.stop().await;
}

#[tokio::test]
async fn a_control_point_gets_its_events_through_both() {
    let gate = Gate::start().await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSID: uuid:7\nTIMEOUT: Second-1800", ""));
    let agent = start(settings(&gate));
    let client = listening().await;
    let subscribe = format!(
        "SUBSCRIBE /event HTTP/1.1\nHost: 10.0.0.5:49494\nCALLBACK: <http://{}/notify>\nNT: upnp:event\nTIMEOUT: Second-1800",
        client.address
    );
    let granted = exchange(agent.address(), text(&subscribe, "")).await;
    assert_eq!((granted.field("sid").as_deref(), granted.field("content-location")), (Some("uuid:7"), None));
    let told = gate.upstream.last().field("callback").unwrap();
    let token = told.trim_end_matches('>').rsplit_once('/').unwrap().1.to_owned();
    for seq in 0..3 {
        let event = format!(
            "NOTIFY /{token} HTTP/1.1\nHost: h\nNT: upnp:event\nNTS: upnp:propchange\nSID: uuid:7\nSEQ: {seq}\nContent-Length: 0"
        );
        assert_eq!(gate.call_back(text(&event, "")).await.status(), 200);
    }
    client.saw(3).await;
    let seqs: Vec<Option<String>> = client.seen().iter().map(|event| event.field("seq")).collect();
    assert_eq!(seqs, [Some("0".into()), Some("1".into()), Some("2".into())]);
    agent.stop().await;
}

#[tokio::test]
async fn a_gateway_that_asks_who_polls_is_told() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let client = listening().await;
    let credentials = Some(Credentials { user: "kari".into(), password: PASSWORD.into() });
    let agent = start(Settings {
        polling: Polling { credentials, longest_hold: Duration::from_secs(300), pause: Duration::ZERO },
        ..settings(gate)
    });
    let login = login(&agent, gate, "kari", client.address).await;
    gate.deliver(&login, "news").await;
    client.saw(1).await;
    all_taken(gate).await;
    assert_eq!(bodies(&client), ["news"]);
    agent.stop().await;
}
