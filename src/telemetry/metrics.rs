//! The metrics, on a registry of their own.
//!
//! Names follow Prometheus' rules: base units, `_total` for counters. No label holds a client's id.

use std::time::{Duration, SystemTime};

use prometheus::{Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use super::adder::{Adder, ByWord, set};
use super::bounds::BoundMetrics;
use super::polls::{AuthResult, PollResult};
use super::reloads::ReloadMetrics;
use super::store::StoreMetrics;
use super::tls::{Handshake, TlsMetrics};
use super::upstream::{UpstreamCounters, UpstreamMetrics};
use crate::config::Config;
use crate::dialect::CallbackRefusal;
use crate::mailbox::{Class, DeliveryMode, DropReason, Lost, Timestamp};
use crate::store::{Commit, CreateError, StoreStatus, StoreTotals};
use crate::telemetry::deliveries::{DeliveryMetrics, DeliveryResult};

/// From a callback on the fast path to one that waited for a client's next poll.
const DELAYS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 60.0, 300.0, 600.0, 1800.0];

/// From a poll that is answered at once to the longest hold that is documented.
const HOLDS: &[f64] = &[0.01, 0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    callbacks: ByWord,
    messages: ByWord,
    acknowledged: IntCounter,
    redelivered: IntCounter,
    replaced: IntCounter,
    dropped: ByWord,
    delivery_delay: Histogram,
    polls: ByWord,
    poll_hold: Histogram,
    held_polls: IntGauge,
    auth: ByWord,
    connections: IntGauge,
    connections_opened: IntCounter,
    connections_refused: ByWord,
    requests_refused: IntCounterVec,
    body_bytes_in_flight: IntGauge,
    mailboxes_created: IntCounter,
    mailboxes_refused: ByWord,
    mailboxes_expired: IntCounter,
    mailboxes: IntGauge,
    buffered_messages: IntGauge,
    buffered_bytes: IntGauge,
    kept_messages: IntGauge,
    ended_mailboxes: IntGauge,
    kept_bytes: IntGauge,
    oldest_age: prometheus::Gauge,
    bounds: BoundMetrics,
    upstream: UpstreamMetrics,
    store: StoreMetrics,
    reloads: ReloadMetrics,
    deliveries: DeliveryMetrics,
    tls: TlsMetrics,
}

impl Metrics {
    /// All metrics, at zero, on a new registry.
    pub fn new() -> prometheus::Result<Self> {
        let add = Adder(Registry::new());
        let metrics = Self {
            callbacks: add.by_word(
                "callbacks_total",
                "Callbacks of the upstream, by result.",
                "result",
                ["accepted"].into_iter().chain(CallbackRefusal::ALL.map(CallbackRefusal::name)),
            )?,
            messages: add.by_word(
                "messages_total",
                "Messages taken into mailboxes, by class.",
                "class",
                ["message", "presence", "typing"],
            )?,
            acknowledged: add
                .counter("messages_acknowledged_total", "Messages that clients acknowledged.")?,
            redelivered: add.counter(
                "messages_redelivered_total",
                "Messages handed out again, since nobody acknowledged them.",
            )?,
            replaced: add.counter(
                "messages_replaced_total",
                "Presence states and typing notifications that a newer one replaced or that were out of date.",
            )?,
            dropped: add.by_word(
                "messages_dropped_total",
                "Messages that left their mailbox undelivered, by reason.",
                "reason",
                DropReason::ALL.map(DropReason::name),
            )?,
            delivery_delay: add.histogram(
                "delivery_delay_seconds",
                "Time from a callback's arrival to its first being handed to a poll, or sent to its client.",
                DELAYS,
            )?,
            polls: add.by_word(
                "polls_total",
                "Polls that ended, by result.",
                "result",
                PollResult::ALL.map(PollResult::name),
            )?,
            poll_hold: add.histogram("poll_hold_seconds", "Time for which polls were held.", HOLDS)?,
            held_polls: add.gauge("held_polls", "Polls held at this moment.")?,
            auth: add.by_word(
                "auth_total",
                "Polls whose credentials were looked at, by result.",
                "result",
                AuthResult::ALL.map(AuthResult::name),
            )?,
            connections: add.gauge("connections", "Connections of clients at this moment.")?,
            connections_opened: add
                .counter("connections_opened_total", "Connections of clients that were let in.")?,
            connections_refused: add.by_word(
                "connections_refused_total",
                "Connections that were not let in, by whose bound was reached.",
                "bound",
                ["all", "address", "descriptors"],
            )?,
            requests_refused: add.counters(
                "requests_refused_total",
                "Requests of clients that were too large, too slow, too many, malformed or for no upstream, by status code.",
                "status",
            )?,
            body_bytes_in_flight: add
                .gauge("body_bytes_in_flight", "Bytes of request bodies in memory at this moment.")?,
            mailboxes_created: add.counter("mailboxes_created_total", "Mailboxes made for subscriptions.")?,
            mailboxes_refused: add.by_word(
                "mailboxes_refused_total",
                "Subscriptions that got no mailbox, by the bound that was reached, or since the store cannot keep it.",
                "reason",
                ["all", "principal", "address", "unavailable"],
            )?,
            mailboxes_expired: add.counter("mailboxes_expired_total", "Mailboxes whose lease ran out.")?,
            mailboxes: add.gauge("mailboxes", "Live mailboxes.")?,
            buffered_messages: add.gauge("buffered_messages", "Messages in mailboxes.")?,
            buffered_bytes: add.gauge("buffered_bytes", "Their bytes: bodies and header lines.")?,
            ended_mailboxes: add.gauge(
                "ended_mailboxes",
                "Mailboxes that ended, and are kept for their dropped messages.",
            )?,
            kept_messages: add.gauge("dropped_kept_messages", "Dropped messages kept for operators.")?,
            kept_bytes: add.gauge("dropped_kept_bytes", "Their bytes: bodies and header lines.")?,
            oldest_age: add
                .float_gauge("oldest_message_age_seconds", "Age of the oldest buffered message.")?,
            bounds: BoundMetrics::new(&add)?,
            upstream: UpstreamMetrics::new(&add)?,
            store: StoreMetrics::new(&add)?,
            reloads: ReloadMetrics::new(&add)?,
            deliveries: DeliveryMetrics::new(&add)?,
            tls: TlsMetrics::new(&add)?,
            registry: add.0,
        };
        let build = prometheus::IntGauge::with_opts(
            Opts::new("pollgate_build_info", "Which build this is; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1);
        metrics.reloads.started(crate::clock::wall());
        metrics.registry.register(Box::new(build))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        Ok(metrics)
    }

    /// A callback was accepted, and its message taken in.
    pub fn callback_accepted(&self, class: &Class) {
        self.callbacks.add("accepted", 1);
        self.messages.add(class.name(), 1);
    }

    /// A callback was refused.
    pub fn callback_refused(&self, refusal: CallbackRefusal) {
        self.callbacks.add(refusal.name(), 1);
    }

    /// Messages were lost.
    pub fn lost(&self, lost: &Lost) {
        self.replaced.inc_by(lost.replaced());
        for (reason, messages) in lost.by_reason() {
            self.dropped.add(reason.name(), messages);
        }
    }

    /// A client acknowledged so many messages.
    pub fn acknowledged(&self, messages: u64) {
        self.acknowledged.inc_by(messages);
    }

    /// A message was handed out, so long after it came; or again.
    pub fn handed_out(&self, delay: Duration, redelivered: bool) {
        if redelivered {
            self.redelivered.inc();
        } else {
            self.delivery_delay.observe(delay.as_secs_f64());
        }
    }

    /// A poll is held, until the guard goes.
    pub fn hold(&self) -> HeldPoll<'_> {
        self.held_polls.inc();
        HeldPoll { metrics: self, since: crate::clock::instant() }
    }

    /// A client is connected, until the guard goes.
    pub fn connected(&self) -> Connected<'_> {
        self.connections.inc();
        Connected(self)
    }

    /// A client was let in.
    pub fn connection_opened(&self) {
        self.connections_opened.inc();
    }

    /// How many clients are connected.
    pub fn connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
    }

    /// A client was not let in.
    pub fn connection_refused(&self, bound: &'static str) {
        self.connections_refused.add(bound, 1);
    }

    /// A request was not read to its end.
    pub fn request_refused(&self, status: u16) {
        self.requests_refused.with_label_values(&[&status.to_string()]).inc();
    }

    /// So many bytes of request bodies are in memory.
    pub fn bodies_take(&self, bytes: u64) {
        set(&self.body_bytes_in_flight, bytes);
    }

    /// How many polls are held.
    pub fn held_polls(&self) -> u64 {
        u64::try_from(self.held_polls.get()).unwrap_or(0)
    }

    /// A poll ended.
    pub fn poll_ended(&self, result: PollResult) {
        self.polls.add(result.name(), 1);
    }

    /// The credentials of a poll were looked at.
    pub fn authenticated(&self, result: AuthResult) {
        self.auth.add(result.name(), 1);
    }

    /// It was tried to deliver a message.
    pub fn delivery_tried(&self, mode: DeliveryMode, result: DeliveryResult) {
        self.deliveries.tried(mode, result);
    }

    /// A client to be called cannot be reached, from now on.
    pub fn client_unreachable(&self) {
        self.deliveries.unreachable.inc();
    }

    /// A client that could not be reached was reached again, or is over.
    pub fn client_reached(&self) {
        self.deliveries.unreachable.dec();
    }

    /// The store wrote something.
    pub fn committed(&self, commit: Commit) {
        self.store.committed(commit);
    }

    /// The configuration was read again, and is followed or not.
    pub fn reloaded(&self, followed: bool, wall: SystemTime) {
        self.reloads.ended(followed, wall);
    }

    /// A TLS handshake with a client ended.
    pub fn handshake(&self, result: Handshake) {
        self.tls.ended(result);
    }

    /// When the certificate that clients are shown ends, if there is one.
    pub fn certificate_ends(&self, at: Option<SystemTime>) {
        self.tls.certificate_ends(at);
    }

    /// A mailbox was made.
    pub fn mailbox_created(&self) {
        self.mailboxes_created.inc();
    }

    /// A mailbox was not made.
    pub fn mailbox_refused(&self, error: CreateError) {
        let reason = match error {
            CreateError::TooMany => "all",
            CreateError::TooManyOfPrincipal => "principal",
            CreateError::TooManyOfAddress => "address",
            CreateError::Unavailable => "unavailable",
        };
        self.mailboxes_refused.add(reason, 1);
    }

    /// The lease of so many mailboxes ran out.
    pub fn mailboxes_expired(&self, mailboxes: u64) {
        self.mailboxes_expired.inc_by(mailboxes);
    }

    /// A request was passed on and answered.
    pub fn proxied(&self, status: u16) {
        self.upstream.proxied(status);
    }

    /// What is measured of the upstream of this name, which has these servers.
    pub fn upstream(&self, name: &str, servers: Vec<String>) -> UpstreamCounters {
        self.upstream.of(name, servers)
    }

    /// The upstream of this name is gone, and what was measured of it.
    pub fn upstream_is_gone(&self, name: &str) {
        self.upstream.forget(name);
    }

    /// There are file descriptors for so many clients.
    pub fn descriptors_are_for(&self, clients: u64) {
        self.bounds.descriptors_are_for(clients);
    }

    /// What the running configuration allows.
    pub fn bounds_are(&self, config: &Config) {
        self.bounds.set(config);
    }

    /// All metrics in Prometheus' text format, with the state of the store at `now`.
    pub fn expose(
        &self,
        store: StoreTotals,
        status: StoreStatus,
        oldest: Option<Timestamp>,
        now: Timestamp,
    ) -> String {
        self.store.set(status);
        set(&self.mailboxes, store.mailboxes);
        set(&self.buffered_messages, store.messages);
        set(&self.buffered_bytes, store.bytes);
        set(&self.kept_messages, store.dropped_messages);
        set(&self.ended_mailboxes, store.ended_mailboxes);
        set(&self.kept_bytes, store.dropped_bytes);
        self.oldest_age.set(oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Counts as a held poll while it lives.
#[derive(Debug)]
pub struct HeldPoll<'a> {
    metrics: &'a Metrics,
    since: std::time::Instant,
}

/// Counts a connection for as long as it lasts.
#[derive(Debug)]
pub struct Connected<'a>(&'a Metrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

impl Drop for HeldPoll<'_> {
    fn drop(&mut self) {
        self.metrics.held_polls.dec();
        self.metrics.poll_hold.observe(self.since.elapsed().as_secs_f64());
    }
}
