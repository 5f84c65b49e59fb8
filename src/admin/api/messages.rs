//! Looking at messages: to look hands nothing out, and acknowledges nothing.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::query::{Page, Query};
use super::{answer, seconds};
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::clock::{self, rfc3339};
use crate::http1::{Response, field_lines};
use crate::mailbox::{EventId, MailboxId, Message, Timestamp};
use crate::store::{PeekedDrop, PeekedMessage};

/// How many messages are asked of the store at a time: it may have to read each from a disk, and holds the
/// bodies in memory until they are written out or let go.
const AT_A_TIME: usize = 32;

/// After so many bytes of messages a page with bodies is full, so that no answer is built that would not
/// fit in memory; a first message that is larger goes alone.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

impl Admin {
    pub(super) async fn peek(
        &self,
        id: MailboxId,
        dropped: bool,
        mut query: Query,
    ) -> Result<Response, Problem> {
        let page = query.page()?;
        let body = query.value("body", "0 or 1", |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })?;
        query.finish()?;
        let (messages, next) = self.page(id, dropped, page, body.unwrap_or(false)).await?;
        let list = answer(&MessagesJson { messages, next });
        Ok(match next {
            Some(next) => list.with("Link", query.link_to_next(next)),
            None => list,
        })
    }

    /// A page, and behind which id the next one begins, if there is more.
    async fn page(
        &self,
        id: MailboxId,
        dropped: bool,
        page: Page,
        body: bool,
    ) -> Result<(Vec<MessageJson>, Option<u64>), Problem> {
        let mut found: Vec<MessageJson> = Vec::new();
        let mut bytes = 0;
        let mut after = page.after.unwrap_or(0);
        loop {
            // One more than wanted: then it is known whether there are more.
            let most = AT_A_TIME.min(page.limit + 1 - found.len());
            let some = self.some(id, dropped, EventId(after), most, body).await?;
            let is_last = some.len() < most;
            for message in some {
                let is_full = body && bytes + message.cost_bytes > PAGE_BYTES && !found.is_empty();
                if is_full || found.len() == page.limit {
                    return Ok((found, Some(after)));
                }
                bytes += message.cost_bytes;
                after = message.id;
                found.push(message);
            }
            if is_last {
                return Ok((found, None));
            }
        }
    }

    async fn some(
        &self,
        id: MailboxId,
        dropped: bool,
        after: EventId,
        most: usize,
        body: bool,
    ) -> Result<Vec<MessageJson>, Problem> {
        let now = clock::now();
        let some = if dropped {
            let dropped = self.store.dropped(id, after, most).await;
            dropped.map(|some| some.iter().map(|one| MessageJson::dropped(one, body, now)).collect())
        } else {
            let buffered = self.store.messages(id, after, most).await;
            buffered.map(|some| some.iter().map(|one| MessageJson::buffered(one, body, now)).collect())
        };
        some.map_err(|_| Problem::NoSuchMailbox)
    }
}

#[derive(Serialize)]
struct MessagesJson {
    messages: Vec<MessageJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
struct MessageJson {
    id: u64,
    class: &'static str,
    cost_bytes: u64,
    received_at: String,
    age_seconds: f64,
    #[serde(flatten)]
    fate: Fate,
    #[serde(flatten)]
    content: Option<Content>,
}

/// What becomes of it, or became.
#[derive(Serialize)]
#[serde(untagged)]
enum Fate {
    Buffered { expires_at: String, expires_in_seconds: f64, handed_out: bool },
    Dropped { dropped_at: String, dropped_age_seconds: f64, reason: &'static str },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Text { method: Box<str>, headers: Vec<(String, String)>, body: String },
    Bytes { method: Box<str>, headers: Vec<(String, String)>, body_base64: String },
    Unreadable { unreadable: bool },
}

impl MessageJson {
    fn buffered(peeked: &PeekedMessage, body: bool, now: Timestamp) -> Self {
        let PeekedMessage { id, ref class, cost, received, expires, handed_out, ref message } = *peeked;
        Self {
            id: id.0,
            class: class.name(),
            cost_bytes: cost,
            received_at: rfc3339(received),
            age_seconds: seconds(now.since(received)),
            fate: Fate::Buffered {
                expires_at: rfc3339(expires),
                expires_in_seconds: seconds(expires.since(now)),
                handed_out,
            },
            content: body.then(|| Content::of(message.as_ref())),
        }
    }

    fn dropped(peeked: &PeekedDrop, body: bool, now: Timestamp) -> Self {
        let PeekedDrop { id, ref class, cost, received, dropped_at, reason, ref message } = *peeked;
        Self {
            id: id.0,
            class: class.name(),
            cost_bytes: cost,
            received_at: rfc3339(received),
            age_seconds: seconds(now.since(received)),
            fate: Fate::Dropped {
                dropped_at: rfc3339(dropped_at),
                dropped_age_seconds: seconds(now.since(dropped_at)),
                reason: reason.name(),
            },
            content: body.then(|| Content::of(message.as_ref())),
        }
    }
}

impl Content {
    fn of(message: Option<&Arc<Message>>) -> Self {
        let Some(message) = message else { return Content::Unreadable { unreadable: true } };
        let method = message.method.clone();
        let headers = field_lines(&message.header_lines).collect();
        match std::str::from_utf8(&message.body) {
            Ok(body) => Content::Text { method, headers, body: body.to_owned() },
            Err(_) => Content::Bytes { method, headers, body_base64: STANDARD.encode(&message.body) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_read_says_so() {
        let json = serde_json::to_value(Content::of(None)).unwrap();
        assert_eq!(json, serde_json::json!({ "unreadable": true }));
    }
}
