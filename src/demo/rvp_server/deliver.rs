//! Calling back.

use std::time::Duration;

use super::subscriptions::Kind;
use super::{Callback, Server, USERS};
use crate::clock;
use crate::http1::client::{Call, CallError, call, connect};
use crate::http1::{Headers, RequestHead};

/// A notification on its way.
pub(super) struct Notification<'a> {
    /// The fields that go with it.
    pub(super) version: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) hop_count: u32,
    pub(super) body: &'a [u8],
}

impl<'a> Notification<'a> {
    /// What a client or another server sent, one hop further.
    pub(super) fn passed_on(head: &'a RequestHead, body: &'a [u8]) -> Self {
        let hops = head.fields.text("rvp-hop-count").and_then(|count| count.trim().parse().ok());
        Self {
            version: head.fields.text("rvp-notifications-version").unwrap_or("0.2"),
            from: head.fields.text("rvp-from-principal"),
            hop_count: hops.unwrap_or(0u32).saturating_add(1),
            body,
        }
    }
}

impl Server {
    /// Makes the callbacks of all sign-ins of a user, one after the other. How many there are, and how many
    /// took it. A sign-in whose client says that it knows nothing of it (412) ends.
    pub(super) async fn deliver(&self, user: &str, notification: &Notification<'_>) -> (usize, usize) {
        let sign_ins: Vec<(u64, String)> = {
            let mut state = self.state();
            state.subscriptions.expire(clock::now());
            let all = state.subscriptions.of(user).filter(|(_, s)| s.kind == Kind::SignIn);
            all.map(|(id, s)| (id, s.callback.clone())).collect()
        };
        let mut took_it = 0;
        for (id, callback) in &sign_ins {
            let began = clock::instant();
            let outcome =
                call_back(callback, notification, self.patience).await.map_err(|error| error.to_string());
            took_it += usize::from(outcome.as_ref().is_ok_and(|status| (200..300).contains(status)));
            if outcome == Ok(412) {
                self.state().subscriptions.remove(*id, user);
            }
            let (address, _) = split(callback);
            let (user, address) = (user.to_owned(), address.to_owned());
            (self.report)(Callback { user, address, outcome, took: began.elapsed() });
        }
        (sign_ins.len(), took_it)
    }

    /// Tells those who watch a user's presence.
    pub(super) async fn tell_watchers(&self, user: &str, body_for: impl Fn(&str) -> String, from: &str) {
        let watchers: Vec<String> = {
            let mut state = self.state();
            state.subscriptions.expire(clock::now());
            let all = state.subscriptions.of(user).filter(|(_, s)| s.kind == Kind::Presence);
            all.filter_map(|(_, s)| user_of(&s.callback).map(str::to_owned)).collect()
        };
        for watcher in watchers {
            let body = body_for(&watcher);
            let notification =
                Notification { version: "0.2", from: Some(from), hop_count: 1, body: body.as_bytes() };
            self.deliver(&watcher, &notification).await;
        }
    }
}

/// The user whose node a logical callback address names.
pub(super) fn user_of(callback: &str) -> Option<&str> {
    split(callback).1.strip_prefix(USERS).filter(|user| !user.is_empty() && !user.contains('/'))
}

/// The authority and the path of an `http` URL.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

async fn call_back(url: &str, notification: &Notification<'_>, patience: Duration) -> Result<u16, CallError> {
    let (authority, path) = split(url);
    let with_port = if authority.rsplit(']').next().unwrap_or_default().contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut connection = connect(&with_port, patience).await?;
    let mut request = Call::new("NOTIFY", if path.is_empty() { "/" } else { path })
        .with("Host", authority)
        .with("RVP-Notifications-Version", notification.version)
        .with("RVP-Hop-Count", notification.hop_count)
        .with("Content-Type", "text/xml")
        .with("Content-Length", notification.body.len())
        .with("Connection", "close");
    if let Some(from) = notification.from {
        request = request.with("RVP-From-Principal", from);
    }
    Ok(call(&mut connection, request, notification.body, 64 * 1024, patience).await?.head.status)
}
