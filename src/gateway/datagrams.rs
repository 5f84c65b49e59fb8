//! Callbacks that come as datagrams (`httpu`, draft-goland-http-udp-01): one each, with a request in it. They are
//! taken in like all others, and never answered.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::callback::Callbacks;
use crate::http1::{Framing, HeadLimits, Request, RequestHead, Service};

/// The largest datagram that there is.
const LARGEST: usize = 64 * 1024;

/// How many are taken in at a time; those that come meanwhile wait in the socket, as far as it has room.
const AT_ONCE: usize = 256;

/// A socket for datagrams at this address. Must be called within a runtime.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    adopt(std::net::UdpSocket::bind(address)?.into())
}

/// A socket that was bound before. Must be called within a runtime.
pub fn adopt(socket: OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes in what comes at this socket, until the gateway stops.
pub async fn serve(
    socket: Arc<UdpSocket>,
    callbacks: Arc<Callbacks>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut space = vec![0; LARGEST];
    loop {
        // Before it is taken out of the socket: what was, is not lost because the store changes hands.
        let Some(at_store) = callbacks.0.stop.use_store() else { return };
        let came = tokio::select! {
            // First: what comes after the stop is left to whoever goes on with this socket.
            biased;
            () = stop.cancelled() => return,
            came = socket.recv_from(&mut space) => came,
        };
        // What fails is a datagram that was sent before, at most: this socket sends none.
        let Ok((length, peer)) = came else { continue };
        let datagram = Bytes::copy_from_slice(&space[..length]);
        // It is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let callbacks = callbacks.clone();
        tasks.spawn(async move {
            take_in(&callbacks, &datagram, peer).await;
            drop((permit, at_store));
        });
    }
}

async fn take_in(callbacks: &Callbacks, datagram: &[u8], peer: SocketAddr) {
    let Some((head, body)) = read(datagram) else { return callbacks.unreadable(400) };
    if callbacks.admit(&head, peer).is_err() {
        return;
    }
    let largest = callbacks.0.config().callback.max_body_bytes;
    if body.len() as u64 > largest {
        return callbacks.unreadable(413);
    }
    let mut room = callbacks.room();
    if room.take(body.len()).is_err() {
        return callbacks.unreadable(503);
    }
    callbacks.call(Request { head, body, peer }).await;
}

/// The request in a datagram. Its body ends with the datagram, unless its length is told.
fn read(datagram: &[u8]) -> Option<(RequestHead, Bytes)> {
    let text = as_http(datagram);
    let (head, length) = RequestHead::parse(&text, HeadLimits::default()).ok()??;
    let rest = &text[length..];
    let body = match head.framing {
        Framing::Empty => rest,
        Framing::Length(length) => rest.get(..usize::try_from(length).ok()?)?,
        Framing::Chunked | Framing::UntilClose => return None,
    };
    let body = Bytes::copy_from_slice(body);
    Some((head, body))
}

/// The same in the words of HTTP: a target with the scheme `httpu` is one of `http` here, and a request without
/// `Host` gets one, for nobody else can be meant.
fn as_http(datagram: &[u8]) -> BytesMut {
    let mut text = BytesMut::with_capacity(datagram.len() + 16);
    let line = datagram.iter().position(|b| *b == b'\n').map_or(datagram.len(), |end| end + 1);
    let (start, rest) = datagram.split_at(line);
    let scheme = b" httpu://";
    match start.windows(scheme.len()).position(|window| window.eq_ignore_ascii_case(scheme)) {
        Some(at) => {
            text.extend_from_slice(&start[..at]);
            text.extend_from_slice(b" http://");
            text.extend_from_slice(&start[at + scheme.len()..]);
        }
        None => text.extend_from_slice(start),
    }
    let has_host = rest.split(|b| *b == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    if !has_host.into_iter().any(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:")))
    {
        text.extend_from_slice(b"Host: localhost\r\n");
    }
    text.extend_from_slice(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_a_request() {
        for (datagram, path, body) in [
            ("NOTIFY httpu://10.0.0.9:8081/0a HTTP/1.1\r\nSubscription-id: 21\r\n\r\n", "/0a", ""),
            ("NOTIFY HTTPU://h/0a HTTP/1.1\r\nHost: h\r\n\r\nrest", "/0a", "rest"),
            ("NOTIFY /0a HTTP/1.1\r\nhost: h\r\nContent-Length: 2\r\n\r\nrest", "/0a", "re"),
        ] {
            let (head, content) = read(datagram.as_bytes()).expect(datagram);
            assert_eq!((head.path(), &content[..]), (path, body.as_bytes()), "{datagram}");
        }
        for datagram in [
            "",
            "hello",
            "NOTIFY /0a HTTP/1.1\r\nHost: h\r\n",
            "NOTIFY /0a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nrest",
            "NOTIFY /0a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert!(read(datagram.as_bytes()).is_none(), "{datagram}");
        }
    }
}
