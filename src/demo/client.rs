//! A client of the demo: it sends requests, and it polls.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::rvp_server::USERS;
use crate::http1::Headers;
use crate::http1::client::{Answer, Call, call, connect};

/// The name under which the clients know the server, and so the gateway.
const HOST: &str = "im.example";

/// Longer than anything here takes when all is well.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a poll of the demo may be held, in seconds.
const HOLD: u32 = 60;

/// A user's program.
pub(super) struct Client {
    /// The user's name.
    pub(super) user: &'static str,
    /// Where its requests go.
    pub(super) to: SocketAddr,
}

/// A mailbox as its client knows it.
pub(super) struct Mailbox {
    /// The path of the `Content-Location`.
    path: String,
    /// The server's id for the subscription.
    pub(super) subscription_id: String,
    /// By what it acknowledges; 0 at first.
    last_event_id: u64,
}

/// What a poll brought.
#[derive(Debug, Deserialize)]
pub(super) struct News {
    pub(super) messages: Vec<Message>,
}

/// A message, as far as the demo looks at it.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) class: String,
    pub(super) body: String,
}

/// A user's logical URL.
pub(super) fn principal(user: &str) -> String {
    format!("http://{HOST}{USERS}{user}")
}

impl Client {
    /// Sends a request about `user` and returns its answer, whatever its status.
    pub(super) async fn ask(
        &self,
        method: &str,
        user: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut request = Call::new(method, &format!("{USERS}{user}"))
            .with("Host", HOST)
            .with("RVP-Notifications-Version", "0.2")
            .with("RVP-From-Principal", principal(self.user))
            .with("Content-Length", body.len())
            .with("Connection", "close");
        for (name, value) in fields {
            request = request.with(name, value);
        }
        self.send(request, body, PATIENCE).await.with_context(|| format!("{method} of {}", self.user))
    }

    /// Subscribes, and returns where to poll, if the answer says so.
    pub(super) async fn sign_in(&self, callback: &str) -> anyhow::Result<Option<Mailbox>> {
        let fields = [
            ("Notification-Type", "pragma/notify"),
            ("Subscription-Lifetime", "3600"),
            ("Call-Back", callback),
        ];
        let answer = self.ask("SUBSCRIBE", self.user, &fields, "").await?;
        ensure!(answer.head.status == 200, "SUBSCRIBE was answered {}", answer.head.status);
        let subscription_id = answer.head.fields.text("subscription-id").unwrap_or_default().to_owned();
        let location = answer.head.fields.text("content-location");
        let path = location.and_then(|url| url.strip_prefix("http://")?.find('/').map(|at| &url[at + 7..]));
        Ok(path.map(|path| Mailbox { path: path.to_owned(), subscription_id, last_event_id: 0 }))
    }

    /// Polls once, and acknowledges what the last poll brought. `held` says whether to wait for news.
    pub(super) async fn poll(&self, mailbox: &mut Mailbox, held: bool) -> anyhow::Result<Vec<Message>> {
        let request = Call::new("POLL", &mailbox.path)
            .with("Host", HOST)
            .with("Prefer", format_args!("wait={}", if held { HOLD } else { 0 }))
            .with("Accept", "application/json")
            .with("Content-Length", 0)
            .with("Connection", "close")
            .with("Last-Event-ID", mailbox.last_event_id);
        let answer = self.send(request, "", PATIENCE).await.context("POLL")?;
        match answer.head.status {
            200 => {
                let news: News = serde_json::from_slice(&answer.body).context("the answer to a POLL")?;
                mailbox.last_event_id = news.messages.last().map_or(mailbox.last_event_id, |m| m.id);
                Ok(news.messages)
            }
            204 => Ok(Vec::new()),
            status => anyhow::bail!("POLL was answered {status}"),
        }
    }

    async fn send(&self, request: Call, body: &str, within: Duration) -> anyhow::Result<Answer> {
        let mut connection = connect(&self.to.to_string(), within).await?;
        Ok(call(&mut connection, request, body.as_bytes(), 1 << 20, within).await?)
    }
}
