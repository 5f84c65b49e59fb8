//! Notifications of WebDAV servers, for clients that ask with POLL which of their subscriptions had events.

use std::time::Duration;

use pollgate::mailbox::DeliveryMode;
use tokio::net::UdpSocket;

use crate::agent;
use crate::support::{Gate, Login, Message, answer, bodies, exchange, text, until, within};

const INBOX: &str = "/exchange/kari/Inbox/";

/// A server that grants every subscription, with ids from 21 on.
async fn server() -> Gate {
    let gate = Gate::start().await;
    let next = std::sync::atomic::AtomicUsize::new(21);
    gate.upstream.script(move |request| match request.method().as_str() {
        "SUBSCRIBE" => {
            let id = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            answer(&format!("HTTP/1.1 200 OK\nSubscription-id: {id}\nSubscription-lifetime: 3600"), "")
        }
        _ => answer("HTTP/1.1 200 OK", ""),
    });
    gate
}

fn subscribe(node: &str, fields: &str) -> Vec<u8> {
    let head = format!(
        "SUBSCRIBE {node} HTTP/1.1\nHost: mail.example\nNotification-Type: update/newmember\nDepth: 1\n{fields}\
         Subscription-lifetime: 3600\nContent-Length: 0"
    );
    text(&head, "")
}

async fn login(gate: &Gate, node: &str, fields: &str) -> Login {
    let granted = gate.ask(subscribe(node, fields)).await;
    let location = granted.field("content-location").expect("a place to poll");
    Login {
        poll: location.strip_prefix("http://mail.example").unwrap().to_owned(),
        token: gate.token(),
        id: granted.field("subscription-id").unwrap(),
    }
}

async fn notify(gate: &Gate, login: &Login) {
    let head = format!(
        "NOTIFY /{} HTTP/1.1\nHost: 127.0.0.1\nSubscription-id: {}\nContent-Length: 0",
        login.token, login.id
    );
    assert_eq!(gate.call_back(text(&head, "")).await.status(), 200);
}

async fn poll(gate: &Gate, node: &str, ids: &str, fields: &str) -> Message {
    let head = format!(
        "POLL {node} HTTP/1.1\nHost: mail.example\n{fields}Subscription-ID: {ids}\nContent-Length: 0"
    );
    gate.ask(text(&head, "")).await
}

/// The body, and that it is one: 207 with the ids that had events, those that had none, and those that are not there.
fn standings(answer: &Message, node: &str, events: &[&str], nothing: &[&str], unknown: &[&str]) {
    assert_eq!((answer.status(), answer.field("content-type").as_deref()), (207, Some("text/xml")));
    let mut expected = String::from(
        "<?xml version=\"1.0\"?>\r\n<a:multistatus xmlns:b=\"http://schemas.microsoft.com/Exchange/\" xmlns:a=\"DAV:\">",
    );
    let lines = ["200 OK", "204 No Content", "412 Precondition Failed"];
    for (line, ids) in lines.into_iter().zip([events, nothing, unknown]) {
        if !ids.is_empty() {
            let list: String = ids.iter().map(|id| format!("<li>{id}</li>")).collect();
            expected += &format!(
                "<a:response><a:href>http://mail.example{node}</a:href><a:status>HTTP/1.1 {line}</a:status>\
                 <b:subscriptionID>{list}</b:subscriptionID></a:response>"
            );
        }
    }
    assert_eq!(answer.body_text(), expected + "</a:multistatus>");
}

/// As Evolution has it: an address for datagrams, and a poll of several subscriptions at once.
#[tokio::test]
async fn a_client_asks_which_of_its_subscriptions_had_events() {
    let gate = server().await;
    let first = login(&gate, INBOX, "Call-back: httpu://10.1.2.3:1234/\n").await;
    let told = gate.upstream.last().field("call-back").unwrap();
    assert!(told.starts_with(&format!("http://{}/", gate.callback)), "the server calls the gateway: {told}");
    login(&gate, INBOX, "Call-Back: http://10.1.2.3:1234/\n").await;
    standings(&poll(&gate, INBOX, "21,22", "").await, INBOX, &[], &["21", "22"], &[]);
    notify(&gate, &first).await;
    notify(&gate, &first).await;
    let asked = poll(&gate, INBOX, "21, 22, 99", "Accept: text/xml, */*\n").await;
    standings(&asked, INBOX, &["21"], &["22"], &["99"]);
    // It knows now, and is not told again.
    standings(&poll(&gate, INBOX, "22", "").await, INBOX, &[], &["22"], &[]);
    gate.follow(|config| config.polling.min_poll_interval = Duration::ZERO);
    standings(&poll(&gate, INBOX, "21,22", "").await, INBOX, &[], &["21", "22"], &[]);
    assert_eq!(poll(&gate, INBOX, "99", "").await.status(), 412);
    assert_eq!(gate.gateway().store.totals().messages, 0);
}

/// Exchange's servers notify with datagrams; a client that listens for them has an agent beside it.
#[tokio::test]
async fn datagrams_come_in_and_go_out() {
    let gate = Gate::with(|config| config.listen.callback_udp = Some("127.0.0.1:0".parse().unwrap())).await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-id: 21", ""));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let agent = agent::start(agent::settings(&gate));
    let callback = format!("Call-back: httpu://{}/\n", client.local_addr().unwrap());
    assert_eq!(exchange(agent.address(), subscribe(INBOX, &callback)).await.status(), 200);
    // The agent took the address away: nobody would have to send it a datagram.
    let told = gate.upstream.last().field("call-back").unwrap();
    let token = told.strip_prefix(&format!("http://{}/", gate.callback)).expect("over TCP").to_owned();
    assert_eq!(gate.ask(subscribe(INBOX, &callback)).await.status(), 200);
    let told = gate.upstream.last().field("call-back").unwrap();
    let address = told.strip_prefix("httpu://").and_then(|rest| rest.split_once('/')).expect("over UDP").0;
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for nonsense in ["", "hello", "NOTIFY / HTTP/1.1\r\n"] {
        server.send_to(nonsense.as_bytes(), address).await.unwrap();
    }
    let notify = format!("NOTIFY httpu://{address}/{token} HTTP/1.1\r\nSubscription-id: 21\r\n\r\n");
    server.send_to(notify.as_bytes(), address).await.unwrap();
    let mut got = [0; 256];
    let (length, _) = within("a datagram", client.recv_from(&mut got)).await.unwrap();
    let got = String::from_utf8_lossy(&got[..length]).into_owned();
    assert!(got.starts_with("NOTIFY / HTTP/1.1\r\n") && got.contains("Subscription-id: 21\r\n"), "{got}");
    until("the others", || gate.gateway().store.totals().messages == 0).await;
    assert_eq!(gate.callbacks("unreadable").await, 3.0);
    agent.stop().await;
}

/// Waits until so many callbacks were refused for this reason.
async fn refused(gate: &Gate, reason: &str, so_many: f64) {
    let look = async {
        while gate.callbacks(reason).await < so_many {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(reason, look).await;
}

/// What holds for other callbacks holds for datagrams: who sends them, how long they are, and what they take together.
#[tokio::test]
async fn datagrams_have_the_bounds_of_other_callbacks() {
    let gate = Gate::with(|config| config.listen.callback_udp = Some("127.0.0.1:0".parse().unwrap())).await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-id: 21", ""));
    gate.ask(subscribe(INBOX, "Call-back: HTTPU://10.1.2.3:1234/\n")).await;
    let told = gate.upstream.last().field("call-back").unwrap();
    let address = told.strip_prefix("httpu://").and_then(|rest| rest.split_once('/')).expect("over UDP").0;
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let notify = format!("NOTIFY {told} HTTP/1.1\r\n\r\n12345");
    let send = async || assert_eq!(server.send_to(notify.as_bytes(), address).await.unwrap(), notify.len());
    gate.follow(|config| config.callback.max_body_bytes = 4);
    send().await;
    refused(&gate, "body-too-large", 1.0).await;
    gate.follow(|config| (config.callback.max_body_bytes, config.limits.body_bytes_in_flight) = (5, 4));
    send().await;
    refused(&gate, "no-memory", 1.0).await;
    gate.follow(|config| {
        config.limits.body_bytes_in_flight = 5;
        config.callback.allow = vec!["192.0.2.1/32".parse().unwrap()];
    });
    send().await;
    refused(&gate, "source", 1.0).await;
    assert_eq!(gate.gateway().store.totals().messages, 0);
    gate.follow(|config| config.callback.allow = vec!["127.0.0.1/32".parse().unwrap()]);
    send().await;
    until("a message", || gate.gateway().store.totals().messages == 1).await;
}

/// Without an agent the gateway sends datagrams itself, to clients that it may call. They take nothing out of the
/// mailbox: nobody could tell whether one arrived.
#[tokio::test]
async fn a_client_that_is_called_by_datagrams_polls_what_they_tell_of() {
    let gate = Gate::with(|config| {
        config.delivery.mode = DeliveryMode::Default;
        config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
        config.polling.min_poll_interval = Duration::ZERO;
    })
    .await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-id: 21", ""));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = client.local_addr().unwrap();
    let login = login(&gate, INBOX, &format!("Call-back: httpu://{address}/\n")).await;
    for round in 1..=2 {
        notify(&gate, &login).await;
        let mut got = [0; 256];
        let (length, _) = within("a datagram", client.recv_from(&mut got)).await.unwrap();
        let expected = format!("NOTIFY / HTTP/1.1\r\nHost: {address}\r\nSubscription-id: 21\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(&got[..length]), expected);
        assert_eq!(gate.gateway().store.totals().messages, 1, "it waits for the poll");
        standings(&poll(&gate, INBOX, "21", "").await, INBOX, &["21"], &[], &[]);
        // Asking once more says that it knows.
        standings(&poll(&gate, INBOX, "21", "").await, INBOX, &[], &["21"], &[]);
        assert_eq!(gate.gateway().store.totals().messages, 0);
        let told = "pollgate_deliveries_total{mode=\"default\",result=\"told\"}";
        assert_eq!(gate.metric(told).await, f64::from(round));
    }
}

/// As Slide's client has it: everything at the root of the server.
#[tokio::test]
async fn all_subscriptions_are_polled_at_the_root() {
    let gate = server().await;
    login(&gate, "/files/a", "Call-back: http://10.1.2.3:1234/\nNotification-delay: 0\n").await;
    let second = login(&gate, "/files/b", "Call-back: http://10.1.2.3:1234/\n").await;
    notify(&gate, &second).await;
    standings(&poll(&gate, "/", "21,22", "").await, "/files/a", &["22"], &["21"], &[]);
    assert_eq!(poll(&gate, "/files/a", "22", "").await.status(), 412, "only there");
}

/// A client that gives no address chooses polling, at the place that the answer names.
#[tokio::test]
async fn the_place_to_poll_knows_which_subscription_is_meant() {
    let gate = server().await;
    let login = login(&gate, INBOX, "").await;
    standings(&gate.poll(&login, "").await, INBOX, &[], &["21"], &[]);
    notify(&gate, &login).await;
    standings(&gate.poll(&login, "").await, INBOX, &["21"], &[], &[]);
}

#[tokio::test]
async fn a_poll_is_held_if_that_is_asked_for_and_brings_messages_to_whom_knows_them() {
    let gate = server().await;
    let login = login(&gate, INBOX, "").await;
    let mut client = gate.client().await;
    client.send(crate::support::poll(&login, "Prefer: wait=60\n")).await;
    gate.held(1).await;
    notify(&gate, &login).await;
    standings(&client.answer().await, INBOX, &["21"], &[], &[]);
    notify(&gate, &login).await;
    let whole = gate.poll(&login, "Accept: multipart/mixed\n").await;
    assert_eq!((whole.status(), bodies(&whole)), (200, vec![String::new()]));
}

#[tokio::test]
async fn the_status_is_for_webdav_alone() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "news").await;
    let answer = gate.poll(&login, "Accept: text/xml\nPrefer: wait=0\n").await;
    assert_eq!((answer.status(), bodies(&answer)), (200, vec!["news".to_owned()]));
}
