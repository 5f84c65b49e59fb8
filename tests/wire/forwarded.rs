//! What the upstream is told of for whom a request comes (`upstream.forwarded`), and who is believed
//! (`limits.trusted_proxies`).

use pollgate::config::Forwarded;

use crate::support::{CLIENT, Gate, Login, Socket, poll, rvp, text};

/// The address that is a trusted proxy's, if any is.
const PROXY: &str = "127.0.0.2";

async fn gate(forwarded: Option<Forwarded>) -> Gate {
    Gate::with(|config| {
        config.upstreams[0].forwarded = forwarded;
        config.limits.trusted_proxies = vec![format!("{PROXY}/32").parse().unwrap()];
        config.limits.mailboxes_per_address = 1;
        config.limits.held_polls_per_address = 1;
        config.limits.connections_per_address = 3;
    })
    .await
}

async fn ask_from(gate: &Gate, address: &str, request: impl AsRef<[u8]>) -> u16 {
    let mut socket = Socket::connect_from(address, gate.public).await;
    socket.send(request).await;
    socket.answer().await.status()
}

/// The field lines that the upstream gets of what this address sends.
async fn passed_on(gate: &Gate, address: &str, fields: &str) -> Vec<String> {
    assert_eq!(
        ask_from(gate, address, text(&format!("GET / HTTP/1.1\nHost: im.example\n{fields}"), "")).await,
        200
    );
    let head = String::from_utf8(gate.upstream.last().head).unwrap();
    let lines = head.lines().skip(1).filter(|line| line.to_ascii_lowercase().contains("forwarded"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn off_all_is_left_as_it_is() {
    let gate = gate(None).await;
    let fields = "x-forwarded-for: 1.2.3.4\nX-Forwarded-For: 5.6.7.8\nForwarded: for=1.2.3.4;by=x\nX-Forwarded-Host: h";
    for address in ["127.0.0.1", PROXY] {
        assert_eq!(passed_on(&gate, address, "").await, [""; 0]);
        assert_eq!(passed_on(&gate, address, fields).await, fields.lines().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn x_forwarded_for_names_the_peer_and_what_a_stranger_says_goes() {
    let gate = gate(Some(Forwarded::XForwardedFor)).await;
    let spoofed = "X-FORWARDED-FOR: 1.2.3.4\nForwarded: for=1.2.3.4\nx-forwarded-for: 5.6.7.8";
    for (address, fields, expected) in [
        ("127.0.0.1", "", "X-Forwarded-For: 127.0.0.1"),
        ("127.0.0.1", spoofed, "X-Forwarded-For: 127.0.0.1"),
        (PROXY, "", "X-Forwarded-For: 127.0.0.2"),
        (PROXY, spoofed, "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.2"),
    ] {
        assert_eq!(passed_on(&gate, address, fields).await, [expected], "{address} {fields}");
    }
}

#[tokio::test]
async fn rfc_7239_forwarded_names_the_peer_and_what_a_stranger_says_goes() {
    let gate = gate(Some(Forwarded::Forwarded)).await;
    let spoofed = "X-Forwarded-For: 1.2.3.4\nForwarded: for=\"[2001:db8::1]\";proto=http";
    for (address, fields, expected) in [
        ("127.0.0.1", spoofed, "Forwarded: for=127.0.0.1"),
        (PROXY, spoofed, "Forwarded: for=\"[2001:db8::1]\";proto=http, for=127.0.0.2"),
    ] {
        assert_eq!(passed_on(&gate, address, fields).await, [expected], "{address} {fields}");
    }
}

#[tokio::test]
async fn rfc_7239_6_an_address_of_ipv6_is_quoted() {
    let gate = Gate::with(|config| {
        config.listen.public = vec!["[::1]:0".parse().unwrap()];
        config.upstreams[0].forwarded = Some(Forwarded::Forwarded);
    })
    .await;
    gate.ask(text("GET / HTTP/1.1\nHost: im.example\nForwarded: for=1.2.3.4", "")).await;
    assert_eq!(gate.upstream.last().field("forwarded").as_deref(), Some("for=\"[::1]\""));
}

#[tokio::test]
async fn a_subscription_goes_on_with_both_its_changes() {
    let gate = gate(Some(Forwarded::XForwardedFor)).await;
    let login = gate.login("kari").await;
    assert_eq!(gate.upstream.last().field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    gate.deliver(&login, "x").await;
    assert_eq!(gate.bodies(&login).await, ["x"]);
}

/// The same request as it comes from a proxy.
fn on_behalf(client: &str, request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen("\r\n", &format!("\r\nX-Forwarded-For: 6.6.6.6, {client}\r\n"), 1).into_bytes()
}

#[tokio::test]
async fn whom_a_trusted_proxy_speaks_for_is_the_client() {
    let gate = gate(None).await;
    let login = |name: &str| rvp::login(name, CLIENT);
    for (from, client, name, status) in [
        (PROXY, "192.0.2.1", "kari", 200),
        (PROXY, "192.0.2.1", "alan", 429),
        (PROXY, "192.0.2.2", "alan", 200),
        // A stranger is who it is, whatever it says.
        ("127.0.0.1", "192.0.2.3", "bea", 200),
        ("127.0.0.1", "192.0.2.4", "carl", 429),
    ] {
        let answered = ask_from(&gate, from, on_behalf(client, &login(name))).await;
        assert_eq!(answered, status, "{from} {client} {name}");
    }
    let list = gate.operate("GET", "/api/v1/mailboxes").await.json();
    let subscribers: Vec<_> =
        list["mailboxes"].as_array().unwrap().iter().map(|one| &one["subscription"]["subscriber"]).collect();
    assert_eq!(subscribers, ["192.0.2.1", "192.0.2.2", "127.0.0.1"]);
}

#[tokio::test]
async fn those_behind_a_proxy_have_a_share_each_and_its_connections_have_no_bound_but_all() {
    let gate = gate(None).await;
    let kari = gate.login("kari").await;
    let mut elsewhere = Socket::connect_from("127.0.0.3", gate.public).await;
    elsewhere.send(rvp::login("alan", CLIENT)).await;
    let location = elsewhere.answer().await.field("content-location").unwrap();
    let alan = Login { poll: location.replace("http://im.example", ""), ..kari.clone() };
    let mut connections = Vec::new();
    for (client, login, polls) in [("192.0.2.1", &kari, 1), ("192.0.2.2", &alan, 2)] {
        let mut socket = Socket::connect_from(PROXY, gate.public).await;
        socket.send(on_behalf(client, &poll(login, ""))).await;
        gate.held(polls).await;
        connections.push(socket);
    }
    // More connections than one address may have.
    for _ in 0..3 {
        let mut socket = Socket::connect_from(PROXY, gate.public).await;
        socket.send(on_behalf("192.0.2.1", &poll(&alan, ""))).await;
        assert_eq!(socket.answer().await.status(), 429);
        connections.push(socket);
    }
}

/// Servers that hand fields on as variables cannot tell `X_Forwarded_For` from the field that the gateway vouches for.
#[tokio::test]
async fn what_looks_like_the_field_that_is_vouched_for_goes() {
    let gate = Gate::with(|config| config.upstreams[0].forwarded = Some(Forwarded::XForwardedFor)).await;
    let head = "GET / HTTP/1.1\nHost: im.example\nX_Forwarded_For: 10.9.9.9\nX-FORWARDED_FOR: 10.9.9.9\n\
                x_forwarded-for: 10.9.9.9";
    assert_eq!(gate.ask(text(head, "")).await.status(), 200);
    let raw = String::from_utf8(gate.upstream.last().raw().to_vec()).unwrap();
    assert!(!raw.contains("10.9.9.9") && raw.contains("X-Forwarded-For: 127.0.0.1"), "{raw}");
}
