//! A client's own connection to the upstream, which ends when the client's does.
//!
//! Pingora keeps an idle connection until the upstream closes it or `upstream.idle_timeout` is over, and gives
//! nobody a way to end it. So its socket is held a second time here, for as long as pingora has it, and shut
//! down when the client goes: pingora sees the end of it and drops it at once.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, header};
use pingora::upstreams::peer::{PeerOptions, Tracer, Tracing};
use pingora::{Error, ErrorType};
use rustix::net::Shutdown;
use tokio::net::TcpSocket;

use crate::http1::{Framing, Headers, RequestHead};

/// What ties a connection to the upstream to a client's. When the last of it goes, that connection ends.
#[derive(Debug)]
pub struct Tether {
    number: u64,
    /// The connection that was made last: an older one is broken, or leads elsewhere and ends.
    latest: Mutex<Held>,
    /// The upstream that it was at last, and the server there.
    server: Mutex<Option<(String, SocketAddr)>>,
}

/// The socket of a connection, until pingora is done with it.
#[derive(Clone, Debug, Default)]
struct Held(Arc<Mutex<Option<OwnedFd>>>);

impl Tether {
    /// How many file descriptors it takes: the connection, and its socket held a second time.
    pub const DESCRIPTORS: u64 = 2;

    /// The tether of the client that has this number, which no other has.
    pub fn new(number: u64) -> Arc<Self> {
        Arc::new(Self { number, latest: Mutex::default(), server: Mutex::default() })
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

    /// A connection that is made with these options is tied.
    pub fn tie(self: &Arc<Self>, options: &mut PeerOptions) {
        let (tether, held) = (self.clone(), Held::default());
        options.tracer = Some(Tracer(Box::new(held.clone())));
        options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |socket: &TcpSocket| {
            let socket = socket.as_fd().try_clone_to_owned();
            let socket =
                socket.map_err(|error| Error::because(ErrorType::ConnectError, "a socket", error))?;
            *held.socket() = Some(socket);
            let mut latest = tether.latest.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *latest, held.clone()).end();
            Ok(())
        }));
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.latest.get_mut().unwrap_or_else(PoisonError::into_inner).end();
    }
}

impl Held {
    fn end(&self) {
        if let Some(socket) = self.socket().take() {
            // One that has ended already cannot be ended again.
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
    }

    fn socket(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracing for Held {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        // Held any longer, it would stay open for the upstream.
        self.socket().take();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
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
    let unexpected_body = head.framing != Framing::Empty && matches!(head.method.as_str(), "GET" | "HEAD");
    bound || unexpected_body || head.fields.contains("expect")
}

/// Whether an answer asks the client to authenticate its connection, be it in a list of other ways
/// (RFC 9110 §11.6.1).
///
/// A comma within quotes parts a challenge in two: at worst a client has a connection for itself without need.
pub fn challenges_connection(fields: &HeaderMap) -> bool {
    [header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE]
        .iter()
        .flat_map(|name| fields.get_all(name))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|challenge| {
            let mut words = challenge.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.next().is_some_and(is_bound)
        })
}

/// Whether this scheme authenticates the connection and not the request.
fn is_bound(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}
