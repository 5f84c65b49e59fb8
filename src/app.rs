//! The composition root: binds, builds, starts and stops; the only place that knows everyone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::clock;
use crate::config::{self, Changes, Config, Listen, LiveConfig, Origin, ReloadError, StoreKind};
use crate::gateway::callback::Callbacks;
use crate::gateway::deliver::Deliverer;
use crate::gateway::public::Public;
use crate::gateway::{Access, Gateway, Tls, serve_limits};
use crate::http1::{Connection, ServeLimits, Service, accept, serve};
use crate::mailbox::EventId;
use crate::reload::{self, Reloader};
use crate::store::{self, Caps, CommitWatch, DiskOptions, DiskStore, MailboxStore, MemoryStore};
use crate::telemetry::Metrics;

/// How often leases and life times are looked at: they are whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long a stop waits for what is on its way, beyond the time over which held polls are answered.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The largest body of what operators ask.
const ADMIN_BODY: usize = 64 * 1024;

/// The sockets that the gateway listens on.
#[derive(Debug)]
pub struct Listeners {
    public: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    callback: TcpListener,
    admin: TcpListener,
}

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listen.{key}): {cause}")]
pub struct BindError {
    address: SocketAddr,
    key: &'static str,
    cause: std::io::Error,
}

impl Listeners {
    /// Binds all of them, or says which cannot be had.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        let bind = |key, address| accept::bind(address).map_err(|cause| BindError { address, key, cause });
        let bind_all = |key, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| bind(key, *address)).collect::<Result<_, _>>()
        };
        Ok(Self {
            public: bind_all("public", &listen.public)?,
            tls: bind_all("tls.public", &listen.tls.public)?,
            callback: bind("callback", listen.callback)?,
            admin: bind("admin", listen.admin)?,
        })
    }

    /// Where the callback listener is.
    pub fn callback_address(&self) -> std::io::Result<SocketAddr> {
        self.callback.local_addr()
    }
}

/// A gateway at work.
pub struct Running {
    gateway: Arc<Gateway>,
    public: Arc<Public>,
    reloader: Arc<Reloader>,
    tasks: TaskTracker,
    public_addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    callback_address: SocketAddr,
    admin_address: SocketAddr,
}

/// Starts a gateway on these sockets, with a configuration that is written nowhere. Must be called within a
/// runtime; it returns when everything that the store kept is there again.
pub fn start(config: Config, listeners: Listeners) -> anyhow::Result<Running> {
    start_from(None, config, listeners)
}

/// The same with a configuration that can be read again, and whose file is watched.
pub fn start_from(
    origin: Option<Origin>,
    mut config: Config,
    listeners: Listeners,
) -> anyhow::Result<Running> {
    let written = config.clone();
    let metrics = Arc::new(Metrics::new()?);
    let store = open_store(&config.store, &metrics)?;
    if let Some(host) = config.callback.url.strip_suffix(":0") {
        config.callback.url = format!("{host}:{}", listeners.callback.local_addr()?.port());
    }
    let access = Access::open(&config.auth)?;
    let tls = Tls::open(&config)?;
    let stop = CancellationToken::new();
    let config = LiveConfig::new(ArcSwap::from_pointee(config));
    let gateway =
        Arc::new(Gateway::new(config.clone(), store.clone(), access, tls, metrics.clone(), stop.clone()));
    let reloader = Arc::new(Reloader::new(gateway.clone(), origin, written));
    let reload = {
        let reloader = reloader.clone();
        Box::new(move || reloader.reload("POST /-/reload"))
    };
    let drops = gateway.drops.clone();
    let admin = Admin { config, store, metrics, drops, reload, stop: stop.clone() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let public = Arc::new(Public::new(gateway.clone(), threads));
    let tasks = TaskTracker::new();
    let running = Running {
        gateway: gateway.clone(),
        public: public.clone(),
        reloader: reloader.clone(),
        tasks: tasks.clone(),
        public_addresses: listeners.public.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?,
        tls_addresses: listeners.tls.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?,
        callback_address: listeners.callback.local_addr()?,
        admin_address: listeners.admin.local_addr()?,
    };

    for listener in listeners.public {
        let public = public.clone();
        let handle = move |stream, peer| public.clone().serve(stream, peer);
        tasks.spawn(accept::accept(listener, stop.clone(), tasks.clone(), handle));
    }
    for listener in listeners.tls {
        let public = public.clone();
        let handle = move |stream, peer| public.clone().serve_tls(stream, peer);
        tasks.spawn(accept::accept(listener, stop.clone(), tasks.clone(), handle));
    }
    let live = gateway.clone();
    let callback_limits = move || {
        let config = live.config();
        let body = usize::try_from(config.callback.max_body_bytes).unwrap_or(usize::MAX);
        serve_limits(config.limits, body)
    };
    serve_on(listeners.callback, Callbacks(gateway.clone()), callback_limits, &tasks, &stop);
    let live = gateway.clone();
    let admin_limits = move || serve_limits(live.config().limits, ADMIN_BODY);
    serve_on(listeners.admin, admin, admin_limits, &tasks, &stop);
    let deliverer = Arc::new(Deliverer::new(gateway.clone(), running.addresses()));
    tasks.spawn(deliverer.run(tasks.clone(), stop.clone()));
    if let Some(file) = reloader.origin().and_then(Origin::file) {
        tasks.spawn(reload::watch(reloader, file, stop.clone()));
    }
    tasks.spawn(tick(gateway, stop));
    Ok(running)
}

/// Opens the store that is asked for.
fn open_store(config: &config::Store, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<dyn MailboxStore>> {
    let caps = Caps { mailboxes: config.max_mailboxes, bytes: config.max_buffered_bytes };
    match config.kind {
        StoreKind::Memory => {
            // A thousand ids a millisecond: ids grow across restarts, and stay exact in JSON.
            Ok(Arc::new(MemoryStore::new(caps, EventId(clock::now().as_millis() * 1000))))
        }
        StoreKind::Disk => {
            let metrics = metrics.clone();
            let options = DiskOptions {
                caps,
                cache_bytes: config.cache_bytes,
                min_free_bytes: config.min_free_bytes,
                clock: store::Clock::default(),
                on_commit: CommitWatch(Arc::new(move |commit| metrics.committed(commit))),
            };
            let store = DiskStore::open(&config.path, options)?;
            let recovery = store.status().disk.recovery;
            tracing::info!(
                path = %config.path.display(),
                mailboxes = recovery.mailboxes,
                messages = recovery.messages,
                seconds = recovery.took.as_secs_f64(),
                "store opened"
            );
            Ok(Arc::new(store))
        }
    }
}

fn serve_on<V: Service + 'static>(
    listener: TcpListener,
    service: V,
    limits: impl Fn() -> ServeLimits + Clone + Send + Sync + 'static,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let service = Arc::new(service);
    let token = stop.clone();
    let handle = move |stream, peer| {
        // A token of its own: to wait for the one that all share, each would queue at its lock.
        let (service, limits, stop) = (service.clone(), limits.clone(), token.child_token());
        async move { serve(Connection::new(stream), peer, &*service, limits, stop).await }
    };
    tasks.spawn(accept::accept(listener, stop.clone(), tasks.clone(), handle));
}

async fn tick(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        gateway.tick(clock::now()).await;
    }
}

impl Running {
    /// Where clients are served; the first, if there are several, without TLS before within.
    pub fn public_address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Where clients are served within TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Where callbacks arrive.
    pub fn callback_address(&self) -> SocketAddr {
        self.callback_address
    }

    /// Where operators ask.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Every address that is listened at, the public ones first.
    fn addresses(&self) -> Vec<SocketAddr> {
        let others = [self.callback_address, self.admin_address];
        self.public_addresses.iter().chain(&self.tls_addresses).copied().chain(others).collect()
    }

    /// What is running.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Reads the configuration again, and follows it. `by` says who wanted that.
    pub fn reload(&self, by: &'static str) -> Result<Changes, ReloadError> {
        self.reloader.reload(by)
    }

    /// Follows this configuration, as if it were written.
    pub fn follow(&self, written: Config) -> Result<Changes, ReloadError> {
        self.reloader.follow(written)
    }

    /// Stops: nothing new is accepted, held polls are answered, what is on its way is finished, and the
    /// store is closed.
    pub async fn stop(self) {
        self.gateway.stop.cancel();
        self.public.stop();
        self.tasks.close();
        if timeout(Gateway::DRAIN + STOP_GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "stopped before these were done");
        }
        self.gateway.store.close().await;
    }
}
