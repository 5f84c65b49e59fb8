//! Several upstreams, and several servers of one.

use std::collections::BTreeSet;
use std::time::Duration;

use pollgate::config::{self, Config, HostMode, Pattern};
use pollgate::mailbox::DeliveryMode;
use tokio::net::TcpListener;

use crate::support::{Gate, Upstream, answer, poll, rvp, text, within};

/// An upstream at this server, for these hosts.
fn named(name: &str, at: &Upstream, hosts: &[&str]) -> config::Upstream {
    config::Upstream {
        name: name.to_owned(),
        address: at.address.to_string(),
        hosts: hosts.iter().map(|host| Pattern::whole(host)).collect(),
        ..config::Upstream::default()
    }
}

/// A server that says its name.
async fn saying(name: &'static str) -> Upstream {
    let upstream = Upstream::start().await;
    upstream.script(move |_| answer("HTTP/1.1 200 OK", name));
    upstream
}

fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Requests come from whom they say.
fn with_servers(servers: Vec<String>) -> impl FnOnce(&mut Config) {
    move |config| {
        let server = |address: String| config::Server { address, weight: 1 };
        config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.upstreams[0].servers = servers.into_iter().map(server).collect();
    }
}

/// A request of this client.
fn from(client: u32, method: &str) -> Vec<u8> {
    text(
        &format!(
            "{method} / HTTP/1.1\nHost: im.example\nX-Forwarded-For: 10.0.0.{client}\nContent-Length: 4"
        ),
        "body",
    )
}

#[tokio::test]
async fn a_request_goes_to_the_first_that_takes_it_and_one_for_nobody_nowhere() {
    let (im, dav) = (saying("im").await, saying("dav").await);
    let gate = Gate::with(|config| {
        let path =
            config::Upstream { path_prefix: "/public".to_owned(), ..named("dav", &dav, &["*.example"]) };
        config.upstreams = vec![named("im", &im, &["im.example"]), path];
    })
    .await;
    for (host, target, expected) in [
        ("im.example", "/public", "im"),
        ("IM.example:80", "/", "im"),
        ("dav.example", "/public/x?y", "dav"),
        ("dav.example", "http://im.example/x", "im"),
    ] {
        assert_eq!(gate.ask(get(host, target)).await.body_text(), expected, "{host} {target}");
    }
    for (host, target) in [("dav.example", "/publican"), ("other", "/public"), ("dav.example", "/")] {
        assert_eq!(gate.ask(get(host, target)).await.status(), 421, "{host} {target}");
    }
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"421\"}").await, 3.0);
    let asked = "pollgate_upstream_request_duration_seconds_count";
    assert_eq!(gate.metric(&format!("{asked}{{upstream=\"im\"}}")).await, 3.0);
    assert_eq!(gate.metric(&format!("{asked}{{upstream=\"dav\"}}")).await, 1.0);
}

#[tokio::test]
async fn the_port_that_a_request_comes_in_at_may_choose() {
    let (device, other) = (saying("device").await, saying("other").await);
    let gate = Gate::with(|config| {
        config.upstreams = vec![named("device", &device, &[]), named("other", &other, &[])];
    })
    .await;
    let port = gate.public.port();
    for (port, expected) in [(port, "device"), (port ^ 1, "other")] {
        gate.follow(|config| config.upstreams[0].listen_port = Some(port));
        assert_eq!(gate.ask(get("a", "/")).await.body_text(), expected);
    }
}

#[tokio::test]
async fn an_id_means_the_subscription_of_the_upstream_that_gave_it() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::with(|config| {
        config.upstreams = vec![named("one", &one, &["one.example"]), named("two", &two, &["two.example"])];
        config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let request = |method: &str, host: &str, fields: &str| {
        let head = format!(
            "{method} /instmsg/aliases/kari HTTP/1.1\nHost: {host}\n{fields}RVP-Notifications-Version: 0.2\n\
             Content-Length: 0"
        );
        text(&head, "")
    };
    for host in ["one.example", "two.example"] {
        let granted = gate.ask(request("SUBSCRIBE", host, "Call-Back: http://10.1.2.3:1234\n")).await;
        assert_eq!(granted.field("subscription-id").as_deref(), Some("98210"));
    }
    gate.mailboxes(2).await;
    let id = "Subscription-Id: 98210\n";
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "one.example", id)).await.status(), 200);
    gate.mailboxes(1).await;
    assert_eq!((one.seen().len(), two.seen().len()), (2, 1));
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "one.example", id)).await.status(), 200);
    gate.mailboxes(1).await;
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "two.example", id)).await.status(), 200);
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_client_that_is_gone_is_unsubscribed_where_it_subscribed() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::with(|config| {
        config.upstreams = vec![named("one", &one, &["one.example"]), named("two", &two, &["im.example"])];
        config.delivery.mode = DeliveryMode::Default;
        config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 410 Gone\r\n\r\n");
    assert_eq!(gate.ask(rvp::login("kari", &format!("http://{}", client.address))).await.status(), 200);
    let address = two.last().field("call-back").unwrap();
    let path = address.rsplit_once('/').unwrap().1;
    gate.call_back(rvp::notify(&format!("/{path}"), "", "1")).await;
    two.saw(2).await;
    assert_eq!(two.last().method(), "UNSUBSCRIBE");
    assert!(one.seen().is_empty());
}

#[tokio::test]
async fn a_client_has_always_the_same_server_and_all_have_some() {
    let (a, b) = (saying("a").await, saying("b").await);
    let gate = Gate::with(with_servers(vec![a.address.to_string(), b.address.to_string()])).await;
    let mut all = BTreeSet::new();
    for client in 0..24 {
        let first = gate.ask(from(client, "POST")).await.body_text();
        for _ in 0..2 {
            assert_eq!(gate.ask(from(client, "POST")).await.body_text(), first);
        }
        all.insert(first);
    }
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn what_was_not_sent_goes_to_another_server_whatever_it_is() {
    let live = saying("live").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = Gate::with(with_servers(vec![gone.to_string(), live.address.to_string()])).await;
    for client in 0..40 {
        let method = ["POST", "SUBSCRIBE", "NOTIFY", "GET"][client as usize % 4];
        let answered = gate.ask(from(client, method)).await;
        assert_eq!((answered.status(), answered.body_text().as_str()), (200, "live"), "{client} {method}");
        assert_eq!(live.last().body_text(), "body");
    }
    assert_eq!(live.seen().len(), 40);
    // One request found out for all.
    assert_eq!(gate.metric("pollgate_upstream_retries_total{upstream=\"legacy\"}").await, 1.0);
    let up = |server: &str| format!("pollgate_upstream_server_up{{server=\"{server}\",upstream=\"legacy\"}}");
    assert_eq!(gate.metric(&up(&gone.to_string())).await, 0.0);
    assert_eq!(gate.metric(&up(&live.address.to_string())).await, 1.0);
}

#[tokio::test]
async fn what_was_sent_goes_nowhere_else() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    for upstream in [&a, &b] {
        upstream.script(|_| vec![crate::support::Step::Close]);
    }
    let gate = Gate::with(with_servers(vec![a.address.to_string(), b.address.to_string()])).await;
    for method in ["POST", "SUBSCRIBE", "GET"] {
        let before = a.seen().len() + b.seen().len();
        assert_eq!(gate.ask(from(1, method)).await.status(), 502);
        assert_eq!(a.seen().len() + b.seen().len(), before + 1, "{method}");
    }
}

#[tokio::test]
async fn a_server_that_fails_its_health_check_gets_nothing_until_it_is_well() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let well = |upstream: &Upstream, name: &'static str, well: bool| {
        upstream.script(move |request| match request.start_line().contains("/health") {
            true if !well => answer("HTTP/1.1 503 Service Unavailable", ""),
            _ => answer("HTTP/1.1 200 OK", name),
        });
    };
    well(&a, "a", false);
    well(&b, "b", true);
    let servers = with_servers(vec![a.address.to_string(), b.address.to_string()]);
    let gate = Gate::with(|config| {
        servers(config);
        config.upstreams[0].health_check = config::HealthCheck {
            interval: Duration::from_millis(10),
            path: "/health".to_owned(),
            failures: 2,
        };
    })
    .await;
    let up = format!("pollgate_upstream_server_up{{server=\"{}\",upstream=\"legacy\"}}", a.address);
    within("a is down", async { while gate.metric(&up).await > 0.0 {} }).await;
    for client in 0..24 {
        assert_eq!(gate.ask(from(client, "POST")).await.body_text(), "b");
    }
    // Who authenticated a connection at b stays there, whoever else comes back.
    let mut bound = Vec::new();
    let ntlm = |client: u32| {
        text(
            &format!("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 10.0.0.{client}\nAuthorization: NTLM eA=="),
            "",
        )
    };
    for client in 0..24 {
        let mut socket = gate.client().await;
        socket.send(ntlm(client)).await;
        assert_eq!(socket.answer().await.body_text(), "b");
        bound.push(socket);
    }
    well(&a, "a", true);
    within("a is up", async { while gate.metric(&up).await < 1.0 {} }).await;
    let mut all = BTreeSet::new();
    for client in 0..24 {
        all.insert(gate.ask(from(client, "POST")).await.body_text());
    }
    assert_eq!(all.len(), 2, "both have their clients again");
    for (client, socket) in bound.iter_mut().enumerate() {
        socket.send(ntlm(client as u32)).await;
        assert_eq!(socket.answer().await.body_text(), "b");
    }
}

#[tokio::test]
async fn a_subscription_is_renewed_at_the_server_that_granted_it() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::with(with_servers(vec![a.address.to_string(), b.address.to_string()])).await;
    let mut at_a = Vec::new();
    let mut at_b = Vec::new();
    for client in 0..24 {
        let before = a.seen().len();
        gate.ask(from(client, "POST")).await;
        if a.seen().len() > before { at_a.push(client) } else { at_b.push(client) }
    }
    let ask = |client: u32, fields: &str| {
        let head = format!(
            "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nX-Forwarded-For: 10.0.0.{client}\n{fields}\
             RVP-Notifications-Version: 0.2\nContent-Length: 0"
        );
        text(&head, "")
    };
    // The client signs in at one place and goes on from another, whose own server is b.
    let granted = gate.ask(ask(at_a[0], "Call-Back: http://10.1.2.3:1234\n")).await;
    assert_eq!(granted.status(), 200);
    let seen = (a.seen().len(), b.seen().len());
    let id = granted.field("subscription-id").unwrap();
    gate.ask(ask(at_b[0], &format!("Subscription-Id: {id}\n"))).await;
    assert_eq!((a.seen().len(), b.seen().len()), (seen.0 + 1, seen.1));
}

#[tokio::test]
async fn a_redirect_to_a_server_behind_the_gateway_leads_to_the_gateway() {
    let (router, home) = (Upstream::start().await, saying("home").await);
    let gate = Gate::with(|config| {
        config.upstreams =
            vec![named("router", &router, &["im.example"]), named("home", &home, &["home.example"])];
    })
    .await;
    let port = gate.public.port();
    for (location, expected) in [
        (format!("http://{}/x", router.address), format!("http://im.example:{port}/x")),
        (format!("http://{}/x", home.address), format!("http://home.example:{port}/x")),
        ("http://home.example/x?y".to_owned(), format!("http://home.example:{port}/x?y")),
        ("http://elsewhere.example/x".to_owned(), "http://elsewhere.example/x".to_owned()),
        ("/x".to_owned(), "/x".to_owned()),
    ] {
        router.answers(text(&format!("HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0"), ""));
        let answered = gate.ask(get(&format!("im.example:{port}"), "/")).await;
        assert_eq!(answered.field("location"), Some(expected), "{location}");
    }
    assert_eq!(gate.ask(get(&format!("home.example:{port}"), "/x")).await.body_text(), "home");
    // What is no redirect keeps its Location.
    let location = format!("http://{}/x", home.address);
    router.answers(text(&format!("HTTP/1.1 201 Created\nLocation: {location}\nContent-Length: 0"), ""));
    assert_eq!(gate.ask(get("im.example", "/")).await.field("location"), Some(location));
}

#[tokio::test]
async fn a_server_may_be_addressed_by_its_own_name() {
    let gate = Gate::with(|config| config.upstreams[0].host = HostMode::Upstream).await;
    for target in ["/x?y", "http://renderer.example/x?y"] {
        gate.ask(get("renderer.example", target)).await;
        let seen = gate.upstream.last();
        assert_eq!(seen.field("host"), Some(gate.upstream.address.to_string()));
        assert_eq!(seen.start_line(), "GET /x?y HTTP/1.1");
    }
    let login = gate.login("kari").await;
    let answered = gate.poll(&login, "Prefer: wait=0\n").await;
    assert_eq!(answered.status(), 204, "the client polls under the name that it knows");
}

#[tokio::test]
async fn upstreams_come_and_go_while_polls_are_held() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "")).await;
    gate.held(1).await;
    let other = saying("other").await;
    gate.follow(|config| config.upstreams.insert(0, named("other", &other, &["other.example"])));
    assert_eq!(gate.ask(get("other.example", "/")).await.body_text(), "other");
    assert_eq!(gate.ask(get("im.example", "/")).await.body_text(), "upstream");
    assert_eq!(gate.metric("pollgate_upstream_up{upstream=\"other\"}").await, 1.0);
    gate.follow(|config| drop(config.upstreams.remove(0)));
    assert_eq!(gate.ask(get("other.example", "/")).await.body_text(), "upstream");
    let metrics = gate.operate("GET", "/metrics").await.body_text();
    assert!(!metrics.contains("upstream=\"other\""), "{metrics}");
    gate.deliver(&login, "news").await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn a_gateway_is_ready_as_long_as_one_upstream_is_up() {
    let live = saying("live").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = Gate::with(|config| {
        let down = config::Upstream { address: gone.to_string(), ..named("down", &live, &["down.example"]) };
        config.upstreams = vec![down, named("up", &live, &[])];
    })
    .await;
    let ready = gate.operate("GET", "/readyz").await;
    assert_eq!(ready.status(), 200, "{}", ready.body_text());
    assert!(ready.body_text().contains("failed  upstream down: "), "{}", ready.body_text());
    assert!(ready.body_text().contains("ok      upstream up: "), "{}", ready.body_text());
    gate.follow(|config| config.upstreams.truncate(1));
    assert_eq!(gate.operate("GET", "/readyz").await.status(), 503);
}
