//! A running gateway follows its configuration as it is written now: when it is told to, and by itself when
//! the file changes ([`watch`]).
//!
//! All or nothing: what is not valid is refused as a whole, with everything that is wrong with it, and the
//! running configuration stays. Who holds a poll or is in the middle of a request notices nothing; what is
//! followed counts from the next request on. It is read and checked on threads that serve nobody: files may be
//! slow, and so may certificates.

mod watch;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

pub use self::watch::watch;
use crate::clock;
use crate::config::{Changes, Config, Origin, ReloadError, adopt, warnings};
use crate::gateway::Gateway;
use crate::telemetry::logging;

/// Makes a gateway follow its configuration.
pub struct Reloader {
    gateway: Arc<Gateway>,
    /// `None`: its configuration is written nowhere.
    origin: Option<Origin>,
    /// What was written when it was last read; or what was wrong with it. One reload at a time.
    latest: Mutex<Result<Config, String>>,
}

impl Reloader {
    /// For a gateway that started with what was `written` there.
    pub fn new(gateway: Arc<Gateway>, origin: Option<Origin>, written: Config) -> Self {
        Self { gateway, origin, latest: Mutex::new(Ok(written)) }
    }

    /// Where the configuration is read.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What was written when it was last read, if it was valid; else what runs.
    pub fn written(&self) -> Config {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().map_or_else(|_| Config::clone(&self.gateway.config()), Config::clone)
    }

    /// The files that the configuration consists of beside its own.
    fn parts(&self) -> Vec<PathBuf> {
        self.gateway.config().upstreams.iter().filter_map(|upstream| upstream.webhook.clone()).collect()
    }

    /// Reads the configuration again, and follows it. `by` says who wanted that. It is done to its end even if
    /// nobody waits for that.
    pub async fn reload(self: &Arc<Self>, by: &'static str) -> Result<Changes, ReloadError> {
        let this = self.clone();
        apart(move || this.reload_here(by)).await
    }

    /// The same if something else is written than was when it was last read.
    pub async fn look(self: &Arc<Self>) {
        let this = self.clone();
        apart(move || this.look_here()).await;
    }

    fn reload_here(&self, by: &'static str) -> Result<Changes, ReloadError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match &self.origin {
            Some(origin) => origin.load().map_err(ReloadError::from),
            None => Ok(Config::clone(&self.gateway.config())),
        };
        let (result, seen) = self.follow_read(read);
        *latest = seen;
        self.tell(by, &result);
        result
    }

    fn look_here(&self) {
        let Some(origin) = &self.origin else { return };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let read = origin.load().map_err(ReloadError::from);
        let same = match (&read, &*latest) {
            (Ok(read), Ok(latest)) => read == latest,
            (Err(read), Err(latest)) => read.to_string() == *latest,
            _ => false,
        };
        if !same {
            let (result, seen) = self.follow_read(read);
            *latest = seen;
            self.tell("a change of the file", &result);
        }
    }

    /// Follows this configuration, wherever it comes from.
    pub fn follow(&self, written: Config) -> Result<Changes, ReloadError> {
        let running = self.gateway.config();
        let (next, changes) = adopt(&running, written);
        let (level, level_before) = (next.log.level, running.log.level);
        drop(running);
        self.gateway.follow(next)?;
        if level != level_before {
            // Every place that may log is asked again whether it does: too much to do it for nothing.
            logging::set_level(level);
        }
        Ok(changes)
    }

    fn follow_read(
        &self,
        read: Result<Config, ReloadError>,
    ) -> (Result<Changes, ReloadError>, Result<Config, String>) {
        let seen = read.as_ref().map(Config::clone).map_err(ToString::to_string);
        (read.and_then(|written| self.follow(written)), seen)
    }

    fn tell(&self, by: &'static str, result: &Result<Changes, ReloadError>) {
        self.gateway.metrics.reloaded(result.is_ok(), clock::wall());
        match result {
            Ok(Changes { followed, need_restart }) => {
                tracing::info!(by, changed = followed.join(", "), "configuration read again");
                if !need_restart.is_empty() {
                    let settings = need_restart.join(", ");
                    tracing::warn!(settings, "these changes wait for a restart");
                }
                for warning in warnings(&self.gateway.config()) {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => {
                for problem in error.problems() {
                    tracing::error!(by, "{problem}");
                }
                tracing::error!(by, "the configuration is not valid; the running one stays");
            }
        }
    }
}

/// Does it on a thread on which nobody is served.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // It is never told to stop: it panicked, and that is for whoever asked for it.
        Err(error) => resume_unwind(error.into_panic()),
    }
}
