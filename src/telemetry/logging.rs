//! Logs: to stderr, as text or as JSON lines.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging for the whole process. The first call counts.
pub fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What the proxy says of single requests at WARN and ERROR is counted and logged by the gateway, in
    // its own words; of pingora, only what is deeply wrong is left.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("pollgate", level)
        .with_target("pingora_core", LevelFilter::OFF)
        .with_target("pingora_proxy", LevelFilter::OFF);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start, as in tests, changes nothing.
    let _ = match log.format {
        LogFormat::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
