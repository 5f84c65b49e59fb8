//! What is not answered here, on its way to an upstream.
//!
//! Each is one request, for one host, whose bytes were checked before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::passage::{Asker, Passage, WayIn};
use super::proxy::{Exchange, Passed, Request};
use super::subscribe::Intent;
use super::tether::Tether;
use super::{Gateway, Upstream, description, forwarded, hop, serve_limits, subscribe};
use crate::config::Asked;
use crate::dialect::Dialect;
use crate::http1::{
    self, Allowance, BodyError, Connection, Framing, HeadError, HeadLimits, Headers, RequestHead, Response,
    ServeLimits, Version, read_body,
};
use crate::tls::Stream;

/// A body that is no longer is read before the upstream hears of the request, which has few connections to lose to
/// clients that send a byte now and then. A longer one is passed on as it comes.
const SHORT: u64 = 16 * 1024;

/// After how many seconds a subscription may be asked for again that came while the store changed hands.
const RETRY_SOON: u64 = 1;

/// Passes a request on, and its answer back.
pub(super) async fn pass(
    gateway: &Arc<Gateway>,
    mut connection: Connection<Stream>,
    head: RequestHead,
    peer: SocketAddr,
    client: IpAddr,
    tether: Option<Arc<Tether>>,
    room: Allowance,
) -> Passed {
    let version = head.version;
    let way_in = WayIn {
        scheme: if connection.stream().is_tls() { "https" } else { "http" },
        // Asked for only where it counts: that is a call to the system.
        port: match gateway.upstreams().by_port() {
            true => connection.stream().local_port().unwrap_or_default(),
            false => 0,
        },
    };
    let asker = Asker { client, way_in, tether, origin: None };
    match prepare(gateway, &mut connection, head, peer, asker, room).await {
        Ok((request, passage)) => {
            Exchange::new(connection, request, passage, limits(gateway).times).run().await
        }
        Err(answer) => {
            // Its body is not looked at: the connection ends with the answer.
            refuse(gateway, connection, version, answer).await;
            Passed { connection: None, challenged: false }
        }
    }
}

/// The request as it goes on, and what it means; or why it does not.
async fn prepare(
    gateway: &Arc<Gateway>,
    connection: &mut Connection<Stream>,
    head: RequestHead,
    peer: SocketAddr,
    asker: Asker,
    mut room: Allowance,
) -> Result<(Request, Passage), Response> {
    let most = gateway.config().limits.body_bytes;
    let way_in = asker.way_in;
    let keep_alive = head.keep_alive();
    let head = hop::received(head).map_err(refusal)?;
    let head = with_one_authority(head, limits(gateway).head).map_err(refusal)?;
    let (head, upstream) = route(gateway, head, peer, &way_in).map_err(refusal)?;
    if matches!(head.framing, Framing::Length(length) if length > most) {
        return Err(Response::text(413, BodyError::TooLarge));
    }
    let Some(upstream) = upstream else {
        return Err(Response::text(421, "no server behind this gateway is for this host, path and port"));
    };
    let config = &upstream.config;
    let dialect = Dialect::of_request(config.dialect, config.rules.as_ref(), &head);
    let ahead = read_ahead(gateway, connection, &dialect, &head, &mut room).await?;
    let (content, scheme) = (ahead.content(), way_in.scheme);
    let at_store = gateway.stop.use_store();
    let prepared = subscribe::prepare(gateway, config, dialect, &head, content, asker.client, scheme).await?;
    let origin = match config.rewrite_descriptions {
        true => description::origin(scheme, head.authority()),
        false => None,
    };
    let touches_store = !matches!(prepared.intent, Intent::Pass);
    let mut passage = Passage::new(gateway, upstream, Asker { origin, ..asker }, prepared.intent);
    if touches_store {
        let Some(at_store) = at_store else {
            passage.give_up().await;
            return Err(Response::text(503, "the next process takes over").with("Retry-After", RETRY_SOON));
        };
        passage.uses_store(at_store);
    }
    let framing = if matches!(ahead, Ahead::Nothing) { head.framing } else { Framing::Empty };
    let mut content = prepared.bytes;
    let Ok(Some((head, length))) = RequestHead::parse(&content, HeadLimits::ANY) else {
        passage.give_up().await;
        return Err(refusal(HeadError::TooLarge));
    };
    content.advance(length);
    if let Ahead::Body(body) = ahead {
        content = body;
    }
    Ok((Request { head, keep_alive, content, framing, most, room }, passage))
}

/// What a client is told whose head cannot go on: what was added found no room.
fn refusal(error: HeadError) -> Response {
    Response::text(if error == HeadError::TooLarge { 431 } else { 400 }, error)
}

/// The head as it goes on, and the upstream that it is for, if there is one.
fn route(
    gateway: &Gateway,
    head: RequestHead,
    peer: SocketAddr,
    way_in: &WayIn,
) -> Result<(RequestHead, Option<Arc<Upstream>>), HeadError> {
    let asked = Asked { authority: head.authority(), path: head.path(), port: way_in.port };
    let Some(upstream) = gateway.upstreams().choose(&asked).cloned() else {
        return Ok((head, None));
    };
    let config = gateway.config();
    let (by, trusted) = (upstream.config.forwarded, &config.limits.trusted_proxies);
    let head = forwarded::announce(head, peer.ip().to_canonical(), by, trusted, limits(gateway).head)?;
    Ok((head, Some(upstream)))
}

/// What of the body is read before the upstream hears of the request.
async fn read_ahead(
    gateway: &Gateway,
    connection: &mut Connection<Stream>,
    dialect: &Dialect,
    head: &RequestHead,
    room: &mut Allowance,
) -> Result<Ahead, Response> {
    let is_read = |most| ServeLimits { body: most, ..limits(gateway) };
    if gateway.config().polling.poll_support
        && let Some(most) = dialect.reads_content(head)
    {
        return Box::pin(read_body(connection, head, is_read(most), room)).await.map(Ahead::Content);
    }
    match head.framing {
        // Who waits to be told to go on is told by the upstream.
        Framing::Length(1..=SHORT) if !head.fields.contains("expect") => {
            Box::pin(read_body(connection, head, is_read(SHORT as usize), room)).await.map(Ahead::Body)
        }
        _ => Ok(Ahead::Nothing),
    }
}

/// What of a body was read ahead.
enum Ahead {
    /// Nothing of it.
    Nothing,
    /// All of it, without its transfer coding: the request cannot be understood without it, and is written anew.
    Content(Bytes),
    /// All of it, as it came.
    Body(Bytes),
}

impl Ahead {
    fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Content(content) => Some(content),
            Self::Nothing | Self::Body(_) => None,
        }
    }
}

/// The head, with the authority of an absolute-form target in the place of a `Host` that says otherwise
/// (RFC 9112 §3.2.2).
fn with_one_authority(head: RequestHead, limits: HeadLimits) -> Result<RequestHead, HeadError> {
    if head.fields.text("host").unwrap_or_default() == head.authority() {
        return Ok(head);
    }
    let parsed = RequestHead::parse(&head.with_field("Host", head.authority()), limits)?;
    Ok(parsed.map_or(head, |(head, _)| head))
}

/// Answers what was not read to its end, and closes.
pub(super) async fn refuse(
    gateway: &Gateway,
    connection: Connection<Stream>,
    version: Version,
    answer: Response,
) {
    gateway.metrics.request_refused(answer.status);
    http1::refuse(connection, version, answer, limits(gateway).times).await;
}

/// What the running configuration lets a client ask. What passes has a bound of its own for its body.
fn limits(gateway: &Gateway) -> ServeLimits {
    serve_limits(&gateway.config().limits, 0)
}
