//! Between the wires: what comes from clients on the one side, and from the upstream on the other.
//!
//! In reading order:
//! - [`Gateway`]: what all parts share.
//! - [`public`]: the clients' connections. It decides what a request is: a poll is answered here, all
//!   else is passed on.
//! - [`doors`]: who is let in, and how much each address may have; [`pace`]: how fast it may ask.
//! - [`descriptors`]: for how many clients the process has any.
//! - [`forwarded`]: for whom a request comes that proxies pass on.
//! - [`subscribe`]: what a subscription means for mailboxes, before it goes upstream and when its answer
//!   comes.
//! - [`newcomers`]: clients that have no answer to their subscription yet.
//! - [`answers`]: what the body of an answer says of a subscription.
//! - [`own`]: how a client is served that signs in: by its own setting, or by a policy.
//! - [`passage`]: a request on its way.
//! - [`onward`]: what goes on to an upstream; [`proxy`]: a request to a server, and its answer back;
//!   [`request_body`]: the body of the one.
//! - [`hop`]: what of an answer is for the gateway alone; [`description`]: what in it names the server's own
//!   address.
//! - [`tether`]: which connections to the upstream are a client's own, and that they end with it.
//! - [`upstream`]: which upstream a request is for, and which of its servers.
//! - [`stop`]: how a gateway ends, and who uses the store meanwhile.
//! - [`tls`]: handshakes with clients, and whom to believe of the upstream.
//! - [`callback`]: the callbacks of the upstream; [`datagrams`]: those that come as such.
//! - [`access`]: who may poll what; [`poll`]: polls, held and answered.
//! - [`deliver`]: messages brought to clients that are called.
//!
//! Polls, callbacks and deliveries know of each other only through the store.

pub mod access;
mod answers;
pub mod callback;
pub mod datagrams;
pub mod deliver;
mod description;
pub mod descriptors;
mod doors;
mod forwarded;
mod hop;
mod newcomers;
mod onward;
mod own;
mod pace;
mod passage;
pub mod poll;
mod proxy;
pub mod public;
mod request_body;
pub mod stop;
pub mod subscribe;
mod tether;
mod tls;
mod upstream;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock;
use crate::config::{Config, EdgeLimits, LiveConfig};
use crate::dialect::Dialect;
use crate::http1::{Allowance, Budget, HeadLimits, Headers, ServeLimits, Times};
use crate::mailbox::{CallbackToken, Lost, MailboxId, Subscription, Timestamp};
use crate::store::{EndedBy, MailboxStore};
use crate::telemetry::{Drops, Happened, Metrics, Traffic};
use crate::watched::Unusable;
use arc_swap::{ArcSwap, Guard};

use self::newcomers::Newcomers;
use self::stop::{Late, Stop};
use self::upstream::Lines;

pub use access::Access;
pub use tls::Tls;
pub use upstream::{Upstream, Upstreams};

/// What all parts of the gateway share.
pub struct Gateway {
    config: LiveConfig,
    /// The mailboxes.
    pub store: Arc<dyn MailboxStore>,
    /// Who may poll.
    access: ArcSwap<Access>,
    /// The certificate that clients are shown.
    tls: ArcSwap<Tls>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Told of what is lost.
    pub drops: Arc<Drops>,
    /// Told of what happens, for those who follow it.
    pub traffic: Arc<Traffic>,
    /// Who must not be called yet.
    newcomers: Arc<Newcomers>,
    /// Where requests go.
    upstreams: ArcSwap<Upstreams>,
    /// The connections that they go on.
    lines: Arc<Lines>,
    /// What request bodies take in memory.
    pub bodies: Arc<Budget>,
    /// The port at which callbacks may come as datagrams, if there is one.
    pub datagram_port: OnceLock<u16>,
    /// How far it is on its way to the end.
    pub stop: Stop,
}

/// What a connection may ask, with bodies of at most so many bytes.
pub fn serve_limits(limits: &EdgeLimits, body: usize) -> ServeLimits {
    ServeLimits {
        head: HeadLimits { bytes: limits.header_bytes, fields: limits.header_fields },
        body,
        times: Times {
            idle: limits.idle_timeout,
            head: limits.header_timeout,
            body: limits.body_timeout,
            write: limits.write_timeout,
        },
    }
}

/// In whole seconds, as `Retry-After` has them, and not too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Gateway {
    /// A gateway that nobody has asked anything yet.
    pub fn new(
        config: LiveConfig,
        store: Arc<dyn MailboxStore>,
        access: Access,
        tls: Tls,
        upstreams: Upstreams,
        metrics: Arc<Metrics>,
        stop: Stop,
    ) -> Self {
        let traffic = Arc::new(Traffic::default());
        let drops = Arc::new(Drops::new(metrics.clone(), traffic.clone()));
        Self {
            config,
            store,
            access: ArcSwap::from_pointee(access),
            tls: ArcSwap::from_pointee(tls),
            metrics,
            drops,
            traffic,
            newcomers: Arc::default(),
            upstreams: ArcSwap::from_pointee(upstreams),
            lines: Arc::default(),
            bodies: Arc::default(),
            datagram_port: OnceLock::new(),
            stop,
        }
    }

    /// What the body of a callback takes its memory from: all there is.
    pub fn room(&self) -> Allowance {
        self.bodies.allowance(self.config().limits.body_bytes_in_flight)
    }

    /// What the body of a client's request takes its memory from, and of that no more than its address's share: half.
    /// A quarter of all is kept for callbacks, so that no client keeps a message out.
    pub fn client_room(&self, address: Arc<Budget>) -> Allowance {
        let all = self.config().limits.body_bytes_in_flight;
        let of_clients = all - all / 4;
        self.bodies.allowance(of_clients).of_sender(address, of_clients.div_ceil(2))
    }

    /// The address at which the upstream is to call back with this token, over `httpu` if the client wanted that
    /// and it can be had.
    fn callback_address(&self, token: CallbackToken, wanted: Option<&str>) -> String {
        let config = self.config();
        let url = &config.callback.url;
        let by_datagram =
            wanted.is_some_and(|wanted| wanted.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("httpu:")));
        match self.datagram_port.get().filter(|_| by_datagram) {
            None => format!("{url}/{token}"),
            Some(port) => {
                let authority = url.strip_prefix("http://").unwrap_or(url);
                // A port stands behind the last colon, unless that is within an address of IPv6.
                let host = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
                format!("httpu://{}:{port}/{token}", host.map_or(authority, |(host, _)| host))
            }
        }
    }

    /// The running configuration, as of now.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Who may poll, as of now.
    pub fn access(&self) -> Guard<Arc<Access>> {
        self.access.load()
    }

    /// The upstreams, as of now.
    pub fn upstreams(&self) -> Guard<Arc<Upstreams>> {
        self.upstreams.load()
    }

    /// TLS, as of now.
    fn tls(&self) -> Guard<Arc<Tls>> {
        self.tls.load()
    }

    /// Follows another configuration from now on; what is on its way goes on as it began. `Err` leaves all
    /// as it was.
    pub fn follow(&self, next: Config) -> Result<(), Unusable> {
        let tls = self.tls().follow(&self.config(), &next)?;
        let upstreams = match self.config().upstreams == next.upstreams {
            true => None,
            false => Some(self.upstreams().follow(&next, &self.metrics, &self.stop.clients)?),
        };
        // With the same settings it goes on: it knows which credentials were used already.
        if self.config().auth != next.auth {
            self.access.store(Arc::new(Access::open(&next.auth)?));
        }
        self.tls.store(Arc::new(tls));
        if let Some(upstreams) = upstreams {
            self.upstreams.store(Arc::new(upstreams));
        }
        self.config.store(Arc::new(next));
        self.see_policies();
        Ok(())
    }

    /// The dialect in which a mailbox's subscription was written.
    pub fn dialect_of_subscription(&self, subscription: &Subscription) -> Dialect {
        let upstreams = self.upstreams();
        let upstream = upstreams.of_subscription(&subscription.upstream);
        Dialect::of_subscription(subscription, upstream.and_then(|upstream| upstream.config.rules.as_ref()))
    }

    /// The dialect of a callback whose mailbox is not known: nobody can tell which upstream sent it.
    pub fn dialect_of_callback(&self, fields: &impl Headers) -> Dialect {
        let config = self.config();
        Dialect::of_callback(fields, config.upstreams.iter().find_map(|upstream| upstream.rules.as_ref()))
    }

    /// The lease of a mailbox whose upstream granted this one, or the client's wish if it named none. What rules say of
    /// leases has bounds of its own.
    pub fn lease(&self, granted: Option<Duration>, asked: Option<Duration>, dialect: &Dialect) -> Duration {
        let lease = granted.or(asked).unwrap_or(dialect.default_lease());
        let bound = if dialect.has_rules() { Duration::MAX } else { self.config().limits.max_lease };
        lease.min(bound)
    }

    /// Counts and logs what a mailbox lost.
    pub fn record_lost(&self, mailbox: MailboxId, lost: &Lost, now: Timestamp) {
        self.drops.record(mailbox, lost, now);
    }

    /// Keeps what an answer that another process got made of a mailbox.
    pub async fn keep_late(&self, late: &Late) {
        let Late { mailbox, subscription_id, lease } = late;
        match lease {
            // One that ended meanwhile is not revived.
            Some(lease) => {
                let lease_ends = clock::now() + *lease;
                let _ = self.store.grant(*mailbox, subscription_id.as_deref(), lease_ends).await;
            }
            None => subscribe::end(self, *mailbox, EndedBy::Other).await,
        }
    }

    /// Does what is due: leases and messages end, and what was logged as going on may be over.
    pub fn tick(&self, now: Timestamp) {
        let config = self.config();
        let ends = self.tls().certificate().map(|certificate| certificate.current(now).ends());
        self.metrics.certificate_ends(ends);
        let expired = self.store.expire(&config.polling.limits, now);
        self.metrics.mailboxes_expired(expired.ended.len() as u64);
        for (mailbox, lost) in &expired.lost {
            self.record_lost(*mailbox, lost, now);
        }
        for (mailbox, abandoned) in expired.ended {
            self.traffic.tell(mailbox, || Happened::Ended { abandoned });
        }
        self.drops.tick(now);
    }
}
