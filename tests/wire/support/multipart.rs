//! Reading `multipart/mixed` (RFC 2046 §5.1.1), independently of what writes it.

use super::message::{Message, find, latin1};

/// A part: its own fields, and the request in it.
#[derive(Debug)]
pub struct Part {
    pub id: u64,
    pub content_type: String,
    pub request: Message,
}

/// The parts of an answer's body.
pub fn parts(answer: &Message) -> Vec<Part> {
    let content_type = answer.field("content-type").expect("a Content-Type");
    let (media_type, boundary) = content_type.split_once("; boundary=").expect("a boundary");
    assert_eq!(media_type, "multipart/mixed");
    let boundary = boundary.trim_matches('"');
    assert!((1..=70).contains(&boundary.len()), "RFC 2046 §5.1.1: {boundary}");

    // The line break before a delimiter belongs to the delimiter.
    let body = [b"\r\n", &answer.body[..]].concat();
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = &body[find(&body, delimiter.as_bytes()).expect("a first delimiter")..];
    let mut parts = Vec::new();
    loop {
        rest = &rest[delimiter.len()..];
        if rest.starts_with(b"--") {
            assert_eq!(latin1(&rest[2..]).trim(), "", "nothing behind the last delimiter");
            return parts;
        }
        assert!(rest.starts_with(b"\r\n"), "a delimiter is a line");
        let end = find(rest, delimiter.as_bytes()).expect("a closing delimiter");
        parts.push(part(&rest[2..end]));
        rest = &rest[end..];
    }
}

fn part(bytes: &[u8]) -> Part {
    let (fields, content) = split(bytes);
    let about = Message { head: [b"\r\n", fields].concat(), raw_body: Vec::new(), body: Vec::new() };
    Part {
        id: about.number("event-id").expect("an Event-ID"),
        content_type: about.field("content-type").expect("a Content-Type"),
        request: request(content),
    }
}

/// A whole request, as it stands in a part or in an `application/http` body.
pub fn request(bytes: &[u8]) -> Message {
    let (head, body) = split(bytes);
    let message = Message { head: head.to_vec(), raw_body: body.to_vec(), body: body.to_vec() };
    assert_eq!(message.number("content-length"), Some(body.len() as u64), "{}", message.head_text());
    message
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = find(bytes, b"\r\n\r\n").expect("an empty line") + 4;
    bytes.split_at(end)
}
