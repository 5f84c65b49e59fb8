//! A client's own connection to the upstream, which ends when the client's does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::upstream::Lines;
use crate::http1::{Framing, Headers, RequestHead};

/// What ties connections to the upstream to a client's: when it goes they end.
pub struct Tether {
    number: u64,
    lines: Arc<Lines>,
    /// The upstream that it was at last, and the server there.
    server: Mutex<Option<(String, SocketAddr)>>,
}

impl Tether {
    /// The tether of the client that has this number, which no other has.
    pub fn new(number: u64, lines: Arc<Lines>) -> Arc<Self> {
        Arc::new(Self { number, lines, server: Mutex::default() })
    }

    /// The number of the client.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The server of this upstream that the client was at last: whoever authenticated a connection must not be sent
    /// to another.
    pub fn server(&self, upstream: &str) -> Option<SocketAddr> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().filter(|(name, _)| name == upstream).map(|(_, server)| *server)
    }

    /// The client is at this server now.
    pub fn is_at(&self, upstream: &str, server: SocketAddr) {
        let mut at = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        *at = Some((upstream.to_owned(), server));
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.lines.end(self.number);
    }
}

/// Whether what comes after this request could be taken for a part of it, or the other way round, on a
/// connection to the upstream that clients share: from now on this client has one for itself.
///
/// NTLM and Negotiate authenticate the connection and not the request. A body where none is expected, or
/// one that is awaited with `Expect`, may be read as the next request by a server that does not know better.
pub fn needs_own_connection(head: &RequestHead) -> bool {
    let bound = ["authorization", "proxy-authorization"].iter().any(|name| {
        head.fields
            .values(name)
            .any(|value| value.split(u8::is_ascii_whitespace).next().is_some_and(is_bound))
    });
    let unexpected_body = head.framing != Framing::Empty && matches!(head.method(), "GET" | "HEAD");
    bound || unexpected_body || head.fields.contains("expect")
}

/// Whether an answer asks the client to authenticate its connection, be it in a list of other ways
/// (RFC 9110 §11.6.1).
///
/// A comma within quotes parts a challenge in two: at worst a client has a connection for itself without need.
pub fn challenges_connection(fields: &impl Headers) -> bool {
    ["www-authenticate", "proxy-authenticate"]
        .iter()
        .flat_map(|name| fields.values(name))
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|challenge| {
            let mut words = challenge.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.next().is_some_and(is_bound)
        })
}

/// Whether this scheme authenticates the connection and not the request.
fn is_bound(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}
