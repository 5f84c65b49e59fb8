//! Logs: to stderr, as text or as JSON lines.

use std::any::Any;
use std::io::IsTerminal;
use std::panic::{PanicHookInfo, set_hook};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};
use crate::store;

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

/// From now on a panic is one line of the log, or on stderr as long as there is none. One that is caught, and told of as
/// an error by whoever caught it, is worth a line at `debug` only.
pub fn tell_of_panics() {
    set_hook(Box::new(tell_of_panic));
}

fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let what = words(panic.payload());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if store::is_caught() {
        tracing::debug!(what, place, "a library gave up");
    } else if tracing::dispatcher::has_been_set() {
        tracing::error!("internal error: {what} at {place}; please report this");
    } else {
        eprintln!("pollgate: internal error: {what} at {place}; please report this");
    }
}

/// What a panic says: `panic!` gives it as one of these.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason was given")
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{catch_unwind, take_hook};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_clear_line() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let before = take_hook();
            tell_of_panics();
            let _ = catch_unwind(|| panic!("number {}", 7));
            let _ = catch_unwind(|| panic!("a word"));
            set_hook(before);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("ERROR"), "{text}");
        assert!(lines[0].contains("internal error: number 7 at src/telemetry/logging.rs:"), "{text}");
        assert!(lines[1].contains("internal error: a word at "), "{text}");
    }
}
