//! Connections to servers, kept for the next request in pingora's pools.
//!
//! Each is watched while it is idle: it goes when the server ends it, says something that nobody asked for, or has
//! been idle for too long. One that a client may have authenticated is kept under that client's number, in a pool of
//! its own, and found by nobody else; it ends with the client.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_pool::{ConnectionMeta, ConnectionPool};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::Server;
use crate::http1::is_silent;
use crate::tls::{Roots, Stream};

/// How many idle connections are kept that clients share.
const MOST_SHARED: usize = 1024;

/// How many are kept that are clients' own. Whoever loses one must authenticate anew.
const MOST_OWN: usize = 65_536;

/// A connection to a server. While it is idle, whoever watches it holds it like this.
pub type Line = Pin<OwnedMutexGuard<Stream>>;

/// The idle connections to servers.
pub struct Lines {
    shared: Arc<ConnectionPool<Idle>>,
    own: Arc<ConnectionPool<Idle>>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The server.
    pub address: SocketAddr,
    /// Within TLS: which authorities were believed, and of whom.
    pub trust: Option<(u64, String)>,
}

impl Destination {
    /// Where a connection to this server leads if these authorities are believed.
    pub fn new(server: &Server, roots: Option<&Roots>) -> Self {
        let trust = roots.map(|roots| (roots.generation(), server.config.host().to_owned()));
        Self { address: server.address, trust }
    }
}

struct Idle {
    stream: Arc<Mutex<Stream>>,
    leads: Destination,
}

impl Default for Lines {
    fn default() -> Self {
        let pool = |most| Arc::new(ConnectionPool::new(most));
        Self { shared: pool(MOST_SHARED), own: pool(MOST_OWN) }
    }
}

impl Lines {
    /// A kept connection that leads there: the own one of the client with this number, or one that all share.
    pub async fn take(&self, to: &Destination, owner: Option<u64>) -> Option<Line> {
        let (pool, key) = self.place(to, owner);
        loop {
            let idle = pool.get(&key)?;
            if idle.leads != *to {
                continue;
            }
            // Whoever watched it lets go of it now.
            let mut stream = idle.stream.lock_owned().await;
            if is_silent(&mut *stream).await {
                return Some(Pin::new(stream));
            }
        }
    }

    /// Keeps a connection on which an answer was read to its end. It ends when it was idle for so long.
    pub fn keep(&self, line: Line, to: Destination, owner: Option<u64>, idle_timeout: Duration) {
        let (pool, key) = self.place(&to, owner);
        if owner.is_some() {
            // One that led elsewhere.
            end_all(pool, key);
        }
        let stream = Pin::into_inner(line);
        let meta = ConnectionMeta::new(key, stream.as_raw_fd());
        let idle = Idle { stream: OwnedMutexGuard::mutex(&stream).clone(), leads: to };
        let (evicted, taken) = pool.put(&meta, idle);
        let pool = pool.clone();
        tokio::spawn(async move {
            // By our own timer: pingora's has a thread that wakes a hundred times a second.
            let watched = pool.idle_poll(stream, &meta, None, evicted, taken);
            if timeout(idle_timeout, watched).await.is_err() {
                pool.pop_closed(&meta);
            }
        });
    }

    /// Ends what is kept for the client with this number.
    pub fn end(&self, owner: u64) {
        end_all(&self.own, owner);
    }

    fn place(&self, to: &Destination, owner: Option<u64>) -> (&Arc<ConnectionPool<Idle>>, u64) {
        match owner {
            Some(owner) => (&self.own, owner),
            None => {
                let mut hasher = DefaultHasher::new();
                to.hash(&mut hasher);
                (&self.shared, hasher.finish())
            }
        }
    }
}

/// Whoever watches them lets go of them, and they end.
fn end_all(pool: &ConnectionPool<Idle>, key: u64) {
    while pool.get(&key).is_some() {}
}

/// A connection that was just made.
pub(super) async fn new(stream: Stream) -> Line {
    Pin::new(Arc::new(Mutex::new(stream)).lock_owned().await)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn to(port: u16, trust: Option<u64>) -> Destination {
        let trust = trust.map(|generation| (generation, "im.example".to_owned()));
        Destination { address: SocketAddr::from(([192, 0, 2, 1], port)), trust }
    }

    /// A connection, and the server's end of it.
    async fn connected() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (new(Stream::Plain(ours)).await, listener.accept().await.unwrap().0)
    }

    async fn has_ended(mut server: TcpStream) -> bool {
        matches!(server.read(&mut [0]).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn each_is_found_by_those_that_it_is_for_and_once() {
        let lines = Lines::default();
        for (owner, strangers) in [(None, [Some(1), Some(2)]), (Some(1), [None, Some(2)])] {
            let (line, _server) = connected().await;
            lines.keep(line, to(80, Some(7)), owner, LONG);
            for stranger in strangers {
                assert!(lines.take(&to(80, Some(7)), stranger).await.is_none(), "{owner:?} {stranger:?}");
            }
            assert!(lines.take(&to(80, Some(7)), owner).await.is_some(), "{owner:?}");
            assert!(lines.take(&to(80, Some(7)), owner).await.is_none(), "{owner:?}");
        }
    }

    #[tokio::test]
    async fn one_that_leads_elsewhere_is_not_taken() {
        for other in [to(81, Some(7)), to(80, Some(8)), to(80, None)] {
            let lines = Lines::default();
            let (shared, _server) = connected().await;
            lines.keep(shared, to(80, Some(7)), None, LONG);
            assert!(lines.take(&other, None).await.is_none(), "{other:?}");
            assert!(lines.take(&to(80, Some(7)), None).await.is_some());
            let (own, server) = connected().await;
            lines.keep(own, to(80, Some(7)), Some(1), LONG);
            assert!(lines.take(&other, Some(1)).await.is_none(), "{other:?}");
            assert!(has_ended(server).await, "of a client's own there is one");
        }
    }

    #[tokio::test]
    async fn one_that_the_server_ended_or_spoke_on_is_not_taken() {
        for said in ["", "x"] {
            let (line, mut server) = connected().await;
            match said {
                "" => drop(server),
                said => server.write_all(said.as_bytes()).await.unwrap(),
            }
            if let Stream::Plain(stream) = &*line {
                stream.readable().await.unwrap();
            }
            let lines = Lines::default();
            // Whoever watches it has not looked yet.
            lines.keep(line, to(80, None), None, LONG);
            assert!(lines.take(&to(80, None), None).await.is_none(), "{said:?}");
        }
    }

    #[tokio::test]
    async fn one_ends_with_its_client_or_when_it_was_idle_for_too_long() {
        let lines = Lines::default();
        let ((own, server), (others, _other)) = (connected().await, connected().await);
        lines.keep(own, to(80, None), Some(1), LONG);
        lines.keep(others, to(80, None), Some(2), LONG);
        lines.end(1);
        assert!(has_ended(server).await);
        assert!(lines.take(&to(80, None), Some(2)).await.is_some());
        let (idle, server) = connected().await;
        lines.keep(idle, to(80, None), None, Duration::from_millis(1));
        assert!(has_ended(server).await);
        assert!(lines.take(&to(80, None), None).await.is_none());
    }
}
