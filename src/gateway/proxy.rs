//! Passing on what is not ours, through pingora.

use std::any::Any;
use std::error::Error as StdError;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora::{Error, ErrorSource, ErrorType};

use super::Gateway;
use super::answers::PassingAnswer;
use super::description;
use super::hop;
use super::passage::{Passage, Way, WayIn};
use super::subscribe;
use super::tether::challenges_connection;
use super::upstream::Known;
use crate::clock;
use crate::config::HostMode;
use crate::telemetry::UpstreamError;

/// After how many seconds a request may be tried again for whose body there was no room.
const RETRY_AFTER: u64 = 10;

/// The numbers of connections, below those of authorities: there will never be so many of either.
const OWN_CONNECTION_BITS: u32 = 44;

/// Passes requests on to the upstream.
pub struct Proxy(pub Arc<Gateway>);

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage::default()
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // Without this, pingora would add one that compresses.
    }

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        passage: &mut Passage,
        handed_over: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(handed_over) = handed_over.downcast::<Passage>() {
            *passage = *handed_over;
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        passage: &mut Passage,
    ) -> pingora::Result<Box<HttpPeer>> {
        let server = passage.next_server().await?;
        let Some(way) = &mut passage.way else { return Err(Error::new(ErrorType::InternalError)) };
        let upstream = &way.upstream.config;
        let tls = way.upstream.authorities.as_ref().map(|known| known.for_pingora(clock::now()));
        let name = if tls.is_some() { server.config.host().to_owned() } else { String::new() };
        let mut peer = HttpPeer::new(server.address, tls.is_some(), name);
        peer.options.connection_timeout = Some(upstream.connect_timeout);
        peer.options.total_connection_timeout = Some(upstream.connect_timeout);
        peer.options.read_timeout = Some(upstream.read_timeout);
        peer.options.write_timeout = Some(upstream.read_timeout);
        peer.options.idle_timeout = Some(upstream.idle_timeout);
        // Behind a switch of protocols nobody would look at what passes.
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Deny;
        // Idle connections are found again by this, among other things; 0 is everybody's.
        peer.group_key = passage.tether.as_ref().map_or(0, |tether| tether.number());
        if let Some(tether) = &passage.tether {
            tether.tie(&mut peer.options);
        }
        way.server = Some(server);
        if let Some(tls) = tls {
            // What was believed for other authorities is not found again.
            peer.group_key |= tls.generation << OWN_CONNECTION_BITS;
            peer.options.ca = Some(tls.certificates.clone());
        }
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        socket: RawFd,
        _digest: Option<&Digest>,
        passage: &mut Passage,
    ) -> pingora::Result<()> {
        passage.socket = Some(socket);
        if let Some(Way { upstream, server: Some(server), .. }) = &passage.way {
            upstream.took_connection(server, true);
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        passage: &mut Passage,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(Way { upstream, server: Some(server), tried, .. }) = &mut passage.way {
            tried.push(server.address);
            let others = upstream.took_connection(server, false);
            if others && tried.len() < upstream.config.all_servers().len() {
                // Nothing of the request was sent.
                upstream.counters.tried_another();
                error.set_retry(true);
            }
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        passage: &mut Passage,
    ) -> pingora::Result<()> {
        if let Some(Way { upstream, server: Some(server), .. }) = &passage.way
            && upstream.config.host == HostMode::Upstream
        {
            hop::address_to(request, server.config.authority())?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        _passage: &mut Passage,
    ) -> pingora::Result<()> {
        match hop::is_framed(answer) {
            true => Ok(()),
            false => {
                Err(Error::explain(ErrorType::InvalidHTTPHeader, "where the body of the answer ends")
                    .into_up())
            }
        }
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        passage: &mut Passage,
    ) -> pingora::Result<()> {
        if answer.status.is_informational() {
            return Ok(());
        }
        hop::end(answer);
        if let Some(way) = &passage.way {
            way.upstream.counters.answered(way.since.elapsed());
            way.answered(&passage.intent, answer.status.is_success());
            self.redirect(session, answer, way)?;
        }
        if challenges_connection(&answer.headers) {
            passage.challenged.store(true, Relaxed);
            if hop::has_no_body(&session.req_header().method, answer) {
                passage.leave_shared();
            }
        }
        let intent = std::mem::take(&mut passage.intent);
        let answered = subscribe::answered(&self.0, intent, answer.status.as_u16(), &answer.headers).await;
        passage.answer =
            answered.granted.map(|granted| PassingAnswer::new(&self.0, granted, answer.headers.clone()));
        for (name, value) in answered.fields {
            answer.insert_header(name, value)?;
        }
        passage.newcomer = answered.newcomer;
        if let Some(origin) = passage.origin.take() {
            let method = &session.req_header().method;
            if let Some(way) = &passage.way {
                let server = way.server.as_ref().map(|server| server.address);
                passage.rewriter = description::begin(answer, method, origin, &way.upstream.config, server);
            }
        }
        if session.req_header().version == Version::HTTP_10 {
            // It knows no chunks (RFC 9112 §7.1): the body ends with the connection.
            if answer.remove_header(&header::TRANSFER_ENCODING).is_some() {
                session.set_keepalive(None);
            }
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        passage: &mut Passage,
    ) -> pingora::Result<Option<Duration>> {
        passage.answer = passage
            .answer
            .take()
            .and_then(|mut answer| answer.push(body.as_deref().unwrap_or_default()).then_some(answer));
        if is_end && let Some(answer) = passage.answer.take() {
            answer.end(&self.0);
        }
        if let Some(rewriter) = &mut passage.rewriter {
            *body = rewriter.pass(body.take(), is_end);
        }
        if is_end && passage.challenged.load(Relaxed) {
            passage.leave_shared();
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        passage: &mut Passage,
    ) -> FailToProxy {
        if error.esource() == &ErrorSource::Downstream {
            // The client is gone, or what it sent is not a body.
            let (status, text) = match classify(error) {
                _ if failed_with(error, io::ErrorKind::FileTooLarge) => {
                    (413, "the request body is too large")
                }
                _ if failed_with(error, io::ErrorKind::OutOfMemory) => {
                    (503, "too many request bodies are in memory")
                }
                _ if is_malformed(error) => (400, "the request body is malformed"),
                UpstreamError::TimedOut => (408, "the body did not come in time"),
                _ => (0, ""),
            };
            if status > 0 && session.response_written().is_none() {
                self.0.metrics.request_refused(status);
                respond(session, status, text).await;
            }
            return FailToProxy { error_code: status, can_reuse_downstream: false };
        }
        let failure = passage.failure.unwrap_or_else(|| classify(error));
        if let Some(Way { upstream, server, .. }) = &passage.way {
            let server = server.as_ref().map(|server| server.config.authority());
            let (upstream, counters) = (&upstream.config.name, &upstream.counters);
            tracing::warn!(upstream, server, reason = failure.name(), %error, "the upstream did not answer");
            counters.failed(failure, clock::wall());
        }
        let (status, text) = match failure {
            UpstreamError::Resolve => (502, "the server behind this gateway cannot be found"),
            UpstreamError::Connect => (502, "the server behind this gateway takes no connection"),
            UpstreamError::Tls => (502, "the server behind this gateway cannot be trusted"),
            UpstreamError::TimedOut => (504, "the server behind this gateway did not answer in time"),
            UpstreamError::Broken => (502, "the server behind this gateway broke off its answer"),
        };
        if session.response_written().is_none() {
            respond(session, status, text).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, passage: &mut Passage) {
        // An intent that is still here never had its answer.
        subscribe::give_up(&self.0, std::mem::take(&mut passage.intent)).await;
        let status = session.response_written().map_or(0, |answer| answer.status.as_u16());
        if status > 0 {
            self.0.metrics.proxied(status);
        }
        let head = session.req_header();
        tracing::debug!(method = %head.method, path = head.uri.path(), status, error = error.map(tracing::field::display), "passed on");
    }

    fn suppress_error_log(&self, _session: &Session, _passage: &Passage, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _passage: &Passage,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

impl Proxy {
    /// Sends a client that is redirected to a server behind the gateway to where it finds that.
    fn redirect(&self, session: &Session, answer: &mut ResponseHeader, way: &Way) -> pingora::Result<()> {
        if !answer.status.is_redirection() {
            return Ok(());
        }
        let text =
            |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let Some(location) = text(answer.headers.get(header::LOCATION)) else { return Ok(()) };
        let head = session.req_header();
        let authority = text(head.headers.get(header::HOST)).unwrap_or_default();
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let WayIn { scheme, port } = way.way_in;
        let known = Known { scheme, authority: &authority, port, target };
        if let Some(location) = self.0.upstreams().redirected(&location, &known) {
            answer.insert_header(header::LOCATION, location)?;
        }
        Ok(())
    }
}

/// Pingora wraps what happened in what it means to its caller: the cause that says most counts.
fn classify(error: &Error) -> UpstreamError {
    causes(error)
        .find_map(|error| match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
                Some(UpstreamError::TimedOut)
            }
            ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
                Some(UpstreamError::Connect)
            }
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => Some(UpstreamError::Tls),
            _ => None,
        })
        .unwrap_or(UpstreamError::Broken)
}

/// The error and what caused it, from the outside in.
fn causes(error: &Error) -> impl Iterator<Item = &Error> {
    std::iter::successors(Some(error), |error| {
        let cause: &(dyn StdError + 'static) = &**error.cause.as_ref()?;
        cause.downcast_ref::<Box<Error>>().map(|error| &**error)
    })
}

/// Whether it was this that failed below.
fn failed_with(error: &Error, kind: io::ErrorKind) -> bool {
    causes(error)
        .filter_map(|error| error.cause.as_ref()?.downcast_ref::<io::Error>())
        .any(|io| io.kind() == kind)
}

/// Whether the client itself is there still, and only its body is not one.
fn is_malformed(error: &Error) -> bool {
    causes(error).any(|error| {
        let io = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
        match io {
            Some(io) => io.kind() == io::ErrorKind::InvalidData,
            None => matches!(error.etype(), ErrorType::InvalidHTTPHeader | ErrorType::Custom(_)),
        }
    })
}

async fn respond(session: &mut Session, status: u16, text: &'static str) {
    let body = format!("{text}\n");
    // A client that is gone cannot be told.
    let _ = async {
        let mut head = ResponseHeader::build(status, Some(4))?;
        head.insert_header("Content-Type", "text/plain; charset=utf-8")?;
        head.insert_header("Content-Length", body.len())?;
        if status == 503 {
            head.insert_header("Retry-After", RETRY_AFTER)?;
        }
        session.set_keepalive(None);
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(body.into()), true).await
    }
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_below_what_it_means() {
        let wrapped = |inner: ErrorType| {
            let inner = Error::because(ErrorType::InternalError, "in between", Error::new(inner));
            classify(&Error::because(ErrorType::HTTPStatus(502), "outermost", inner))
        };
        for (error, failure) in [
            (ErrorType::ConnectTimedout, UpstreamError::TimedOut),
            (ErrorType::ReadTimedout, UpstreamError::TimedOut),
            (ErrorType::WriteTimedout, UpstreamError::TimedOut),
            (ErrorType::ConnectRefused, UpstreamError::Connect),
            (ErrorType::ConnectNoRoute, UpstreamError::Connect),
            (ErrorType::TLSHandshakeFailure, UpstreamError::Tls),
            (ErrorType::InvalidCert, UpstreamError::Tls),
            (ErrorType::ConnectionClosed, UpstreamError::Broken),
            (ErrorType::InvalidHTTPHeader, UpstreamError::Broken),
        ] {
            assert_eq!(classify(&Error::new(error.clone())), failure, "{error:?}");
            assert_eq!(wrapped(error.clone()), failure, "{error:?}, wrapped");
        }
    }
}
