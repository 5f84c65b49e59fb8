//! The traffic as it goes by, as server-sent events (WHATWG HTML, "Server-sent events").

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use tokio::time::timeout;

use super::query::Query;
use super::route::Route;
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::http1::{Pieces, RequestHead, Response};
use crate::mailbox::MailboxId;
use crate::store::{MailboxStore, principal_key};
use crate::telemetry::{Event, Follower, Happened};

/// Well below the least time-out of a proxy that cuts silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Of how many mailboxes a stream remembers whose they are.
const REMEMBERED: usize = 10_000;

/// What of the traffic is wanted.
struct Wanted {
    mailbox: Option<MailboxId>,
    principal: Option<String>,
    bodies: bool,
}

impl Wanted {
    fn of(mut query: Query) -> Result<Self, Problem> {
        let digits =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let mailbox = query.value("mailbox", "the id of a mailbox", digits)?.map(MailboxId);
        let principal = query.text("principal")?.map(principal_key);
        let bodies = query.value("bodies", "true or false", |text| text.parse().ok())?.unwrap_or(false);
        query.finish()?;
        Ok(Self { mailbox, principal, bodies })
    }
}

/// What is answered where no stream is: what is wrong with the request, or that too many follow.
pub(super) fn refuse(query: Query, method: &str) -> Result<Response, Problem> {
    Wanted::of(query)?;
    if method == "HEAD" { Ok(head()) } else { Err(Problem::TooManyFollowers) }
}

fn head() -> Response {
    let head = Response::new(200).with("Cache-Control", "no-store");
    head.with("X-Content-Type-Options", "nosniff").with("Content-Type", "text/event-stream")
}

impl Admin {
    /// The stream that is asked for, if it is one and there is room for it.
    pub(in crate::admin) fn events(&self, request: &RequestHead) -> Option<(Response, Box<dyn Pieces>)> {
        let (Route::Events, _) = Route::find(request.path())? else { return None };
        if request.method() != "GET" {
            return None;
        }
        let wanted = Wanted::of(Query::of(request)).ok()?;
        let follower = self.traffic.follow(wanted.bodies)?;
        let owners = HashMap::new();
        let stream = Stream { wanted, follower, store: self.store.clone(), owners, greeted: false };
        Some((head(), Box::new(stream)))
    }
}

/// A stream of events.
struct Stream {
    wanted: Wanted,
    follower: Follower,
    store: Arc<dyn MailboxStore>,
    /// Whose mailboxes are, as far as they can be found: one that ended and is forgotten cannot.
    owners: HashMap<MailboxId, Option<Box<str>>>,
    greeted: bool,
}

#[derive(Serialize)]
struct EventJson<'a> {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(flatten)]
    what: &'a Happened,
    #[serde(flatten)]
    body: Option<Body<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Body<'a> {
    Body(&'a str),
    BodyBase64(String),
}

#[async_trait]
impl Pieces for Stream {
    async fn next(&mut self) -> Bytes {
        if !self.greeted {
            self.greeted = true;
            // Who reads this knows that everything from now on is seen.
            return Bytes::from_static(b": following\n\n");
        }
        loop {
            let Ok(event) = timeout(KEEP_ALIVE, self.follower.next()).await else {
                return Bytes::from_static(b": still here\n\n");
            };
            let owner = self.owner(event.mailbox);
            if self.wants(&event, owner.as_deref()) {
                return write(&event, owner.as_deref()).into();
            }
        }
    }
}

impl Stream {
    fn wants(&self, event: &Event, owner: Option<&str>) -> bool {
        if matches!(event.what, Happened::Lagged { .. }) {
            return true;
        }
        let is_mailbox = self.wanted.mailbox.is_none_or(|wanted| event.mailbox == Some(wanted));
        let is_principal = |wanted: &String| owner.is_some_and(|owner| principal_key(owner) == *wanted);
        is_mailbox && self.wanted.principal.as_ref().is_none_or(is_principal)
    }

    /// Whose mailbox it is.
    fn owner(&mut self, mailbox: Option<MailboxId>) -> Option<Box<str>> {
        let mailbox = mailbox?;
        if let Some(owner) = self.owners.get(&mailbox) {
            return owner.clone();
        }
        let owner = self.store.report(mailbox).ok()?.subscription.principal.clone();
        if self.owners.len() >= REMEMBERED {
            self.owners.clear();
        }
        self.owners.insert(mailbox, owner.clone());
        owner
    }
}

/// One event of the stream. JSON has no line ends of its own.
fn write(event: &Event, principal: Option<&str>) -> String {
    let body = event.body.as_ref().map(|body| match std::str::from_utf8(body) {
        Ok(text) => Body::Body(text),
        Err(_) => Body::BodyBase64(STANDARD.encode(body)),
    });
    let at = humantime::format_rfc3339_millis(event.at).to_string();
    let json = EventJson { at, mailbox: event.mailbox.map(|id| id.0), principal, what: &event.what, body };
    // Strings and numbers only: there is nothing that could not be written.
    format!("data: {}\n\n", serde_json::to_string(&json).unwrap_or_default())
}
