//! Connections to servers, kept for the next request in pingora's pools.
//!
//! Each is watched while it is idle: it goes when the server ends it, says something that nobody asked for, or has
//! been idle for too long. One that a client may have authenticated is kept under that client's number, in a pool of
//! its own, and found by nobody else; it ends with the client.

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pingora_pool::{ConnectionMeta, ConnectionPool};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::tls::Stream;

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
            if is_silent(&mut stream).await {
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

/// Whether the server neither ended it nor said anything.
async fn is_silent(stream: &mut Stream) -> bool {
    poll_fn(|cx| {
        let mut byte = [0];
        Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending())
    })
    .await
}
