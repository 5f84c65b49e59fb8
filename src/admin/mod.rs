//! The admin listener: metrics, health and the API, for operators and their tools.
//!
//! What can be seen and done here needs the operators' token, if there is one; health alone is anybody's,
//! since those who probe it have no secrets.

mod api;
mod guard;
mod health;
mod problem;
mod reload;

use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Changes, LiveConfig, ReloadError};
use crate::http1::{Allowance, Budget, Pieces, Request, Response, Service};
use crate::mailbox::PollKey;
use crate::store::MailboxStore;
use crate::telemetry::{Drops, Metrics, Traffic};

/// Reads the configuration again, and follows it.
pub type Reload = Box<dyn Fn() -> Reloading + Send + Sync>;

/// What became of it, when it is done.
type Reloading = Pin<Box<dyn Future<Output = Result<Changes, ReloadError>> + Send>>;

/// Leave to use the store, as long as what it returns lives; none when the store is given away.
pub type UseStore = Box<dyn Fn() -> Option<Box<dyn Send + Sync>> + Send + Sync>;

/// Answers what operators ask.
pub struct Admin {
    /// The running configuration.
    pub config: LiveConfig,
    /// The mailboxes.
    pub store: Arc<dyn MailboxStore>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Told of what operators make the gateway lose.
    pub drops: Arc<Drops>,
    /// What happens, for those who follow it.
    pub traffic: Arc<Traffic>,
    /// What request bodies take in memory.
    pub bodies: Arc<Budget>,
    /// Reads the configuration again, and follows it.
    pub reload: Reload,
    /// Draws a poll key, and says which path is polled with it.
    pub new_poll_key: fn() -> (PollKey, String),
    /// Set when the gateway stops.
    pub stop: CancellationToken,
    /// Leave to use the store.
    pub use_store: UseStore,
}

impl Service for Admin {
    fn room(&self) -> Allowance {
        self.bodies.allowance(self.config.load().limits.body_bytes_in_flight)
    }

    fn stream(&self, request: &Request) -> Option<(Response, Box<dyn Pieces>)> {
        guard::check(&request.head, self.config.load().admin.token.as_ref()).ok()?;
        self.events(&request.head)
    }

    async fn call(&self, request: Request) -> Response {
        let head = &request.head;
        let path = head.path();
        if !matches!(path, "/healthz" | "/readyz")
            && let Err(problem) = guard::check(head, self.config.load().admin.token.as_ref())
        {
            return problem.response();
        }
        let answer = match path {
            "/metrics" => self.metrics(),
            "/healthz" => Response::text(200, "ok"),
            "/readyz" => self.readiness().await,
            "/-/reload" => return self.reload(head.method()).await,
            path if api::is_inside(path) => return self.api(&request).await,
            _ => {
                return Response::text(
                    404,
                    "there is /metrics, /healthz, /readyz, /-/reload and /api/v1/openapi.json",
                );
            }
        };
        match head.method() {
            "GET" | "HEAD" => answer,
            _ => Response::text(405, "this is only for reading").with("Allow", "GET, HEAD"),
        }
    }
}

impl Admin {
    fn metrics(&self) -> Response {
        self.metrics.bodies_take(self.bodies.used());
        self.metrics.bounds_are(&self.config.load());
        let text =
            self.metrics.expose(self.store.totals(), self.store.status(), self.store.oldest(), clock::now());
        Response::new(200).with_body("text/plain; version=0.0.4; charset=utf-8", text)
    }
}
