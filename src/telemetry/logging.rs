//! Logs: to stderr, as text or as JSON lines.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// What changes the level of a log that was started.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging for the whole process. The first call counts.
pub fn start(log: &Log) {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // A second start, as in tests, changes nothing.
    if started.is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// Logs what is at least as important as this from now on, if logging was started.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::warn!(%error, "the log's level cannot be changed");
    }
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What pingora says of single servers and connections is counted and logged by the gateway, in its own words.
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("pollgate", level)
        .with_target("pingora_core", LevelFilter::OFF)
        .with_target("pingora_load_balancing", LevelFilter::OFF)
        .with_target("pingora_pool", LevelFilter::OFF)
}
