//! A client's connection as pingora sees it: one request at a time.
//!
//! The head of the request was read and checked before; pingora is given its bytes again, then the body
//! and no byte more. What the client sends after that stays in the [`Connection`] for the next request,
//! which may be a poll and none of pingora's business.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::{Allowance, Connection, Framing, Remaining};
use crate::tls::Stream;

/// Pingora writes an answer in pieces and says when to send them; so much is collected at most.
const WRITE_BUFFER: usize = 16 * 1024;

/// Pingora holds so much of a body at most: what it may have to send again, and as much that it just read.
const HELD: u64 = 128 * 1024;

/// A client's connection for the time of one request.
#[derive(Debug)]
pub struct ClientStream {
    connection: Connection<Stream>,
    /// What is left of the head.
    head: Bytes,
    body: Remaining,
    /// How many more bytes of a chunked body are taken.
    left: u64,
    /// What is held of the body.
    room: Allowance,
    /// Written, but not yet sent.
    output: BytesMut,
    digest: Arc<SocketDigest>,
}

/// The body of a request that is passed on.
#[derive(Debug)]
pub struct Passing {
    /// Where it ends.
    pub framing: Framing,
    /// How many bytes of it are passed on, chunk heads and all.
    pub most: u64,
    /// What it takes its memory from.
    pub room: Allowance,
}

impl ClientStream {
    /// A request with these bytes as its head, whose body is still on the connection.
    ///
    /// A body in chunks of more than so many bytes, chunk heads and all, fails as too large; that one of a
    /// known length is not larger was seen before.
    pub fn new(connection: Connection<Stream>, head: Bytes, body: Passing, peer: SocketAddr) -> Self {
        let Passing { framing, most, room } = body;
        let digest = SocketDigest::from_raw_fd(connection.stream().as_raw_fd());
        // A cell that was just made is empty.
        let _ = digest.peer_addr.set(Some(peer.into()));
        let body = Remaining::of(framing);
        let (output, digest) = (BytesMut::new(), Arc::new(digest));
        Self { connection, head, body, left: most, room, output, digest }
    }

    /// The connection, if it is in a state in which another request can follow.
    pub fn into_connection(self) -> Option<Connection<Stream>> {
        let done = self.head.is_empty() && self.body.is_done() && self.output.is_empty();
        done.then_some(self.connection)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.head.is_empty() {
            let length = this.head.len().min(buf.remaining());
            buf.put_slice(&this.head[..length]);
            this.head.advance(length);
            return Poll::Ready(Ok(()));
        }
        if this.body.is_done() {
            // Whoever reads on waits for the client to go away.
            return this.connection.poll_closed(cx).map(Ok);
        }
        if this.connection.input_mut().is_empty() && ready!(this.connection.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let input = this.connection.input_mut();
        let length = this
            .body
            .take(&input[..input.len().min(buf.remaining())])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        this.left = this.left.checked_sub(length as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        this.room.take_within(HELD, length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        buf.put_slice(&input[..length]);
        this.connection.consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.output.len() + data.len() > WRITE_BUFFER {
            ready!(self.as_mut().poll_send(cx))?;
        }
        if data.len() >= WRITE_BUFFER {
            return Pin::new(self.connection.stream_mut()).poll_write(cx, data);
        }
        self.output.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_send(cx))?;
        Pin::new(self.connection.stream_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_send(cx))?;
        Pin::new(self.connection.stream_mut()).poll_shutdown(cx)
    }
}

impl ClientStream {
    /// Sends what was written.
    fn poll_send(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.output.is_empty() {
            let sent = ready!(Pin::new(this.connection.stream_mut()).poll_write(cx, &this.output))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.output.advance(sent);
        }
        this.output = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.connection.stream().as_raw_fd()
    }
}

impl Ssl for ClientStream {}

impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
