//! Answers that Pollgate gives itself.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;

use super::Version;

/// An answer: status, fields, body. `Date`, `Content-Length` and `Connection` are the connection's
/// business and are added when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: Cow<'static, str>,
    /// The fields, in order.
    pub fields: Vec<(Cow<'static, str>, String)>,
    /// The content.
    pub body: Bytes,
}

impl Response {
    /// An answer without content, with the standard reason phrase.
    pub fn new(status: u16) -> Self {
        Self { status, reason: reason_phrase(status).into(), fields: Vec::new(), body: Bytes::new() }
    }

    /// A plain text for people: one line that says what happened.
    pub fn text(status: u16, text: impl std::fmt::Display) -> Self {
        Self::new(status).with_body("text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// The same with another reason phrase.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The same with one more field. What cannot stand in a field value is left out of it.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl std::fmt::Display) -> Self {
        let mut value = value.to_string();
        value.retain(|c| !matches!(c, '\r' | '\n' | '\0'));
        self.fields.push((name.into(), value));
        self
    }

    /// The same with content.
    pub fn with_body(self, media_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = self.with("Content-Type", media_type);
        response.body = body.into();
        response
    }

    /// The head's bytes, for a body whose end is told by its length.
    pub(super) fn head(&self, version: Version, keep_alive: bool, now: SystemTime) -> Bytes {
        let mut head = self.start_of_head(now);
        // RFC 9110 §8.6: a 204 has no Content-Length.
        if self.status != 204 {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        match (version, keep_alive) {
            (Version::Http11, true) => {}
            (Version::Http10, true) => head.push_str("Connection: keep-alive\r\n"),
            (_, false) => head.push_str("Connection: close\r\n"),
        }
        head.push_str("\r\n");
        head.into()
    }

    /// The head's bytes, for a body that is written piece by piece: chunked, or, for HTTP/1.0, until the
    /// connection is closed.
    pub fn stream_head(&self, version: Version, keep_alive: bool, now: SystemTime) -> Bytes {
        let mut head = self.start_of_head(now);
        if version == Version::Http11 {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        if version == Version::Http10 || !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into()
    }

    fn start_of_head(&self, now: SystemTime) -> String {
        let mut head = String::with_capacity(256);
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, self.reason);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(now));
        head
    }
}

/// The reason phrase that RFC 9110 gives a status code.
pub fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}
