//! The admin listener: metrics and health, for operators and their tools.

mod health;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::LiveConfig;
use crate::http1::{Request, Response, Service};
use crate::store::MailboxStore;
use crate::telemetry::Metrics;

/// Answers what operators ask.
pub struct Admin {
    /// The running configuration.
    pub config: LiveConfig,
    /// The mailboxes.
    pub store: Arc<dyn MailboxStore>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Set when the gateway stops.
    pub stop: CancellationToken,
}

impl Service for Admin {
    async fn call(&self, request: Request) -> Response {
        let head = &request.head;
        let answer = match head.path() {
            "/metrics" => self.metrics(),
            "/healthz" => Response::text(200, "ok"),
            "/readyz" => self.readiness().await,
            _ => return Response::text(404, "there is /metrics, /healthz and /readyz"),
        };
        match head.method.as_str() {
            "GET" | "HEAD" => answer,
            _ => Response::text(405, "this is only for reading").with("Allow", "GET, HEAD"),
        }
    }
}

impl Admin {
    fn metrics(&self) -> Response {
        let text =
            self.metrics.expose(self.store.totals(), self.store.status(), self.store.oldest(), clock::now());
        Response::new(200).with_body("text/plain; version=0.0.4; charset=utf-8", text)
    }
}
