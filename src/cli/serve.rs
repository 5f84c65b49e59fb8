//! `pollgate serve`: the gateway.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, block_on};
use crate::app::{self, Listeners};
use crate::config::{self, Config, Origin, Overrides, StoreKind};
use crate::telemetry::logging;

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
    raise_descriptor_limit();
    block_on(serve(origin, config))
}

async fn serve(origin: Origin, config: Config) -> anyhow::Result<ExitCode> {
    // Before anything else: a signal that comes during the start must not be lost.
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let listeners = Listeners::bind(&config.listen)?;
    let upstream = config.upstream.address.clone();
    let promise = match config.store.kind {
        StoreKind::Disk => format!("messages are kept in {}", config.store.path.display()),
        StoreKind::Memory => "messages are kept in memory, and lost when this process ends".to_owned(),
    };
    let running = app::start_from(Some(origin), config, listeners)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public = %running.public_address(),
        tls = running.tls_addresses().first().map(tracing::field::display),
        callback = %running.callback_address(),
        admin = %running.admin_address(),
        upstream,
        callback_url = %running.gateway().config().callback.url,
        "serving; {promise}"
    );
    let by = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => {
                // The log says what came of it.
                let _ = running.reload("SIGHUP");
            }
        }
    };
    tracing::info!(by, "stopping");
    running.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Every held poll is a descriptor: as many are taken as the administrator allows.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "file descriptors"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of file descriptors"),
    }
}
