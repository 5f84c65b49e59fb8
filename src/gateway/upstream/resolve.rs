//! Where a server is: its name, resolved now and then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::clock;

/// How long a resolved name is believed: a server that moves is followed soon, and a name server is not
/// asked for each request.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);

/// Resolves the address of one server.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    latest: ArcSwapOption<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    address: SocketAddr,
    at: Instant,
}

impl Resolver {
    /// The socket address of `name`, a host and a port. Of several, one that takes a connection `within`
    /// that time is chosen.
    pub(super) async fn resolve(&self, name: &str, within: Duration) -> io::Result<SocketAddr> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let now = clock::instant();
        if let Some(latest) = &*self.latest.load()
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
        self.latest.store(Some(Arc::new(Resolved { address, at: now })));
        Ok(address)
    }

    /// What was found last, however long ago.
    pub(super) fn latest(&self) -> Option<SocketAddr> {
        self.latest.load().as_ref().map(|latest| latest.address)
    }
}
