//! `pollgate agent`: the client's side, for clients that know nothing of a gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::{Global, block_on};
use crate::agent::{Agent, Polling, Reach, Settings, StateFile};
use crate::auth::digest::Credentials;
use crate::config::{self, Delivery, Log, LogFormat, LogLevel};
use crate::dialect::Choice;
use crate::http1::accept;
use crate::mailbox::DeliveryMode;
use crate::registry;
use crate::tls::Trust;
use crate::watched;

/// Let a client that listens for callbacks work through a firewall
///
/// The client takes the agent for its server, or for its HTTP proxy. The agent passes its requests on to the
/// gateway, polls there for what the client subscribed to, and brings it to the client's own callback address.
#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// The gateway: http[s]://HOST[:PORT]
    #[arg(long, value_name = "URL", value_parser = gateway)]
    gateway: Url,
    /// Where clients are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8380")]
    listen: SocketAddr,
    /// Where metrics and health are; nowhere unless this is given
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
    /// The name of the server, for clients that know the agent as their server: the Host of what is passed on
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// How the server writes subscriptions
    #[arg(long, value_name = "DIALECT", default_value = "auto", value_parser = dialect)]
    dialect: Choice,
    /// The server has webhooks, which are registered as this file says; see conf/dialects
    #[arg(long, value_name = "FILE", conflicts_with = "dialect")]
    webhook: Option<PathBuf>,
    /// Who may be called beside whoever subscribes, such as 192.168.1.0/24; may be given more than once
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<IpNet>,
    /// The longest hold that is asked for
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// Do not hold polls, and leave so much time between them
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "reg")]
    poll_every: Option<Duration>,
    /// The client's settings (.reg): PollingFlag, PollingPeriod, Ports
    #[arg(long, value_name = "FILE")]
    reg: Option<PathBuf>,
    /// Where subscriptions are kept for the next start; empty: nowhere
    /// [default: pollgate/agent.json in $XDG_STATE_HOME, or in ~/.local/state]
    #[arg(long, value_name = "FILE")]
    state: Option<String>,
    /// Who polls, if the gateway asks for it: a file whose first line is USER:PASSWORD
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// With https: the certificate authorities (PEM) that are believed, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn gateway(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let plain = url.username().is_empty() && url.password().is_none();
    let only = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !only || !plain {
        return Err("it must be http://HOST[:PORT] or https://HOST[:PORT]".to_owned());
    }
    Ok(url)
}

fn dialect(text: &str) -> Result<Choice, String> {
    // Webhooks have a flag of their own.
    let names = Choice::ALL.into_iter().filter(|choice| *choice != Choice::Webhook);
    let found = names.clone().find(|choice| choice.as_str() == text);
    found.ok_or_else(|| {
        format!("it must be one of {}", names.map(Choice::as_str).collect::<Vec<_>>().join(", "))
    })
}

pub(super) fn run(global: &Global, args: AgentArgs) -> anyhow::Result<ExitCode> {
    ensure!(global.config.is_none(), "the agent has no configuration file; it has flags");
    crate::telemetry::logging::start(&log(global)?);
    let client = args.reg.as_deref().map(client_settings).transpose()?;
    let (called_by_gateway, every) = match &client {
        None => (false, args.poll_every),
        Some(delivery) if delivery.mode == DeliveryMode::Polling => {
            (false, Some(delivery.polling_period.duration()))
        }
        Some(_) => (true, None),
    };
    let polling = Polling {
        credentials: args.credentials.as_deref().map(credentials).transpose()?,
        longest_hold: if every.is_some() { Duration::ZERO } else { args.hold },
        pause: every.unwrap_or_default(),
    };
    let tls = args.gateway.scheme() == "https";
    let trust = if tls { Some(Arc::new(Trust::open(args.ca_file)?)) } else { None };
    let host = args.gateway.host_str().context("the gateway has no host")?;
    let port = args.gateway.port_or_known_default().context("the gateway has no port")?;
    let state =
        args.state.map(PathBuf::from).or_else(default_state).filter(|path| !path.as_os_str().is_empty());
    let rules = args.webhook.as_deref().map(config::webhook_rules).transpose()?.map(Arc::new);
    let settings = Settings {
        reach: Reach::new(format!("{host}:{port}"), trust),
        host: args.host,
        dialect: if rules.is_some() { Choice::Webhook } else { args.dialect },
        rules,
        called_by_gateway,
        allow: args.allow,
        polling,
        state: StateFile::at(state).context("the state cannot be kept: see --state")?,
    };
    if !args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "others than this machine can use the agent");
    }
    block_on(serve(settings, args.listen, args.admin))
}

async fn serve(
    settings: Settings,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let bind = |address: SocketAddr| accept::bind(address).with_context(|| address.to_string());
    let agent = Agent::start(settings, bind(listen)?, admin.map(bind).transpose()?)?;
    if let Some(admin) = agent.admin_address() {
        tracing::info!(%admin, "metrics and health");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    agent.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The log as the flags have it.
fn log(global: &Global) -> anyhow::Result<Log> {
    let preset = Log::default();
    let level = match &global.log_level {
        None => preset.level,
        Some(text) => {
            LogLevel::ALL.into_iter().find(|level| level.as_str() == text).context("--log-level")?
        }
    };
    let format = match &global.log_format {
        None => preset.format,
        Some(text) => {
            LogFormat::ALL.into_iter().find(|format| format.as_str() == text).context("--log-format")?
        }
    };
    Ok(Log { level, format })
}

/// What the client's registry says.
fn client_settings(path: &Path) -> anyhow::Result<Delivery> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    let import = registry::import(&[registry::File { name, bytes }])?;
    for warning in &import.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config::of_text(path, &import.toml)?.delivery)
}

fn credentials(path: &Path) -> anyhow::Result<Credentials> {
    let bytes = watched::read(path).with_context(|| path.display().to_string())?;
    let text = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
    let Some((user, password)) = text.lines().next().and_then(|line| line.split_once(':')) else {
        bail!("{}: the first line must be USER:PASSWORD", path.display());
    };
    Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
}

/// Where programs of a user keep their state (XDG Base Directory Specification); none if nobody knows.
fn default_state() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")))?;
    Some(folder.join("pollgate/agent.json"))
}
