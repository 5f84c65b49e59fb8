//! The composition root: binds, builds, starts and stops; the only place that knows everyone.
//!
//! [`Listeners`] are the sockets; [`handover`] passes them on to the next process.

pub mod handover;
mod listeners;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::handover::{Handover, Successor};
use self::listeners::Listening;
pub use self::listeners::{BindError, Listeners};
use crate::admin::{Admin, Reload};
use crate::clock;
use crate::config::{self, Changes, Config, LiveConfig, Origin, ReloadError, StoreKind};
use crate::gateway::callback::Callbacks;
use crate::gateway::datagrams;
use crate::gateway::deliver::Deliverer;
use crate::gateway::poll;
use crate::gateway::public::Public;
use crate::gateway::{Access, Gateway, Tls, Upstreams, serve_limits};
use crate::http1::{Connection, ServeLimits, Service, accept, serve};
use crate::mailbox::{EventId, Timestamp};
use crate::reload::{self, Reloader};
use crate::store::{self, Caps, CommitWatch, DiskOptions, DiskStore, MailboxStore, MemoryStore};
use crate::telemetry::Metrics;

/// How often leases and life times are looked at: they are whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// The largest body of what operators ask.
const ADMIN_BODY: usize = 64 * 1024;

/// A gateway at work.
pub struct Running {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    tasks: TaskTracker,
    /// When what is due each second was done last, in milliseconds.
    ticked: Arc<AtomicU64>,
    /// Open as long as something may be handed over.
    listeners: Listeners,
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
        config.callback.url = format!("{host}:{}", listeners.callback_address()?.port());
    }
    // Which of them are new since the last start: those were written later than what users set before.
    store.clients().see_policies(|| config::policies(&config).map(|(_, policy)| policy).collect());
    let access = Access::open(&config.auth)?;
    let tls = Tls::open(&config)?;
    let stop = CancellationToken::new();
    let upstreams = Upstreams::open(&config, &metrics, &stop)?;
    let config = LiveConfig::new(ArcSwap::from_pointee(config));
    let gateway =
        Gateway::new(config.clone(), store.clone(), access, tls, upstreams, metrics.clone(), stop.clone());
    let gateway = Arc::new(gateway);
    let reloader = Arc::new(Reloader::new(gateway.clone(), origin, written));
    let reload = {
        let reloader = reloader.clone();
        let reload: Reload = Box::new(move || {
            let reloader = reloader.clone();
            Box::pin(async move { reloader.reload("POST /-/reload").await })
        });
        reload
    };
    let (drops, bodies) = (gateway.drops.clone(), gateway.bodies.clone());
    let traffic = gateway.traffic.clone();
    let new_poll_key = poll::new_key;
    let admin =
        Admin { config, store, metrics, drops, traffic, bodies, reload, new_poll_key, stop: stop.clone() };
    let public = Arc::new(Public::new(gateway.clone()));
    let tasks = TaskTracker::new();
    let running = Running {
        gateway: gateway.clone(),
        reloader: reloader.clone(),
        tasks: tasks.clone(),
        ticked: Arc::new(AtomicU64::new(clock::now().as_millis())),
        listeners: listeners.clone(),
        public_addresses: addresses(&listeners.public)?,
        tls_addresses: addresses(&listeners.tls)?,
        callback_address: listeners.callback_address()?,
        admin_address: listeners.admin.socket.local_addr()?,
    };

    for listener in listeners.public {
        let public = public.clone();
        let handle = move |stream, peer| public.clone().serve(stream, peer);
        let refused = no_descriptor(&gateway);
        tasks.spawn(accept::accept(listener.socket, stop.clone(), tasks.clone(), handle, refused));
    }
    for listener in listeners.tls {
        let public = public.clone();
        let handle = move |stream, peer| public.clone().serve_tls(stream, peer);
        let refused = no_descriptor(&gateway);
        tasks.spawn(accept::accept(listener.socket, stop.clone(), tasks.clone(), handle, refused));
    }
    let live = gateway.clone();
    let callback_limits = move || {
        let config = live.config();
        let body = usize::try_from(config.callback.max_body_bytes).unwrap_or(usize::MAX);
        serve_limits(&config.limits, body)
    };
    let socket = listeners.callback.socket;
    serve_on(socket, Callbacks(gateway.clone()), callback_limits, &gateway, &tasks, &stop);
    if let Some(Listening { socket, .. }) = listeners.callback_udp {
        // It was just made: nobody else has set it.
        let _ = gateway.datagram_port.set(socket.local_addr()?.port());
        let callbacks = Arc::new(Callbacks(gateway.clone()));
        tasks.spawn(datagrams::serve(socket, callbacks, tasks.clone(), stop.clone()));
    }
    let live = gateway.clone();
    let admin_limits = move || serve_limits(&live.config().limits, ADMIN_BODY);
    serve_on(listeners.admin.socket, admin, admin_limits, &gateway, &tasks, &stop);
    let deliverer = Arc::new(Deliverer::new(gateway.clone(), running.addresses()));
    tasks.spawn(deliverer.run(tasks.clone(), stop.clone()));
    if let Some(file) = reloader.origin().and_then(Origin::file) {
        tasks.spawn(reload::watch(reloader, file, stop.clone()));
    }
    tasks.spawn(tick(gateway, running.ticked.clone(), stop));
    Ok(running)
}

fn addresses(listeners: &[Listening]) -> std::io::Result<Vec<SocketAddr>> {
    listeners.iter().map(|listening| listening.socket.local_addr()).collect()
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
    listener: Arc<TcpListener>,
    service: V,
    limits: impl Fn() -> ServeLimits + Clone + Send + Sync + 'static,
    gateway: &Arc<Gateway>,
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
    tasks.spawn(accept::accept(listener, stop.clone(), tasks.clone(), handle, no_descriptor(gateway)));
}

/// Told of each connection for which there was no file descriptor.
fn no_descriptor(gateway: &Arc<Gateway>) -> impl Fn() + use<> {
    let gateway = gateway.clone();
    move || gateway.metrics.connection_refused("descriptors")
}

async fn tick(gateway: Arc<Gateway>, ticked: Arc<AtomicU64>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        gateway.tick(clock::now());
        ticked.store(clock::now().as_millis(), Relaxed);
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

    /// How long ago what is due each second was done.
    pub fn last_tick(&self) -> Duration {
        clock::now().since(Timestamp::from_millis(self.ticked.load(Relaxed)))
    }

    /// Reads the configuration again, and follows it. `by` says who wanted that.
    pub async fn reload(&self, by: &'static str) -> Result<Changes, ReloadError> {
        self.reloader.reload(by).await
    }

    /// Follows this configuration, as if it were written.
    pub fn follow(&self, written: Config) -> Result<Changes, ReloadError> {
        self.reloader.follow(written)
    }

    /// Hands the sockets over to whoever comes to this place. It is ready to go on when this returns `Ok`, and
    /// waits for this process to end.
    pub async fn hand_over(&self, handover: &Handover) -> anyhow::Result<Successor> {
        handover.hand_over(&self.listeners).await
    }

    /// Stops: nothing new is accepted, held polls are answered, what is on its way is finished, and the
    /// store is closed. What is not done within `shutdown.deadline` is broken off.
    pub async fn stop(self) {
        let deadline = self.gateway.config().shutdown.deadline;
        self.gateway.stop.cancel();
        drop(self.listeners);
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "stopped before these were done");
        }
        self.gateway.store.close().await;
    }
}
