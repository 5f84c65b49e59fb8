//! TLS with clients, and with the upstream.

use std::sync::Arc;
use std::time::Duration;

use pollgate::agent::{Poller, Target};
use pollgate::clock;
use pollgate::config::Config;
use pollgate::mailbox::DeliveryMode;
use pollgate::tls::Trust;

use crate::support::{Authority, CLIENT, Gate, Login, Pair, Socket, Upstream, bodies, poll, rvp, text};

const NAME: &str = "im.example";

/// Serves clients within TLS, with this certificate.
fn with(pair: &Pair) -> impl FnOnce(&mut Config) + use<> {
    let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
    move |config| {
        config.listen.tls.public = vec!["127.0.0.1:0".parse().unwrap()];
        config.listen.tls.certificate = Some(certificate);
        config.listen.tls.key = Some(key);
    }
}

fn get() -> Vec<u8> {
    text("GET / HTTP/1.1\nHost: im.example", "")
}

async fn client(gate: &Gate, authority: &Authority) -> Socket {
    Socket::secure(gate.tls(), NAME, &authority.connector()).await.expect("a handshake")
}

async fn handshakes(gate: &Gate, result: &str) -> f64 {
    gate.metric(&format!("pollgate_tls_handshakes_total{{result=\"{result}\"}}")).await
}

/// A login on this connection, whose client is told where to poll within TLS.
async fn login(gate: &Gate, client: &mut Socket) -> Login {
    client.send(rvp::login("kari", CLIENT)).await;
    let answer = client.answer().await;
    let location = answer.field("content-location").expect("a place to poll");
    let path = location.strip_prefix("https://im.example").expect("a place within TLS");
    let id = answer.field("subscription-id").unwrap_or_default();
    Login { poll: path.to_owned(), token: gate.token(), id }
}

#[tokio::test]
async fn all_that_a_client_does_is_done_within_tls() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    let mut socket = client(&gate, &authority).await;
    let login = login(&gate, &mut socket).await;
    socket.send(poll(&login, "")).await;
    gate.held(1).await;
    gate.deliver(&login, "news").await;
    assert_eq!(bodies(&socket.answer().await), ["news"]);
    // Large enough to fill every buffer on the way.
    let large = "x".repeat(1_000_000);
    let body = large.clone();
    gate.upstream.script(move |_| crate::support::answer("HTTP/1.1 200 OK", &body));
    socket.send(text("POST / HTTP/1.1\nHost: im.example\nContent-Length: 1000000", &large)).await;
    assert_eq!(socket.answer().await.body_text(), large);
    assert_eq!(gate.upstream.last().body_text(), large);
    assert_eq!(handshakes(&gate, "completed").await, 1.0);
    assert_eq!(gate.metric("pollgate_connections").await, 1.0);
    socket.send("GET / HTTP/1.1\r\nHost: im.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(socket.answer().await.status(), 200);
    socket.is_closed().await;
}

#[tokio::test]
async fn a_client_without_tls_is_served_beside_one_with_it() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    assert_eq!(gate.ask(get()).await.status(), 200);
    let login = gate.login("kari").await;
    let mut secure = client(&gate, &authority).await;
    secure.send(poll(&login, "")).await;
    gate.held(1).await;
    gate.deliver(&login, "news").await;
    assert_eq!(bodies(&secure.answer().await), ["news"]);
}

#[tokio::test]
async fn tls_may_be_all_there_is() {
    let authority = Authority::new();
    let tls = with(&authority.issue(NAME, "a"));
    let gate = Gate::with(|config| {
        tls(config);
        config.listen.public = Vec::new();
    })
    .await;
    let mut socket = client(&gate, &authority).await;
    socket.send(get()).await;
    assert_eq!(socket.answer().await.status(), 200);
}

#[tokio::test]
async fn who_goes_away_within_tls_is_seen_to() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    let mut first = client(&gate, &authority).await;
    let login = login(&gate, &mut first).await;
    first.send(poll(&login, "")).await;
    gate.held(1).await;
    // With a close_notify, as RFC 8446 §6.1 has it, and without one.
    first.finish_sending().await;
    gate.held(0).await;
    let mut second = client(&gate, &authority).await;
    second.send(poll(&login, "")).await;
    gate.held(1).await;
    second.reset();
    gate.held(0).await;
    gate.connections(0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_words_of_tls() {
    let authority = Authority::new();
    let tls = with(&authority.issue(NAME, "a"));
    let gate = Gate::with(|config| {
        tls(config);
        config.limits.idle_timeout = Duration::from_millis(50);
    })
    .await;
    let mut socket = client(&gate, &authority).await;
    // An end without close_notify would be an error.
    assert_eq!(socket.read_once().await.expect("a close_notify"), 0);
}

#[tokio::test]
async fn plain_http_at_the_port_of_tls_gets_an_alert() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    let mut plain = Socket::connect(gate.tls()).await;
    plain.send(get()).await;
    let rest = plain.rest().await;
    assert_eq!(&rest[..2], [21, 3], "an alert: {rest:?}");
    assert_eq!(handshakes(&gate, "not-tls").await, 1.0);
    assert!(gate.upstream.seen().is_empty());
}

#[tokio::test]
async fn whoever_speaks_no_http_1_1_is_not_understood() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    let mut config = rustls_config(&authority);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    assert!(Socket::secure(gate.tls(), NAME, &connector).await.is_err());
    assert_eq!(handshakes(&gate, "failed").await, 1.0);
}

fn rustls_config(authority: &Authority) -> tokio_rustls::rustls::ClientConfig {
    tokio_rustls::rustls::ClientConfig::clone(authority.connector().config())
}

#[tokio::test]
async fn a_slow_handshake_ends_and_holds_nobody_up() {
    let authority = Authority::new();
    let tls = with(&authority.issue(NAME, "a"));
    let gate = Gate::with(|config| {
        tls(config);
        config.limits.header_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = Socket::connect(gate.tls()).await;
    let mut slow = Socket::connect(gate.tls()).await;
    slow.send([22, 3, 1]).await;
    gate.connections(2).await;
    let mut socket = client(&gate, &authority).await;
    socket.send(get()).await;
    assert_eq!(socket.answer().await.status(), 200);
    silent.is_closed().await;
    slow.is_closed().await;
    assert_eq!(handshakes(&gate, "timeout").await, 2.0);
    gate.connections(1).await;
}

#[tokio::test]
async fn a_handshake_takes_a_place_and_who_finds_none_gets_an_alert() {
    let authority = Authority::new();
    let tls = with(&authority.issue(NAME, "a"));
    let gate = Gate::with(|config| {
        tls(config);
        config.limits.connections = 1;
    })
    .await;
    let first = Socket::connect(gate.tls()).await;
    gate.connections(1).await;
    let mut second = Socket::connect(gate.tls()).await;
    // Fatal, internal_error.
    assert_eq!(second.rest().await, [21, 3, 3, 0, 2, 2, 80]);
    assert_eq!(gate.metric("pollgate_connections_refused_total{bound=\"all\"}").await, 1.0);
    drop(first);
    gate.connections(0).await;
    client(&gate, &authority).await;
}

/// The certificate that is shown.
async fn shown(gate: &Gate, authority: &Authority) -> Vec<u8> {
    client(gate, authority).await.certificate()
}

#[tokio::test]
async fn a_certificate_is_followed_and_one_that_is_of_no_use_is_not() {
    let authority = Authority::new();
    let pair = authority.issue(NAME, "a");
    let gate = Gate::with(with(&pair)).await;
    assert_eq!(shown(&gate, &authority).await, pair.der.to_vec());
    let start = clock::now();
    // Files are looked at once a second: the next look is as far from the last as a test likes.
    let look = async |seconds| gate.gateway().tick(start + Duration::from_secs(seconds));

    let next = authority.issue(NAME, "b");
    next.take_the_place_of(&pair);
    look(5).await;
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec());

    std::fs::copy(authority.issue(NAME, "c").key, &pair.key).unwrap();
    look(10).await;
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec(), "another key");
    std::fs::write(&pair.certificate, "no certificate").unwrap();
    look(15).await;
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec(), "no certificate");
    std::fs::remove_file(&pair.certificate).unwrap();
    look(20).await;
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec(), "no file");

    let last = authority.issue(NAME, "d");
    last.take_the_place_of(&pair);
    look(25).await;
    assert_eq!(shown(&gate, &authority).await, last.der.to_vec());
}

#[tokio::test]
async fn the_configuration_may_name_another_certificate() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    let next = authority.issue(NAME, "b");
    let changes = gate.follow(|config| {
        config.listen.tls.certificate = Some(next.certificate.clone());
        config.listen.tls.key = Some(next.key.clone());
    });
    assert_eq!(changes.followed, ["listen"]);
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec());
    let refused = gate.try_follow(|config| config.listen.tls.key = Some("/no/such/file".into()));
    assert!(refused.unwrap_err().to_string().contains("/no/such/file"));
    assert_eq!(shown(&gate, &authority).await, next.der.to_vec());
}

#[tokio::test]
async fn the_end_of_the_certificate_is_a_metric() {
    const SAMPLE: &str = "pollgate_tls_certificate_not_after_timestamp_seconds";
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue(NAME, "a"))).await;
    gate.gateway().tick(clock::now());
    // The start of 2040.
    assert_eq!(gate.metric(SAMPLE).await, 2_208_988_800.0);
    assert!(Gate::start().await.metric(SAMPLE).await.is_nan());
}

#[tokio::test]
async fn pollgates_own_client_polls_within_tls() {
    let authority = Authority::new();
    let gate = Gate::with(with(&authority.issue("127.0.0.1", "a"))).await;
    let login = gate.login("kari").await;
    gate.deliver(&login, &rvp::message("tove", "kari", "hei")).await;
    let target = Target::parse(&format!("https://{}{}", gate.tls(), login.poll)).unwrap();
    let believing = |authority: &Authority| {
        let trust = Arc::new(Trust::open(Some(authority.file())).unwrap());
        Poller::new(target.clone(), None, Some(trust))
    };
    let news = believing(&authority).poll(Duration::ZERO, false, |_, _| ()).await.unwrap();
    assert_eq!(news.messages.len(), 1);
    let refused = believing(&Authority::new()).poll(Duration::ZERO, false, |_, _| ()).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
}

/// Asks at this upstream, believing this authority.
fn asking(upstream: &Upstream, authority: &Authority) -> impl FnOnce(&mut Config) + use<> {
    let (address, file) = (format!("https://{}", upstream.address), authority.file());
    move |config| {
        config.upstreams[0].address = address;
        config.upstreams[0].ca_file = Some(file);
    }
}

#[tokio::test]
async fn the_upstream_is_spoken_to_within_tls() {
    let authority = Authority::new();
    let upstream = Upstream::secure(&authority.issue("127.0.0.1", "up")).await;
    let change = asking(&upstream, &authority);
    let gate = Gate::before(upstream, change);
    for _ in 0..3 {
        assert_eq!(gate.ask(get()).await.body_text(), "upstream");
    }
    assert_eq!(gate.upstream.connections(), 1, "the connection is kept for the next request");
    let login = gate.login("kari").await;
    gate.deliver(&login, "news").await;
    assert_eq!(gate.bodies(&login).await, ["news"]);
    assert!(gate.operate("GET", "/readyz").await.body_text().contains("ok      upstream"));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_believed_is_not_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (host, believed) in [("127.0.0.1", &other), ("elsewhere.example", &authority)] {
        let upstream = Upstream::secure(&authority.issue(host, "up")).await;
        let change = asking(&upstream, believed);
        let gate = Gate::before(upstream, change);
        let answer = gate.ask(get()).await;
        assert_eq!(answer.status(), 502, "{host}");
        assert_eq!(answer.body_text(), "the server behind this gateway cannot be trusted\n");
        assert_eq!(
            gate.metric("pollgate_upstream_errors_total{reason=\"tls\",upstream=\"legacy\"}").await,
            1.0
        );
        assert!(gate.upstream.seen().is_empty());
    }
}

#[tokio::test]
async fn an_upstream_without_tls_is_no_upstream_within_it() {
    let authority = Authority::new();
    let mut raw = Upstream::by_hand().await;
    let address = format!("https://{}", raw.address());
    let gate = Gate::with(|config| {
        config.upstreams[0].address = address;
        config.upstreams[0].ca_file = Some(authority.file());
    })
    .await;
    let answers = async {
        raw.accept().await.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let (answer, ()) = tokio::join!(gate.ask(get()), answers);
    assert_eq!(answer.status(), 502);
    assert_eq!(gate.metric("pollgate_upstream_errors_total{reason=\"tls\",upstream=\"legacy\"}").await, 1.0);
}

#[tokio::test]
async fn a_connection_of_ones_own_within_tls_is_nobody_elses_and_ends_with_its_client() {
    let authority = Authority::new();
    let upstream = Upstream::secure(&authority.issue("127.0.0.1", "up")).await;
    let change = asking(&upstream, &authority);
    let gate = Gate::before(upstream, change);
    let (mut kari, mut alan) = (gate.client().await, gate.client().await);
    alan.send(get()).await;
    alan.answer().await;
    for _ in 0..2 {
        kari.send(text("GET / HTTP/1.1\nHost: im.example\nAuthorization: NTLM TlRM", "")).await;
        kari.answer().await;
        alan.send(get()).await;
        alan.answer().await;
    }
    assert_eq!(gate.upstream.connections(), 2);
    drop(kari);
    gate.upstream.ended(1).await;
    alan.send(get()).await;
    assert_eq!(alan.answer().await.status(), 200);
    assert_eq!(gate.upstream.connections(), 2, "that of all others goes on");
}

#[tokio::test]
async fn a_kept_connection_is_believed_for_no_other_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::secure(&authority.issue("127.0.0.1", "up")).await;
    let change = asking(&upstream, &authority);
    let gate = Gate::before(upstream, change);
    assert_eq!(gate.ask(get()).await.status(), 200);
    gate.follow(|config| config.upstreams[0].ca_file = Some(other.file()));
    assert_eq!(gate.ask(get()).await.status(), 502);
    gate.follow(|config| config.upstreams[0].ca_file = Some(authority.file()));
    assert_eq!(gate.ask(get()).await.status(), 200);
}

#[tokio::test]
async fn what_is_not_passed_on_is_said_to_the_upstream_within_tls_too() {
    let authority = Authority::new();
    let upstream = Upstream::secure(&authority.issue("127.0.0.1", "up")).await;
    let change = asking(&upstream, &authority);
    let gate = Gate::before(upstream, |config| {
        change(config);
        config.delivery.mode = DeliveryMode::Default;
        config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 410 Gone\r\n\r\n");
    let login = gate.login_as(&rvp::login("kari", &format!("http://{}", client.address))).await;
    gate.deliver(&login, "news").await;
    gate.upstream.saw(2).await;
    assert_eq!(gate.upstream.last().method(), "UNSUBSCRIBE");
}
