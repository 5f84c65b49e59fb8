//! `POST /-/reload`: the configuration is read again.

use serde_json::json;

use super::Admin;
use super::problem::Problem;
use crate::http1::Response;

impl Admin {
    /// 200 with what is followed from now on and what waits for a restart; or 422 with everything that is
    /// wrong, and nothing has changed.
    pub(super) async fn reload(&self, method: &str) -> Response {
        if method != "POST" {
            return Problem::MethodNotAllowed(&["POST"]).response();
        }
        match (self.reload)().await {
            Ok(changes) => {
                let report = json!({ "changed": changes.followed, "needs_restart": changes.need_restart });
                Response::new(200)
                    .with("Cache-Control", "no-store")
                    .with_body("application/json", format!("{report}\n"))
            }
            Err(error) => Problem::InvalidConfiguration(error.problems()).response(),
        }
    }
}
