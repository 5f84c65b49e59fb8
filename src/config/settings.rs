//! The resolved settings: plain values, valid by the time anyone sees them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::policy::ClientPolicy;
use super::{Token, Upstream};
use crate::auth::digest::Algorithm;
use crate::mailbox::{BatchLimits, DeliveryMode, LifeTimes, Limits, PollingPeriod, Ports};

/// Everything that can be set. The default is what the documentation says, and what the sample file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: Listen,
    /// The legacy servers: the first that takes a request gets it. Never empty, and no two have the same name.
    pub upstreams: Vec<Upstream>,
    /// How callbacks come back.
    pub callback: Callback,
    /// The documented server settings: holds, life times and limits.
    pub polling: Polling,
    /// What clients may ask of the gateway.
    pub limits: EdgeLimits,
    /// Where messages are buffered.
    pub store: Store,
    /// Who may poll.
    pub auth: Auth,
    /// How clients are told, unless a policy says otherwise.
    pub delivery: Delivery,
    /// How some clients are told; the first that matches counts.
    pub client_policy: Vec<ClientPolicy>,
    /// Who may ask at the admin listener.
    pub admin: Admin,
    /// How the gateway ends.
    pub shutdown: Shutdown,
    /// What is logged.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            upstreams: vec![Upstream::default()],
            callback: Callback::default(),
            polling: Polling::default(),
            limits: EdgeLimits::default(),
            store: Store::default(),
            auth: Auth::default(),
            delivery: Delivery::default(),
            client_policy: Vec::new(),
            admin: Admin::default(),
            shutdown: Shutdown::default(),
            log: Log::default(),
        }
    }
}

/// `[listen]`: no two of these overlap, except on port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For clients: proxied requests and polls. Empty only if clients are served within TLS.
    pub public: Vec<SocketAddr>,
    /// For the legacy server's callbacks.
    pub callback: SocketAddr,
    /// For those that come as datagrams (UDP); none unless it is set.
    pub callback_udp: Option<SocketAddr>,
    /// For operators: metrics, health, API and page.
    pub admin: SocketAddr,
    /// For clients within TLS.
    pub tls: ListenTls,
}

/// `[listen.tls]`: with addresses there are a certificate and a key, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenTls {
    /// As `listen.public`, within TLS.
    pub public: Vec<SocketAddr>,
    /// The file of the certificate, and of those between it and its authority (PEM).
    pub certificate: Option<PathBuf>,
    /// The file of its key (PEM).
    pub key: Option<PathBuf>,
}

impl ListenTls {
    /// The certificate and the key, if there are addresses to show them at.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let files = self.certificate.as_deref().zip(self.key.as_deref());
        files.filter(|_| !self.public.is_empty())
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            public: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))],
            callback: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            callback_udp: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9180)),
            tls: ListenTls::default(),
        }
    }
}

/// `[callback]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The `http` URL under which the legacy server reaches the callback listener. It has no trailing
    /// slash: a callback address is this, a slash, and a token. Unless it is set it follows
    /// `listen.callback`; port 0 in it stands for the port that listener gets.
    pub url: String,
    /// Who may deliver callbacks. Never empty.
    pub allow: Vec<IpNet>,
    /// What a deep acknowledgement waits for.
    pub deep_ack: DeepAck,
    /// How long a deep acknowledgement waits for the client before the callback is refused.
    pub deep_ack_timeout: Duration,
    /// The largest body that is read; larger ones are refused. At most the store's `max_buffered_bytes`.
    pub max_body_bytes: u64,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8081".to_owned(),
            allow: vec![
                IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
                IpNet::from(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
            deep_ack: DeepAck::Buffered,
            deep_ack_timeout: Duration::from_secs(60),
            max_body_bytes: 1024 * 1024,
        }
    }
}

/// What a callback that asks for a deep acknowledgement (`RVP-Ack-Type`) waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeepAck {
    /// The store holds the message.
    Buffered,
    /// The client has the message.
    Delivered,
}

impl DeepAck {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Buffered, Self::Delivered];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Delivered => "delivered",
        }
    }
}

/// `[polling]`: white paper, *Server Registry Settings*, and what belongs beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polling {
    /// PollSupport: without it the gateway is a transparent proxy.
    pub poll_support: bool,
    /// PollLifeTime: how long a poll may be held, in whole seconds.
    pub poll_life_time: LifeTimes,
    /// PollMsgLifeTime, PollMsgLimit, PollMsgKByteLimit, PollDropMsgLifeTime, `overflow` and `coalesce`.
    pub limits: Limits,
    /// How much one answer to a poll carries.
    pub batch: BatchLimits,
    /// How many polls are held at once; one more is asked to come again later.
    pub max_held_polls: u64,
    /// How far apart polls of one mailbox should be that end with nothing before their time is over; zero: as
    /// near as they come.
    pub min_poll_interval: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            poll_support: true,
            poll_life_time: LifeTimes::new(seconds(300), seconds(60), seconds(600))
                .expect("60 ≤ 300 ≤ 600 seconds"),
            limits: Limits::default(),
            batch: BatchLimits { messages: 100, bytes: 1024 * 1024 },
            max_held_polls: 50_000,
            min_poll_interval: seconds(1),
        }
    }
}

/// `[limits]`: what one client, one address, and all of them together may ask of the gateway. Nothing in it
/// is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeLimits {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Bytes of the body of a request that is passed on, chunks and all.
    pub body_bytes: u64,
    /// For the whole head of a request, once it has begun.
    pub header_timeout: Duration,
    /// For the body: the whole of what is read here, as short bodies are, each piece of what is passed on.
    pub body_timeout: Duration,
    /// For a client to take an answer, or each piece of one that is passed on, beside a millisecond for each byte.
    pub write_timeout: Duration,
    /// For the next request on a connection.
    pub idle_timeout: Duration,
    /// Connections of all clients.
    pub connections: u64,
    /// Connections of one address.
    pub connections_per_address: u64,
    /// Held polls of one address.
    pub held_polls_per_address: u64,
    /// Requests that one address may go on making, each second.
    pub requests_per_second_per_address: u64,
    /// Requests that one address may make at once, after a while without any.
    pub request_burst_per_address: u64,
    /// Mailboxes of one principal.
    pub mailboxes_per_principal: u64,
    /// Mailboxes of one address.
    pub mailboxes_per_address: u64,
    /// How long a mailbox lives without a renewal, whatever lease the upstream grants.
    pub max_lease: Duration,
    /// Bytes of request bodies that are in memory at a time, of all listeners.
    pub body_bytes_in_flight: u64,
    /// Proxies that are believed for whom they speak.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_fields: 100,
            body_bytes: 64 * 1024 * 1024,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            connections: 60_000,
            connections_per_address: 20_000,
            held_polls_per_address: 20_000,
            requests_per_second_per_address: 200,
            request_burst_per_address: 1000,
            mailboxes_per_principal: 1000,
            mailboxes_per_address: 20_000,
            max_lease: Duration::from_secs(30 * 24 * 60 * 60),
            body_bytes_in_flight: 256 * 1024 * 1024,
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which store.
    pub kind: StoreKind,
    /// The directory of the disk store. Never empty.
    pub path: PathBuf,
    /// How many mailboxes there may be at a time; at least one.
    pub max_mailboxes: u64,
    /// How many principals may have connection settings of their own; at least one.
    pub max_clients: u64,
    /// How many bytes all mailboxes together may hold; at least one.
    pub max_buffered_bytes: u64,
    /// How many bytes of recent messages the disk store keeps in memory too.
    pub cache_bytes: u64,
    /// With less room than this on its file system the disk store takes nothing in.
    pub min_free_bytes: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Disk,
            path: PathBuf::from("/var/lib/pollgate"),
            max_mailboxes: 100_000,
            max_clients: 100_000,
            max_buffered_bytes: 1024 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            min_free_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The stores that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Messages survive the process, and the machine's power.
    Disk,
    /// Messages live as long as the process.
    Memory,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Disk, Self::Memory];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

/// `[auth]`: with a mode that asks for credentials there is a file of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What a poll must bring.
    pub mode: AuthMode,
    /// What the credentials are for: the second column of the file of users.
    pub realm: String,
    /// The hash functions that may be used, in the order in which they are offered. Never empty, none twice.
    pub algorithms: Vec<Algorithm>,
    /// The users, in Apache's `htdigest` format.
    pub users_file: Option<PathBuf>,
    /// Who is which principal, where that is not the same name.
    pub map_file: Option<PathBuf>,
    /// How long credentials can be made with a nonce.
    pub nonce_life_time: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Capability,
            realm: "pollgate".to_owned(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            users_file: None,
            map_file: None,
            nonce_life_time: Duration::from_secs(300),
        }
    }
}

/// `[delivery]`: white paper, *Client Registry Settings*, and what belongs beside it. With
/// [`DeliveryMode::FixedPorts`] there are ports, be it ones that come to random port selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// PollingFlag.
    pub mode: DeliveryMode,
    /// PollingPeriod.
    pub polling_period: PollingPeriod,
    /// Ports, as they were typed; `None` is random port selection.
    pub ports: Option<Ports>,
    /// What may be connected to beside the address that a subscription came from.
    pub allow: Vec<IpNet>,
    /// How long a connection to a client may take to be made.
    pub connect_timeout: Duration,
    /// How long a client may take to answer a callback.
    pub answer_timeout: Duration,
    /// The longest wait before a client is tried again.
    pub max_retry_delay: Duration,
    /// How many clients are called at a time; at least one.
    pub max_concurrent: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            mode: DeliveryMode::Polling,
            polling_period: PollingPeriod::default(),
            ports: None,
            allow: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            max_retry_delay: Duration::from_secs(300),
            max_concurrent: 4096,
        }
    }
}

/// What a poll must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// The key of the mailbox.
    Capability,
    /// The credentials of the user whose mailbox it is.
    Digest,
    /// Both.
    DigestAndCapability,
}

impl AuthMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Capability, Self::Digest, Self::DigestAndCapability];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capability => "capability",
            Self::Digest => "digest",
            Self::DigestAndCapability => "digest+capability",
        }
    }

    /// Whether credentials are asked for.
    pub fn asks_for_credentials(self) -> bool {
        self != Self::Capability
    }

    /// Whether a mailbox is polled only by whom its key shows, or the address, to be its subscriber.
    pub fn needs_capability(self) -> bool {
        self != Self::Digest
    }
}

/// `[admin]`: with a `listen.admin` that others can reach, there is a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The file that holds the token that operators must show; none: whoever reaches the listener may ask.
    pub token_file: Option<PathBuf>,
    /// What is in it. None of it is read for who only wants to know where to ask.
    pub token: Option<Token>,
}

/// `[shutdown]`: `drain` is shorter than `deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Over how long the early answers to held polls are spread, so that their clients do not all come back
    /// at once.
    pub drain: Duration,
    /// When what is on its way still is broken off.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(2), deadline: Duration::from_secs(10) }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important kind of line that is written.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Worth waking someone.
    Error,
    /// Worth a look tomorrow.
    Warn,
    /// What happened.
    Info,
    /// What happened in between.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All of them, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line, for programs.
    Json,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
