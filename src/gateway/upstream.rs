//! Where the upstream is: its address, resolved now and then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::clock;

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

/// Why the upstream cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFailure {
    /// Its name has no address.
    #[error("cannot resolve the upstream's name: {0}")]
    Resolve(std::io::Error),
    /// It takes no connection.
    #[error("cannot connect to the upstream: {0}")]
    Connect(std::io::Error),
    /// Nor does it refuse one.
    #[error("the upstream does not answer within {0:?}")]
    TimedOut(Duration),
}

impl Upstream {
    /// The socket address of `name`, a host and a port.
    pub async fn resolve(&self, name: &str) -> Result<SocketAddr, UpstreamFailure> {
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
        let mut addresses = lookup_host(name).await.map_err(UpstreamFailure::Resolve)?;
        let none = || UpstreamFailure::Resolve(std::io::Error::other("it has no address"));
        let address = addresses.next().ok_or_else(none)?;
        self.latest.store(Some(Arc::new(Resolved { name: name.to_owned(), address, at: now })));
        Ok(address)
    }

    /// Whether a connection can be made at this moment.
    pub async fn probe(&self, name: &str, within: Duration) -> Result<(), UpstreamFailure> {
        let connect = async {
            let address = self.resolve(name).await?;
            TcpStream::connect(address).await.map_err(UpstreamFailure::Connect)
        };
        timeout(within, connect).await.map_err(|_| UpstreamFailure::TimedOut(within))?.map(drop)
    }
}
