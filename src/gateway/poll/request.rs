//! What a poll asks for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use crate::http1::{Headers, RequestHead, Response};
use crate::mailbox::{EventId, PollKey, normal_path};

/// The path under which mailboxes are polled.
pub const PATH: &str = "/.pollgate/";

/// A new key, and the path that is polled with it.
pub fn new_key() -> (PollKey, String) {
    let key = PollKey::from_random(rand::random());
    (key, format!("{PATH}{key}"))
}

/// More subscriptions than a client has at one node.
pub const MOST_IDS: usize = 64;

/// A poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRequest {
    /// What is polled.
    pub target: Target,
    /// How long it may be held (`Prefer: wait`), if it says so.
    pub wait: Option<Duration>,
    /// What it acknowledges (`Last-Event-ID`), if it says so.
    pub last_event_id: Option<EventId>,
    /// In which form it wants the messages, if it names one.
    pub form: Option<Form>,
}

/// What is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The mailbox with this key.
    Key(PollKey),
    /// Subscriptions at a node, by the upstream's ids: for the client that subscribed, as far as its
    /// address shows that.
    Subscriptions(Box<Subscriptions>),
}

/// Subscriptions at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// The node's path.
    pub node: String,
    /// The upstream's ids.
    pub ids: Vec<String>,
    /// Who polls.
    pub client: IpAddr,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `multipart/mixed`: a part per message.
    Multipart,
    /// `application/http`: one message.
    Http,
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    Events,
    /// `text/xml`: which subscriptions had events, and no messages. Only for WebDAV, which knows no other.
    Status,
}

impl Form {
    const ALL: [(&'static str, &'static str, Form); 5] = [
        ("multipart", "mixed", Form::Multipart),
        ("application", "http", Form::Http),
        ("application", "json", Form::Json),
        ("text", "event-stream", Form::Events),
        ("text", "xml", Form::Status),
    ];

    /// The form that `Accept` prefers (RFC 9110 §12.5.1), and the first of equals. None if it leaves that open, or
    /// names none of ours: a client that polls can always do without its wish.
    fn negotiate(fields: &impl Headers) -> Option<Self> {
        let mut best = (0.0, None);
        for range in fields.list("accept") {
            let (media_type, quality) = split_quality(range);
            if media_type == "*/*" && quality > best.0 {
                best = (quality, None);
            }
            for (main, sub, form) in Self::ALL {
                let fits = media_type.split_once('/').is_some_and(|(m, s)| {
                    m.eq_ignore_ascii_case(main) && (s == "*" || s.eq_ignore_ascii_case(sub))
                });
                if fits && quality > best.0 {
                    best = (quality, Some(form));
                }
            }
        }
        best.1
    }
}

fn split_quality(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    (media_type, quality.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
}

/// Whether a request is a poll, rather than one to be passed on.
pub fn is_poll(head: &RequestHead) -> bool {
    head.method() == "POLL" || own_path(head.path()).is_some()
}

/// What stands behind [`PATH`], if the path is one of the gateway's own, however it is written: a server that reads it
/// otherwise must not be given a key.
fn own_path(path: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = path.strip_prefix(PATH).filter(|rest| !rest.contains(['/', '%'])) {
        return Some(rest.into());
    }
    let may_mean_another = path.contains(['%', '\\']) || path.contains("//") || path.contains("/.");
    if !may_mean_another {
        return None;
    }
    let normal = normal_path(&path.replace('\\', "/"));
    let own = normal.strip_prefix(PATH).map(str::to_owned);
    own.or_else(|| (normal == PATH.trim_end_matches('/')).then(String::new)).map(Into::into)
}

/// Reads a poll; what is wrong with it comes as its answer.
pub fn read(head: &RequestHead, client: IpAddr) -> Result<PollRequest, Response> {
    let target = match own_path(head.path()) {
        Some(key) => {
            if head.method() != "POLL" && head.method() != "GET" {
                return Err(Response::text(405, "a mailbox is polled").with("Allow", "GET, POLL"));
            }
            Target::Key(key.parse().map_err(|_| Response::text(404, "no such mailbox"))?)
        }
        None => {
            let ids: Vec<String> = head.fields.list("subscription-id").map(str::to_owned).collect();
            if ids.is_empty() {
                return Err(Response::text(400, "a poll of a node needs a Subscription-Id"));
            }
            if ids.len() > MOST_IDS {
                return Err(Response::text(400, "too many Subscription-Ids"));
            }
            Target::Subscriptions(Box::new(Subscriptions { node: head.path().to_owned(), ids, client }))
        }
    };
    let last_event_id = match head.fields.text("last-event-id") {
        None => None,
        Some(id) => match id.parse() {
            Ok(id) => Some(EventId(id)),
            Err(_) => return Err(Response::text(400, "Last-Event-ID is not the id of a message")),
        },
    };
    Ok(PollRequest { target, wait: wait(&head.fields), last_event_id, form: Form::negotiate(&head.fields) })
}

/// `Prefer: wait=N`, in seconds (RFC 7240 §4.3). What is not understood is no preference.
fn wait(fields: &impl Headers) -> Option<Duration> {
    fields.list("prefer").find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    fn head(text: &str) -> RequestHead {
        let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
        RequestHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect("a whole head").0
    }

    fn poll(text: &str) -> Result<PollRequest, u16> {
        read(&head(text), IpAddr::from([10, 1, 2, 3])).map_err(|answer| answer.status)
    }

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn polls_are_told_from_other_requests() {
        for (request, is) in [
            (format!("POLL {PATH}{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET {PATH}{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET http://h{PATH}{KEY} HTTP/1.1\nHost: h"), true),
            ("POLL /node HTTP/1.1\nHost: h".into(), true),
            ("GET /node HTTP/1.1\nHost: h".into(), false),
            ("poll /node HTTP/1.1\nHost: h".into(), false),
            ("GET /x/.pollgate/ HTTP/1.1\nHost: h".into(), false),
            (format!("GET //.pollgate/{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET /%2epollgate/{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET /%2Epoll%67ate/{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET /x/../.pollgate/{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET /x/%2e%2E/./.pollgate/{KEY} HTTP/1.1\nHost: h"), true),
            (format!("GET /\\.pollgate/{KEY} HTTP/1.1\nHost: h"), true),
            ("GET /.pollgate HTTP/1.1\nHost: h".into(), true),
            ("GET /.pollgate/../x HTTP/1.1\nHost: h".into(), false),
            ("GET /.well-known/x HTTP/1.1\nHost: h".into(), false),
            ("GET /a%20b//c HTTP/1.1\nHost: h".into(), false),
        ] {
            assert_eq!(is_poll(&head(&request)), is, "{request}");
        }
    }

    #[test]
    fn a_poll_by_key() {
        let request = format!(
            "POLL {PATH}{KEY} HTTP/1.1\nHost: h\nPrefer: respond-async, WAIT=300\nLast-Event-ID: 41\n\
             Accept: application/json"
        );
        assert_eq!(
            poll(&request),
            Ok(PollRequest {
                target: Target::Key(KEY.parse().unwrap()),
                wait: Some(Duration::from_secs(300)),
                last_event_id: Some(EventId(41)),
                form: Some(Form::Json),
            })
        );
    }

    #[test]
    fn a_poll_by_node() {
        let poll = poll("POLL /n HTTP/1.1\nHost: h\nSubscription-Id: 98210, 79\nSubscription-Id: 3").unwrap();
        let ids = ["98210", "79", "3"].map(str::to_owned).to_vec();
        let client = IpAddr::from([10, 1, 2, 3]);
        assert_eq!(
            poll.target,
            Target::Subscriptions(Box::new(Subscriptions { node: "/n".into(), ids, client }))
        );
    }

    #[test]
    fn what_is_not_a_poll() {
        for (request, status) in [
            (format!("POLL {PATH} HTTP/1.1\nHost: h"), 404),
            (format!("POLL {PATH}{KEY}0 HTTP/1.1\nHost: h"), 404),
            (format!("DELETE {PATH}{KEY} HTTP/1.1\nHost: h"), 405),
            (format!("HEAD {PATH}{KEY} HTTP/1.1\nHost: h"), 405),
            ("POLL /n HTTP/1.1\nHost: h".into(), 400),
            (format!("POLL /n HTTP/1.1\nHost: h\nSubscription-Id: {}", "1,".repeat(65)), 400),
            (format!("POLL {PATH}{KEY} HTTP/1.1\nHost: h\nLast-Event-ID: x"), 400),
            (format!("POLL {PATH}{KEY} HTTP/1.1\nHost: h\nLast-Event-ID: -1"), 400),
        ] {
            assert_eq!(poll(&request), Err(status), "{request}");
        }
    }

    #[test]
    fn forms_are_negotiated() {
        for (accept, form) in [
            ("", None),
            ("*/*", None),
            ("text/html, */*;q=0.1", None),
            ("application/http", Some(Form::Http)),
            ("application/*", Some(Form::Http)),
            ("APPLICATION/JSON", Some(Form::Json)),
            ("application/json;q=0.5, text/event-stream", Some(Form::Events)),
            ("application/json;q=0.5, multipart/mixed;q=0.4", Some(Form::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("nonsense", None),
            ("text/xml, */*;q=0.5", Some(Form::Status)),
            ("multipart/*", Some(Form::Multipart)),
        ] {
            let request = format!("POLL {PATH}{KEY} HTTP/1.1\nHost: h\nAccept: {accept}");
            assert_eq!(poll(&request).unwrap().form, form, "{accept}");
        }
    }

    #[test]
    fn a_wait_that_is_not_understood_is_none() {
        for (prefer, wait) in [
            ("wait=10", Some(10)),
            ("wait=0", Some(0)),
            ("wait=\"7\"", Some(7)),
            ("a=b; c, wait=5; x", Some(5)),
            ("wait", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("waiting=5", None),
        ] {
            let request = format!("POLL {PATH}{KEY} HTTP/1.1\nHost: h\nPrefer: {prefer}");
            assert_eq!(poll(&request).unwrap().wait, wait.map(Duration::from_secs), "{prefer}");
        }
    }
}
