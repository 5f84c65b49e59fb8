//! The API for operators: what is buffered, what was dropped, and what to do about it.
//!
//! In reading order:
//! - [`route`]: which paths there are, and what can be asked there.
//! - [`query`]: parameters and pages.
//! - [`mailboxes`], [`messages`]: looking; [`actions`]: changing.
//! - [`clients`]: what users set for themselves.
//! - [`events`]: the traffic as it goes by.
//! - `openapi.json`: all of it for programs. A test holds it against the routes and the answers.
//!
//! No answer holds a callback token, and only the one that tells of a new poll key holds that; a message's headers
//! and body are shown on request only.

mod actions;
mod clients;
mod events;
mod mailboxes;
mod messages;
mod query;
mod route;

use std::time::Duration;

use serde::Serialize;

use super::Admin;
use super::problem::Problem;
use crate::http1::{Request, Response};
use query::Query;
use route::{Route, Wanted};

/// What there is, for programs.
const DOCUMENT: &str = include_str!("openapi.json");

/// Whether the API answers for this path.
pub(super) fn is_inside(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

impl Admin {
    /// Answers a request for a path of the API.
    pub(super) async fn api(&self, request: &Request) -> Response {
        self.do_as_asked(request).await.unwrap_or_else(|problem| problem.response())
    }

    async fn do_as_asked(&self, request: &Request) -> Result<Response, Problem> {
        let head = &request.head;
        let (route, wanted) = Route::find(head.path()).ok_or(Problem::NoSuchPath)?;
        let method = head.method();
        if !route.methods().contains(&method) {
            return Err(Problem::MethodNotAllowed(route.methods()));
        }
        let _at_store = (self.use_store)().ok_or(Problem::StoreUnavailable)?;
        let query = Query::of(head);
        match (route, wanted) {
            (Route::Mailboxes, _) => self.list(query),
            (Route::Document, _) => {
                query.finish()?;
                Ok(json(DOCUMENT))
            }
            (Route::Clients, _) => self.list_clients(query),
            (Route::Events, _) => events::refuse(query, method),
            (_, Wanted::Client(principal)) => self.client_connection(principal, query, request).await,
            (_, Wanted::Everything) => Err(Problem::NoSuchPath),
            (_, Wanted::NoMailbox) => Err(Problem::NoSuchMailbox),
            (Route::Messages | Route::Dropped, Wanted::Mailbox(id)) if method != "DELETE" => {
                self.peek(id, route == Route::Dropped, query).await
            }
            (route, Wanted::Mailbox(id)) => {
                query.finish()?;
                match (route, method) {
                    (Route::Replay, _) => self.replay(id).await,
                    (Route::RotateKey, _) => self.rotate_key(id).await,
                    (Route::Messages, _) => self.purge(id).await,
                    (_, "DELETE") => self.end(id).await,
                    _ => self.show(id),
                }
            }
        }
    }
}

/// An answer in JSON.
fn answer(value: &impl Serialize) -> Response {
    // Strings and numbers only: there is nothing that could not be written.
    json(serde_json::to_vec(value).unwrap_or_default())
}

fn json(text: impl Into<bytes::Bytes>) -> Response {
    Response::new(200)
        .with("Cache-Control", "no-store")
        // The words of strangers are in it: no browser should take them for anything else.
        .with("X-Content-Type-Options", "nosniff")
        .with_body("application/json", text)
}

/// Seconds, to the millisecond.
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1000.0
}
