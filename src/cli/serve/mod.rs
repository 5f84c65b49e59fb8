//! `pollgate serve`: the gateway, and the signals that it follows.

mod successor;
mod systemd;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::prctl::set_thp_disable;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::successor::Started;
use super::{Global, block_on};
use crate::app::handover::{self, Successor};
use crate::app::{self, Listeners, Running};
use crate::clock;
use crate::config::{self, Config, Origin, Overrides, StoreKind};
use crate::gateway::descriptors;
use crate::store::OpenError;
use crate::telemetry::logging;

/// How long a process may take to end that has closed its connection already.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The legacy server; within TLS https://HOST[:PORT]
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// Where clients are served; may be given more than once [default: 0.0.0.0:80]
    #[arg(long, value_name = "ADDRESS:PORT")]
    public: Vec<String>,
    /// Where the legacy server's callbacks arrive [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS:PORT")]
    callback: Option<String>,
    /// How the legacy server reaches the callback listener [default: that listener's own address]
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// Where metrics, health and API are [default: 127.0.0.1:9180]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// Where messages are kept on the disk; one gateway at a time [default: /var/lib/pollgate]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<String>,
    /// Take the sockets over from the gateway that runs with this state, when it gets SIGQUIT
    #[arg(long)]
    upgrade: bool,
}

pub(super) fn run(global: &Global, args: ServeArgs) -> anyhow::Result<ExitCode> {
    let origin = global.origin(Overrides {
        upstream: args.upstream,
        public: Some(args.public).filter(|public| !public.is_empty()),
        callback: args.callback,
        admin: args.admin,
        callback_url: args.callback_url,
        state_dir: args.state_dir,
        ..Overrides::default()
    });
    let config = origin.load()?;
    logging::start(&config.log);
    for warning in config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit(config.limits.connections);
    take_memory_in_small_pages();
    block_on(serve(origin, config, args.upgrade))
}

async fn serve(origin: Origin, config: Config, upgrade: bool) -> anyhow::Result<ExitCode> {
    // Before anything else: a signal that comes during the start must not be lost.
    let mut signals = Signals::catch().context("cannot wait for signals")?;
    let started = Started::now().context("cannot find out which program this is")?;
    let store = config.store.clone();
    let (listeners, predecessor) = match upgrade {
        true => {
            let taking = async {
                let probe = move || app::probe_store(&store);
                let (listeners, mut predecessor) = handover::take_over(&config, probe).await?;
                predecessor.store_is_free().await;
                anyhow::Ok((listeners, Some(predecessor)))
            };
            tokio::select! {
                taken = taking => taken?,
                by = signals.end.recv() => bail!("{by} came before anything was handed over"),
            }
        }
        false => (Listeners::bind(&config.listen)?, None),
    };
    let mut running = match upgrade {
        true => start_behind(origin.clone(), config, listeners).await?,
        false => app::start_from(Some(origin.clone()), config, listeners)?,
    };
    say_what_is_served(&running);
    if let Some(mut predecessor) = predecessor {
        predecessor.is_served().await;
        let gateway = running.gateway().clone();
        tokio::spawn(async move {
            while let Some(late) = predecessor.late().await {
                gateway.keep_late(&late).await;
            }
        });
    }
    systemd::ready(&running.public_address().to_string());
    loop {
        let end = tokio::select! {
            end = until_the_end(&mut signals, &started, &running) => end,
            never = systemd::watchdog(&running) => match never {},
        };
        match end {
            End::Signal(by) => {
                tracing::info!(by, "stopping");
                systemd::stopping();
                running.stop().await;
                break;
            }
            End::HandedOver(mut successor) => {
                systemd::handed_over(successor.pid.and_then(|pid| pid.try_into().ok()));
                successor.is_main().await;
                tracing::info!(process = successor.pid, "handed over; what is under way is finished");
                let late = running.gateway().stop.take_late();
                let over = CancellationToken::new();
                let telling = late.map(|late| tokio::spawn(successor.tell_late(late, over.clone())));
                tokio::select! {
                    () = running.finish() => {}
                    by = signals.end.recv() => tracing::info!(by, "what was under way is broken off"),
                }
                over.cancel();
                if let Some(telling) = telling {
                    let _ = timeout(LAST_MOMENTS, telling).await;
                }
                break;
            }
            End::Failed(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "not handed over: this process opens its store again and goes on");
                let (written, listeners) = (running.written(), running.listeners().clone());
                let late = running.gateway().stop.take_late();
                // What is under way there is finished beside the one that starts.
                tokio::spawn(running.finish());
                running = start_behind(origin.clone(), written, listeners).await?;
                say_what_is_served(&running);
                let gateway = running.gateway().clone();
                tokio::spawn(async move {
                    let Some(mut late) = late else { return };
                    while let Some(late) = late.recv().await {
                        gateway.keep_late(&late).await;
                    }
                });
            }
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn say_what_is_served(running: &Running) {
    let config = running.gateway().config();
    let promise = match config.store.kind {
        StoreKind::Disk => format!("messages are kept in {}", config.store.path.display()),
        StoreKind::Memory => "messages are kept in memory, and lost when this process ends".to_owned(),
    };
    let upstreams: Vec<&str> = config.upstreams.iter().map(|upstream| upstream.address.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public = %running.public_address(),
        tls = running.tls_addresses().first().map(tracing::field::display),
        callback = %running.callback_address(),
        admin = %running.admin_address(),
        upstream = upstreams.join(", "),
        callback_url = %config.callback.url,
        "serving; {promise}"
    );
}

/// Why a process serves no longer.
enum End {
    /// It was told to end.
    Signal(&'static str),
    /// Another process serves.
    HandedOver(Successor),
    /// It let go of its store, and the process that was to go on ended.
    Failed(anyhow::Error),
}

/// The signals that mean something to the gateway.
struct Signals {
    end: Ends,
    hangup: Signal,
    quit: Signal,
}

/// Those that end the process.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let end =
            Ends { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { end, hangup: signal(SignalKind::hangup())?, quit: signal(SignalKind::quit())? })
    }
}

impl Ends {
    /// The next of them.
    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Does what signals ask for, until this process serves no longer.
async fn until_the_end(signals: &mut Signals, started: &Started, running: &Running) -> End {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                // The log says what came of it.
                let _ = running.reload("SIGHUP").await;
            }
            _ = signals.quit.recv() => {
                let found = tokio::select! {
                    by = signals.end.recv() => return End::Signal(by),
                    found = started.find_successor(running) => found,
                };
                match found {
                    Ok(successor) => {
                        return tokio::select! {
                            by = signals.end.recv() => End::Signal(by),
                            end = hand_over(running, successor) => end,
                        };
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::error!(error, "not handed over; this process goes on");
                    }
                }
            }
            by = signals.end.recv() => return End::Signal(by),
        }
    }
}

/// Hands the store over to a successor that is ready.
async fn hand_over(running: &Running, mut successor: Successor) -> End {
    tracing::info!(process = successor.pid, "handing over");
    running.release_store().await;
    match successor.take_the_store().await {
        Ok(()) => End::HandedOver(successor),
        Err(error) => End::Failed(error),
    }
}

/// Starts when the process before this one has ended, and with it the store's lock.
async fn start_behind(origin: Origin, config: Config, listeners: Listeners) -> anyhow::Result<Running> {
    let began = clock::instant();
    loop {
        match app::start_from(Some(origin.clone()), config.clone(), listeners.clone()) {
            Err(error)
                if matches!(error.downcast_ref(), Some(OpenError::Held { .. }))
                    && began.elapsed() < LAST_MOMENTS =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started => return started,
        }
    }
}

/// A large page is cleared as a whole when its first byte is needed (prctl(2), `PR_SET_THP_DISABLE`): meanwhile all wait
/// whom that thread serves, for milliseconds where a virtual machine has to fetch it first. What is held here is small,
/// and a large page of which little is used takes memory for nothing.
fn take_memory_in_small_pages() {
    if let Err(error) = set_thp_disable(true) {
        tracing::debug!(%error, "memory comes in large pages");
    }
}

/// Every client is a descriptor: as many are taken as the administrator allows, and too few are told of.
fn raise_descriptor_limit(connections: u64) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "file descriptors"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of file descriptors"),
    }
    let clients = descriptors::for_clients();
    if clients < connections {
        tracing::warn!(
            clients,
            "the limit of file descriptors (LimitNOFILE, ulimit -n) allows {clients} clients, and not the {connections} of \
             limits.connections"
        );
    }
}
