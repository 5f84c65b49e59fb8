//! What is said to the next hop only: fields that end here, and whom a request is addressed to.

use bytes::{BufMut, Bytes, BytesMut};

use crate::http1::{FieldList, Framing, HeadError, HeadLimits, Headers, RequestHead, Version};

/// Fields of one hop, whether or not `Connection` names them (RFC 9110 §7.6.1), and what announces trailers,
/// which are not passed on.
pub const OF_ONE_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// What `Connection` must not take away.
const KEPT: [&str; 2] = ["content-length", "transfer-encoding"];

/// Takes out what is for the gateway alone.
pub fn end(fields: &mut FieldList) {
    let named: Vec<String> = fields.list("connection").map(str::to_ascii_lowercase).collect();
    for name in named.iter().map(String::as_str).chain(OF_ONE_HOP) {
        if !KEPT.contains(&name) {
            fields.remove(name);
        }
    }
}

/// A client's request without what is for the gateway alone. Whatever is added to it later nobody can name away.
pub fn received(head: RequestHead) -> Result<RequestHead, HeadError> {
    if !OF_ONE_HOP.iter().any(|name| head.fields.contains(name)) {
        return Ok(head);
    }
    let mut fields = head.fields.to_list();
    end(&mut fields);
    let version = if head.version == Version::Http11 { "1.1" } else { "1.0" };
    let ended = write(&head, head.target(), version, &fields);
    Ok(RequestHead::parse(&ended, HeadLimits::ANY)?.map_or(head, |(ended, _)| ended))
}

/// A request's head as it goes to the server of this name, in the gateway's own version (RFC 9112 §2.3). One that
/// says to whom it is addressed says so further on, unless the server is to be `addressed` by its own name.
pub fn request(head: &RequestHead, server: &str, addressed: bool) -> Bytes {
    let mut fields = head.fields.to_list();
    if addressed || !fields.contains("host") {
        fields.set("Host", server.to_owned());
    }
    if head.framing == Framing::Chunked {
        fields.set("Transfer-Encoding", "chunked");
    }
    // The target may name somebody, too, and would go before Host (RFC 9112 §3.2.2).
    let target = if addressed { head.origin_form() } else { head.target() };
    write(head, target, "1.1", &fields)
}

fn write(head: &RequestHead, target: &str, version: &str, fields: &FieldList) -> Bytes {
    let mut out = BytesMut::with_capacity(head.length() + 64);
    for part in [head.method(), " ", target, " HTTP/", version, "\r\n"] {
        out.put_slice(part.as_bytes());
    }
    fields.write(&mut out);
    out.put_slice(b"\r\n");
    out.freeze()
}

/// Tells a client in its own version whether its connection is kept for a next request (RFC 9112 §9.3).
pub fn keep_alive(fields: &mut FieldList, version: Version, is_kept: bool) {
    match (version, is_kept) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => fields.set("Connection", "keep-alive"),
        (_, false) => fields.set("Connection", "close"),
    }
}
