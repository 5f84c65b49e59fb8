//! Requests that are not answered here, on their way to an upstream.
//!
//! Each is one request, for one host, whose bytes were checked before: pingora is given these very bytes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use super::passage::{Passage, WayIn};
use super::proxy::Proxy;
use super::stream::{ClientStream, Passing};
use super::subscribe::Prepared;
use super::{Gateway, Upstream, description, forwarded, serve_limits, subscribe};
use crate::config::Asked;
use crate::dialect::Dialect;
use crate::http1::{
    self, Allowance, BodyError, Connection, Framing, HeadError, HeadLimits, Headers, RequestHead, Response,
    ServeLimits, Version, read_body,
};
use crate::tls::Stream;

/// How many idle connections to the upstream are kept.
const UPSTREAM_POOL: usize = 1024;

/// A body that is no longer is read before the upstream hears of the request, which has few connections to lose to
/// clients that send a byte now and then. A longer one is passed on as it comes.
const SHORT: u64 = 16 * 1024;

/// Passes requests on.
pub(super) struct Onward {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    /// Pingora's own way of being told that it stops.
    stopping: watch::Sender<bool>,
}

impl Onward {
    /// Passes on what this gateway's clients ask.
    pub(super) fn new(gateway: Arc<Gateway>, threads: usize) -> Self {
        let conf = ServerConf {
            threads,
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            // Each connection is told whom to believe. Without a file pingora would read those of the system
            // now, whether or not there is TLS, and panic over the first that it cannot parse.
            ca_file: Some("/dev/null".to_owned()),
            ..ServerConf::default()
        };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), Proxy(gateway.clone())));
        Self { gateway, proxy, stopping: watch::Sender::new(false) }
    }

    /// From now on, a connection ends with the request that is on its way.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Hands the request to pingora. Returns the connection if it can carry another request.
    pub(super) async fn pass(
        &self,
        mut connection: Connection<Stream>,
        head: RequestHead,
        peer: SocketAddr,
        client: IpAddr,
        passage: Passage,
    ) -> Option<Connection<Stream>> {
        let version = head.version;
        let limits = limits(&self.gateway);
        let most = self.gateway.config().limits.body_bytes;
        let mut room = self.gateway.room();
        let way_in = WayIn {
            scheme: if connection.stream().is_tls() { "https" } else { "http" },
            // Asked for only where it counts: that is a call to the system.
            port: match self.gateway.upstreams().by_port() {
                true => connection.stream().local_port().unwrap_or_default(),
                false => 0,
            },
        };
        let routed = with_one_authority(head, limits.head).and_then(|head| self.route(head, peer, &way_in));
        let prepared = match routed {
            Ok((head, _)) if matches!(head.framing, Framing::Length(length) if length > most) => {
                Err(Response::text(413, BodyError::TooLarge))
            }
            Ok((_, None)) => {
                Err(Response::text(421, "no server behind this gateway is for this host, path and port"))
            }
            Ok((head, Some(upstream))) => {
                let config = &upstream.config;
                let dialect = Dialect::of_request(config.dialect, config.rules.as_ref(), &head);
                match self.read_ahead(&mut connection, &dialect, &head, &mut room).await {
                    Ok(ahead) => {
                        let content = ahead.content();
                        let prepared = subscribe::prepare(
                            &self.gateway,
                            config,
                            dialect,
                            &head,
                            content,
                            client,
                            way_in.scheme,
                        );
                        prepared.await.map(|prepared| (ahead.behind(prepared), head, ahead, upstream))
                    }
                    Err(answer) => Err(answer),
                }
            }
            // What was added found no room.
            Err(HeadError::TooLarge) => Err(Response::text(431, HeadError::TooLarge)),
            Err(error) => Err(Response::text(400, error)),
        };
        let (prepared, head, ahead, upstream) = match prepared {
            Ok(prepared) => prepared,
            Err(answer) => {
                // Its body is not looked at: the connection ends with the answer.
                refuse(&self.gateway, connection, version, answer).await;
                return None;
            }
        };
        let keep_alive = head.keep_alive() && !self.gateway.stop.is_cancelled();
        let framing = if matches!(ahead, Ahead::Nothing) { head.framing } else { Framing::Empty };
        let body = Passing { framing, most, room };
        let stream = ClientStream::new(connection, prepared.bytes, body, peer);
        let rewrites = upstream.config.rewrite_descriptions;
        let origin = rewrites.then(|| description::origin(way_in.scheme, head.authority())).flatten();
        drop(head);
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.set_keepalive(keep_alive.then_some(limits.times.idle.as_secs().max(1)));
        // For each piece, where a poll's body is read as a whole: a large one may well take longer.
        session.set_read_timeout(Some(limits.times.body));
        session.set_write_timeout(Some(limits.times.write));
        let passage = passage.under_way(prepared.intent, upstream, client, way_in).known_as(origin);
        session.set_connection_user_context(Some(Box::new(passage)));
        let reusable = self.proxy.process_new_http(session, &self.stopping.subscribe()).await?;
        let (stream, _) = reusable.consume();
        stream.into_any().downcast::<ClientStream>().ok()?.into_connection()
    }

    /// The head as it goes on, and the upstream that it is for, if there is one.
    fn route(
        &self,
        head: RequestHead,
        peer: SocketAddr,
        way_in: &WayIn,
    ) -> Result<(RequestHead, Option<Arc<Upstream>>), HeadError> {
        let asked = Asked { authority: head.authority(), path: head.path(), port: way_in.port };
        let Some(upstream) = self.gateway.upstreams().choose(&asked).cloned() else {
            return Ok((head, None));
        };
        let config = self.gateway.config();
        let (by, trusted) = (upstream.config.forwarded, &config.limits.trusted_proxies);
        let head =
            forwarded::announce(head, peer.ip().to_canonical(), by, trusted, limits(&self.gateway).head)?;
        Ok((head, Some(upstream)))
    }

    /// What of the body is read before the upstream hears of the request.
    async fn read_ahead(
        &self,
        connection: &mut Connection<Stream>,
        dialect: &Dialect,
        head: &RequestHead,
        room: &mut Allowance,
    ) -> Result<Ahead, Response> {
        let is_read = |most| ServeLimits { body: most, ..limits(&self.gateway) };
        if self.gateway.config().polling.poll_support
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

    /// The same request with what was read.
    fn behind(&self, prepared: Prepared) -> Prepared {
        match self {
            Self::Body(body) => Prepared { bytes: [&prepared.bytes[..], body].concat().into(), ..prepared },
            Self::Nothing | Self::Content(_) => prepared,
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
