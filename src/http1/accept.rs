//! The accept loop.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Response;
use crate::clock;

/// How many connections may wait to be accepted: a wave of reconnecting clients comes at once.
const BACKLOG: u32 = 4096;

/// How long to wait before accepting again after the process ran out of something.
const REST: Duration = Duration::from_millis(100);

/// How often it is logged at most that the process ran out of something.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// After how many seconds a client may try again for which there was nothing left.
const RETRY_AFTER: u64 = 10;

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
    let mut spare = Spare::new();
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            // First: who comes after the stop is left to whoever goes on with this socket.
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
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
                match spare.refuse_one(&listener).await {
                    Refused::One => refused(),
                    Refused::Nobody => {}
                    Refused::NoPlace => tokio::time::sleep(REST).await,
                }
            }
        }
    }
}

/// A descriptor that is kept only to be given up: with the one place that makes, a connection is accepted and told
/// that there is no place for it. It would wait in the kernel's queue otherwise, and its client with it.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Refuses the connection that has waited longest, if one waits.
    async fn refuse_one(&mut self, listener: &TcpListener) -> Refused {
        if self.0.take().is_none() {
            *self = Self::new();
            return Refused::NoPlace;
        }
        // The kernel looks for a descriptor before it looks for a connection: there may be none, and the place must
        // not stay free until one comes.
        let refused = match poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await {
            Poll::Ready(Ok((stream, _))) => {
                let answer = Response::text(503, "too many connections").with("Retry-After", RETRY_AFTER);
                let _ = stream.try_write(&answer.last_words(clock::wall()));
                // What nobody has read would make the kernel reset the connection, and the answer be lost.
                let _ = stream.try_read(&mut [0; 4096]);
                Refused::One
            }
            Poll::Ready(Err(_)) => Refused::NoPlace,
            Poll::Pending => Refused::Nobody,
        };
        *self = Self::new();
        refused
    }
}

/// What became of the attempt to refuse a connection.
enum Refused {
    One,
    /// None waits.
    Nobody,
    /// Somebody else took the place.
    NoPlace,
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
