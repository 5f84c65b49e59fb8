//! A request on its way: which upstream it is for, which of its servers it is at, and what its answer will mean.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use nix::sys::socket::{Shutdown, shutdown};
use pingora::{Error, ErrorType};

use super::newcomers::Newcomer;
use super::subscribe::Intent;
use super::tether::Tether;
use super::upstream::{Server, Upstream, Wish};
use crate::clock;
use crate::telemetry::{InFlight, UpstreamError};

/// What is known of a request on its way. The public listener hands it over with the connection.
#[derive(Default)]
pub struct Passage {
    /// What its answer will mean.
    pub intent: Intent,
    /// What the connection to the upstream is tied to, if it is the client's own.
    pub(super) tether: Option<Arc<Tether>>,
    /// Set when the answer asks the client to authenticate its connection.
    pub(super) challenged: Arc<AtomicBool>,
    /// The connection to the upstream that the request is on; pingora has it until the answer was passed on.
    pub(super) socket: Option<RawFd>,
    /// Whom the answer makes a subscriber; this goes when it was written.
    pub(super) newcomer: Option<Newcomer>,
    pub(super) failure: Option<UpstreamError>,
    /// Its way; there is one from the moment that it leaves.
    pub(super) way: Option<Way>,
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct WayIn {
    /// The scheme under which the client knows the gateway.
    pub scheme: &'static str,
    /// The port of the listener, where that counts.
    pub port: u16,
}

/// The way of a request.
pub(super) struct Way {
    pub(super) upstream: Arc<Upstream>,
    client: IpAddr,
    pub(super) way_in: WayIn,
    /// The server that it is at.
    pub(super) server: Option<Server>,
    /// Those that took no connection.
    pub(super) tried: Vec<SocketAddr>,
    pub(super) since: Instant,
    _in_flight: InFlight,
}

impl Passage {
    /// A request that is about to leave.
    pub fn new(tether: Option<Arc<Tether>>, challenged: Arc<AtomicBool>) -> Self {
        Self { tether, challenged, ..Self::default() }
    }

    /// The same on its way to an upstream, with what its answer will mean.
    pub fn under_way(self, intent: Intent, upstream: Arc<Upstream>, client: IpAddr, way_in: WayIn) -> Self {
        let way = Way {
            _in_flight: upstream.counters.passing(),
            upstream,
            client,
            way_in,
            server: None,
            tried: Vec::new(),
            since: clock::instant(),
        };
        Self { intent, way: Some(way), ..self }
    }

    /// Keeps others from being sent where this request was.
    ///
    /// Whether the connection is used again pingora decides by itself. One that has ended it does not use.
    pub(super) fn leave_shared(&mut self) {
        if self.tether.is_none()
            && let Some(socket) = self.socket.take()
        {
            // The upstream may have ended it first.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }

    /// The server that it goes to, next.
    pub(super) async fn next_server(&mut self) -> pingora::Result<Server> {
        let Some(way) = &self.way else { return Err(Error::new(ErrorType::InternalError)) };
        let (upstream, tether) = (&way.upstream, self.tether.as_deref());
        let known = tether
            .and_then(|tether| tether.server(&upstream.config.name))
            .or_else(|| upstream.who_granted(self.intent.known()));
        let found = upstream.server(Wish { client: way.client, known, tried: &way.tried }).await;
        let found = found.and_then(|found| found.ok_or_else(|| io::Error::other("there is no other server")));
        let server = found.map_err(|error| {
            self.failure = Some(UpstreamError::Resolve);
            Error::explain(ErrorType::HTTPStatus(502), error.to_string())
        })?;
        if let Some(tether) = tether {
            tether.is_at(&upstream.config.name, server.address);
        }
        Ok(server)
    }
}

impl Way {
    /// Remembers who granted what this answer leaves there.
    pub(super) fn answered(&self, intent: &Intent, granted: bool) {
        if let Some(server) = &self.server
            && granted
        {
            for mailbox in intent.stays() {
                self.upstream.granted(*mailbox, server.address);
            }
        }
    }
}
