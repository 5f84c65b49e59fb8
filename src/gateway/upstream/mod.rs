//! The upstreams: which of them a request is for, and which of its servers answers.
//!
//! - [`Upstreams`]: all of the running configuration. A reload makes those anew that it changes; whoever has an
//!   older one goes on with it.
//! - [`pool`]: one server out of several: always the same for a client, as long as that is up.
//! - [`resolve`]: where a server is.
//! - [`lines`]: connections to servers.
//! - [`redirect`]: where clients find what a server sends them to.
//!
//! Servers of the field keep sessions, and know nothing of each other: who signs in at one of them is nobody at the
//! next. So a client's address decides which server it has, and three things go before it: a connection that the
//! client authenticated stays where it is; so does a subscription, for as long as the gateway remembers
//! ([`Granted`]); and a server that takes no connection is passed over.

mod lines;
mod pool;
mod redirect;
mod resolve;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::lines::{Destination, Line, Lines};
pub use self::redirect::Known;

use self::pool::Pool;
use self::resolve::Resolver;
use super::tls::trust;
use crate::clock;
use crate::config::{self, Asked, Config};
use crate::http1::Connection;
use crate::http1::client::CallError;
use crate::mailbox::MailboxId;
use crate::telemetry::{Metrics, UpstreamCounters};
use crate::tls::{self, Roots, Stream, Trust};
use crate::watched::Unusable;

/// Of how many subscriptions it is remembered which server granted them; each takes less than a hundred bytes.
const REMEMBERED: usize = 65_536;

/// The upstreams of the running configuration, in its order.
pub struct Upstreams {
    all: Vec<Arc<Upstream>>,
    /// Whether any of them is for the port that a request comes in at.
    by_port: bool,
}

/// An upstream, and what is known of it.
pub struct Upstream {
    /// What it was set to.
    pub config: config::Upstream,
    /// What is measured of it.
    pub counters: UpstreamCounters,
    /// Whom to believe, if it is spoken to within TLS.
    trust: Option<Arc<Trust>>,
    servers: Servers,
    granted: Granted,
}

/// A server that was chosen.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// What it was set to.
    pub config: Arc<config::Server>,
}

/// Which server is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The client that it is for.
    pub client: IpAddr,
    /// The one that the client was at before, if that is known.
    pub known: Option<SocketAddr>,
    /// Those that took no connection just now.
    pub tried: &'a [SocketAddr],
}

enum Servers {
    One(Arc<config::Server>, Resolver),
    Several(Pool),
}

/// Which server granted which subscription. It is forgotten with the process: then the client's address decides.
#[derive(Default)]
struct Granted(Mutex<Option<LruCache<MailboxId, SocketAddr>>>);

impl Upstreams {
    /// As the configuration says. Reads the files that it names. Must be called within a runtime.
    pub fn open(config: &Config, metrics: &Metrics, stop: &CancellationToken) -> Result<Self, Unusable> {
        Self::after(&[], config, metrics, stop)
    }

    /// As `next` says; those that it leaves as they are go on.
    pub(super) fn follow(
        &self,
        next: &Config,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Result<Self, Unusable> {
        let next = Self::after(&self.all, next, metrics, stop)?;
        for gone in self.all.iter().filter(|old| next.named(&old.config.name).is_none()) {
            metrics.upstream_is_gone(&gone.config.name);
        }
        Ok(next)
    }

    fn after(
        running: &[Arc<Upstream>],
        config: &Config,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Result<Self, Unusable> {
        let mut all = Vec::new();
        for upstream in &config.upstreams {
            all.push(match running.iter().find(|running| running.config == *upstream) {
                Some(same) => same.clone(),
                None => Arc::new(Upstream::open(upstream, running, metrics, stop)?),
            });
        }
        let by_port = config.upstreams.iter().any(|upstream| upstream.listen_port.is_some());
        Ok(Self { all, by_port })
    }

    /// The one that a request is for, if there is one.
    pub fn choose(&self, asked: &Asked<'_>) -> Option<&Arc<Upstream>> {
        self.all.iter().find(|upstream| upstream.config.takes(asked))
    }

    /// Whether it matters at which port a request comes in.
    pub fn by_port(&self) -> bool {
        self.by_port
    }

    /// The one of this name, if it is there still.
    pub fn named(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.all.iter().find(|upstream| upstream.config.name == name)
    }

    /// The one that granted a subscription: without a name, or with one that is gone, it is the first.
    pub fn of_subscription(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.named(name).or_else(|| self.all.first())
    }

    /// Where a client finds what it is sent to, if that is at one of these and is not what it says already.
    pub fn redirected(&self, location: &str, known: &Known<'_>) -> Option<String> {
        let all: Vec<&config::Upstream> = self.all.iter().map(|upstream| &upstream.config).collect();
        redirect::rewrite(location, &all, known)
    }
}

impl Upstream {
    fn open(
        config: &config::Upstream,
        running: &[Arc<Upstream>],
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Result<Self, Unusable> {
        let same_trust = running.iter().find(|running| {
            running.config.is_tls() == config.is_tls() && running.config.ca_file == config.ca_file
        });
        let trust = match same_trust {
            Some(same) => same.trust.clone(),
            None => trust(config)?,
        };
        let all: Vec<Arc<config::Server>> = config.all_servers().into_iter().map(Arc::new).collect();
        let names = all.iter().map(|server| server.authority().to_owned());
        let counters = metrics.upstream(&config.name, names.collect());
        let servers = match &all[..] {
            [only] if config.health_check.interval.is_zero() => {
                Servers::One(only.clone(), Resolver::default())
            }
            _ => Servers::Several(Pool::new(config, all, trust.clone(), &counters, stop)),
        };
        Ok(Self { config: config.clone(), counters, trust, servers, granted: Granted::default() })
    }

    /// The server that a request goes to; none if all were tried.
    pub async fn server(&self, wish: Wish<'_>) -> io::Result<Option<Server>> {
        match &self.servers {
            Servers::One(config, resolver) => {
                let address = resolver.resolve(config.authority(), self.config.connect_timeout).await?;
                Ok(Some(Server { address, config: config.clone() }))
            }
            Servers::Several(pool) => pool.pick(wish).await,
        }
    }

    /// This server took no connection, or took one. Whether another could be tried.
    pub fn took_connection(&self, server: &Server, took: bool) -> bool {
        self.counters.server_is(server.config.authority(), took);
        match &self.servers {
            Servers::Several(pool) => {
                pool.took_connection(server.address, took);
                true
            }
            Servers::One(..) => false,
        }
    }

    /// This server granted the subscription of this mailbox.
    pub fn granted(&self, mailbox: MailboxId, by: SocketAddr) {
        if matches!(self.servers, Servers::Several(_)) {
            let mut granted = self.granted.lock();
            let granted = granted.get_or_insert_with(LruCache::unbounded);
            granted.push(mailbox, by);
            if granted.len() > REMEMBERED {
                granted.pop_lru();
            }
        }
    }

    /// The server that granted the first of these of which it is known.
    pub fn who_granted(&self, mailboxes: &[MailboxId]) -> Option<SocketAddr> {
        let mut granted = self.granted.lock();
        let granted = granted.as_mut()?;
        mailboxes.iter().find_map(|mailbox| granted.get(mailbox).copied())
    }

    /// Whom to believe now, if it is spoken to within TLS.
    pub(super) fn roots(&self) -> Option<Arc<Roots>> {
        self.trust.as_ref().map(|trust| trust.current(clock::now()))
    }

    /// A connection to a server, which leads there as the [destination](Destination::new) with the same roots says.
    pub(super) async fn line(&self, server: &Server, roots: Option<&Roots>) -> Result<Line, CallError> {
        Ok(lines::new(connect(&self.config, server, roots).await?).await)
    }

    /// A connection to a server that is not kept.
    pub(super) async fn connect(&self, server: &Server) -> Result<Connection<Stream>, CallError> {
        connect(&self.config, server, self.roots().as_deref()).await.map(Connection::new)
    }
}

impl Granted {
    fn lock(&self) -> MutexGuard<'_, Option<LruCache<MailboxId, SocketAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(
    upstream: &config::Upstream,
    server: &Server,
    roots: Option<&Roots>,
) -> Result<Stream, CallError> {
    let connected = async {
        let stream = TcpStream::connect(server.address).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true)?;
        let Some(roots) = roots else { return Ok(Stream::Plain(stream)) };
        tls::connect(stream, server.config.host(), roots).await.map_err(CallError::Tls)
    };
    let within = upstream.connect_timeout;
    timeout(within, connected).await.unwrap_or(Err(CallError::TimedOut(within)))
}
