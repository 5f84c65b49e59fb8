//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections may wait to be accepted: a wave of reconnecting clients comes at once.
const BACKLOG: u32 = 4096;

/// How long to wait before accepting again after the process ran out of something.
const REST: Duration = Duration::from_millis(100);

/// Listens on `address`. Errors name what is wrong, not where.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until `stop`, and runs `handle` for each connection as a task of `tasks`.
///
/// Running out of file descriptors or memory ends nothing: the next connection waits until some are back.
pub async fn accept<F>(
    listener: impl Into<Arc<TcpListener>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    mut handle: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener.into();
    let mut exhausted = false;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                exhausted = false;
                // Answers are written whole: there is nothing for Nagle's algorithm to collect.
                let _ = stream.set_nodelay(true);
                tasks.spawn(handle(stream, peer));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !exhausted {
                    tracing::warn!(%error, "cannot accept connections; trying again until it works");
                    exhausted = true;
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
