//! The clients' connections: what a request is decides which way it goes.
//!
//! A poll is answered here, on the bare connection. Everything else is handed to pingora for the time of
//! one request; then the connection comes back, and its next request may be a poll again.
//!
//! A connection's task is as large as the largest thing it may ever wait for. Most of them hold a poll, so
//! all that is larger or rare has a box of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::poll::PollRequest;
use super::proxy::{Passage, Proxy};
use super::stream::ClientStream;
use super::{Gateway, poll, subscribe};
use crate::clock;
use crate::http1::{
    Connection, Framing, HeadError, HeadLimits, Headers, ReadHeadError, Reply, RequestHead, Response,
    ServeLimits, Times, Version, answer_to_bad_head, read_body, refuse,
};
use crate::mailbox::Outcome;

/// What a client may ask of us for a poll: its body means nothing, and is read only to be passed over.
const LIMITS: ServeLimits =
    ServeLimits { head: HeadLimits { bytes: 32 * 1024, fields: 100 }, body: 64 * 1024, times: Times::CLIENT };

/// How many idle connections to the upstream are kept.
const UPSTREAM_POOL: usize = 1024;

/// Serves clients.
pub struct Public {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    /// Pingora's own way of being told that it stops.
    stopping: watch::Sender<bool>,
    /// The latest number of a connection that shares none to the upstream with others.
    own_connections: AtomicU64,
}

impl Public {
    /// Serves clients of this gateway.
    pub fn new(gateway: Arc<Gateway>, threads: usize) -> Self {
        let conf =
            ServerConf { threads, upstream_keepalive_pool_size: UPSTREAM_POOL, ..ServerConf::default() };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), Proxy(gateway.clone())));
        Self { gateway, proxy, stopping: watch::Sender::new(false), own_connections: AtomicU64::new(0) }
    }

    /// From now on, a connection ends with the request that is on its way.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Serves one connection until either side is done with it.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let mut connection = Connection::new(stream);
        let times = LIMITS.times;
        let mut own_connection = None;
        loop {
            let head = match Box::pin(self.next_head(&mut connection)).await {
                Ok(None) => return,
                Ok(Some(head)) => head,
                Err(error) => {
                    if let Some(answer) = answer_to_bad_head(&error) {
                        Box::pin(refuse(connection, Version::Http11, answer, times)).await;
                    }
                    return;
                }
            };
            if !poll::is_poll(&head) {
                if own_connection.is_none() && needs_own_connection(&head) {
                    own_connection = Some(1 + self.own_connections.fetch_add(1, Relaxed));
                }
                match Box::pin(self.pass(connection, head, peer, own_connection)).await {
                    Some(kept) => connection = kept,
                    None => return,
                }
                continue;
            }
            let mut reply = Reply::to(&head);
            let request = match Box::pin(read_poll(&mut connection, head, peer)).await {
                Ok(request) => request,
                Err(answer) => return Box::pin(refuse(connection, reply.version, answer, times)).await,
            };
            let answer = match request {
                Err(response) => Some(poll::Answer::refused(&self.gateway, response)),
                Ok(request) => poll::answer(&self.gateway, &request, connection.closed()).await,
            };
            let Some(answer) = answer else { return };
            reply.keep_alive &= !self.gateway.stop.is_cancelled();
            match Box::pin(write_answer(&mut connection, answer, reply)).await {
                Ok(true) => {}
                Ok(false) => return Box::pin(connection.close()).await,
                Err(_) => return,
            }
        }
    }

    /// The next request's head; `None` if there is none, or none is wanted any more.
    async fn next_head(
        &self,
        connection: &mut Connection<TcpStream>,
    ) -> Result<Option<RequestHead>, ReadHeadError> {
        let times = LIMITS.times;
        let next = connection.read_request_head(LIMITS.head, times.idle, times.head);
        self.gateway.stop.run_until_cancelled(next).await.unwrap_or(Ok(None))
    }

    /// Hands the request to pingora. Returns the connection if it can carry another request.
    async fn pass(
        &self,
        connection: Connection<TcpStream>,
        head: RequestHead,
        peer: SocketAddr,
        own_connection: Option<u64>,
    ) -> Option<Connection<TcpStream>> {
        let version = head.version;
        let prepared = match with_one_authority(head) {
            Ok(head) => {
                let prepared = subscribe::prepare(&self.gateway, &head, peer.ip().to_canonical()).await;
                prepared.map(|prepared| (prepared, head))
            }
            Err(error) => Err(Response::text(400, error)),
        };
        let (prepared, head) = match prepared {
            Ok(prepared) => prepared,
            Err(answer) => {
                // Its body is not looked at: the connection ends with the answer.
                refuse(connection, version, answer, LIMITS.times).await;
                return None;
            }
        };
        let keep_alive = head.keep_alive() && !self.gateway.stop.is_cancelled();
        let stream = ClientStream::new(connection, prepared.head, head.framing, peer);
        drop(head);
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.set_keepalive(keep_alive.then_some(LIMITS.times.idle.as_secs()));
        session.set_connection_user_context(Some(Box::new(Passage::new(prepared.intent, own_connection))));
        let reusable = self.proxy.process_new_http(session, &self.stopping.subscribe()).await?;
        let (stream, _) = reusable.consume();
        stream.into_any().downcast::<ClientStream>().ok()?.into_connection()
    }
}

/// Reads what is left of a poll, and what it asks for. The outer error is the answer to what could not be
/// read to its end, the inner one to what was not understood.
async fn read_poll(
    connection: &mut Connection<TcpStream>,
    head: RequestHead,
    peer: SocketAddr,
) -> Result<Result<PollRequest, Response>, Response> {
    read_body(connection, &head, LIMITS).await?;
    Ok(poll::read(&head, peer.ip().to_canonical()))
}

/// Writes the answer to a poll, and tells its mailboxes what became of it. Whether the connection can carry
/// another request.
async fn write_answer(
    connection: &mut Connection<TcpStream>,
    answer: poll::Answer,
    reply: Reply,
) -> std::io::Result<bool> {
    let times = LIMITS.times;
    match answer {
        poll::Answer::Whole(response, receipt) => {
            let written = connection.answer(&response, reply, times).await;
            if let Some(receipt) = receipt {
                receipt.settle(outcome(&written)).await;
            }
            written?;
            Ok(reply.keep_alive)
        }
        poll::Answer::Stream(response, events) => {
            let head = response.stream_head(reply.version, reply.keep_alive, clock::wall());
            stream(connection, head, *events, reply.version, times).await?;
            Ok(reply.keep_alive && reply.version == Version::Http11)
        }
    }
}

/// Whether what comes after this request could be taken for a part of it, or the other way round, on a
/// connection to the upstream that clients share: from now on this client has one for itself.
///
/// NTLM and Negotiate authenticate the connection and not the request. A body where none is expected, or
/// one that is awaited with `Expect`, may be read as the next request by a server that does not know better.
fn needs_own_connection(head: &RequestHead) -> bool {
    let authenticates_connection = head.fields.values("authorization").any(|value| {
        let scheme = value.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    });
    let unexpected_body = head.framing != Framing::Empty && matches!(head.method.as_str(), "GET" | "HEAD");
    authenticates_connection || unexpected_body || head.fields.contains("expect")
}

/// The head, with the authority of an absolute-form target in the place of a `Host` that says otherwise
/// (RFC 9112 §3.2.2).
fn with_one_authority(head: RequestHead) -> Result<RequestHead, HeadError> {
    if head.fields.text("host").unwrap_or_default() == head.authority() {
        return Ok(head);
    }
    let parsed = RequestHead::parse(&head.with_field("Host", head.authority()), LIMITS.head)?;
    Ok(parsed.map_or(head, |(head, _)| head))
}

fn outcome(written: &std::io::Result<()>) -> Outcome {
    if written.is_ok() { Outcome::Written } else { Outcome::Broken }
}

/// Writes a stream of events, piece by piece.
async fn stream(
    connection: &mut Connection<TcpStream>,
    head: Bytes,
    mut events: poll::Events,
    version: Version,
    times: Times,
) -> std::io::Result<()> {
    let mut head = Some(head);
    let chunked = version == Version::Http11;
    while let Some((piece, receipt)) = events.next(connection.closed()).await {
        let mut start = head.take().unwrap_or_default().to_vec();
        if chunked {
            start.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        let piece = if chunked { [&piece[..], b"\r\n"].concat().into() } else { piece };
        let written = connection.write_within(start.into(), piece, times).await;
        if let Some(receipt) = receipt {
            receipt.settle(outcome(&written)).await;
        }
        if let Err(error) = written {
            events.broken().await;
            return Err(error);
        }
    }
    if chunked {
        connection.write_within(Bytes::from_static(b"0\r\n\r\n"), Bytes::new(), times).await?;
    }
    Ok(())
}
