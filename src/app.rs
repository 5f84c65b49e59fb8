//! The composition root: binds, builds, starts and stops; the only place that knows everyone.
//!
//! [`Listeners`] are the sockets; [`handover`] passes them on to the next process.
//!
//! # The order of the end
//!
//! 1. Public listeners close: no new connections. No delivery is begun, and `/readyz` says `stopping`.
//! 2. Held polls are answered, spread over `shutdown.drain`; requests on their way to an upstream are finished.
//! 3. Callback listeners (TCP and UDP) close. They close behind the requests, since the upstream may call back before
//!    it answers one. Callbacks on their way are answered, and deliveries end.
//! 4. The admin listener closes.
//! 5. The store closes.
//!
//! All of that within `shutdown.deadline`. What is not done by then is broken off.
//!
//! When another process goes on ([`handover`]), all listeners stop accepting at once, and the store closes first: as
//! soon as nobody uses it. What does not use it is finished afterwards, while the next process serves already.

pub mod handover;
mod listeners;

use std::fs::OpenOptions;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::listeners::Listening;
pub use self::listeners::{BindError, Listeners};
use crate::admin::{Admin, Reload, UseStore};
use crate::clock;
use crate::config::{self, Changes, Config, LiveConfig, Origin, ReloadError, StoreKind};
use crate::gateway::callback::Callbacks;
use crate::gateway::datagrams;
use crate::gateway::deliver::Deliverer;
use crate::gateway::poll;
use crate::gateway::public::Public;
use crate::gateway::stop::Stop;
use crate::gateway::{Access, Gateway, Tls, Upstreams, serve_limits};
use crate::http1::{Connection, NEXT_REQUEST, ServeLimits, Service, accept, serve};
use crate::mailbox::{EventId, Timestamp};
use crate::reload::{self, Reloader};
use crate::store::{self, Caps, CommitWatch, DiskOptions, DiskStore, MailboxStore, MemoryStore, OpenError};
use crate::telemetry::Metrics;

/// How often leases and life times are looked at: they are whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// The largest body of what operators ask.
const ADMIN_BODY: usize = 64 * 1024;

/// How long whoever uses the store is waited for when it changes hands. Then it is closed under them: an answer that
/// is not taken by its client counts as not taken, and a callback gets 503.
const SETTLE: Duration = Duration::from_millis(250);

/// Of `shutdown.deadline`, the part that polls and requests have: callbacks and operators have the rest.
const PART_OF_REQUESTS: f64 = 0.9;

/// A gateway at work.
pub struct Running {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    tasks: Tasks,
    /// Set when this goes.
    _over: DropGuard,
    /// When what is due each second was done last, in milliseconds.
    ticked: Arc<AtomicU64>,
    /// Open as long as something may be handed over.
    listeners: Listeners,
    public_addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    callback_address: SocketAddr,
    admin_address: SocketAddr,
}

/// Everything that is under way, by the stage in which it ends.
#[derive(Clone, Default)]
struct Tasks {
    clients: TaskTracker,
    /// Ended with the callbacks, though they begin to stop with the clients.
    deliveries: TaskTracker,
    callbacks: TaskTracker,
    admin: TaskTracker,
}

impl Tasks {
    fn all(&self) -> [&TaskTracker; 4] {
        [&self.clients, &self.callbacks, &self.deliveries, &self.admin]
    }

    fn count(&self) -> usize {
        self.all().iter().map(|tasks| tasks.len()).sum()
    }
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
    let stop = Stop::default();
    let upstreams = Upstreams::open(&config, &metrics, &stop.clients)?;
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
    let use_store: UseStore = {
        let stop = stop.clone();
        Box::new(move || Some(Box::new(stop.use_store()?)))
    };
    // It says so from the first stage on.
    let stopping = stop.clients.clone();
    let admin = Admin {
        config,
        store,
        metrics,
        drops,
        traffic,
        bodies,
        reload,
        new_poll_key,
        stop: stopping,
        use_store,
    };
    let public = Arc::new(Public::new(gateway.clone()));
    let tasks = Tasks::default();
    let over = CancellationToken::new();
    let running = Running {
        gateway: gateway.clone(),
        reloader: reloader.clone(),
        tasks: tasks.clone(),
        _over: over.clone().drop_guard(),
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
        let clients = &tasks.clients;
        clients.spawn(accept::accept(
            listener.socket,
            stop.clients.clone(),
            clients.clone(),
            handle,
            refused,
        ));
    }
    for listener in listeners.tls {
        let public = public.clone();
        let handle = move |stream, peer| public.clone().serve_tls(stream, peer);
        let refused = no_descriptor(&gateway);
        let clients = &tasks.clients;
        clients.spawn(accept::accept(
            listener.socket,
            stop.clients.clone(),
            clients.clone(),
            handle,
            refused,
        ));
    }
    let live = gateway.clone();
    let callback_limits = move || {
        let config = live.config();
        let body = usize::try_from(config.callback.max_body_bytes).unwrap_or(usize::MAX);
        serve_limits(&config.limits, body)
    };
    let socket = listeners.callback.socket;
    serve_on(
        socket,
        Callbacks(gateway.clone()),
        callback_limits,
        &gateway,
        &tasks.callbacks,
        &stop.callbacks,
    );
    if let Some(Listening { socket, .. }) = listeners.callback_udp {
        // It was just made: nobody else has set it.
        let _ = gateway.datagram_port.set(socket.local_addr()?.port());
        let callbacks = Arc::new(Callbacks(gateway.clone()));
        let tasks = &tasks.callbacks;
        tasks.spawn(datagrams::serve(socket, callbacks, tasks.clone(), stop.callbacks.clone()));
    }
    let live = gateway.clone();
    let admin_limits = move || serve_limits(&live.config().limits, ADMIN_BODY);
    serve_on(listeners.admin.socket, admin, admin_limits, &gateway, &tasks.admin, &stop.admin);
    let deliverer = Arc::new(Deliverer::new(gateway.clone(), running.addresses()));
    let deliveries = &tasks.deliveries;
    deliveries.spawn(deliverer.run(deliveries.clone(), stop.clients.clone()));
    if let Some(file) = reloader.origin().and_then(Origin::file) {
        tasks.admin.spawn(reload::watch(reloader, file, stop.clients));
    }
    tokio::spawn(tick(gateway, running.ticked.clone(), over));
    Ok(running)
}

fn addresses(listeners: &[Listening]) -> std::io::Result<Vec<SocketAddr>> {
    listeners.iter().map(|listening| listening.socket.local_addr()).collect()
}

/// Whether this process could open the store, which another one may have open: nothing in it is changed.
pub fn probe_store(config: &config::Store) -> anyhow::Result<()> {
    if config.kind == StoreKind::Memory {
        return Ok(());
    }
    match DiskStore::examine(&config.path) {
        Err(OpenError::Held { .. }) => probe_beside(&config.path),
        examined => Ok(examined.map(drop)?),
    }
}

/// The same for a store that another process has open. Not all can be read beside it: that the file is there, may be
/// written to, and begins as it must.
fn probe_beside(directory: &Path) -> anyhow::Result<()> {
    // The place of `DiskStore::probe`.
    const BEGIN: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
    let path = directory.join("pollgate.redb");
    let cannot = || format!("cannot open {}", path.display());
    let mut file = OpenOptions::new().read(true).write(true).open(&path).with_context(cannot)?;
    let mut begin = [0; BEGIN.len()];
    file.read_exact(&mut begin).with_context(cannot)?;
    anyhow::ensure!(begin == BEGIN, "{} is not a store: its beginning is damaged", path.display());
    Ok(())
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

/// Until it is over, also while the store changes hands: as long as this is done, the process lives.
async fn tick(gateway: Arc<Gateway>, ticked: Arc<AtomicU64>, over: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(_at_store) = gateway.stop.use_store() {
            gateway.tick(clock::now());
        }
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

    /// What is listened on.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// The configuration as it is written, with which this gateway can be started over.
    pub fn written(&self) -> Config {
        self.reloader.written()
    }

    /// Lets go of the store, for another process: nothing more is accepted, held polls are answered at once, and the
    /// store closes when nobody uses it, or after a moment. The sockets stay open; what does not use the store goes on.
    pub async fn release_store(&self) {
        let stop = &self.gateway.stop;
        for stage in [&stop.hand_over, &stop.clients, &stop.callbacks, &stop.admin] {
            stage.cancel();
        }
        // Beside the accept loop: who keeps a connection may have a callback on its way, which is still taken in.
        if self.tasks.callbacks.len() > 1 {
            sleep(NEXT_REQUEST).await;
        }
        if !stop.settle(SETTLE).await {
            tracing::info!("the store changes hands before everything that uses it is done");
        }
        self.gateway.store.close().await;
        tracing::debug!("store closed, for the next process");
    }

    /// Waits for what goes on without the store, at most for `shutdown.deadline`. The sockets are closed at once.
    pub async fn finish(self) {
        let end = clock::in_time(self.gateway.config().shutdown.deadline);
        drop(self.listeners);
        for tasks in self.tasks.all() {
            wait(tasks, end).await;
        }
        warn_of_the_rest(&self.tasks);
    }

    /// Stops in the [order of the end](self).
    pub async fn stop(self) {
        let stop = &self.gateway.stop;
        let deadline = self.gateway.config().shutdown.deadline;
        let (requests_end, end) =
            (clock::in_time(deadline.mul_f64(PART_OF_REQUESTS)), clock::in_time(deadline));
        let Listeners { public, tls, callback, callback_udp, admin } = self.listeners;
        stop.clients.cancel();
        drop((public, tls));
        wait(&self.tasks.clients, requests_end).await;
        stop.callbacks.cancel();
        drop((callback, callback_udp));
        wait(&self.tasks.callbacks, end).await;
        wait(&self.tasks.deliveries, end).await;
        stop.admin.cancel();
        drop(admin);
        wait(&self.tasks.admin, end).await;
        warn_of_the_rest(&self.tasks);
        self.gateway.store.close().await;
    }
}

/// Waits until nothing of this is under way, or until `end`.
async fn wait(tasks: &TaskTracker, end: Instant) {
    tasks.close();
    // What is left is told of in the end.
    let _ = timeout_at(end, tasks.wait()).await;
}

fn warn_of_the_rest(tasks: &Tasks) {
    let connections = tasks.count();
    if connections > 0 {
        tracing::warn!(connections, "stopped before these were done");
    }
}
