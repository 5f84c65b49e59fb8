//! `[auth]`: who may poll what, and what everybody else learns.

use std::time::Duration;

use pollgate::auth::digest::{Challenge, Credentials, Request};
use pollgate::auth::htdigest::with_user;
use pollgate::config::{AuthMode, Config};

use crate::support::{Gate, Login, Message, Socket, bodies, rvp, text};

/// Everybody's password.
pub const PASSWORD: &str = "Circle of Life";

/// A gateway that asks for credentials.
pub struct Guarded {
    pub gate: Gate,
    /// Goes with it.
    _folder: tempfile::TempDir,
}

impl Guarded {
    pub async fn start(mode: AuthMode) -> Self {
        Self::with(mode, |_| ()).await
    }

    pub async fn with(mode: AuthMode, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        let mut users = Vec::new();
        for user in ["kari", "alan", r"DOMAIN\olav", "jörg"] {
            users = with_user(&users, user, "pollgate", PASSWORD).0;
        }
        std::fs::write(&file, users).unwrap();
        let gate = Gate::with(|config| {
            config.auth.mode = mode;
            config.auth.users_file = Some(file);
            change(config);
        });
        Self { gate: gate.await, _folder: folder }
    }

    async fn results(&self, result: &str) -> f64 {
        self.gate.metric(&format!("pollgate_auth_total{{result=\"{result}\"}}")).await
    }
}

/// A client that authenticates.
struct Client {
    credentials: Credentials,
    challenge: Challenge,
    uses: u32,
}

impl Client {
    fn new(user: &str, unauthorized: &Message) -> Self {
        Self {
            credentials: Credentials { user: user.into(), password: PASSWORD.into() },
            challenge: challenge(unauthorized),
            uses: 0,
        }
    }

    fn authorization(&mut self, method: &str, uri: &str) -> String {
        self.uses += 1;
        let request = Request { method, uri, cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5Qzzp", count: self.uses };
        format!("Authorization: {}\n", self.challenge.authorization(&self.credentials, request))
    }

    /// A request with credentials; `fields` end their lines.
    fn request(&mut self, method: &str, target: &str, fields: &str) -> Vec<u8> {
        let authorization = self.authorization(method, target);
        text(&format!("{method} {target} HTTP/1.1\nHost: im.example\n{authorization}{fields}"), "")
    }
}

fn challenge(answer: &Message) -> Challenge {
    assert_eq!(answer.start_line(), "HTTP/1.1 401 Unauthorized", "{}", answer.raw_text());
    let fields = answer.all("www-authenticate");
    Challenge::strongest(fields.iter().map(|field| field.as_bytes())).expect("a challenge")
}

const NOW: &str = "Prefer: wait=0\n";

/// The fields of a poll of a node, by ids.
fn by_id(login: &Login) -> String {
    format!("{NOW}Subscription-Id: {}\n", login.id)
}

#[tokio::test]
async fn a_poll_needs_the_credentials_of_whoever_subscribed() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    gate.deliver(&login, "hello").await;
    let mut socket = gate.client().await;
    socket.send(text(&format!("POLL {} HTTP/1.1\nHost: h\n{NOW}", login.poll), "")).await;
    let refused = socket.answer().await;
    let challenges = refused.all("www-authenticate");
    assert!(challenges[0].starts_with("Digest realm=\"pollgate\", qop=\"auth\", algorithm=SHA-256, nonce="));
    assert!(challenges[1].starts_with("Digest realm=\"pollgate\", qop=\"auth\", algorithm=MD5, nonce="));
    assert_eq!(challenges.len(), 2);
    assert_eq!(refused.field("cache-control").as_deref(), Some("no-store"));

    let mut client = Client::new("kari", &refused);
    socket.send(client.request("POLL", &login.poll, NOW)).await;
    let answer = socket.answer().await;
    assert_eq!(bodies(&answer), ["hello"]);
    let info = answer.field("authentication-info").expect("the gateway's own proof");
    assert!(info.starts_with("qop=auth, rspauth=\"") && info.ends_with(", nc=00000001"), "{info}");
    assert!(!info.contains("nextnonce"), "{info}");

    socket.send(client.request("GET", &login.poll, NOW)).await;
    let answer = socket.answer().await;
    assert_eq!(answer.status(), 204);
    assert!(answer.field("authentication-info").unwrap().ends_with(", nc=00000002"));
    assert_eq!((guarded.results("missing").await, guarded.results("accepted").await), (1.0, 2.0));
    assert_eq!(gate.metric("pollgate_polls_total{result=\"refused\"}").await, 1.0);
    assert_eq!(gate.upstream.seen().len(), 1, "the upstream saw the login and no poll");
}

#[tokio::test]
async fn who_does_not_say_who_they_are_learns_nothing() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    let node = "/instmsg/aliases/kari";
    let mut seen = Vec::new();
    for (method, target, fields) in [
        ("POLL", login.poll.as_str(), String::new()),
        ("GET", "/.pollgate/0123456789abcdef0123456789abcdef", String::new()),
        ("GET", "/.pollgate/nonsense", String::new()),
        ("DELETE", "/.pollgate/0123456789abcdef0123456789abcdef", String::new()),
        ("POLL", node, by_id(&login)),
        ("POLL", node, "Subscription-Id: 1\n".into()),
        ("POLL", node, String::new()),
        ("POLL", node, "Authorization: Basic a2FyaTpDaXJjbGUgb2YgTGlmZQ==\n".into()),
    ] {
        let answer = gate.ask(text(&format!("{method} {target} HTTP/1.1\nHost: h\n{fields}"), "")).await;
        let nonce = challenge(&answer).nonce;
        let date = format!("Date: {}", answer.field("date").unwrap());
        seen.push(answer.raw_text().replace(&nonce, "NONCE").replace(&date, "DATE"));
    }
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn a_mailbox_of_somebody_else_does_not_exist() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    gate.deliver(&login, "for kari").await;
    let mut alan = Client::new("alan", &gate.poll(&login, NOW).await);
    let comparable = |answer: Message| {
        let field = |name| format!("{name}: {}", answer.field(name).unwrap());
        answer.raw_text().replace(&field("Date"), "").replace(&field("Authentication-Info"), "")
    };

    let theirs = gate.ask(alan.request("POLL", &login.poll, NOW)).await;
    assert_eq!(theirs.status(), 404);
    let unknown = gate.ask(alan.request("POLL", "/.pollgate/0123456789abcdef0123456789abcdef", NOW)).await;
    assert_eq!(comparable(theirs), comparable(unknown));

    let node = "/instmsg/aliases/kari";
    let theirs = gate.ask(alan.request("POLL", node, &by_id(&login))).await;
    assert_eq!(theirs.status(), 412);
    let unknown = gate.ask(alan.request("POLL", node, &format!("{NOW}Subscription-Id: 4711\n"))).await;
    assert_eq!(comparable(theirs), comparable(unknown));

    assert_eq!((guarded.results("forbidden").await, guarded.results("accepted").await), (2.0, 4.0));
    let mut kari = Client::new("kari", &gate.poll(&login, NOW).await);
    assert_eq!(bodies(&gate.ask(kari.request("POLL", &login.poll, NOW)).await), ["for kari"]);
}

#[tokio::test]
async fn what_each_mode_asks_for() {
    let node = "/instmsg/aliases/kari";
    for (mode, elsewhere_by_id) in [
        (AuthMode::Digest, 204),
        // Ids can be guessed: the subscriber's address takes the place of the key.
        (AuthMode::DigestAndCapability, 412),
    ] {
        let guarded = Guarded::start(mode).await;
        let gate = &guarded.gate;
        let login = gate.login("kari").await;
        let mut kari = Client::new("kari", &gate.poll(&login, NOW).await);
        let mut elsewhere = Socket::connect_from("127.0.0.2", gate.public).await;
        for (method, target, fields, here, there) in [
            ("POLL", &*login.poll, NOW.to_owned(), 204, 204),
            ("GET", &*login.poll, NOW.to_owned(), 204, 204),
            ("POLL", node, by_id(&login), 204, elsewhere_by_id),
        ] {
            let answer = gate.ask(kari.request(method, target, &fields)).await;
            assert_eq!(answer.status(), here, "{mode:?} {method} {target}");
            elsewhere.send(kari.request(method, target, &fields)).await;
            assert_eq!(elsewhere.answer().await.status(), there, "{mode:?} {method} {target}");
        }
    }
}

#[tokio::test]
async fn what_is_not_right_is_refused_as_what_it_is() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    let first = gate.poll(&login, NOW).await;
    let mut kari = Client::new("kari", &first);
    let send = async |request: Vec<u8>| {
        let answer = gate.ask(request).await;
        let stale = answer.all("www-authenticate").iter().filter(|c| c.contains("stale=true")).count();
        (answer.status(), stale)
    };
    let right = kari.request("POLL", &login.poll, NOW);
    let replace = |what: &str, with: &str| {
        let request = String::from_utf8(right.clone()).unwrap();
        assert!(request.contains(what));
        request.replacen(what, with, 1).into_bytes()
    };
    let mut nobody = Client::new("nobody", &first);
    assert_eq!(send(nobody.request("POLL", &login.poll, NOW)).await, (401, 0));
    assert_eq!(send(replace("username=\"kari\"", "username=\"alan\"")).await, (401, 0));
    assert_eq!(send(replace("POLL ", "GET ")).await, (401, 0), "it was made for another method");
    assert_eq!(send(replace("qop=auth", "qop=auth-int")).await, (400, 0));
    assert_eq!(send(replace("algorithm=SHA-256", "algorithm=SHA-256-sess")).await, (400, 0));
    assert_eq!(
        send(replace("/.pollgate/", "/.pollgate/../.pollgate/")).await,
        (400, 0),
        "for another target"
    );
    let line = String::from_utf8(right.clone()).unwrap();
    let line = line.lines().find(|line| line.starts_with("Authorization")).unwrap().to_owned();
    assert_eq!(send(replace(&line, &format!("{line}\r\n{line}"))).await, (400, 0));

    assert_eq!(send(right.clone()).await, (204, 0));
    assert_eq!(send(right.clone()).await, (401, 2), "the same credentials again");
    let foreign = Challenge { nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(), ..kari.challenge.clone() };
    kari.challenge = foreign;
    let answer = gate.ask(kari.request("POLL", &login.poll, NOW)).await;
    let again = challenge(&answer);
    assert!(again.stale, "of a gateway from before");
    kari.challenge = again;
    assert_eq!(send(kari.request("POLL", &login.poll, NOW)).await, (204, 0));

    for (result, count) in [
        ("missing", 1.0),
        ("denied", 3.0),
        ("malformed", 4.0),
        ("replayed", 1.0),
        ("stale", 1.0),
        ("accepted", 2.0),
    ] {
        assert_eq!(guarded.results(result).await, count, "{result}");
    }
}

#[tokio::test]
async fn a_nonce_grows_old() {
    let life = Duration::from_millis(1);
    let guarded = Guarded::with(AuthMode::Digest, |config| config.auth.nonce_life_time = life).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    let mut kari = Client::new("kari", &gate.poll(&login, NOW).await);
    // Whoever takes longer than that is too late.
    tokio::time::sleep(2 * life).await;
    let answer = gate.ask(kari.request("POLL", &login.poll, NOW)).await;
    assert!(challenge(&answer).stale);
}

#[tokio::test]
async fn held_polls_and_streams_are_signed_too() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    let mut kari = Client::new("kari", &gate.poll(&login, NOW).await);
    let mut socket = gate.client().await;
    socket.send(kari.request("POLL", &login.poll, "Prefer: wait=60\n")).await;
    gate.held(1).await;
    gate.deliver(&login, "later").await;
    let answer = socket.answer().await;
    assert_eq!(bodies(&answer), ["later"]);
    assert!(answer.field("authentication-info").unwrap().ends_with(", nc=00000001"));

    socket.send(kari.request("POLL", &login.poll, "Accept: text/event-stream\n")).await;
    let head = Message::latin1(&socket.read_to(b"\r\n\r\n").await);
    assert!(head.contains("\r\nAuthentication-Info: qop=auth, rspauth="), "{head}");
}

#[tokio::test]
async fn other_requests_keep_their_own_credentials() {
    let guarded = Guarded::start(AuthMode::DigestAndCapability).await;
    let gate = &guarded.gate;
    for authorization in [
        "Authorization: Digest username=\"kari\", realm=\"im.example\", nonce=\"x\", uri=\"/\", response=\"y\"",
        "Authorization: Basic a2FyaTpzZWNyZXQ=",
        "aUTHORIZATION: Digest   nonsense",
    ] {
        let request =
            text(&format!("PROPFIND /instmsg/aliases/kari HTTP/1.1\nHost: im.example\n{authorization}"), "");
        assert_eq!(gate.ask(&request).await.status(), 200);
        assert_eq!(gate.upstream.last().raw_text(), Message::latin1(&request), "byte for byte");
    }
    gate.upstream.answers(text(
        "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Digest realm=\"im.example\", nonce=\"1\"\nContent-Length: 0",
        "",
    ));
    let answer = gate.ask(rvp::login("kari", "http://10.1.2.3:4")).await;
    assert_eq!(answer.all("www-authenticate"), ["Digest realm=\"im.example\", nonce=\"1\""]);
    assert_eq!(guarded.results("missing").await, 0.0);
}

#[tokio::test]
async fn without_poll_support_nobody_is_asked() {
    let guarded = Guarded::with(AuthMode::Digest, |config| config.polling.poll_support = false).await;
    let answer =
        guarded.gate.ask("GET /.pollgate/0123456789abcdef0123456789abcdef HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((answer.status(), answer.all("www-authenticate")), (501, vec![]));
}

#[tokio::test]
async fn a_map_says_who_is_which_principal() {
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("principals");
    std::fs::write(&map, "alan: kari\n").unwrap();
    let guarded = Guarded::with(AuthMode::Digest, |config| config.auth.map_file = Some(map)).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    for (user, status) in [("alan", 204), ("kari", 204), (r"DOMAIN\olav", 404)] {
        let mut client = Client::new(user, &gate.poll(&login, NOW).await);
        assert_eq!(gate.ask(client.request("POLL", &login.poll, NOW)).await.status(), status, "{user}");
    }
}

#[tokio::test]
async fn credentials_that_were_used_stay_used_when_other_settings_change() {
    let guarded = Guarded::start(AuthMode::Digest).await;
    let gate = &guarded.gate;
    let login = gate.login("kari").await;
    let refused = gate.ask(text(&format!("POLL {} HTTP/1.1\nHost: h\n{NOW}", login.poll), "")).await;
    let request = Client::new("kari", &refused).request("POLL", &login.poll, NOW);
    assert_eq!(gate.ask(&request).await.status(), 204);
    gate.follow(|config| config.polling.batch.messages = 7);
    assert_eq!(gate.ask(&request).await.status(), 401);
    assert_eq!(guarded.results("replayed").await, 1.0);
}
