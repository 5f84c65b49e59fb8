//! Request in, answer out, for as long as the connection lasts.

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{
    Allowance, BodyError, Connection, Framing, HeadError, HeadLimits, Headers, Pieces, ReadHeadError,
    RequestHead, Response, Version,
};
use crate::clock;

/// After how many seconds a request may be tried again for whose body there was no room.
const RETRY_AFTER: u64 = 10;

/// How long a new connection's first request is waited for when the server stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long the next request on a connection that is kept is waited for then: it may be on its way already.
pub const NEXT_REQUEST: Duration = Duration::from_millis(50);

/// A whole request.
#[derive(Debug)]
pub struct Request {
    /// Its head.
    pub head: RequestHead,
    /// Its body, without transfer coding.
    pub body: Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
}

/// What answers requests.
pub trait Service: Send + Sync {
    /// Looks at the head alone, before any body is read: an answer here spares reading it.
    fn admit(&self, _head: &RequestHead, _peer: SocketAddr) -> Result<(), Response> {
        Ok(())
    }

    /// A request could not be read, and was answered with this status.
    fn unreadable(&self, _status: u16) {}

    /// What the body of a request takes its memory from.
    fn room(&self) -> Allowance {
        Allowance::unlimited()
    }

    /// An answer that goes on, if that is what the request wants and may have; all others are called for.
    fn stream(&self, _request: &Request) -> Option<(Response, Box<dyn Pieces>)> {
        None
    }

    /// Answers a request.
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// How long to wait for a peer.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the next request on a connection.
    pub idle: Duration,
    /// For the whole head, once it has begun.
    pub head: Duration,
    /// For the whole body; for each piece of one that is passed on.
    pub body: Duration,
    /// For the peer to take the answer, beside a millisecond for each of its bytes: a modem's pace is
    /// patience enough.
    pub write: Duration,
}

impl Times {
    /// For peers on the other side of the Internet: patient with a slow line, not with a slow attacker.
    pub const CLIENT: Times = Times {
        idle: Duration::from_secs(75),
        head: Duration::from_secs(15),
        body: Duration::from_secs(30),
        write: Duration::from_secs(30),
    };
}

/// What a connection may ask of us.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Its heads.
    pub head: HeadLimits,
    /// Bytes of a body.
    pub body: usize,
    /// Its time.
    pub times: Times,
}

/// How a request wants its answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// In which version.
    pub version: Version,
    /// Whether the connection is kept for a next request.
    pub keep_alive: bool,
    /// Whether the content is left out, as `HEAD` asks.
    pub head_only: bool,
}

impl Reply {
    /// How this request wants it.
    pub fn to(head: &RequestHead) -> Self {
        Self { version: head.version, keep_alive: head.keep_alive(), head_only: head.method() == "HEAD" }
    }
}

/// Serves one connection until either side is done with it. `limits` is asked before each request.
pub async fn serve<S, V>(
    mut connection: Connection<S>,
    peer: SocketAddr,
    service: &V,
    limits: impl Fn() -> ServeLimits,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    V: Service,
{
    loop {
        let limits = limits();
        let times = limits.times;
        let head = match connection.next_request_head(limits.head, times, &stop).await {
            Ok(None) => return,
            Ok(Some(head)) => head,
            Err(error) => {
                if let Some(answer) = answer_to_bad_head(&error) {
                    service.unreadable(answer.status);
                    refuse(connection, Version::Http11, answer, times).await;
                }
                return;
            }
        };
        let version = head.version;
        if let Err(answer) = service.admit(&head, peer) {
            return refuse(connection, version, answer, times).await;
        }
        let mut reply = Reply::to(&head);
        let mut room = service.room();
        let body = match read_body(&mut connection, &head, limits, &mut room).await {
            Ok(body) => body,
            Err(answer) => {
                service.unreadable(answer.status);
                return refuse(connection, version, answer, times).await;
            }
        };
        let request = Request { head, body, peer };
        if let Some((answer, pieces)) = service.stream(&request) {
            drop(room);
            let streamed = connection.answer_in_pieces(&answer, pieces, version, times, &stop);
            // In a box: few are ever streamed, and each connection has room for the largest it may wait for.
            if Box::pin(streamed).await.is_ok() {
                drop(connection.close().await);
            }
            return;
        }
        let answer = service.call(request).await;
        drop(room);
        reply.keep_alive &= !stop.is_cancelled();
        if connection.answer(&answer, reply, times).await.is_err() {
            return;
        }
        if !reply.keep_alive {
            return drop(connection.close().await);
        }
    }
}

/// Reads the body of a request that was admitted; what is wrong with it comes as an answer.
pub async fn read_body<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    head: &RequestHead,
    limits: ServeLimits,
    room: &mut Allowance,
) -> Result<Bytes, Response> {
    if head.framing == Framing::Empty {
        return Ok(Bytes::new());
    }
    let read = async {
        ask_for_body(connection, head, limits).await?;
        connection.read_body(head.framing, limits.body, limits.times.body, room).await
    };
    read.await.map_err(|error| answer_to_bad_body(&error))
}

/// Reads over the body of a request that means nothing: no more than a piece of it is in memory at a time. What is
/// wrong with it comes as an answer.
pub async fn pass_over_body<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    head: &RequestHead,
    limits: ServeLimits,
) -> Result<(), Response> {
    let read = async {
        ask_for_body(connection, head, limits).await?;
        connection.pass_over_body(head.framing, limits.body, limits.times.body).await
    };
    read.await.map_err(|error| answer_to_bad_body(&error))
}

/// Lets the client send its body, if it waits for that.
async fn ask_for_body<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    head: &RequestHead,
    limits: ServeLimits,
) -> Result<(), BodyError> {
    if matches!(head.framing, Framing::Length(n) if n > limits.body as u64) {
        return Err(BodyError::TooLarge);
    }
    if head.version == Version::Http11 && head.fields.list("expect").any(is_100_continue) {
        let go_on = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.write(go_on, Bytes::new(), limits.times.write).await?;
    }
    Ok(())
}

/// What a client is told whose body could not be read.
pub fn answer_to_bad_body(error: &BodyError) -> Response {
    let status = match error {
        BodyError::TooLarge => 413,
        BodyError::TimedOut => 408,
        BodyError::NoMemory(_) => return Response::text(503, error).with("Retry-After", RETRY_AFTER),
        BodyError::Chunk | BodyError::Closed | BodyError::Io(_) => 400,
    };
    Response::text(status, error)
}

fn is_100_continue(expectation: &str) -> bool {
    expectation.eq_ignore_ascii_case("100-continue")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The next request's head; none when the peer is done, or the server stops.
    ///
    /// What has come already is read before it stops; whoever connected a moment ago has its first request on the
    /// way, and whoever keeps a connection may have the next one. To close on them would be a reset in the place of an
    /// answer.
    pub async fn next_request_head(
        &mut self,
        limits: HeadLimits,
        times: Times,
        stop: &CancellationToken,
    ) -> Result<Option<RequestHead>, ReadHeadError> {
        tokio::select! {
            biased;
            read = self.read_request_head(limits, times.idle, times.head) => return read,
            () = stop.cancelled() => {}
        }
        let within = if self.was_asked() { NEXT_REQUEST } else { FIRST_REQUEST };
        let last = self.read_request_head(limits, within, FIRST_REQUEST);
        Box::pin(last).await
    }

    /// Writes an answer, within the time that a peer has to take it.
    pub async fn answer(&mut self, answer: &Response, reply: Reply, times: Times) -> io::Result<()> {
        let (head, body) = answer.pieces(reply, clock::wall());
        self.write_within(Cursor::new(head), body, times).await
    }

    /// Writes all of it, in this order, within the time that a peer has to take it.
    pub async fn write_within(&mut self, head: impl Buf, body: Bytes, times: Times) -> io::Result<()> {
        let within = times.write + Duration::from_millis((head.remaining() + body.len()) as u64);
        self.write(head, body, within).await
    }
}

/// What a client is told whose head could not be read; nothing if it is gone.
pub fn answer_to_bad_head(error: &ReadHeadError) -> Option<Response> {
    let status = match error {
        ReadHeadError::Head(HeadError::TooLarge) => 431,
        ReadHeadError::Head(HeadError::TargetTooLong) => 414,
        ReadHeadError::Head(HeadError::Version) => 505,
        ReadHeadError::Head(_) => 400,
        ReadHeadError::TimedOut => 408,
        ReadHeadError::Closed | ReadHeadError::Io(_) => return None,
    };
    Some(Response::text(status, error))
}

/// Answers a request that was not read to its end, and closes: what follows cannot be told from it.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<S>,
    version: Version,
    answer: Response,
    times: Times,
) {
    let reply = Reply { version, keep_alive: false, head_only: false };
    if connection.answer(&answer, reply, times).await.is_ok() {
        drop(connection.close().await);
    }
}

#[cfg(test)]
mod tests;
