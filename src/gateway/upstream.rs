//! Where the upstream is: its address, resolved now and then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Gateway;
use crate::clock;
use crate::config;
use crate::http1::Connection;
use crate::http1::client::{CallError, dial};
use crate::tls::{self, Stream};

/// How long a resolved name is believed: a server that moves is followed soon, and a name server is not
/// asked for each request.
const BELIEVED: Duration = Duration::from_secs(10);

/// Resolves the upstream's address.
#[derive(Debug, Default)]
pub struct Upstream {
    latest: ArcSwapOption<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    name: String,
    address: SocketAddr,
    at: Instant,
}

impl Gateway {
    /// A connection to the upstream, beside those that pingora makes.
    pub(super) async fn connect_upstream(
        &self,
        upstream: &config::Upstream,
    ) -> Result<Connection<Stream>, CallError> {
        let within = upstream.connect_timeout;
        let stream = dial(upstream.authority(), within).await?;
        let authorities = self.tls().authorities().map(|authorities| authorities.current(clock::now()));
        let Some(roots) = authorities else { return Ok(Connection::new(Stream::Plain(stream))) };
        let shaken = timeout(within, tls::connect(stream, upstream.host(), &roots)).await;
        let stream = shaken.map_err(|_| CallError::TimedOut(within))?.map_err(CallError::Connect)?;
        Ok(Connection::new(stream))
    }
}

impl Upstream {
    /// The socket address of `name`, a host and a port. Of several, one that takes a connection `within`
    /// that time is chosen.
    pub async fn resolve(&self, name: &str, within: Duration) -> io::Result<SocketAddr> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let now = clock::instant();
        if let Some(latest) = &*self.latest.load()
            && latest.name == name
            && now.duration_since(latest.at) < BELIEVED
        {
            return Ok(latest.address);
        }
        let addresses: Vec<_> = lookup_host(name).await?.collect();
        let address = match addresses[..] {
            [] => return Err(io::Error::other("the name has no address")),
            [only] => only,
            // The one that answers: `localhost` is often two, of which the server listens on one.
            [first, ..] => match timeout(within, TcpStream::connect(&addresses[..])).await {
                Ok(Ok(stream)) => stream.peer_addr()?,
                Ok(Err(_)) | Err(_) => first,
            },
        };
        self.latest.store(Some(Arc::new(Resolved { name: name.to_owned(), address, at: now })));
        Ok(address)
    }
}
