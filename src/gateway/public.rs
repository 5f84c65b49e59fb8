//! The clients' connections: what a request is decides which way it goes.
//!
//! A poll is answered here. Everything else is passed on to an upstream, one request at a time: the next one on
//! the same connection may be a poll again.
//!
//! A connection's task is as large as the largest thing it may ever wait for. Most of them hold a poll, so
//! all that is larger or rare has a box of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access::Visitor;
use super::doors::{Bounds, Doors, Full, Guest};
use super::pace::TooFast;
use super::poll::PollRequest;
use super::stop::StoreUse;
use super::tether::{Tether, needs_own_connection};
use super::{Gateway, descriptors, forwarded, onward, poll, serve_limits, tls, whole_seconds};
use crate::clock;
use crate::http1::{
    Connection, Framing, ReadHeadError, Reply, RequestHead, Response, ServeLimits, Times, Version,
    answer_to_bad_head, pass_over_body,
};
use crate::mailbox::Outcome;
use crate::tls::Stream;

/// The largest body of a poll: it means nothing, and is read only to be passed over.
const POLL_BODY: usize = 64 * 1024;

/// After how many seconds a client may try again that was not let in.
const RETRY_AFTER: u64 = 10;

/// A client's connection, and what belongs to it.
struct Line {
    /// None once it has ended.
    connection: Option<Connection<Stream>>,
    peer: SocketAddr,
    /// Its share of the gateway.
    guest: Guest,
    /// Set when the gateway stops.
    stop: CancellationToken,
    /// What its connection to the upstream is tied to, if it shares none with others.
    tether: Option<Arc<Tether>>,
    /// The messages of the last answer, until the next request shows that the client had it.
    last_answer: Option<poll::Receipt>,
}

impl Line {
    fn client(&mut self) -> Option<poll::Client<'_, Stream>> {
        let Self { connection, guest, stop, .. } = self;
        Some(poll::Client { connection: connection.as_mut()?, stop, guest })
    }

    /// The client reset the connection: what it had not read by then it will not read. Which part of the last
    /// answer that is nobody can tell, so that it counts as broken.
    fn was_reset(&mut self) {
        if let Some(mut answer) = self.last_answer.take() {
            answer.settle(Outcome::Broken);
        }
    }
}

/// Serves clients.
pub struct Public {
    gateway: Arc<Gateway>,
    /// The latest number of a connection that shares none to the upstream with others.
    own_connections: AtomicU64,
    doors: Arc<Doors>,
    /// For how many clients there are file descriptors.
    descriptors: u64,
}

impl Public {
    /// Serves clients of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let descriptors = descriptors::for_clients();
        gateway.metrics.descriptors_are_for(descriptors);
        Self { gateway, own_connections: AtomicU64::new(0), doors: Arc::default(), descriptors }
    }

    /// Serves one connection until either side is done with it.
    pub fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send {
        // Not within the future, which would have a place for what it was given beside what it makes of it.
        let line = match self.enter(peer) {
            Ok(guest) => Some(self.line(Stream::Plain(stream), peer, guest)),
            Err(full) => {
                self.turn_away(&stream, full);
                None
            }
        };
        self.serve_line(line)
    }

    /// The same within TLS. What it costs to shake hands is asked of the doors first.
    pub fn serve_tls(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send {
        let entered = self.enter(peer);
        async move {
            let guest = match entered {
                Ok(guest) => guest,
                Err(full) => {
                    self.gateway.metrics.connection_refused(full.name());
                    let _ = stream.try_write(&tls::NO_ROOM);
                    return;
                }
            };
            let connected = self.gateway.metrics.connected();
            let stream = Box::pin(tls::shake_hands(&self.gateway, stream)).await;
            drop(connected);
            let Some(stream) = stream else { return };
            let line = self.line(stream, peer, guest);
            Box::pin(self.serve_line(Some(line))).await;
        }
    }

    /// A share of the gateway for a connection from there, or why there is none.
    fn enter(&self, peer: SocketAddr) -> Result<Guest, Full> {
        let mut bounds = bounds(&self.gateway);
        bounds.descriptors = self.descriptors;
        if forwarded::is_trusted(&self.gateway.config().limits.trusted_proxies, peer.ip().to_canonical()) {
            // They are the connections of all whom it speaks for.
            bounds.connections_per_address = u64::MAX;
        }
        let guest = self.doors.enter(peer.ip(), bounds)?;
        self.gateway.metrics.connection_opened();
        Ok(guest)
    }

    fn line(&self, stream: Stream, peer: SocketAddr, guest: Guest) -> Line {
        Line {
            connection: Some(Connection::new(stream)),
            peer,
            guest,
            // Of its own: to wait for the one that all share, each would queue at its lock.
            stop: self.gateway.stop.clients.child_token(),
            tether: None,
            last_answer: None,
        }
    }

    /// Serves a client that was let in.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps a place for what it was given, too")]
    fn serve_line(self: Arc<Self>, mut line: Option<Line>) -> impl Future<Output = ()> + Send {
        async move {
            let Some(line) = &mut line else { return };
            let _connected = self.gateway.metrics.connected();
            while let Some((request, visitor, reply)) = self.next_poll(line).await {
                let at_store = self.gateway.stop.use_store();
                let answer = match &at_store {
                    Some(_) => {
                        let Some(client) = line.client() else { return };
                        poll::answer(&self.gateway, &request, &visitor, client).await
                    }
                    None => Some(poll::come_again(&self.gateway, &request)),
                };
                let Some(answer) = answer else { return };
                let answer = answer.map(|response| self.gateway.access().sign(&visitor, response));
                if !self.write_answer(answer, at_store, reply, line).await {
                    return;
                }
            }
        }
    }

    /// The next poll, who sends it, and how it wants its answer. What is not a poll is passed on meanwhile,
    /// and what is not understood is answered. None if there is no next.
    async fn next_poll(&self, line: &mut Line) -> Option<(PollRequest, Visitor, Reply)> {
        loop {
            let connection = line.connection.as_mut()?;
            let head = match self.next_head(connection, &line.stop).await {
                Ok(Some(head)) => head,
                Ok(None) => {
                    Box::pin(part(line.connection.take()?)).await;
                    return None;
                }
                Err(error) => {
                    if matches!(&error, ReadHeadError::Io(error) if is_reset(error)) {
                        line.was_reset();
                    } else if let Some(answer) = answer_to_bad_head(&error) {
                        Box::pin(self.refuse(line.connection.take()?, Version::Http11, answer)).await;
                    }
                    return None;
                }
            };
            line.last_answer = None;
            let client = forwarded::client(&head, line.peer.ip().to_canonical(), &self.gateway.config());
            line.guest.speak_for(client);
            if let Err(too_fast) = line.guest.ask(bounds(&self.gateway)) {
                if !Box::pin(self.slow_down(&head, too_fast, line)).await {
                    return None;
                }
                continue;
            }
            if poll::is_poll(&head) {
                let reply = Reply::to(&head);
                if head.framing != Framing::Empty
                    && let Err(answer) = Box::pin(self.pass_over_body(connection, &head)).await
                {
                    Box::pin(self.refuse(line.connection.take()?, reply.version, answer)).await;
                    return None;
                }
                match self.read_poll(&head, client) {
                    Ok((request, visitor)) => return Some((request, visitor, reply)),
                    Err(response) => {
                        let answer = poll::Answer::refused(&self.gateway, response);
                        if !Box::pin(self.write_answer(answer, None, reply, line)).await {
                            return None;
                        }
                        continue;
                    }
                }
            }
            if needs_own_connection(&head) {
                self.separate(line);
            }
            let (connection, tether) = (line.connection.take()?, line.tether.clone());
            let room = self.gateway.client_room(line.guest.bodies());
            let passed = onward::pass(&self.gateway, connection, head, line.peer, client, tether, room);
            let passed = Box::pin(passed).await;
            line.connection = passed.connection;
            if passed.challenged {
                self.separate(line);
            }
        }
    }

    /// From now on this client shares no connection to the upstream with others.
    fn separate(&self, line: &mut Line) {
        line.tether.get_or_insert_with(|| {
            Tether::new(self.own_connections.fetch_add(1, Relaxed), self.gateway.lines.clone())
        });
        // Its own, and the one to the upstream.
        line.guest.takes_descriptors(2);
    }

    /// What a poll asks for, and who asks. Who it is comes first: nothing is said to whom is not let in.
    fn read_poll(&self, head: &RequestHead, client: IpAddr) -> Result<(PollRequest, Visitor), Response> {
        // What is not supported is refused to all alike.
        let visitor = match self.gateway.config().polling.poll_support {
            true => self.gateway.access().admit(head, client, &self.gateway.metrics)?,
            false => Visitor::default(),
        };
        let request =
            poll::read(head, client).map_err(|answer| self.gateway.access().sign(&visitor, answer))?;
        Ok((request, visitor))
    }

    /// The body of a poll means nothing.
    async fn pass_over_body(
        &self,
        connection: &mut Connection<Stream>,
        head: &RequestHead,
    ) -> Result<(), Response> {
        pass_over_body(connection, head, limits(&self.gateway)).await
    }

    /// The next request's head; none if there is none, or none is wanted any more.
    async fn next_head(
        &self,
        connection: &mut Connection<Stream>,
        stop: &CancellationToken,
    ) -> Result<Option<RequestHead>, ReadHeadError> {
        let ServeLimits { head, times, .. } = limits(&self.gateway);
        connection.next_request_head(head, times, stop).await
    }

    /// Writes the answer to a poll, and tells its mailboxes what became of it. Whether the connection can
    /// carry another request.
    async fn write_answer(
        &self,
        answer: poll::Answer,
        at_store: Option<StoreUse>,
        mut reply: Reply,
        line: &mut Line,
    ) -> bool {
        reply.keep_alive &= !line.stop.is_cancelled();
        let times = limits(&self.gateway).times;
        let Some(connection) = line.connection.as_mut() else { return false };
        let written = match answer {
            poll::Answer::Whole(response, receipt) => {
                let written = connection.answer(&response, reply, times).await;
                line.last_answer = receipt;
                if let Some(answer) = &mut line.last_answer {
                    answer.settle(outcome(&written));
                }
                written
            }
            poll::Answer::Stream(response, events) => {
                let head = response.stream_head(reply.version, reply.keep_alive, clock::wall());
                // Without chunks the stream ends where the connection does.
                reply.keep_alive &= reply.version == Version::Http11;
                let Some(client) = line.client() else { return false };
                Box::pin(write_events(client, head, *events, reply.version, times)).await
            }
        };
        // To part with the client takes its time.
        drop(at_store);
        if written.is_ok()
            && !reply.keep_alive
            && let Some(connection) = line.connection.take()
            && Box::pin(connection.close()).await.is_err_and(|error| is_reset(&error))
        {
            line.was_reset();
        }
        written.is_ok() && reply.keep_alive
    }

    /// Answers a client that asks too fast. Whether the connection can carry another request: one that has a body
    /// is not read to its end.
    async fn slow_down(&self, head: &RequestHead, TooFast(wait): TooFast, line: &mut Line) -> bool {
        let answer = Response::text(429, "too many requests from this address")
            .with("Retry-After", whole_seconds(wait));
        let Some(mut connection) = line.connection.take() else { return false };
        let reply = Reply::to(head);
        if head.framing != Framing::Empty || !reply.keep_alive || line.stop.is_cancelled() {
            self.refuse(connection, reply.version, answer).await;
            return false;
        }
        self.gateway.metrics.request_refused(answer.status);
        let written = connection.answer(&answer, reply, limits(&self.gateway).times).await;
        line.connection = Some(connection);
        written.is_ok()
    }

    /// Answers what was not read to its end, and closes.
    async fn refuse(&self, connection: Connection<Stream>, version: Version, answer: Response) {
        onward::refuse(&self.gateway, connection, version, answer).await;
    }

    /// Says why, as far as that can be said without waiting, and closes.
    fn turn_away(&self, stream: &TcpStream, full: Full) {
        self.gateway.metrics.connection_refused(full.name());
        let status = match full {
            Full::House => 503,
            Full::Address => 429,
        };
        let answer = Response::text(status, full).with("Retry-After", RETRY_AFTER);
        let _ = stream.try_write(&answer.last_words(clock::wall()));
    }
}

/// Ends an idle connection. Within TLS that is said before it is done (RFC 8446 §6.1).
async fn part(mut connection: Connection<Stream>) {
    const LAST_WORD: Duration = Duration::from_secs(1);
    if connection.stream().is_tls() {
        // Who is gone already need not be told.
        let _ = timeout(LAST_WORD, connection.stream_mut().shutdown()).await;
    }
}

/// What the running configuration lets a client ask.
fn limits(gateway: &Gateway) -> ServeLimits {
    serve_limits(&gateway.config().limits, POLL_BODY)
}

fn bounds(gateway: &Gateway) -> Bounds {
    Bounds::from(&gateway.config().limits)
}

fn is_reset(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionReset
}

fn outcome(written: &std::io::Result<()>) -> Outcome {
    if written.is_ok() { Outcome::Written } else { Outcome::Broken }
}

/// Writes a stream of events, piece by piece.
async fn write_events(
    client: poll::Client<'_, Stream>,
    head: Bytes,
    mut events: poll::Events,
    version: Version,
    times: Times,
) -> std::io::Result<()> {
    let poll::Client { connection, stop, guest } = client;
    let mut head = Some(head);
    let chunked = version == Version::Http11;
    while let Some((piece, receipt)) = events.next(poll::Client { connection, stop, guest }).await {
        let mut start = head.take().unwrap_or_default().to_vec();
        if chunked {
            start.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        let piece = if chunked { [&piece[..], b"\r\n"].concat().into() } else { piece };
        let written = connection.write_within(Bytes::from(start), piece, times).await;
        if let Some(mut receipt) = receipt {
            receipt.settle(outcome(&written));
        }
        if let Err(error) = written {
            events.broken();
            return Err(error);
        }
    }
    if chunked {
        connection.write_within(Bytes::from_static(b"0\r\n\r\n"), Bytes::new(), times).await?;
    }
    Ok(())
}
