//! Deliveries: clients that are called, at the address they gave or at their fixed ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pollgate::config::{ClientPolicy, Config, DeepAck, StoreKind};
use pollgate::mailbox::{DeliveryMode, Ports};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::support::{Gate, Login, Message, Socket, Step, Upstream, rvp, until, within};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Clients on this machine are called; one that fails is tried again soon.
fn calling(config: &mut Config) {
    config.delivery.mode = DeliveryMode::Default;
    config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    config.delivery.max_retry_delay = Duration::from_millis(50);
}

/// A client that listens, and takes everything.
async fn listening() -> Upstream {
    let client = Upstream::start().await;
    client.answers(OK);
    client
}

/// A port of this machine at which nobody listens, and nobody will but whoever asks for it by number.
async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn listen_at(address: SocketAddr) -> Upstream {
    let client = Upstream::on(TcpListener::bind(address).await.expect("the port is free still"));
    client.answers(OK);
    client
}

/// Signs a client in that listens at this address.
async fn login(gate: &Gate, name: &str, address: SocketAddr) -> Login {
    gate.login_as(&rvp::login(name, &format!("http://{address}"))).await
}

fn bodies(client: &Upstream) -> Vec<String> {
    client.seen().iter().map(Message::body_text).collect()
}

async fn tries(gate: &Gate, mode: &str, result: &str) -> f64 {
    gate.metric(&format!("pollgate_deliveries_total{{mode=\"{mode}\",result=\"{result}\"}}")).await
}

/// Waits until there were so many tries with this result.
async fn tried(gate: &Gate, result: &str, at_least: f64) {
    let look = async {
        while tries(gate, "default", result).await < at_least {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(result, look).await;
}

/// Waits until nothing is buffered.
async fn all_taken(gate: &Gate) {
    until("an empty store", || gate.gateway().store.totals().messages == 0).await;
}

#[tokio::test]
async fn a_client_is_called_at_its_own_address_with_every_byte() {
    let gate = Gate::with(calling).await;
    let client = Upstream::start().await;
    // As Net::RVP answers: no length, a bare LF, a stray line, and the connection stays.
    client.answers("HTTP/1.1 200 Change Notification Accepted\n\n\n");
    let callback = format!("http://{}/in%20box?a=b", client.address);
    let login = gate.login_as(&rvp::login("kari", &callback)).await;
    let notify = format!(
        "NOTIFY {} HTTP/1.1\r\nhOst: gateway\r\nRVP-notifications-VERSION: 0.2\r\nX-Twice: 1\r\nConnection: keep-alive\r\n\
         X-Twice:  2\r\nCONTENT-length: 5\r\n\r\n\0\u{7f}<a>",
        login.token
    );
    assert_eq!(gate.call_back(notify).await.status(), 200);
    client.saw(1).await;
    assert_eq!(
        client.last().raw_text(),
        format!(
            "NOTIFY /in%20box?a=b HTTP/1.1\r\nHost: {}\r\nRVP-notifications-VERSION: 0.2\r\nX-Twice: 1\r\n\
             X-Twice: 2\r\nCONTENT-length: 5\r\nConnection: close\r\n\r\n\0\u{7f}<a>",
            client.address
        )
    );
    all_taken(&gate).await;
    assert!(gate.bodies(&login).await.is_empty());
    assert_eq!(tries(&gate, "default", "delivered").await, 1.0);
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 1.0);
    assert_eq!(gate.metric("pollgate_unreachable_clients").await, 0.0);
}

#[tokio::test]
async fn fixed_ports_are_tried_in_order_until_a_connection_is_made() {
    // Three neighbours, of which the last one listens.
    let (range, client) = loop {
        let first = free_port().await;
        let last = SocketAddr::new(first.ip(), first.port().saturating_add(2));
        if let Ok(listener) = TcpListener::bind(last).await {
            break (first.port()..=last.port(), Upstream::on(listener));
        }
    };
    client.answers(OK);
    let gate = Gate::with(|config| {
        calling(config);
        config.delivery.mode = DeliveryMode::FixedPorts;
        config.delivery.ports = Some(Ports::parse(&format!("{}-{}", range.start(), range.end())).unwrap());
    })
    .await;
    // Its own port is not among them, and plays no part.
    let elsewhere = listening().await;
    let login = login(&gate, "kari", elsewhere.address).await;
    gate.deliver(&login, "1").await;
    client.saw(1).await;
    assert_eq!(client.last().field("host").unwrap(), client.address.to_string());
    all_taken(&gate).await;
    let first = listen_at(SocketAddr::new(client.address.ip(), *range.start())).await;
    // A courier that is at work still may know the last port; one that begins anew begins at the first one.
    let mut sent = 1;
    while first.seen().is_empty() {
        gate.deliver(&login, "2").await;
        all_taken(&gate).await;
        sent += 1;
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(tries(&gate, "fixed-ports", "delivered").await, f64::from(sent));
}

#[tokio::test]
async fn what_cannot_be_delivered_waits_for_a_poll_or_for_the_client() {
    let gate = Gate::with(calling).await;
    let address = free_port().await;
    let login = login(&gate, "kari", address).await;
    gate.deliver(&login, "1").await;
    tried(&gate, "unreachable", 2.0).await;
    assert_eq!(gate.metric("pollgate_unreachable_clients").await, 1.0);
    assert_eq!(gate.bodies(&login).await, ["1"]);
    gate.deliver(&login, "2").await;
    gate.deliver(&login, "3").await;
    let client = listen_at(address).await;
    client.saw(2).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["2", "3"], "the poll has the first one");
    assert_eq!(gate.metric("pollgate_unreachable_clients").await, 0.0);
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 0.0, "it was never on its way");
}

#[tokio::test]
async fn order_is_kept_under_load() {
    const CLIENTS: usize = 8;
    const MESSAGES: usize = 60;
    let gate = Arc::new(Gate::with(calling).await);
    let mut clients = Vec::new();
    let mut servers = JoinSet::new();
    for n in 0..CLIENTS {
        let client = Upstream::start().await;
        // Every fifth try fails in one of the ways in which it may.
        let count = AtomicUsize::new(n);
        client.script(move |_| match count.fetch_add(1, SeqCst) % 10 {
            4 => vec![Step::Close],
            9 => vec![Step::Send(b"HTTP/1.1 503 Later\r\n\r\n".to_vec()), Step::Close],
            _ => vec![Step::Send(OK.into())],
        });
        let login = login(&gate, &format!("c{n}"), client.address).await;
        let gate = gate.clone();
        servers.spawn(async move {
            for message in 0..MESSAGES {
                gate.deliver(&login, &format!("{message:03}")).await;
            }
        });
        clients.push(client);
    }
    servers.join_all().await;
    all_taken(&gate).await;
    for client in clients {
        let mut seen = bodies(&client);
        assert!(seen.is_sorted(), "{seen:?}");
        seen.dedup();
        assert_eq!(seen.len(), MESSAGES);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_unsubscribed() {
    for answer in ["HTTP/1.1 410 Gone\r\n\r\n", "HTTP/1.1 412 Precondition Failed\n\n"] {
        let gate = Gate::with(calling).await;
        let client = Upstream::start().await;
        client.answers(answer);
        let login = login(&gate, "kari", client.address).await;
        gate.deliver(&login, "1").await;
        gate.upstream.saw(2).await;
        let unsubscribe = gate.upstream.last();
        assert_eq!(unsubscribe.start_line(), "UNSUBSCRIBE /instmsg/aliases/kari HTTP/1.1");
        assert_eq!(unsubscribe.field("subscription-id"), Some(login.id.clone()));
        assert_eq!(unsubscribe.field("rvp-from-principal"), Some(rvp::principal("kari")));
        gate.mailboxes(0).await;
        assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 404);
        assert_eq!(gate.call_back(rvp::notify(&login.token, "", "2")).await.status(), 412);
        assert_eq!(client.seen().len(), 1);
        assert_eq!(tries(&gate, "default", "client-gone").await, 1.0);
        let dropped = gate.metric("pollgate_messages_dropped_total{reason=\"abandoned\"}").await;
        assert_eq!(dropped, 1.0);
    }
}

#[tokio::test]
async fn every_other_answer_is_a_reason_to_come_again() {
    let gate = Gate::with(calling).await;
    let elsewhere = listening().await;
    let client = Upstream::start().await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\n\r\n", elsewhere.address);
    let answers = [
        "HTTP/1.1 500 Left the conversation\r\n\r\n",
        &redirect,
        "HTTP/1.1 404 Not Found\n\n",
        "",
        "SSH-2.0-x\r\n",
    ]
    .map(|answer| vec![answer.to_owned().into_bytes()]);
    let count = AtomicUsize::new(0);
    client.script(move |_| match answers.get(count.fetch_add(1, SeqCst)).map(|answer| answer.concat()) {
        Some(answer) => vec![Step::Send(answer), Step::Close],
        None => vec![Step::Send(OK.into())],
    });
    let login = login(&gate, "kari", client.address).await;
    gate.deliver(&login, "1").await;
    gate.deliver(&login, "2").await;
    client.saw(7).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["1", "1", "1", "1", "1", "1", "2"], "the next one only after a 2xx");
    assert_eq!(elsewhere.connections(), 0, "a redirect is not followed");
    for (result, expected) in [("refused", 3.0), ("unanswered", 2.0), ("delivered", 2.0)] {
        assert_eq!(tries(&gate, "default", result).await, expected, "{result}");
    }
}

#[tokio::test]
async fn a_slow_client_delays_no_other() {
    let gate = Gate::with(calling).await;
    let (slow, quick) = (Upstream::start().await, listening().await);
    slow.script(|_| vec![Step::Wait(Arc::default())]);
    let (to_slow, to_quick) =
        (login(&gate, "slow", slow.address).await, login(&gate, "quick", quick.address).await);
    gate.deliver(&to_slow, "1").await;
    slow.saw(1).await;
    for n in 0..20 {
        gate.deliver(&to_slow, &n.to_string()).await;
        gate.deliver(&to_quick, &n.to_string()).await;
    }
    quick.saw(20).await;
    assert_eq!(slow.seen().len(), 1);
}

#[tokio::test]
async fn clients_in_trouble_do_not_use_up_what_the_others_need() {
    let gate = Gate::with(|config| {
        calling(config);
        config.delivery.max_concurrent = 1;
        config.delivery.answer_timeout = Duration::from_secs(3600);
    })
    .await;
    let (troubled, well) = (Upstream::start().await, listening().await);
    let count = AtomicUsize::new(0);
    troubled.script(move |_| match count.fetch_add(1, SeqCst) {
        0 => vec![Step::Close],
        _ => vec![Step::Wait(Arc::default())],
    });
    let to_troubled = login(&gate, "troubled", troubled.address).await;
    let to_well = login(&gate, "well", well.address).await;
    gate.deliver(&to_troubled, "1").await;
    // From now on it has the only permit of its kind, and keeps it.
    troubled.saw(2).await;
    gate.deliver(&to_well, "1").await;
    well.saw(1).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_given_up_and_tried_again() {
    let gate = Gate::with(|config| {
        calling(config);
        config.delivery.answer_timeout = Duration::from_millis(50);
    })
    .await;
    let client = Upstream::start().await;
    client.script(|_| vec![Step::Wait(Arc::default())]);
    let login = login(&gate, "kari", client.address).await;
    gate.deliver(&login, "1").await;
    tried(&gate, "unanswered", 2.0).await;
    client.answers(OK);
    all_taken(&gate).await;
    assert_eq!(gate.metric("pollgate_unreachable_clients").await, 0.0);
}

#[tokio::test]
async fn a_poll_takes_over_what_is_on_its_way() {
    let gate = Gate::with(calling).await;
    let client = Upstream::start().await;
    client.script(|_| vec![Step::Wait(Arc::default())]);
    let login = login(&gate, "kari", client.address).await;
    gate.deliver(&login, "1").await;
    client.saw(1).await;
    gate.deliver(&login, "2").await;
    assert_eq!(gate.bodies(&login).await, ["1", "2"]);
    tried(&gate, "polled", 1.0).await;
    // What the poll's answer carried is not delivered once more; what comes is.
    client.answers(OK);
    gate.deliver(&login, "3").await;
    client.saw(2).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["1", "3"]);
}

#[tokio::test]
async fn a_held_poll_is_served_and_nothing_is_delivered_beside_it() {
    let gate = Gate::with(calling).await;
    let client = listening().await;
    let login = login(&gate, "kari", client.address).await;
    let mut poller = gate.client().await;
    for n in ["1", "2", "3"] {
        poller.send(super::support::poll(&login, "")).await;
        gate.held(1).await;
        gate.deliver(&login, n).await;
        assert_eq!(super::support::bodies(&poller.answer().await), [n]);
    }
    drop(poller);
    gate.connections(0).await;
    gate.deliver(&login, "4").await;
    client.saw(1).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["4"]);
}

#[tokio::test]
async fn what_may_not_be_connected_to_is_left_alone_and_can_be_polled() {
    let client = listening().await;
    let own = |gate: &Gate| [gate.callback, gate.public, gate.admin];
    for listed in [false, true] {
        let gate = Gate::with(|config| {
            calling(config);
            if !listed {
                config.delivery.allow.clear();
            }
        })
        .await;
        // A client on the gateway's own machine, unless it is listed; the gateway itself, always.
        let addresses = if listed { own(&gate).to_vec() } else { vec![client.address] };
        for (n, address) in addresses.into_iter().enumerate() {
            let login = login(&gate, &format!("c{n}"), address).await;
            gate.deliver(&login, "1").await;
            tried(&gate, "not-allowed", n as f64 + 1.0).await;
            assert_eq!(gate.bodies(&login).await, ["1"]);
        }
        assert_eq!(tries(&gate, "default", "unreachable").await, 0.0);
        assert_eq!(gate.callbacks("unknown").await, 0.0, "nothing came back to us");
    }
    assert_eq!(client.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_followed() {
    let client = listening().await;
    let gate = Gate::with(|config| {
        calling(config);
        config.delivery.allow = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    let callback = format!("http://localhost:{}/", client.address.port());
    let login = gate.login_as(&rvp::login("kari", &callback)).await;
    gate.deliver(&login, "1").await;
    tried(&gate, "not-allowed", 1.0).await;
    assert_eq!((client.connections(), gate.bodies(&login).await), (0, vec!["1".to_owned()]));
}

#[tokio::test]
async fn the_mode_is_chosen_at_sign_in_and_outlives_the_process() {
    let state = tempfile::tempdir().unwrap();
    let address = free_port().await;
    let on_disk = |config: &mut Config| {
        config.store.kind = StoreKind::Disk;
        config.store.path = state.path().to_owned();
        config.store.min_free_bytes = 0;
        calling(config);
    };
    let gate = Gate::with(on_disk).await;
    let login = login(&gate, "kari", address).await;
    gate.deliver(&login, "1").await;
    gate.deliver(&login, "2").await;
    tried(&gate, "unreachable", 1.0).await;
    let upstream = gate.stop().await;
    // What is set now is for who signs in now.
    let gate = Gate::before(upstream, |config| {
        on_disk(config);
        config.delivery.mode = DeliveryMode::Polling;
    });
    let client = listen_at(address).await;
    client.saw(2).await;
    all_taken(&gate).await;
    assert_eq!(bodies(&client), ["1", "2"]);
    let polling = self::login(&gate, "olga", address).await;
    gate.deliver(&polling, "3").await;
    assert_eq!(gate.bodies(&polling).await, ["3"]);
    assert_eq!(client.seen().len(), 2);
    gate.stop().await;
}

#[tokio::test]
async fn the_first_policy_that_matches_says_who_is_called() {
    let client = listening().await;
    let gate = Gate::with(|config| {
        calling(config);
        config.delivery.mode = DeliveryMode::Polling;
        config.client_policy = vec![ClientPolicy {
            source: vec!["127.0.0.2/32".parse().unwrap()],
            mode: Some(DeliveryMode::Default),
            ..ClientPolicy::default()
        }];
    })
    .await;
    let request = rvp::login("kari", &format!("http://{}", client.address));
    for (own, called) in [("127.0.0.1", false), ("127.0.0.2", true)] {
        let mut socket = Socket::connect_from(own, gate.public).await;
        socket.send(&request).await;
        assert_eq!(socket.answer().await.status(), 200);
        let token = gate.token();
        assert_eq!(gate.call_back(rvp::notify(&token, "", own)).await.status(), 200);
        if called {
            client.saw(1).await;
        }
    }
    assert_eq!(bodies(&client), ["127.0.0.2"]);
}

#[tokio::test]
async fn a_client_without_an_address_is_polling_whatever_is_set() {
    let gate = Gate::with(calling).await;
    let request = rvp::login("kari", "http://10.1.2.3:1234");
    let request = String::from_utf8(request).unwrap().replace("Call-Back: http://10.1.2.3:1234\r\n", "");
    let login = gate.login_as(request.as_bytes()).await;
    gate.deliver(&login, "1").await;
    assert_eq!(gate.bodies(&login).await, ["1"]);
    assert_eq!(
        tries(&gate, "default", "unreachable").await + tries(&gate, "default", "not-allowed").await,
        0.0
    );
}

#[tokio::test]
async fn a_deep_acknowledgement_waits_for_the_delivery() {
    let gate = Gate::with(|config| {
        calling(config);
        config.callback.deep_ack = DeepAck::Delivered;
    })
    .await;
    let told = Arc::new(Notify::new());
    let client = Upstream::start().await;
    let waits = told.clone();
    client.script(move |_| vec![Step::Wait(waits.clone()), Step::Send(OK.into())]);
    let login = login(&gate, "kari", client.address).await;
    let mut server = Socket::connect(gate.callback).await;
    server.send(rvp::notify(&login.token, "RVP-Ack-Type: DeepOr\n", "1")).await;
    client.saw(1).await;
    assert!(!server.has_input().await);
    told.notify_one();
    assert_eq!(server.answer().await.start_line(), "HTTP/1.1 200 Successful");
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_that_is_on_its_way() {
    let gate = Gate::with(calling).await;
    let told = Arc::new(Notify::new());
    let client = Upstream::start().await;
    let waits = told.clone();
    client.script(move |_| vec![Step::Wait(waits.clone()), Step::Send(OK.into())]);
    let (login, other) =
        (login(&gate, "kari", client.address).await, login(&gate, "olga", free_port().await).await);
    gate.deliver(&login, "1").await;
    gate.deliver(&login, "2").await;
    gate.deliver(&other, "3").await;
    client.saw(1).await;
    tried(&gate, "unreachable", 1.0).await;
    let gateway = gate.gateway().clone();
    let answered = async {
        gateway.stop.clients.cancelled().await;
        told.notify_one();
    };
    within("a stop", async { tokio::join!(gate.stop(), answered) }).await;
    assert_eq!(gateway.store.totals().messages, 2, "the first one was acknowledged, and no other was begun");
    assert_eq!(client.seen().len(), 1);
}
