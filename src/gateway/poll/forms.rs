//! How messages are written.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::Form;
use super::hold::{Named, Poll};
use super::session::{Handed, News};
use crate::clock::rfc3339;
use crate::dialect::webdav::status::{Standing, multistatus};
use crate::http1::{Response, field_lines};
use crate::mailbox::EventId;

/// The answer with messages.
pub fn write(poll: &Poll, news: &News) -> Response {
    if poll.form == Form::Status {
        return status(poll, Some(news));
    }
    let response = if news.messages.is_empty() { common(204, poll) } else { common(200, poll) };
    let response = with_last_event_id(response, news.last_event_id.or(poll.last_event_id));
    let response = response.with("Poll-Pending", news.pending);
    let response = if news.dropped > 0 { response.with("Poll-Dropped", news.dropped) } else { response };
    let Some(first) = news.messages.first() else { return response };
    match poll.form {
        Form::Multipart => {
            let boundary = boundary(rand::random());
            let media_type = format_args!("multipart/mixed; boundary={boundary}");
            response.with_body(media_type, multipart(&news.messages, &boundary))
        }
        Form::Http => response.with_body("application/http; msgtype=request", http(first)),
        Form::Json | Form::Events | Form::Status => {
            let messages = news.messages.iter().map(JsonMessage::new).collect();
            let body = JsonBody { messages, dropped: news.dropped, pending: news.pending };
            response.with_body("application/json", json(&body))
        }
    }
}

/// The answer when there is nothing to say.
pub fn nothing(poll: &Poll) -> Response {
    if poll.form == Form::Status {
        return status(poll, None);
    }
    with_last_event_id(common(204, poll), poll.last_event_id).with("Poll-Pending", 0)
}

/// Which subscriptions had events (Exchange SDK, *POLL*). What is reported counts as handed out.
fn status(poll: &Poll, news: Option<&News>) -> Response {
    let standing = |named: &Named| match named.mailbox {
        None => Standing::Unknown,
        Some(mailbox) if news.is_some_and(|news| news.is_from(mailbox)) => Standing::Events,
        Some(_) => Standing::Nothing,
    };
    let ids: Vec<(String, Standing)> =
        poll.named.iter().map(|named| (named.id.clone(), standing(named))).collect();
    let response = common(207, poll).with("Poll-Pending", news.map_or(0, |news| news.pending));
    let response = match news.map_or(0, |news| news.dropped) {
        0 => response,
        dropped => response.with("Poll-Dropped", dropped),
    };
    response.with_body("text/xml", multistatus(&poll.node_url(), &ids))
}

/// The head of a stream.
pub fn stream_head(poll: &Poll) -> Response {
    common(200, poll).with("Content-Type", "text/event-stream")
}

/// What there is, as events (WHATWG HTML, *Server-sent events*): a piece of a stream.
pub fn events(news: &News) -> String {
    let mut text: String = news.messages.iter().map(event).collect();
    let last = news.messages.last().map(|handed| handed.message.id);
    // An event without data is not dispatched, but its id is remembered.
    let id = news.last_event_id.filter(|id| Some(*id) != last).map(|id| format!("id: {id}\n"));
    let id = id.unwrap_or_default();
    if news.dropped > 0 {
        text.push_str(&format!("{id}event: gap\ndata: {{\"dropped\":{}}}\n\n", news.dropped));
    } else if !id.is_empty() {
        text.push_str(&format!("{id}\n"));
    }
    text
}

/// One message as an event.
fn event(handed: &Handed) -> String {
    let data = json(&JsonMessage::new(handed));
    let method = &handed.message.message.method;
    format!("id: {}\nevent: {method}\ndata: {}\n\n", handed.message.id, String::from_utf8_lossy(&data))
}

fn common(status: u16, poll: &Poll) -> Response {
    let response = Response::new(status)
        .with("Preference-Applied", format_args!("wait={}", poll.hold.as_secs()))
        .with("Cache-Control", "no-store");
    match poll.interval() {
        Some(interval) => response.with("Poll-Interval", interval.as_secs()),
        None => response,
    }
}

/// By which id the client acknowledges what it has, this answer included.
fn with_last_event_id(response: Response, id: Option<EventId>) -> Response {
    match id {
        Some(id) => response.with("Last-Event-ID", id),
        None => response,
    }
}

/// A line that no sender can have put into a message (RFC 2046 §5.1.1): random, as 32 letters.
fn boundary(bits: u128) -> String {
    bits.to_ne_bytes().iter().flat_map(|b| [b >> 4, b & 0xf]).map(|half| char::from(b'a' + half)).collect()
}

/// RFC 2046 §5.1.3, with a part `application/http` per message (RFC 9112 §10.2).
fn multipart(messages: &[Handed], boundary: &str) -> Bytes {
    let size = |handed: &Handed| handed.message.message.cost() as usize + 384;
    let mut body = BytesMut::with_capacity(messages.iter().map(size).sum());
    for handed in messages {
        put(&mut body, ["--", boundary, "\r\nContent-Type: application/http; msgtype=request\r\n"]);
        // Writing to memory cannot fail.
        let _ = write!(body, "Event-ID: {}\r\n\r\n", handed.message.id);
        put_http(handed, &mut body);
        put(&mut body, ["\r\n"]);
    }
    put(&mut body, ["--", boundary, "--\r\n"]);
    body.freeze()
}

fn http(handed: &Handed) -> Bytes {
    let mut body = BytesMut::with_capacity(handed.message.message.cost() as usize + 256);
    put_http(handed, &mut body);
    body.freeze()
}

/// The callback as the server sent it, to the client's own address.
fn put_http(handed: &Handed, to: &mut BytesMut) {
    let message = &handed.message.message;
    let target = handed.of.message_target();
    put(to, [&*message.method, " ", &*target, " HTTP/1.1\r\nHost: ", authority(&target), "\r\n"]);
    to.put(&message.header_lines[..]);
    put(to, ["\r\n"]);
    to.put(&message.body[..]);
}

fn put<const N: usize>(to: &mut BytesMut, pieces: [&str; N]) {
    for piece in pieces {
        to.put(piece.as_bytes());
    }
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[derive(Serialize)]
struct JsonBody<'a> {
    messages: Vec<JsonMessage<'a>>,
    dropped: u64,
    pending: u64,
}

#[derive(Serialize)]
struct JsonMessage<'a> {
    id: u64,
    received_at: String,
    class: &'a str,
    method: &'a str,
    target: Cow<'a, str>,
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl<'a> JsonMessage<'a> {
    fn new(handed: &'a Handed) -> Self {
        let message = &handed.message.message;
        let text = std::str::from_utf8(&message.body).ok();
        let target = handed.of.message_target();
        let host = ("Host".to_owned(), authority(&target).to_owned());
        Self {
            id: handed.message.id.0,
            received_at: rfc3339(handed.message.received),
            class: message.class.name(),
            method: &message.method,
            target,
            headers: std::iter::once(host).chain(field_lines(&message.header_lines)).collect(),
            body: text,
            body_base64: text.is_none().then(|| STANDARD.encode(&message.body)),
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Strings and numbers only: there is nothing that could not be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}
