//! Who may ask: who shows the token, if there is one; and no web page in the name of an operator who has
//! it open in the browser that reaches this listener.

use std::net::IpAddr;

use super::problem::Problem;
use crate::config::Token;
use crate::http1::{Headers, RequestHead};

/// The streams of events.
const EVENTS: &str = "/api/v1/events";

/// Lets a request pass, or says why not.
pub(super) fn check(head: &RequestHead, token: Option<&Token>) -> Result<(), Problem> {
    if token.is_none() && !names_this_machine(head) {
        return Err(Problem::ForeignPage("without a token, Host must be an IP address or localhost"));
    }
    let changes = !matches!(head.method(), "GET" | "HEAD");
    // A stream holds one of a few places for as long as the page is open.
    let holds_a_place = head.path() == EVENTS;
    if (changes || holds_a_place) && is_from_a_foreign_page(head) {
        return Err(Problem::ForeignPage("Origin or Sec-Fetch-Site tell of another site than this one"));
    }
    let Some(token) = token else { return Ok(()) };
    match presented(head) {
        Some(presented) if token.is(presented) => Ok(()),
        presented => Err(Problem::TokenNeeded { shown: presented.is_some() }),
    }
}

/// DNS rebinding: a page under a name of its own can make that name mean this machine, and then ask it as
/// its own site; but it cannot choose what the browser writes as `Host`.
fn names_this_machine(head: &RequestHead) -> bool {
    let host = head.fields.text("host");
    [host.unwrap_or_default(), head.authority()].into_iter().all(|authority| {
        // No browser asks without one.
        authority.is_empty() || is_address_or_localhost(authority)
    })
}

fn is_address_or_localhost(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host.parse::<IpAddr>().is_ok() || host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

/// What the browser says of the page that asks. Who is no browser says nothing.
fn is_from_a_foreign_page(head: &RequestHead) -> bool {
    let own = format!("http://{}", head.authority());
    let own = own.strip_suffix(":80").unwrap_or(&own).as_bytes();
    let foreign_origin = head.fields.values("origin").any(|origin| !origin.eq_ignore_ascii_case(own));
    let foreign_site =
        head.fields.values("sec-fetch-site").any(|site| site != b"same-origin" && site != b"none");
    foreign_origin || foreign_site
}

/// RFC 6750 §2.1: only in the `Authorization` field.
fn presented(head: &RequestHead) -> Option<&str> {
    let (scheme, token) = head.fields.text("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    /// The status of the refusal; 0 for none.
    fn refusal(method: &str, fields: &str, token: Option<&Token>) -> u16 {
        let head = format!("{method} /api/v1/mailboxes HTTP/1.1\r\n{fields}\r\n");
        let (head, _) = RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        check(&head, token).map_or_else(|problem| problem.response().status, |()| 0)
    }

    #[test]
    fn without_a_token_a_name_must_be_this_machines() {
        for (host, expected) in [
            ("127.0.0.1:9180", 0),
            ("10.0.0.5", 0),
            ("[::1]:9180", 0),
            ("localhost:9180", 0),
            ("LocalHost.", 0),
            ("evil.example", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("1", 403),
        ] {
            assert_eq!(refusal("GET", &format!("Host: {host}\r\n"), None), expected, "{host}");
        }
        let token = Token::example();
        let fields = "Host: gate.example\r\nAuthorization: Bearer s3cret\r\n";
        assert_eq!(refusal("GET", fields, Some(&token)), 0);
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        for (fields, expected) in [
            ("", 0),
            ("Origin: http://127.0.0.1:9180\r\n", 0),
            ("Sec-Fetch-Site: same-origin\r\n", 0),
            ("Sec-Fetch-Site: none\r\n", 0),
            ("Origin: http://127.0.0.1:9180\r\nSec-Fetch-Site: same-origin\r\n", 0),
            ("Origin: http://127.0.0.1\r\n", 403),
            ("Origin: http://127.0.0.1:9181\r\n", 403),
            ("Origin: https://127.0.0.1:9180\r\n", 403),
            ("Origin: http://evil.example\r\n", 403),
            ("Origin: null\r\n", 403),
            ("Origin: http://127.0.0.1:9180\r\nOrigin: http://evil.example\r\n", 403),
            ("Sec-Fetch-Site: cross-site\r\n", 403),
            ("Sec-Fetch-Site: same-site\r\n", 403),
            ("Origin: http://127.0.0.1:9180\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ] {
            let fields = format!("Host: 127.0.0.1:9180\r\n{fields}");
            for method in ["POST", "DELETE", "PUT"] {
                assert_eq!(refusal(method, &fields, None), expected, "{method} {fields}");
            }
            assert_eq!(refusal("GET", &fields, None), 0, "{fields}");
        }
        assert_eq!(refusal("POST", "Host: localhost:80\r\nOrigin: http://localhost\r\n", None), 0);
    }

    #[test]
    fn a_foreign_page_holds_no_stream() {
        for (fields, expected) in [
            ("", 0),
            ("Sec-Fetch-Site: same-origin\r\n", 0),
            ("Sec-Fetch-Site: cross-site\r\n", 403),
            ("Origin: http://evil.example\r\n", 403),
        ] {
            let head =
                format!("GET /api/v1/events?bodies=true HTTP/1.1\r\nHost: 127.0.0.1:9180\r\n{fields}\r\n");
            let (head, _) = RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
            let status = check(&head, None).map_or_else(|problem| problem.response().status, |()| 0);
            assert_eq!(status, expected, "{fields}");
        }
    }

    #[test]
    fn a_token_is_shown_or_else() {
        let token = Token::example();
        for (field, expected) in [
            ("", 401),
            ("Authorization: Bearer s3cret\r\n", 0),
            ("Authorization: bearer  s3cret\r\n", 0),
            ("Authorization: Bearer s3cre\r\n", 401),
            ("Authorization: Bearer s3crett\r\n", 401),
            ("Authorization: Bearer\r\n", 401),
            ("Authorization: Basic s3cret\r\n", 401),
            ("Authorization: s3cret\r\n", 401),
        ] {
            let fields = format!("Host: 127.0.0.1\r\n{field}");
            assert_eq!(refusal("GET", &fields, Some(&token)), expected, "{field}");
        }
    }
}
