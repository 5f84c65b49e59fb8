//! The admin listener: metrics and health, for operators and their tools.

mod health;

use std::sync::Arc;

use crate::clock;
use crate::gateway::Gateway;
use crate::http1::{Request, Response, Service};

/// Answers what operators ask.
pub struct Admin(pub Arc<Gateway>);

impl Service for Admin {
    async fn call(&self, request: Request) -> Response {
        let head = &request.head;
        let answer = match head.path() {
            "/metrics" => self.metrics(),
            "/healthz" => Response::text(200, "ok"),
            "/readyz" => health::readiness(&self.0).await,
            _ => return Response::text(404, "there is /metrics, /healthz and /readyz"),
        };
        match head.method.as_str() {
            "GET" => answer,
            "HEAD" => Response { body: Default::default(), ..answer },
            _ => Response::text(405, "this is only for reading").with("Allow", "GET, HEAD"),
        }
    }
}

impl Admin {
    fn metrics(&self) -> Response {
        let store = &self.0.store;
        let text = self.0.metrics.expose(store.totals(), store.oldest(), clock::now());
        Response::new(200).with_body("text/plain; version=0.0.4; charset=utf-8", text)
    }
}
