//! The callback listener: what the upstream delivers is taken into mailboxes here.
//!
//! A callback is answered after the store holds its message as durably as it promises. One id, the
//! message's, stands in every log line about it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::timeout;

use super::{Gateway, hop, subscribe};
use crate::clock;
use crate::config::DeepAck;
use crate::dialect::{CallbackRefusal, Dialect, Verdict};
use crate::http1::{Allowance, Headers, Request, RequestHead, Response, Service};
use crate::mailbox::{CallbackToken, EventId, MailboxId, Message};
use crate::store::{EndedBy, Found, Lookup, OfferError};
use crate::telemetry::Happened;

/// Answers callbacks.
pub struct Callbacks(pub Arc<Gateway>);

impl Service for Callbacks {
    fn admit(&self, head: &RequestHead, peer: SocketAddr) -> Result<(), Response> {
        let source = peer.ip().to_canonical();
        if self.0.config().callback.allow.iter().any(|net| net.contains(&source)) {
            return Ok(());
        }
        let dialect = self.0.dialect_of_callback(&head.fields);
        Err(self.refuse(None, CallbackRefusal::Source, &dialect, head))
    }

    fn unreadable(&self, status: u16) {
        let refusal = match status {
            413 => CallbackRefusal::BodyTooLarge,
            503 => CallbackRefusal::NoMemory,
            _ => CallbackRefusal::Unreadable,
        };
        self.0.metrics.callback_refused(refusal);
        tracing::info!(reason = refusal.name(), status, "callback refused");
    }

    fn room(&self) -> Allowance {
        self.0.room()
    }

    async fn call(&self, request: Request) -> Response {
        let Some(_at_store) = self.0.stop.use_store() else {
            let dialect = self.0.dialect_of_callback(&request.head.fields);
            return self.refuse(None, CallbackRefusal::Unavailable, &dialect, &request.head);
        };
        let found = self.mailbox_for(&request);
        let dialect = match &found {
            Ok(found) => self.0.dialect_of_subscription(&found.subscription),
            Err(_) => self.0.dialect_of_callback(&request.head.fields),
        };
        let mailbox = found.as_ref().ok().map(|found| found.id);
        if let Some(answer) = self.shake_hands(mailbox, &dialect, &request).await {
            return answer;
        }
        let Request { head, body, .. } = request;
        let taken_in = match found {
            _ if !dialect.is_callback(head.method()) => Err(CallbackRefusal::Method),
            Ok(found) => self.take_in(found.id, &dialect, &head, body).await,
            Err(refusal) => Err(refusal),
        };
        match taken_in {
            Ok(()) => dialect.word(Verdict::Accepted, &head.fields),
            Err(refusal) => self.refuse(mailbox, refusal, &dialect, &head),
        }
    }
}

impl Callbacks {
    /// The answer to an upstream that asks whether an address wants to be called; none if it does not ask that.
    async fn shake_hands(
        &self,
        mailbox: Option<MailboxId>,
        dialect: &Dialect,
        request: &Request,
    ) -> Option<Response> {
        let gateway = &*self.0;
        let handshake = dialect.handshake(&request.head, &request.body)?;
        let refuse = || Some(self.refuse(mailbox, CallbackRefusal::Unknown, dialect, &request.head));
        let Some(mailbox) = mailbox else {
            return if handshake.of_the_gone { Some(handshake.answer) } else { refuse() };
        };
        let id = gateway.store.report(mailbox).ok().and_then(|report| report.subscription_id);
        if !handshake.is_about(id.as_deref()) {
            return refuse();
        }
        if handshake.ends {
            subscribe::end(gateway, mailbox, EndedBy::Client).await;
        } else if let Some(lease) = handshake.lease {
            // One that ended meanwhile needs no lease.
            let _ = gateway
                .store
                .grant(mailbox, None, clock::now() + gateway.lease(Some(lease), None, dialect))
                .await;
        }
        tracing::info!(%mailbox, ends = handshake.ends, "the upstream asked for the callback address");
        Some(handshake.answer)
    }

    async fn take_in(
        &self,
        mailbox: MailboxId,
        dialect: &Dialect,
        head: &RequestHead,
        body: Bytes,
    ) -> Result<(), CallbackRefusal> {
        let gateway = &*self.0;
        let delivery = dialect.read_callback(&head.fields, &body);
        let message = Message {
            method: head.method().into(),
            header_lines: kept_header_lines(head, body.len()),
            body,
            class: delivery.class,
        };
        let class = message.class.clone();
        let bytes = message.body.len();
        gateway
            .traffic
            .tell_body(mailbox, &message.body, || Happened::Callback { class: class.name(), bytes });
        let now = clock::now();
        let config = gateway.config();
        let offered = match gateway.store.offer(mailbox, message, &config.polling.limits, now).await {
            Ok(offered) => offered,
            Err(OfferError::Gone(_)) => return Err(CallbackRefusal::Unknown),
            Err(OfferError::StoreFull) => return Err(CallbackRefusal::StoreFull),
            Err(OfferError::NoSpace) => return Err(CallbackRefusal::NoSpace),
            Err(OfferError::Unavailable(lost)) => {
                gateway.record_lost(mailbox, &lost, now);
                return Err(CallbackRefusal::Unavailable);
            }
        };
        gateway.record_lost(mailbox, &offered.lost, now);
        let event = offered.outcome?;
        gateway.metrics.callback_accepted(&class);
        gateway.traffic.tell(mailbox, || Happened::Buffered { message: event.0 });
        tracing::debug!(%event, %mailbox, class = class.name(), "callback buffered");
        if delivery.deep_ack && config.callback.deep_ack == DeepAck::Delivered {
            self.wait_until_taken(mailbox, event, config.callback.deep_ack_timeout).await?;
        }
        Ok(())
    }

    /// The mailbox that a callback is for: by the token in its path, or, from a server that ignores the
    /// path of a callback, by what else names exactly one.
    fn mailbox_for(&self, request: &Request) -> Result<Found, CallbackRefusal> {
        let store = &self.0.store;
        let last_segment = request.head.path().rsplit('/').next().unwrap_or_default();
        if let Ok(token) = last_segment.parse::<CallbackToken>() {
            return only_one(store.find(Lookup::Token(token)));
        }
        let dialect = self.0.dialect_of_callback(&request.head.fields);
        if let Some(id) = dialect.subscription_id(&request.head.fields) {
            let found = store.find(Lookup::SubscriptionId { id, node: None });
            if !found.is_empty() {
                return only_one(found);
            }
        }
        match dialect.addressee(&request.body) {
            Some(principal) => only_one(store.find(Lookup::Principal(&principal))),
            None => Err(CallbackRefusal::Unknown),
        }
    }

    /// `RVP-Ack-Type: DeepOr` or `DeepAnd`: the upstream is answered when the client has the message.
    async fn wait_until_taken(
        &self,
        mailbox: MailboxId,
        event: EventId,
        within: std::time::Duration,
    ) -> Result<(), CallbackRefusal> {
        let taken =
            self.0.stop.clients.run_until_cancelled(timeout(within, self.0.store.left(mailbox, event))).await;
        match taken {
            Some(Ok(true)) => Ok(()),
            _ => Err(CallbackRefusal::NotTaken),
        }
    }

    fn refuse(
        &self,
        mailbox: Option<MailboxId>,
        refusal: CallbackRefusal,
        dialect: &Dialect,
        head: &RequestHead,
    ) -> Response {
        self.0.metrics.callback_refused(refusal);
        self.0.traffic.tell(mailbox, || Happened::Refused { reason: refusal.name() });
        tracing::info!(reason = refusal.name(), "callback refused");
        dialect.word(Verdict::Refused(refusal), &head.fields)
    }
}

fn only_one(mut found: Vec<Found>) -> Result<Found, CallbackRefusal> {
    match (found.pop(), found.is_empty()) {
        (Some(mailbox), true) => Ok(mailbox),
        (None, _) => Err(CallbackRefusal::Unknown),
        (Some(_), false) => Err(CallbackRefusal::Ambiguous),
    }
}

/// The header lines that belong to the message: as sent, without what belongs to the connection it came
/// on (RFC 9110 §7.6.1) and without `Host`, which is the gateway's. `Content-Length` tells the length of
/// the body as it is kept.
fn kept_header_lines(head: &RequestHead, body_length: usize) -> Bytes {
    const OF_OURS: [&str; 4] = ["proxy-authorization", "transfer-encoding", "host", "expect"];
    let nominated: Vec<&str> = head.fields.list("connection").collect();
    let mut lines = BytesMut::with_capacity(head.length());
    let mut has_length = false;
    for (name, value) in head.fields.iter() {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        if hop::OF_ONE_HOP.iter().chain(&OF_OURS).any(is) || nominated.iter().any(is) {
            continue;
        }
        has_length |= is(&"content-length");
        lines.put(name);
        lines.put(&b": "[..]);
        lines.put(value);
        lines.put(&b"\r\n"[..]);
    }
    if !has_length {
        lines.put(format!("Content-Length: {body_length}\r\n").as_bytes());
    }
    // A copy of the right size: the message may be kept for long.
    Bytes::copy_from_slice(&lines)
}
