//! A small legacy server: RVP over HTTP, and callbacks only.
//!
//! It knows a few users. A user's node takes subscriptions (`SUBSCRIBE`, `UNSUBSCRIBE`, `SUBSCRIPTIONS`),
//! a presence state (`PROPFIND`, `PROPPATCH`) and instant messages (`NOTIFY`); what concerns a user goes to
//! the callback addresses of that user's sign-ins, one after the other, in the order in which it came on a
//! connection. It answers a `NOTIFY` when the callbacks were made: with an error if none of them worked.
//!
//! What it refuses to do: authentication, access lists, clients that give no callback address, a second try.

mod answer;
mod deliver;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http1::{Connection, HeadLimits, ServeLimits, Times, accept, serve};
use subscriptions::Subscriptions;

/// The start of a user's path; what follows is the user's name.
pub const USERS: &str = "/instmsg/aliases/";

/// The largest body that is read.
const LARGEST_BODY: usize = 256 * 1024;

/// How long a client may take to answer a callback, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// A callback that was made, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The user whom it was for.
    pub user: String,
    /// The address that was called.
    pub address: String,
    /// The status that came back, or why none did.
    pub outcome: Result<u16, String>,
    /// How long it took.
    pub took: Duration,
}

/// Told of every callback.
pub type Report = Arc<dyn Fn(Callback) + Send + Sync>;

/// A server at work; it stops when it is dropped.
pub struct RvpServer {
    address: SocketAddr,
    stop: CancellationToken,
}

/// What the connections share.
struct Server {
    state: Mutex<State>,
    report: Report,
    /// How long a client may take to answer a callback.
    patience: Duration,
}

struct State {
    /// The users, and their presence state.
    users: BTreeMap<String, String>,
    subscriptions: Subscriptions,
}

impl RvpServer {
    /// Serves these users on this listener. Must be called within a runtime.
    pub fn start(listener: TcpListener, users: &[&str], report: Report) -> std::io::Result<Self> {
        Self::start_with_patience(listener, users, report, PATIENCE)
    }

    /// The same, with another time for a client to answer a callback.
    pub fn start_with_patience(
        listener: TcpListener,
        users: &[&str],
        report: Report,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let users = users.iter().map(|user| ((*user).to_owned(), "offline".to_owned())).collect();
        let state = Mutex::new(State { users, subscriptions: Subscriptions::default() });
        let server = Arc::new(Server { state, report, patience });
        let limits = ServeLimits { head: HeadLimits::default(), body: LARGEST_BODY, times: Times::CLIENT };
        let token = stop.clone();
        let handle = move |stream, peer| {
            let (server, stop) = (server.clone(), token.clone());
            async move { serve(Connection::new(stream), peer, &*server, || limits, stop).await }
        };
        tokio::spawn(accept::accept(listener, stop.clone(), TaskTracker::new(), handle, || ()));
        Ok(Self { address, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RvpServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
