//! The dialect of UPnP devices (UPnP Device Architecture 2.0 §4).

use std::time::Duration;

use pollgate::config::Config;
use pollgate::mailbox::DeliveryMode;

use crate::support::{Gate, Login, Message, Upstream, answer, bodies, parts, rvp, text};

const NODE: &str = "/upnp/event/rendercontrol1";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A device that grants every subscription what it asks for.
fn device(upstream: &Upstream) {
    upstream.script(|request| match request.field("timeout") {
        Some(lease) => answer(&format!("HTTP/1.1 200 OK\nSID: uuid:7\nTIMEOUT: {lease}"), ""),
        None => answer("HTTP/1.1 200 OK", ""),
    });
}

/// Control points on this machine are called.
fn calling(config: &mut Config) {
    config.delivery.mode = DeliveryMode::Default;
    config.delivery.allow = vec!["127.0.0.0/8".parse().unwrap()];
    config.delivery.max_retry_delay = Duration::from_millis(50);
}

fn request(method: &str, fields: &str) -> Vec<u8> {
    text(&format!("{method} {NODE} HTTP/1.1\nHost: 10.0.0.5:49494\n{fields}"), "")
}

fn subscribe(fields: &str) -> Vec<u8> {
    request("SUBSCRIBE", &format!("NT: upnp:event\nTIMEOUT: Second-1800\n{fields}"))
}

/// An event for the path of a callback address.
fn event(path: &str, sid: &str, seq: u32) -> Vec<u8> {
    let body = format!("<e:propertyset>{seq}</e:propertyset>");
    let head = format!(
        "NOTIFY {path} HTTP/1.1\nHost: 127.0.0.1\nNT: upnp:event\nNTS: upnp:propchange\nSID: {sid}\nSEQ: {seq}\n\
         Content-Type: text/xml; charset=\"utf-8\"\nContent-Length: {}",
        body.len()
    );
    text(&head, &body)
}

/// The path of the callback address that a device was told.
fn path(subscription: &Message) -> String {
    let callback = subscription.field("callback").expect("a callback");
    let address = callback.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).expect("brackets");
    format!("/{}", address.rsplit_once('/').expect("a token").1)
}

async fn login(gate: &Gate, fields: &str) -> Login {
    let granted = gate.ask(subscribe(fields)).await;
    assert_eq!((granted.status(), granted.field("sid").as_deref()), (200, Some("uuid:7")));
    let location = granted.field("content-location").expect("a place to poll");
    let poll = location.strip_prefix("http://10.0.0.5:49494").expect("a place on the gateway").to_owned();
    Login { poll, token: path(&gate.upstream.last()).trim_start_matches('/').to_owned(), id: "uuid:7".into() }
}

fn seqs(answer: &Message) -> Vec<String> {
    parts(answer).iter().map(|part| part.request.field("seq").expect("a SEQ")).collect()
}

#[tokio::test]
async fn a_control_point_that_polls_gets_every_event_as_the_device_sent_it() {
    let gate = Gate::start().await;
    device(&gate.upstream);
    for callback in [
        "CALLBACK: <http://10.1.2.3:5000/notify>",
        "Callback: <http://[fe80::1]:1/><http://10.1.2.3:1/>",
        "X: y",
    ] {
        let login = login(&gate, callback).await;
        // All alike, and yet none takes another's place.
        for seq in 0..3 {
            let taken = gate.call_back(event(&format!("/{}", login.token), "uuid:7", seq)).await;
            assert_eq!(taken.status(), 200);
        }
        let answer = gate.poll(&login, "Prefer: wait=0\n").await;
        assert_eq!(seqs(&answer), ["0", "1", "2"], "{callback}");
        assert_eq!(bodies(&answer)[2], "<e:propertyset>2</e:propertyset>");
        assert_eq!(gate.ask(request("UNSUBSCRIBE", "SID: uuid:7")).await.status(), 200);
        gate.mailboxes(0).await;
    }
}

#[tokio::test]
async fn a_renewal_prolongs_and_the_end_ends() {
    let gate = Gate::start().await;
    device(&gate.upstream);
    let login = login(&gate, "CALLBACK: <http://10.1.2.3:5000/>").await;
    let renewed = gate.ask(request("SUBSCRIBE", "SID: uuid:7\nTIMEOUT: Second-600")).await;
    assert_eq!((renewed.status(), renewed.field("timeout").as_deref()), (200, Some("Second-600")));
    assert_eq!(gate.upstream.last().field("callback"), None, "it passes as it came");
    // A device that knows no paths is understood by its SID.
    assert_eq!(gate.call_back(event("/", "uuid:7", 1)).await.status(), 200);
    assert_eq!(seqs(&gate.poll(&login, "Prefer: wait=0\n").await), ["1"]);
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "SID: uuid:7")).await.status(), 200);
    gate.mailboxes(0).await;
    let over = gate.call_back(event(&format!("/{}", login.token), "uuid:7", 2)).await;
    assert_eq!(over.status(), 412, "the device drops the subscription");
}

#[tokio::test]
async fn what_the_architecture_refuses_never_reaches_the_device() {
    let gate = Gate::start().await;
    device(&gate.upstream);
    for (fields, status) in [
        ("SID: uuid:7\nNT: upnp:event", 400),
        ("CALLBACK: <http://10.1.2.3/>", 400),
        ("CALLBACK: http://10.1.2.3/\nNT: upnp:event", 412),
        ("CALLBACK: <http://10.1.2.3/>\nNT: upnp:rumour", 412),
    ] {
        assert_eq!(gate.ask(request("SUBSCRIBE", fields)).await.status(), status, "{fields}");
    }
    assert!(gate.upstream.seen().is_empty());
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_full_mailbox_costs_events_and_not_the_subscription() {
    let gate =
        Gate::with(|config| config.polling.limits.messages = pollgate::mailbox::Bound::AtMost(1)).await;
    device(&gate.upstream);
    let login = login(&gate, "CALLBACK: <http://10.1.2.3:5000/>").await;
    let path = format!("/{}", login.token);
    assert_eq!(gate.call_back(event(&path, "uuid:7", 0)).await.status(), 200);
    assert_eq!(gate.call_back(event(&path, "uuid:7", 1)).await.status(), 503);
    assert_eq!(seqs(&gate.poll(&login, "Prefer: wait=0\n").await), ["0"]);
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.status(), 204, "it acknowledges");
    assert_eq!(gate.call_back(event(&path, "uuid:7", 2)).await.status(), 200);
    assert_eq!(seqs(&gate.poll(&login, "Prefer: wait=0\n").await), ["2"], "the gap shows");
}

/// MiniDLNA sends the first event before it answers the subscription that it belongs to.
#[tokio::test]
async fn the_first_event_reaches_a_client_that_is_called_after_the_answer() {
    let mut device = Upstream::by_hand().await;
    let gate = Gate::with(|config| {
        calling(config);
        config.upstreams[0].address = device.address();
    })
    .await;
    let (early, other) = (Upstream::start().await, Upstream::start().await);
    early.answers(OK);
    other.answers(OK);
    let mut client = gate.client().await;
    client.send(subscribe(&format!("CALLBACK: <http://{}/event>", other.address))).await;
    let mut server = device.accept().await;
    let before = path(&server.request().await.expect("a subscription"));
    server.send("HTTP/1.1 200 OK\r\nSID: uuid:1\r\nTIMEOUT: Second-1800\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 200);
    client.send(subscribe(&format!("CALLBACK: <http://{}/event>", early.address))).await;
    let mine = path(&server.request().await.expect("a subscription"));
    assert_eq!(gate.call_back(event(&mine, "uuid:2", 0)).await.status(), 200);
    // Others are called meanwhile; whoever could have been called before them was.
    for seq in 0..3 {
        assert_eq!(gate.call_back(event(&before, "uuid:1", seq)).await.status(), 200);
    }
    other.saw(3).await;
    assert!(early.seen().is_empty(), "the client does not know this subscription yet");
    server.send("HTTP/1.1 200 OK\r\nSID: uuid:2\r\nTIMEOUT: Second-1800\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.field("sid").as_deref(), Some("uuid:2"));
    early.saw(1).await;
    let first = early.last();
    assert_eq!((first.field("seq").as_deref(), first.field("sid").as_deref()), (Some("0"), Some("uuid:2")));
    assert_eq!(first.start_line(), "NOTIFY /event HTTP/1.1");
}

#[tokio::test]
async fn a_client_that_is_gone_is_unsubscribed_in_the_devices_words() {
    let gate = Gate::with(calling).await;
    device(&gate.upstream);
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
    let login = login(&gate, &format!("CALLBACK: <http://{}/>", client.address)).await;
    assert_eq!(gate.call_back(event(&format!("/{}", login.token), "uuid:7", 0)).await.status(), 200);
    gate.upstream.saw(2).await;
    let end = gate.upstream.last();
    assert_eq!(
        (end.start_line(), end.field("sid").as_deref()),
        (format!("UNSUBSCRIBE {NODE} HTTP/1.1"), Some("uuid:7"))
    );
}

/// One gateway, one listener, and whoever comes is understood in their own words.
#[tokio::test]
async fn each_request_shows_its_dialect_unless_one_is_set() {
    let gate = Gate::start().await;
    gate.login("kari").await;
    device(&gate.upstream);
    login(&gate, "CALLBACK: <http://10.1.2.3:5000/>").await;
    gate.mailboxes(2).await;
    gate.follow(|config| config.upstreams[0].dialect = pollgate::dialect::Choice::Gena);
    let refused = gate.ask(rvp::login("kari", "http://10.1.2.3:1")).await;
    assert_eq!(refused.status(), 400, "that is no subscription to a device");
}
