//! What real clients and servers put on the wire, by their names, through gateway and agent.

use std::sync::Arc;

use tokio::sync::Notify;

use super::agent::{settings, start};
use super::support::{Gate, Login, Socket, Step, Upstream, answer, exchange, rvp, text, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The login that a server granted last.
fn latest(gate: &Gate) -> Login {
    Login { poll: String::new(), token: gate.token(), id: String::new() }
}

async fn all_taken(gate: &Gate) {
    until("an empty store", || gate.gateway().store.totals().messages == 0).await;
}

/// Subscriptions without a length, renewals without a callback address, and a listener that has one path and
/// keeps its connections.
#[tokio::test]
async fn net_rvp_logs_in_renews_and_listens() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.script(|request| match request.start_line().as_str() {
        "NOTIFY / HTTP/1.1" => {
            vec![Step::Send("HTTP/1.1 200 Change Notification Accepted\r\n\r\n\n".into())]
        }
        _ => answer("HTTP/1.1 500 Internal Server Error", ""),
    });
    let mut socket = Socket::connect(agent.address()).await;
    let head = "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nTE: deflate,gzip;q=0.3\nKeep-Alive: 300\n\
                Connection: Keep-Alive, TE\nHost: im.example\nRVP-Notifications-Version: 0.2\n\
                Subscription-Lifetime: 14400";
    let login = format!("{head}\nCall-Back: http://{}\nNotification-Type: pragma/notify", client.address);
    socket.send(text(&login, "")).await;
    let granted = socket.answer().await;
    assert_eq!((granted.status(), granted.field("content-location")), (200, None));
    let id = granted.field("subscription-id").expect("an id");
    let login = latest(&gate);
    gate.deliver(&login, "one").await;
    client.saw(1).await;
    // Its own connection is kept, and carries the renewal.
    socket.send(text(&format!("{head}\nSubscription-Id: {id}"), "")).await;
    assert_eq!(socket.answer().await.field("subscription-id"), Some(id));
    gate.mailboxes(1).await;
    gate.deliver(&login, "two").await;
    client.saw(2).await;
    all_taken(&gate).await;
    let lines: Vec<String> = client.seen().iter().map(|message| message.start_line()).collect();
    assert_eq!(lines, ["NOTIFY / HTTP/1.1", "NOTIFY / HTTP/1.1"], "no message is brought twice");
    agent.stop().await;
}

/// Gateways refuse line ends that are a lone LF; a client that cannot be changed writes them.
#[tokio::test]
async fn miranda_ends_its_lines_with_a_lone_line_feed() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.answers("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let login = String::from_utf8(rvp::login("kari", &format!("http://{}", client.address))).unwrap();
    let mut socket = Socket::connect(agent.address()).await;
    socket.send(login.replace("\r\n", "\n")).await;
    assert_eq!(socket.answer().await.status(), 200);
    gate.deliver(&latest(&gate), "news").await;
    client.saw(1).await;
    all_taken(&gate).await;
    // A body is the client's own, and the connection goes on behind it; pieces may come one by one.
    let head = "POST /instmsg/aliases/alan HTTP/1.1\nHost: im.example\nContent-Length: 4\n\n";
    for piece in [&head[..20], &head[20..], "a\n", "\nb"] {
        socket.send(piece).await;
        tokio::task::yield_now().await;
    }
    // What belongs to no body begins the next request.
    assert_eq!(socket.answer().await.status(), 200);
    assert_eq!(gate.upstream.last().body_text(), "a\n\nb");
    let passed = gate.upstream.last().head_text();
    assert!(passed.lines().count() > 2 && !passed.replace("\r\n", "").contains('\n'), "{passed:?}");
    agent.stop().await;
}

/// What is refused by a gateway for other reasons is no less refused by the agent.
#[tokio::test]
async fn nothing_else_of_a_head_is_mended() {
    let gate = Gate::start().await;
    let agent = start(settings(&gate));
    for head in ["GET / HTTP/1.1\nHost : h\n\n", "GET / HTTP/1.1\n\n", "\nGET / HTTP/1.1\nHost: h\n\n"] {
        assert_eq!(exchange(agent.address(), head).await.status(), 400, "{head:?}");
    }
    assert!(gate.upstream.seen().is_empty());
    agent.stop().await;
}

/// librvp follows redirections, and must see them as they are.
#[tokio::test]
async fn redirections_are_the_clients_to_follow() {
    let gate = Gate::start().await;
    gate.upstream
        .script(|_| answer("HTTP/1.1 302 Found\nLocation: http://other.example/instmsg/aliases/kari", ""));
    let agent = start(settings(&gate));
    let moved = exchange(agent.address(), rvp::login("kari", "http://127.0.0.1:1234")).await;
    let to = moved.field("location");
    assert_eq!((moved.status(), to.as_deref()), (302, Some("http://other.example/instmsg/aliases/kari")));
    agent.stop().await;
}

/// Slide's listener for WebDAV notifications reads them, and never answers.
#[tokio::test]
async fn slides_listener_has_what_it_read() {
    let gate = Gate::start().await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-Id: 21", ""));
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.script(|_| vec![Step::Close]);
    let subscribe = format!(
        "SUBSCRIBE /files/ HTTP/1.1\nHost: mail.example\nNotification-Type: update\nNotification-delay: 0\nDepth: 0\n\
         Call-back: http://{}\nSubscription-lifetime: 3600",
        client.address
    );
    assert_eq!(exchange(agent.address(), text(&subscribe, "")).await.status(), 200);
    let path = gate.token();
    for _ in 0..2 {
        let notify = format!("NOTIFY {path} HTTP/1.1\nHost: h\nSubscription-id: 21\nContent-Length: 0");
        assert_eq!(gate.call_back(text(&notify, "")).await.status(), 200);
    }
    client.saw(2).await;
    all_taken(&gate).await;
    assert_eq!(client.seen().len(), 2, "no message is brought twice");
    agent.stop().await;
}

/// The path of the callback address that a device was told.
fn path_of_callback(gate: &Gate) -> String {
    let told = gate.upstream.last().field("callback").expect("a callback address");
    format!("/{}", told.trim_end_matches('>').rsplit_once('/').expect("a path").1)
}

fn event(path: &str, seq: u32) -> Vec<u8> {
    let head = format!(
        "NOTIFY {path} HTTP/1.1\nHost: h\nNT: upnp:event\nNTS: upnp:propchange\nSID: uuid:7\nSEQ: {seq}\nContent-Length: 0"
    );
    text(&head, "")
}

fn gupnp(client: &Upstream) -> Vec<u8> {
    let head = format!(
        "SUBSCRIBE /event HTTP/1.1\nHost: 10.0.0.5:49494\nCallback: <http://{}/notify>\nNT: upnp:event\n\
         Timeout: Second-infinite",
        client.address
    );
    text(&head, "")
}

/// MiniDLNA's initial event comes before its answer to the subscription.
#[tokio::test]
async fn an_event_that_is_early_comes_behind_the_answer() {
    let gate = Gate::start().await;
    let told = Arc::new(Notify::new());
    let wait = told.clone();
    gate.upstream.script(move |_| {
        let granted = text("HTTP/1.1 200 OK\nSID: uuid:7\nTimeout: Second-300\nContent-Length: 0", "");
        vec![Step::Wait(wait.clone()), Step::Send(granted)]
    });
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.answers(OK);
    let mut socket = Socket::connect(agent.address()).await;
    socket.send(gupnp(&client)).await;
    gate.upstream.saw(1).await;
    let early = tokio::spawn({
        let (callback, event) = (gate.callback, event(&path_of_callback(&gate), 0));
        async move { exchange(callback, event).await.status() }
    });
    // Whether the gateway keeps it or lets the device wait, the client knows no subscription yet.
    tokio::task::yield_now().await;
    assert!(client.seen().is_empty() && !socket.has_input().await);
    told.notify_one();
    assert_eq!(socket.answer().await.field("sid").as_deref(), Some("uuid:7"));
    assert_eq!(early.await.unwrap(), 200);
    client.saw(1).await;
    assert_eq!(client.last().field("seq").as_deref(), Some("0"));
    agent.stop().await;
}

/// The answer to UNSUBSCRIBE has two bytes more than it says.
#[tokio::test]
async fn libupnp_says_more_than_it_announces() {
    let gate = Gate::start().await;
    gate.upstream.script(|request| match request.method().as_str() {
        "SUBSCRIBE" => answer("HTTP/1.1 200 OK\nSID: uuid:7\nTIMEOUT: Second-1801", ""),
        _ => vec![Step::Send(text("HTTP/1.1 200 OK\nContent-Length: 0", "\r\n"))],
    });
    let agent = start(settings(&gate));
    let client = Upstream::start().await;
    client.answers(OK);
    let mut socket = Socket::connect(agent.address()).await;
    socket.send(gupnp(&client)).await;
    assert_eq!(socket.answer().await.status(), 200);
    let path = path_of_callback(&gate);
    assert_eq!(gate.call_back(event(&path, 0)).await.status(), 200);
    client.saw(1).await;
    socket.send(text("UNSUBSCRIBE /event HTTP/1.1\nHost: 10.0.0.5:49494\nSID: uuid:7", "")).await;
    assert_eq!(socket.answer().await.status(), 200);
    gate.mailboxes(0).await;
    // The two bytes are of no answer.
    socket.send(gupnp(&client)).await;
    assert_eq!(socket.answer().await.field("sid").as_deref(), Some("uuid:7"));
    agent.stop().await;
}
