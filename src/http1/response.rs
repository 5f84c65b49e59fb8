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

    /// The same with one more field.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl std::fmt::Display) -> Self {
        self.fields.push((name.into(), value.to_string()));
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
        // RFC 9110 §8.6: a 204 has no Content-Length, and a 304's would be another answer's.
        if self.may_have_content() {
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

    /// Whether an answer with this status can have content at all (RFC 9110 §6.4.1).
    pub(super) fn may_have_content(&self) -> bool {
        self.status >= 200 && self.status != 204 && self.status != 304
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
        let _ = write!(head, "HTTP/1.1 {} ", self.status);
        push_text(&mut head, &self.reason);
        head.push_str("\r\n");
        for (name, value) in &self.fields {
            debug_assert!(is_token(name) && !of_the_connection(name), "{name}: not a field to be given");
            if is_token(name) && !of_the_connection(name) {
                head.push_str(name);
                head.push_str(": ");
                push_text(&mut head, value);
                head.push_str("\r\n");
            }
        }
        let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(now));
        head
    }
}

/// What could end the line is left out: no value, wherever it came from, becomes a field of its own.
fn push_text(head: &mut String, text: &str) {
    head.extend(text.chars().filter(|c| !c.is_control() || *c == '\t'));
}

fn is_token(name: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_token)
}

fn of_the_connection(name: &str) -> bool {
    ["date", "content-length", "connection", "transfer-encoding"].iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// The reason phrase that RFC 9110 gives a status code.
pub fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: &Response, version: Version, keep_alive: bool) -> String {
        let head = response.head(version, keep_alive, SystemTime::UNIX_EPOCH);
        String::from_utf8(head.to_vec()).unwrap()
    }

    #[test]
    fn heads_are_written_as_they_should_be() {
        let date = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        for (response, version, keep_alive, expected) in [
            (Response::new(200), Version::Http11, true, "200 OK\r\nDATEContent-Length: 0\r\n\r\n"),
            (Response::new(204), Version::Http11, true, "204 No Content\r\nDATE\r\n"),
            (Response::new(304), Version::Http11, true, "304 Not Modified\r\nDATE\r\n"),
            (Response::new(299), Version::Http11, true, "299 \r\nDATEContent-Length: 0\r\n\r\n"),
            (
                Response::text(404, "no"),
                Version::Http11,
                false,
                "404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nDATEContent-Length: 3\r\n\
                 Connection: close\r\n\r\n",
            ),
            (
                Response::new(200).reason("Successful").with("A", 1),
                Version::Http10,
                true,
                "200 Successful\r\nA: 1\r\nDATEContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            ),
        ] {
            let expected = format!("HTTP/1.1 {}", expected.replace("DATE", date));
            assert_eq!(head(&response, version, keep_alive), expected);
        }
    }

    #[test]
    fn no_value_becomes_a_field_of_its_own() {
        let response = Response::new(200).reason("O\r\nK").with("A", "b\r\nSet-Cookie: c\u{85}\0\td");
        let head = head(&response, Version::Http11, true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nA: bSet-Cookie: c\td\r\nDate: "), "{head}");
    }

    #[test]
    fn a_stream_is_chunked_or_ends_with_the_connection() {
        let head = |version, keep_alive| {
            let bytes = Response::new(200).stream_head(version, keep_alive, SystemTime::UNIX_EPOCH);
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            (text.contains("Transfer-Encoding: chunked\r\n"), text.contains("Connection: close\r\n"))
        };
        assert_eq!(head(Version::Http11, true), (true, false));
        assert_eq!(head(Version::Http11, false), (true, true));
        assert_eq!(head(Version::Http10, true), (false, true));
    }
}
