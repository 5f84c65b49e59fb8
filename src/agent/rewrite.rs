//! Heads on their way through the agent: what is changed in them, and nothing else is.

use bytes::{BufMut, Bytes, BytesMut};

use crate::http1::{Headers, RequestHead, ResponseHead};

/// Under this path a gateway is polled.
pub(super) const POLL_PATH: &str = "/.pollgate/";

/// A client's request as the gateway is asked: with the target in origin form, since clients may take the agent
/// for a proxy (RFC 9112 §3.2.2), without what is between the client and the agent alone, and without `field`.
pub(super) fn for_gateway(head: &RequestHead, host: Option<&str>, field: Option<&str>) -> Bytes {
    let authority = host.unwrap_or(head.authority()).as_bytes();
    // The agent itself tells the client to go on with its body.
    let leaves = |name: &[u8]| {
        let gone = ["proxy-connection", "expect"].into_iter().chain(field);
        gone.into_iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    };
    let raw = head.raw();
    let mut lines = raw.split_inclusive(|b| *b == b'\n');
    let start = lines.next().unwrap_or_default();
    let mut out = BytesMut::with_capacity(raw.len() + authority.len());
    let version = start.rsplit(|b| *b == b' ').next().unwrap_or_default();
    for part in [head.method().as_bytes(), b" ", head.origin_form().as_bytes(), b" ", version] {
        out.put(part);
    }
    for line in lines {
        let name = name(line);
        if name.eq_ignore_ascii_case(b"host") {
            for part in [name, b": ", authority, b"\r\n"] {
                out.put(part);
            }
        } else if !leaves(name) {
            out.put(line);
        }
    }
    out.freeze()
}

/// Gives the lines of the head that `input` begins with the ends that a gateway insists on: Miranda ends them with
/// a lone LF. Whether there were any to be mended; not before the whole head has come.
pub(super) fn mend_line_ends(input: &mut BytesMut) -> bool {
    let mut mended = BytesMut::with_capacity(input.len() + 64);
    let mut length = 0;
    for line in input.split_inclusive(|b| *b == b'\n') {
        let Some(content) = line.strip_suffix(b"\n") else { return false };
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        length += line.len();
        mended.put(content);
        mended.put(&b"\r\n"[..]);
        if content.is_empty() {
            let is_changed = mended.len() > length;
            mended.put(&input[length..]);
            *input = mended;
            return is_changed;
        }
    }
    false
}

/// An answer as the client gets it: without the place to poll, which is for the agent.
pub(super) fn for_client(head: &ResponseHead) -> Bytes {
    if place_to_poll(head).is_none() {
        return head.raw();
    }
    let raw = head.raw();
    let mut out = BytesMut::with_capacity(raw.len());
    for line in raw.split_inclusive(|b| *b == b'\n') {
        let ours = ["content-location", "poll-interval"];
        if !ours.iter().any(|other| name(line).eq_ignore_ascii_case(other.as_bytes())) {
            out.put(line);
        }
    }
    out.freeze()
}

fn name(line: &[u8]) -> &[u8] {
    line.iter().position(|b| *b == b':').map_or(&[], |colon| &line[..colon])
}

/// The path to be polled, if the answer names one.
pub(super) fn place_to_poll(head: &ResponseHead) -> Option<&str> {
    let location = head.fields.text("content-location")?;
    let at = location.find(POLL_PATH)?;
    let before = &location[..at];
    // A path by itself, or that of a whole URL.
    let is_origin = before.is_empty()
        || before
            .split_once("://")
            .is_some_and(|(_, authority)| !authority.is_empty() && !authority.contains('/'));
    is_origin.then(|| &location[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    fn request(text: &str) -> RequestHead {
        let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
        RequestHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect(&text).0
    }

    fn response(text: &str) -> ResponseHead {
        let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
        ResponseHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect(&text).0
    }

    fn lines(bytes: &Bytes) -> String {
        String::from_utf8_lossy(bytes).replace("\r\n", "\n").trim_end().to_owned()
    }

    #[test]
    fn a_request_passes_as_it_came_but_for_what_is_not_the_gateways() {
        let head = request(
            "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nhOst: 127.0.0.1:8380\nCall-Back: http://10.1.2.3:1\nX-Twice: 1\nX-Twice: 2\nExpect: 100-continue",
        );
        assert_eq!(
            lines(&for_gateway(&head, None, Some("Call-Back"))),
            "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nhOst: 127.0.0.1:8380\nX-Twice: 1\nX-Twice: 2"
        );
        assert_eq!(
            lines(&for_gateway(&head, Some("im.example"), None)),
            "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nhOst: im.example\nCall-Back: http://10.1.2.3:1\nX-Twice: 1\nX-Twice: 2"
        );
    }

    #[test]
    fn a_proxys_request_is_a_servers_then() {
        let head = request("GET http://im.example:8080/a?b HTTP/1.0\nHost: other\nProxy-Connection: close");
        assert_eq!(lines(&for_gateway(&head, None, None)), "GET /a?b HTTP/1.0\nHost: im.example:8080");
        let root = request("OPTIONS * HTTP/1.1\nHost: im.example");
        assert_eq!(lines(&for_gateway(&root, None, None)), "OPTIONS * HTTP/1.1\nHost: im.example");
    }

    #[test]
    fn lone_line_feeds_become_line_ends_and_a_body_stays_as_it_is() {
        for (input, is_mended, expected) in [
            ("GET / HTTP/1.1\nHost: h\n\na\nb", true, "GET / HTTP/1.1\r\nHost: h\r\n\r\na\nb"),
            ("GET / HTTP/1.1\r\nHost: h\n\r\n", true, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\na\n\n", false, "GET / HTTP/1.1\r\nHost: h\r\n\r\na\n\n"),
            ("GET / HTTP/1.1\nHost: h\n", false, "GET / HTTP/1.1\nHost: h\n"),
            ("GET / HTTP/1.1\nHost: h", false, "GET / HTTP/1.1\nHost: h"),
            ("", false, ""),
        ] {
            let mut bytes = BytesMut::from(input);
            assert_eq!(
                (mend_line_ends(&mut bytes), &bytes[..]),
                (is_mended, expected.as_bytes()),
                "{input:?}"
            );
        }
    }

    #[test]
    fn the_place_to_poll_stays_with_the_agent() {
        let head = response(
            "HTTP/1.1 200 Successful\nSubscription-Id: 7\nContent-Location: https://im.example/.pollgate/0a\nPoll-Interval: 600",
        );
        assert_eq!(place_to_poll(&head), Some("/.pollgate/0a"));
        assert_eq!(lines(&for_client(&head)), "HTTP/1.1 200 Successful\nSubscription-Id: 7");
        for other in ["/mail/.pollgate/0a", "http://h/x/.pollgate/0a", "/index.html", "://.pollgate/"] {
            let head = response(&format!("HTTP/1.1 200 OK\nContent-Location: {other}"));
            assert_eq!((place_to_poll(&head), for_client(&head)), (None, head.raw()), "{other}");
        }
        assert_eq!(
            place_to_poll(&response("HTTP/1.1 200 OK\nContent-Location: /.pollgate/0a")),
            Some("/.pollgate/0a")
        );
    }
}
