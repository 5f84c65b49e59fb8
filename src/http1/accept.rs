//! The accept loop.

mod spare;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::spare::Refused;
use crate::clock;

/// How many connections may wait to be accepted: a wave of reconnecting clients comes at once.
const BACKLOG: u32 = 4096;

/// So many bytes of an answer wait in the kernel at most until the client has room for them (tcp(7):
/// `TCP_NOTSENT_LOWAT`), and a little more.
///
/// Without a bound it takes megabytes of each answer, and cuts them up at once into packets as small as the client's
/// window asks for: a client that reads slowly on purpose makes that hundreds of times more work than its answer is
/// worth. What is under way to a client that reads is not counted, so this slows down nobody.
const UNSENT: u32 = 16 * 1024;

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
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_a_client_does_not_read_waits_with_whoever_writes_it() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let handle = move |stream: TcpStream, _| {
            let tell = tell.clone();
            async move {
                loop {
                    stream.writable().await.unwrap();
                    if let Ok(written) = stream.try_write(&[0; 64 * 1024]) {
                        tell.send(written).unwrap();
                    }
                }
            }
        };
        let accepting =
            tokio::spawn(accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let client = socket.connect(address).await.unwrap();
        let mut taken = told.recv().await.unwrap();
        while let Ok(Some(written)) = tokio::time::timeout(QUIET, told.recv()).await {
            taken += written;
        }
        assert!(taken <= MOST, "the kernel took {taken} bytes");
        drop(client);
        accepting.abort();
    }

    /// Nothing more is taken when nothing was for so long.
    const QUIET: Duration = Duration::from_millis(200);

    /// What is unsent, what the client has room for, and the packet that goes beyond either.
    const MOST: usize = 4 * UNSENT as usize;
}
