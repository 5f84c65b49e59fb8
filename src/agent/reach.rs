//! Connections to the gateway.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::time::timeout;

use crate::clock;
use crate::http1::Connection;
use crate::http1::client::{CallError, dial};
use crate::tls::{self, Roots, Stream, Trust};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// A gateway that says nothing is asked whether it is there: first after this time, and then as often. One that
/// has gone without a word is noticed within a minute or two, however long the poll is held.
const ALIVE: Duration = Duration::from_secs(30);

/// Where a gateway is, and whom to believe that it is the gateway.
#[derive(Clone)]
pub struct Reach {
    address: String,
    trust: Option<Arc<Trust>>,
}

impl Reach {
    /// A gateway at `HOST:PORT`; with `trust`, within TLS.
    pub fn new(address: String, trust: Option<Arc<Trust>>) -> Self {
        Self { address, trust }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Connection<Stream>, CallError> {
        let stream = dial(&self.address, CONNECT).await?;
        keep_alive(&stream).map_err(CallError::Connect)?;
        let Some(trust) = &self.trust else { return Ok(Connection::new(Stream::Plain(stream))) };
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let roots: Arc<Roots> = trust.current(clock::now());
        let shaken = timeout(CONNECT, tls::connect(stream, host, &roots)).await;
        let stream = shaken.map_err(|_| CallError::TimedOut(CONNECT))?.map_err(CallError::Connect)?;
        Ok(Connection::new(stream))
    }
}

fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, ALIVE)?;
    sockopt::set_tcp_keepintvl(socket, ALIVE)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

/// Whether whoever connects from there could as well connect to this address itself.
pub(super) fn is_this_machine(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}
