//! A gateway at work in front of an upstream of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pollgate::app::{self, Listeners, Running};
use pollgate::config::{Changes, Config, ReloadError, StoreKind};
use pollgate::gateway::Gateway;
use pollgate::mailbox::LifeTimes;

use super::{Document, Message, Socket, Upstream, rvp, text, until};

pub struct Gate {
    pub upstream: Upstream,
    pub public: SocketAddr,
    pub callback: SocketAddr,
    pub admin: SocketAddr,
    running: Running,
}

/// What a client and the upstream know of a subscription.
#[derive(Clone, Debug)]
pub struct Login {
    /// The path that the client polls.
    pub poll: String,
    /// The path that the upstream calls.
    pub token: String,
    /// The upstream's id.
    pub id: String,
}

/// The client's own callback address, in every login that does not care.
pub const CLIENT: &str = "http://10.1.2.3:1234";

impl Gate {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A gateway with changed settings. Polls are held for up to an hour: no test waits for that.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::before(Upstream::start().await, change)
    }

    /// A gateway before this upstream. Must be called within a runtime.
    pub fn before(upstream: Upstream, change: impl FnOnce(&mut Config)) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::default();
        config.listen.public = vec![any];
        config.listen.callback = any;
        config.listen.admin = any;
        config.upstreams[0].name = "legacy".to_owned();
        config.upstreams[0].address = upstream.address.to_string();
        config.store.kind = StoreKind::Memory;
        config.polling.poll_life_time = life_times(3600, 0, 3600);
        change(&mut config);
        let listeners = Listeners::bind(&config.listen).expect("free ports");
        config.callback.url = format!("http://{}", listeners.callback_address().unwrap());
        let running = app::start(config, listeners).expect("a start");
        let (public, callback) = (running.public_address(), running.callback_address());
        Self { upstream, public, callback, admin: running.admin_address(), running }
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        self.running.gateway()
    }

    /// Changes settings while it runs.
    pub fn follow(&self, change: impl FnOnce(&mut Config)) -> Changes {
        self.try_follow(change).expect("a valid configuration")
    }

    pub fn try_follow(&self, change: impl FnOnce(&mut Config)) -> Result<Changes, ReloadError> {
        let mut config = Config::clone(&self.gateway().config());
        change(&mut config);
        self.running.follow(config)
    }

    /// Stops the gateway; the upstream stays.
    pub async fn stop(self) -> Upstream {
        self.running.stop().await;
        self.upstream
    }

    /// Where clients are served within TLS.
    pub fn tls(&self) -> SocketAddr {
        *self.running.tls_addresses().first().expect("a listener within TLS")
    }

    pub async fn client(&self) -> Socket {
        Socket::connect(self.public).await
    }

    /// One request at the public listener, on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        exchange(self.public, request).await
    }

    /// One request at the callback listener.
    pub async fn call_back(&self, request: impl AsRef<[u8]>) -> Message {
        exchange(self.callback, request).await
    }

    /// A login as clients do it.
    pub async fn login(&self, name: &str) -> Login {
        self.login_as(&rvp::login(name, CLIENT)).await
    }

    /// A login with this request.
    pub async fn login_as(&self, request: &[u8]) -> Login {
        let answer = self.ask(request).await;
        assert!((200..300).contains(&answer.status()), "{}", answer.raw_text());
        let location = answer.field("content-location").expect("a place to poll");
        let path = location.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
        Login {
            poll: path.expect("a URL").to_owned(),
            token: self.token(),
            id: answer.field("subscription-id").unwrap_or_default(),
        }
    }

    /// The path of the callback address that the upstream was told last.
    pub fn token(&self) -> String {
        let address = self.upstream.last().field("call-back").expect("a Call-Back");
        let path = address.strip_prefix(&format!("http://{}", self.callback));
        path.unwrap_or_else(|| panic!("not an address of ours: {address}")).to_owned()
    }

    /// Delivers a callback with this body.
    pub async fn deliver(&self, login: &Login, body: &str) {
        let answer = self.call_back(rvp::notify(&login.token, "", body)).await;
        assert_eq!(answer.start_line(), "HTTP/1.1 200 Successful", "{}", answer.raw_text());
    }

    /// Polls on a connection of its own; `fields` end their lines.
    pub async fn poll(&self, login: &Login, fields: &str) -> Message {
        self.ask(poll(login, fields)).await
    }

    /// Polls and answers at once, with what there is: the bodies of the messages.
    pub async fn bodies(&self, login: &Login) -> Vec<String> {
        let answer = self.poll(login, "Prefer: wait=0\n").await;
        bodies(&answer)
    }

    /// Waits until so many polls are held.
    pub async fn held(&self, polls: u64) {
        until("held polls", || self.gateway().metrics.held_polls() == polls).await;
    }

    /// Waits until so many clients are connected.
    pub async fn connections(&self, connections: u64) {
        until("connections", || self.gateway().metrics.connections() == connections).await;
    }

    /// Waits until there are so many mailboxes.
    pub async fn mailboxes(&self, mailboxes: u64) {
        until("mailboxes", || self.gateway().store.totals().mailboxes == mailboxes).await;
    }

    /// How many callbacks had this result.
    pub async fn callbacks(&self, result: &str) -> f64 {
        self.metric(&format!("pollgate_callbacks_total{{result=\"{result}\"}}")).await
    }

    /// The value of a sample, by its name with labels.
    pub async fn metric(&self, sample: &str) -> f64 {
        let answer = exchange(self.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let text = answer.body_text();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().expect("a number")
    }
}

/// What operators ask.
impl Gate {
    /// One request at the admin listener, whose answer is held against the API's document.
    pub async fn operate(&self, method: &str, target: &str) -> Message {
        self.operate_with(method, target, "").await
    }

    /// The same with these fields; each ends its line.
    pub async fn operate_with(&self, method: &str, target: &str, fields: &str) -> Message {
        self.tell_with(method, target, fields, "").await
    }

    /// One request with content in JSON at the admin listener.
    pub async fn tell(&self, method: &str, target: &str, content: &str) -> Message {
        self.tell_with(method, target, "Content-Type: application/json\n", content).await
    }

    /// The same with these fields; each ends its line.
    pub async fn tell_with(&self, method: &str, target: &str, fields: &str, content: &str) -> Message {
        let host = if fields.contains("Host: ") { "" } else { "Host: localhost\n" };
        let length = match content.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\n"),
        };
        let request = text(&format!("{method} {target} HTTP/1.1\n{host}{length}{fields}"), content);
        let mut socket = Socket::connect(self.admin).await;
        socket.send(request).await;
        if method == "HEAD" {
            return socket.head_only().await;
        }
        let answer = socket.answer_or_stream().await;
        let is_stream = answer.field("content-type").is_some_and(|media| media == "text/event-stream");
        if target.starts_with("/api/") && !is_stream {
            Document::served().check(method, target, &answer);
        }
        answer
    }

    /// The ids of all mailboxes.
    pub async fn ids(&self) -> Vec<u64> {
        let list = self.operate("GET", "/api/v1/mailboxes?limit=1000").await.json();
        list["mailboxes"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect()
    }
}

/// One request, on a connection of its own.
pub async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let mut socket = Socket::connect(address).await;
    socket.send(request).await;
    socket.answer().await
}

/// A poll; `fields` end their lines.
pub fn poll(login: &Login, fields: &str) -> Vec<u8> {
    text(&format!("POLL {} HTTP/1.1\nHost: im.example\n{fields}", login.poll), "")
}

/// The bodies of the messages in an answer in the default form.
pub fn bodies(answer: &Message) -> Vec<String> {
    match answer.status() {
        204 => Vec::new(),
        200 => super::parts(answer).iter().map(|part| part.request.body_text()).collect(),
        _ => panic!("{}", answer.raw_text()),
    }
}

pub fn life_times(default: u64, minimum: u64, maximum: u64) -> LifeTimes {
    let seconds = Duration::from_secs;
    LifeTimes::new(seconds(default), seconds(minimum), seconds(maximum)).expect("in order")
}
