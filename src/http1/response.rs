//! Answers that Pollgate gives itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;

use super::{Reply, Version};

/// How much content is copied behind the head, rather than given to the kernel as a piece of its own.
const LARGEST_COPY: usize = 4096;

/// An answer: status, fields, body. `Date`, `Content-Length` and `Connection` are the connection's
/// business and are added when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: Cow<'static, str>,
    /// The field lines, each with its CRLF, as they will be written.
    field_lines: String,
    /// The content.
    pub body: Bytes,
}

impl Response {
    /// An answer without content, with the standard reason phrase.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: reason_phrase(status).into(),
            field_lines: String::with_capacity(256),
            body: Bytes::new(),
        }
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
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        debug_assert!(is_token(name) && !of_the_connection(name), "{name}: not a field to be given");
        self.field_lines.push_str(name);
        self.field_lines.push_str(": ");
        // Writing to a string cannot fail.
        let _ = write!(Line(&mut self.field_lines), "{value}");
        self.field_lines.push_str("\r\n");
        self
    }

    /// The value of the first field of this name.
    #[cfg(test)]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.field_lines.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The same with content.
    pub fn with_body(self, media_type: impl std::fmt::Display, body: impl Into<Bytes>) -> Self {
        let mut response = self.with("Content-Type", media_type);
        response.body = body.into();
        response
    }

    /// The answer's bytes, whose end is told by the length: in one piece if that costs little, or the head
    /// and the content.
    pub(super) fn pieces(&self, reply: Reply, now: SystemTime) -> (Vec<u8>, Bytes) {
        let body = if reply.head_only || !self.may_have_content() { &Bytes::new() } else { &self.body };
        let small = body.len() <= LARGEST_COPY;
        let mut whole = self.head(reply, if small { body.len() } else { 0 }, now).into_bytes();
        if small {
            whole.extend_from_slice(body);
            (whole, Bytes::new())
        } else {
            (whole, body.clone())
        }
    }

    fn head(&self, reply: Reply, room: usize, now: SystemTime) -> String {
        let mut head = self.start_of_head(room, now);
        // RFC 9110 §8.6: a 204 has no Content-Length, and a 304's would be another answer's.
        if self.may_have_content() {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        match (reply.version, reply.keep_alive) {
            (Version::Http11, true) => {}
            (Version::Http10, true) => head.push_str("Connection: keep-alive\r\n"),
            (_, false) => head.push_str("Connection: close\r\n"),
        }
        head.push_str("\r\n");
        head
    }

    /// The whole answer, after which the connection is closed.
    pub fn last_words(&self, now: SystemTime) -> Bytes {
        let reply = Reply { version: Version::Http11, keep_alive: false, head_only: false };
        let (head, body) = self.pieces(reply, now);
        [&head, &body[..]].concat().into()
    }

    /// Whether an answer with this status can have content at all (RFC 9110 §6.4.1).
    pub(super) fn may_have_content(&self) -> bool {
        self.status >= 200 && self.status != 204 && self.status != 304
    }

    /// The head's bytes, for a body that is written piece by piece: chunked, or, for HTTP/1.0, until the
    /// connection is closed.
    pub fn stream_head(&self, version: Version, keep_alive: bool, now: SystemTime) -> Bytes {
        let mut head = self.start_of_head(0, now);
        if version == Version::Http11 {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        if version == Version::Http10 || !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into()
    }

    fn start_of_head(&self, room: usize, now: SystemTime) -> String {
        const REST: usize = "HTTP/1.1 200 ".len() + "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len() + 64;
        let mut head = String::with_capacity(REST + self.reason.len() + self.field_lines.len() + room);
        let _ = write!(head, "HTTP/1.1 {} ", self.status);
        let _ = Line(&mut head).write_str(&self.reason);
        head.push_str("\r\n");
        head.push_str(&self.field_lines);
        push_date(&mut head, now);
        head
    }
}

/// Writes into one line: what could end it is left out, so that no value, wherever it came from, becomes a
/// field of its own.
struct Line<'a>(&'a mut String);

impl std::fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // Without an early end, so that many bytes are looked at at once.
        if text.bytes().fold(true, |plain, b| plain & matches!(b, b' '..=b'~')) {
            self.0.push_str(text);
        } else {
            self.0.extend(text.chars().filter(|c| !c.is_control() || *c == '\t'));
        }
        Ok(())
    }
}

/// The value of a `Date` field.
pub fn date(now: SystemTime) -> String {
    httpdate::fmt_http_date(now)
}

/// Most answers are of the same second as the one before.
fn push_date(head: &mut String, now: SystemTime) {
    thread_local! {
        static LATEST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    LATEST.with_borrow_mut(|(of, line)| {
        if *of != second {
            *of = second;
            *line = format!("Date: {}\r\n", date(now));
        }
        head.push_str(line);
    });
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
        response.head(Reply { version, keep_alive, head_only: false }, 0, SystemTime::UNIX_EPOCH)
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
