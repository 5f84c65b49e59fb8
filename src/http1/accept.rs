//! The accept loop.

mod spare;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::spare::Refused;
use crate::clock;

/// How many connections may wait to be accepted: a wave of reconnecting clients comes at once.
const BACKLOG: u32 = 4096;

/// How long to wait before accepting again after the process ran out of something.
const REST: Duration = Duration::from_millis(100);

/// How often it is logged at most that the process ran out of something.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// Listens on `address`. Errors name what is wrong, not where.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until `stop`, and runs `handle` for each connection as a task of `tasks`.
///
/// Running out of file descriptors or memory ends nothing that is there: who comes then is refused, as far as that
/// goes, and `refused` is told of each. When there are some again, all is as before.
pub async fn accept<F>(
    listener: impl Into<Arc<TcpListener>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    mut handle: impl FnMut(TcpStream, SocketAddr) -> F,
    refused: impl Fn(),
) where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener.into();
    spare::keep();
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            // First: who comes after the stop is left to whoever goes on with this socket.
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if !spare::keep() => {
                // It has the place that another one was to be refused with.
                spare::refuse(stream);
                refused();
            }
            Ok((stream, peer)) => {
                // Answers are written whole: there is nothing for Nagle's algorithm to collect.
                let _ = stream.set_nodelay(true);
                tasks.spawn(handle(stream, peer));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let now = clock::instant();
                if logged.is_none_or(|logged| now.duration_since(logged) >= LOG_AGAIN) {
                    tracing::warn!(%error, "cannot accept connections; those that come are refused until it works");
                    logged = Some(now);
                }
                match spare::refuse_one(&listener).await {
                    Refused::One => refused(),
                    Refused::Nobody => {}
                    Refused::NoPlace => tokio::time::sleep(REST).await,
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
