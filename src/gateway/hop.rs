//! What is said to the next hop only: in an answer, how its body is framed, and fields that end here; in a request,
//! whom it is addressed to.

use http::{Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::http1::Headers;

/// Fields of one hop, whether or not `Connection` names them (RFC 9110 §7.6.1), and what announces trailers,
/// which are not passed on. `Connection` itself and the framing are written anew with each answer.
const OF_ONE_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// What `Connection` must not take away.
const KEPT: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Takes out what is for the gateway alone.
pub fn end(answer: &mut ResponseHeader) {
    let named: Vec<String> = answer.headers.list("connection").map(str::to_ascii_lowercase).collect();
    for name in named.iter().map(String::as_str).chain(OF_ONE_HOP) {
        if !KEPT.contains(&name) {
            answer.remove_header(name);
        }
    }
}

/// Addresses a request to a server by its own name, for one that answers to no other.
pub fn address_to(request: &mut RequestHeader, authority: &str) -> pingora::Result<()> {
    // The target may name somebody, too, and would go before Host (RFC 9112 §3.2.2).
    if !request.raw_path().starts_with(b"/") && request.raw_path() != b"*" {
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        request.set_raw_path(target.as_bytes())?;
    }
    request.insert_header(header::HOST, authority)
}

/// Whether it is said in one way, which all read alike, where the body ends: by at most one length
/// (RFC 9110 §8.6), and of all codings only `chunked`, once, in a version that has it (RFC 9112 §6.1).
pub fn is_framed(answer: &ResponseHeader) -> bool {
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_none_or(|coding| {
        coding.as_bytes().eq_ignore_ascii_case(b"chunked") && answer.version == Version::HTTP_11
    });
    let lengths = answer.headers.get_all(header::CONTENT_LENGTH).iter().count();
    chunked && codings.next().is_none() && lengths <= 1
}

/// Whether nothing comes behind this head (RFC 9112 §6.3).
pub fn has_no_body(method: &Method, answer: &ResponseHeader) -> bool {
    let length = answer.headers.get(header::CONTENT_LENGTH);
    method == Method::HEAD
        || matches!(answer.status.as_u16(), 204 | 304)
        || length.is_some_and(|length| length.as_bytes().iter().all(|digit| *digit == b'0'))
}
