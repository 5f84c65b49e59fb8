//! NTLM and Negotiate: who somebody is belongs to the connection, so whoever is sent on it is taken for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pollgate::config::Config;

use pollgate::dialect::Choice;

use crate::support::{Gate, Message, Socket, Step, Upstream, text, until};

/// An upstream that remembers for each connection who logged in on it, and answers with that name.
struct Bound {
    address: String,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Bound {
    async fn start() -> (Self, Gate) {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> (Self, Gate) {
        let mut raw = Upstream::by_hand().await;
        let bound = Self { address: raw.address(), opened: Arc::default(), closed: Arc::default() };
        let (opened, closed) = (bound.opened.clone(), bound.closed.clone());
        tokio::spawn(async move {
            loop {
                let server = raw.accept().await;
                opened.fetch_add(1, SeqCst);
                let closed = closed.clone();
                tokio::spawn(async move {
                    serve(server).await;
                    closed.fetch_add(1, SeqCst);
                });
            }
        });
        let gate = Gate::with(|config| {
            config.upstreams[0].address = bound.address.clone();
            change(config);
        })
        .await;
        (bound, gate)
    }

    fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    async fn closed(&self, connections: usize) {
        until("ends of connections", || self.closed.load(SeqCst) == connections).await;
    }
}

/// The handshake of NTLM in short: `1` is answered with a challenge, `3:NAME` only behind it on the same
/// connection with 200.
async fn serve(mut server: Socket) {
    let (mut challenged, mut name) = (false, "nobody".to_owned());
    while let Some(request) = server.request().await {
        let said = request.field("authorization");
        let (scheme, said) = said.as_deref().and_then(|said| said.split_once(' ')).unwrap_or_default();
        let refusal = match said.split_once(':') {
            Some(("3", who)) if challenged => {
                name = who.to_owned();
                None
            }
            Some(_) => Some("0".to_owned()),
            None if said == "1" => {
                challenged = true;
                Some(format!("{scheme} 2"))
            }
            None => None,
        };
        let answer = match refusal {
            Some(challenge) => {
                text(&format!("HTTP/1.1 401 U\nWWW-Authenticate: {challenge}\nContent-Length: 0"), "")
            }
            None => text(&format!("HTTP/1.1 200 OK\nContent-Length: {}", name.len()), &name),
        };
        server.send(answer).await;
    }
}

fn get(fields: &str) -> Vec<u8> {
    text(&format!("GET / HTTP/1.1\nHost: im.example\n{fields}"), "")
}

async fn ask(client: &mut Socket, fields: &str) -> Message {
    client.send(get(fields)).await;
    client.answer().await
}

async fn who(client: &mut Socket) -> String {
    ask(client, "").await.body_text()
}

async fn log_in(client: &mut Socket, scheme: &str, name: &str) {
    let challenge = ask(client, &format!("Authorization: {scheme} 1")).await;
    assert_eq!((challenge.status(), challenge.field("www-authenticate")), (401, Some(format!("{scheme} 2"))));
    let answer = ask(client, &format!("Authorization: {scheme} 3:{name}")).await;
    assert_eq!((answer.status(), answer.body_text().as_str()), (200, name));
}

#[tokio::test]
async fn one_after_the_other_nobody_is_taken_for_somebody_else() {
    for scheme in ["NTLM", "negotiate"] {
        let (bound, gate) = Bound::start().await;
        let mut eve = gate.client().await;
        for turn in 0..20 {
            let mut kari = gate.client().await;
            // Whatever is idle was used before.
            assert_eq!(who(&mut kari).await, "nobody");
            let name = format!("kari{turn}");
            log_in(&mut kari, scheme, &name).await;
            assert_eq!((who(&mut kari).await, who(&mut eve).await), (name, "nobody".to_owned()), "{scheme}");
            drop(kari);
            bound.closed(turn + 1).await;
            assert_eq!(who(&mut eve).await, "nobody", "{scheme}");
        }
        assert_eq!(bound.opened(), 21, "one of each login, and one that is shared");
    }
}

#[tokio::test]
async fn at_once_nobody_is_taken_for_somebody_else() {
    let (_bound, gate) = Bound::start().await;
    let (mut eve, mut kari, mut alan) = (gate.client().await, gate.client().await, gate.client().await);
    assert_eq!(who(&mut eve).await, "nobody");
    // The messages of the two handshakes cross each other.
    for said in ["Authorization: NTLM 1", "Authorization: NTLM 3:"] {
        for (client, name) in [(&mut kari, "kari"), (&mut alan, "alan")] {
            let name = if said.ends_with(':') { name } else { "" };
            client.send(get(&format!("{said}{name}"))).await;
        }
        kari.answer().await;
        alan.answer().await;
    }
    for _ in 0..20 {
        for client in [&mut eve, &mut alan, &mut kari] {
            client.send(get("")).await;
        }
        for (client, name) in [(&mut kari, "kari"), (&mut eve, "nobody"), (&mut alan, "alan")] {
            assert_eq!(client.answer().await.body_text(), name);
        }
    }
}

/// The upstream need not wait until nobody can use the connection any more.
#[tokio::test]
async fn a_connection_of_ones_own_ends_with_its_client() {
    let (bound, gate) = Bound::start().await;
    let (mut kari, mut alan) = (gate.client().await, gate.client().await);
    log_in(&mut kari, "NTLM", "kari").await;
    log_in(&mut alan, "NTLM", "alan").await;
    drop(kari);
    bound.closed(1).await;
    assert_eq!(who(&mut alan).await, "alan", "that of another goes on");
    alan.reset();
    bound.closed(2).await;
}

/// What was broken off is broken off for the upstream too, though the client's connection is still there.
#[tokio::test]
async fn a_connection_of_ones_own_that_is_given_up_ends_at_once() {
    let (bound, gate) = Bound::start().await;
    let mut client = gate.client().await;
    let head = "PUT / HTTP/1.1\nHost: im.example\nAuthorization: NTLM 1\nTransfer-Encoding: chunked";
    client.send(text(head, "nonsense\r\n")).await;
    assert_eq!(client.answer().await.status(), 400);
    bound.closed(1).await;
    // So is what was idle for too long.
    let idle = |config: &mut Config| config.upstreams[0].idle_timeout = Duration::from_millis(50);
    let (bound, gate) = Bound::with(idle).await;
    let mut client = gate.client().await;
    log_in(&mut client, "NTLM", "kari").await;
    bound.closed(1).await;
    assert_eq!(who(&mut client).await, "nobody", "who it was went with the connection");
}

/// The challenge itself is enough, before the client has said anything.
#[tokio::test]
async fn a_connection_that_is_challenged_is_nobody_elses() {
    let gate = Gate::start().await;
    for (challenge, method) in [
        ("401 Unauthorized\nWWW-Authenticate: NTLM", "GET"),
        ("401 Unauthorized\nwww-authenticate: Basic realm=\"r\", nEGOTIATE", "GET"),
        ("401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\"\nWWW-Authenticate: Negotiate oRQw", "PUT"),
        ("407 Proxy Authentication Required\nProxy-Authenticate: ntlm", "HEAD"),
        ("200 OK\nWWW-Authenticate: ,\tNTLM TlRM", "GET"),
    ] {
        for (framing, body) in [
            ("Content-Length: 0", ""),
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ] {
            let body = if method == "HEAD" { "" } else { body };
            let (mut kari, mut eve) = (gate.client().await, gate.client().await);
            gate.upstream.grants();
            eve.send(get("")).await;
            eve.answer().await;
            let before = gate.upstream.connections();
            gate.upstream.answers(text(&format!("HTTP/1.1 {challenge}\n{framing}"), body));
            kari.send(text(&format!("{method} / HTTP/1.1\nHost: im.example"), "")).await;
            match method {
                "HEAD" => assert_eq!(kari.head_only().await.status(), 407),
                _ => assert_eq!(kari.answer().await.raw_body, body.as_bytes(), "{challenge}"),
            }
            assert_eq!(gate.upstream.connections(), before, "it came on the one that is shared");
            gate.upstream.grants();
            for (is_eve, connections) in [(true, 1), (false, 2), (true, 2), (false, 2)] {
                let client = if is_eve { &mut eve } else { &mut kari };
                client.send(get("")).await;
                assert_eq!(client.answer().await.status(), 200);
                assert_eq!(gate.upstream.connections(), before + connections, "{challenge} {framing}");
            }
        }
    }
}

/// Other schemes authenticate the request: connections are shared as ever.
#[tokio::test]
async fn other_challenges_cost_no_connection() {
    let gate = Gate::start().await;
    let challenge = "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic realm=\"NTLM\", Digest realm=\"r\"";
    let answer = text(&format!("{challenge}\nContent-Length: 0"), "");
    gate.upstream.script(move |_| vec![Step::Send(answer.clone())]);
    for _ in 0..3 {
        let mut client = gate.client().await;
        for fields in ["", "Authorization: Basic eDp5", "Authorization: NTLMv9 x"] {
            assert_eq!(ask(&mut client, fields).await.status(), 401);
        }
    }
    assert_eq!(gate.upstream.connections(), 1);
}

/// A server must not be aimed at an address that nobody has looked at.
#[tokio::test]
async fn no_callback_address_goes_on_unread() {
    for choice in [Choice::Auto, Choice::Rvp, Choice::Gena, Choice::Webdav] {
        let gate = Gate::with(|config| config.upstreams[0].dialect = choice).await;
        for (method, fields) in [
            ("SUBSCRIBE", "Call-Back: http://10.9.9.9:80/\nSID: x\n"),
            (
                "SUBSCRIBE",
                "Call-Back: http://10.9.9.9:80/\nNT: upnp:event\nCALLBACK: <http://10.9.9.9:80/>\n",
            ),
            ("UNSUBSCRIBE", "Call-Back: http://10.9.9.9:80/\nSubscription-Id: 7\n"),
            ("UNSUBSCRIBE", "CALLBACK: <http://10.9.9.9:80/>\nSID: uuid:7\n"),
            ("subscribe", "Call-Back: http://10.9.9.9:80/\n"),
            ("NOTIFY", "CALLBACK: <http://10.9.9.9:80/>\n"),
        ] {
            let head = format!(
                "{method} /instmsg/aliases/kari HTTP/1.1\nHost: im.example\n{fields}Content-Length: 0"
            );
            assert_eq!(gate.ask(text(&head, "")).await.status(), 400, "{choice:?} {method} {fields}");
        }
        assert!(gate.upstream.seen().is_empty(), "{choice:?}");
        gate.mailboxes(0).await;
    }
}

/// Neither the upstream nor a log learns of a key, in whatever way its path is written.
#[tokio::test]
async fn the_gateways_own_paths_are_its_own_however_they_are_written() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let seen = gate.upstream.seen().len();
    let key = login.poll.strip_prefix("/.pollgate/").unwrap();
    for path in [
        format!("//.pollgate/{key}"),
        format!("/%2epollgate/{key}"),
        format!("/x/../.pollgate/{key}"),
        format!("/./%2Epollgat%65/{key}"),
    ] {
        let head = format!("GET {path} HTTP/1.1\nHost: im.example\nPrefer: wait=0");
        assert_eq!(gate.ask(text(&head, "")).await.status(), 204, "{path}");
        let head = format!("PUT {path} HTTP/1.1\nHost: im.example\nContent-Length: 0");
        assert_eq!(gate.ask(text(&head, "")).await.status(), 405, "{path}");
    }
    assert_eq!(gate.upstream.seen().len(), seen);
}
