//! The metrics, on a registry of their own.
//!
//! Names follow Prometheus' rules: base units, `_total` for counters. No label holds a client's id.

use std::time::{Duration, SystemTime};

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core,
};

use super::reloads::ReloadMetrics;
use super::store::StoreMetrics;
use super::tls::{Handshake, TlsMetrics};
use crate::dialect::CallbackRefusal;
use crate::mailbox::{Class, DeliveryMode, DropReason, Lost, Timestamp};
use crate::store::{Commit, CreateError, StoreStatus, StoreTotals};
use crate::telemetry::deliveries::{DeliveryMetrics, DeliveryResult};

/// From a callback on the fast path to one that waited for a client's next poll.
const DELAYS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 60.0, 300.0, 600.0, 1800.0];

/// From a poll that is answered at once to the longest hold that is documented.
const HOLDS: &[f64] = &[0.01, 0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// With messages, or with a gap to tell of.
    News,
    /// With nothing, when the hold was over.
    Empty,
    /// A newer poll took its place.
    Superseded,
    /// The client went away.
    Gone,
    /// The gateway is stopping.
    Stopping,
    /// There is no such mailbox, or it ended meanwhile.
    Unknown,
    /// It was not understood, or not allowed.
    Refused,
    /// Too many polls are held.
    TooMany,
    /// Too many polls of the mailbox ended with nothing before their time was over.
    TooOften,
    /// There is something, and the store cannot read it at this moment.
    Unavailable,
}

impl PollResult {
    const ALL: [PollResult; 10] = [
        PollResult::News,
        PollResult::Empty,
        PollResult::Superseded,
        PollResult::Gone,
        PollResult::Stopping,
        PollResult::Unknown,
        PollResult::Refused,
        PollResult::TooMany,
        PollResult::TooOften,
        PollResult::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            PollResult::News => "news",
            PollResult::Empty => "empty",
            PollResult::Superseded => "superseded",
            PollResult::Gone => "gone",
            PollResult::Stopping => "stopping",
            PollResult::Unknown => "unknown",
            PollResult::Refused => "refused",
            PollResult::TooMany => "too-many",
            PollResult::TooOften => "too-often",
            PollResult::Unavailable => "unavailable",
        }
    }
}

/// What became of the credentials of a poll, where they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// They prove who it is.
    Accepted,
    /// There are none.
    Missing,
    /// There is no such user, or that is not the password.
    Denied,
    /// They are right, but the nonce is too old.
    Stale,
    /// They are right, but were used before.
    Replayed,
    /// They are not understood.
    Malformed,
    /// They were accepted, but the mailbox is somebody else's.
    Forbidden,
}

impl AuthResult {
    const ALL: [AuthResult; 7] = [
        AuthResult::Accepted,
        AuthResult::Missing,
        AuthResult::Denied,
        AuthResult::Stale,
        AuthResult::Replayed,
        AuthResult::Malformed,
        AuthResult::Forbidden,
    ];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            AuthResult::Accepted => "accepted",
            AuthResult::Missing => "missing",
            AuthResult::Denied => "denied",
            AuthResult::Stale => "stale",
            AuthResult::Replayed => "replayed",
            AuthResult::Malformed => "malformed",
            AuthResult::Forbidden => "forbidden",
        }
    }
}

/// What went wrong with the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// Its name could not be resolved.
    Resolve,
    /// No connection could be made.
    Connect,
    /// It did not answer in time.
    TimedOut,
    /// It speaks no TLS, or its certificate is not believed.
    Tls,
    /// The connection broke, or what came was no answer.
    Broken,
}

impl UpstreamError {
    const ALL: [UpstreamError; 5] = [
        UpstreamError::Resolve,
        UpstreamError::Connect,
        UpstreamError::TimedOut,
        UpstreamError::Tls,
        UpstreamError::Broken,
    ];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            UpstreamError::Resolve => "resolve",
            UpstreamError::Connect => "connect",
            UpstreamError::TimedOut => "timeout",
            UpstreamError::Tls => "tls",
            UpstreamError::Broken => "broken",
        }
    }
}

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    callbacks: ByWord,
    messages: ByWord,
    acknowledged: IntCounter,
    redelivered: IntCounter,
    dropped: ByWord,
    delivery_delay: Histogram,
    polls: ByWord,
    poll_hold: Histogram,
    held_polls: IntGauge,
    auth: ByWord,
    connections: IntGauge,
    connections_refused: ByWord,
    requests_refused: IntCounterVec,
    body_bytes_in_flight: IntGauge,
    mailboxes_created: IntCounter,
    mailboxes_refused: ByWord,
    mailboxes_expired: IntCounter,
    proxied: IntCounterVec,
    upstream_errors: ByWord,
    mailboxes: IntGauge,
    buffered_messages: IntGauge,
    buffered_bytes: IntGauge,
    kept_messages: IntGauge,
    kept_bytes: IntGauge,
    oldest_age: prometheus::Gauge,
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
            connections_refused: add.by_word(
                "connections_refused_total",
                "Connections that were not let in, by whose bound was reached.",
                "bound",
                ["all", "address", "descriptors"],
            )?,
            requests_refused: add.counters(
                "requests_refused_total",
                "Requests of clients that were too large, too slow, too many or malformed, by status code.",
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
            proxied: add.counters(
                "proxied_requests_total",
                "Requests passed on, by status code.",
                "status",
            )?,
            upstream_errors: add.by_word(
                "upstream_errors_total",
                "Requests that the upstream did not answer, by reason.",
                "reason",
                UpstreamError::ALL.map(UpstreamError::name),
            )?,
            mailboxes: add.gauge("mailboxes", "Live mailboxes.")?,
            buffered_messages: add.gauge("buffered_messages", "Messages in mailboxes.")?,
            buffered_bytes: add.gauge("buffered_bytes", "Their bytes: bodies and header lines.")?,
            kept_messages: add.gauge("dropped_kept_messages", "Dropped messages kept for operators.")?,
            kept_bytes: add.gauge("dropped_kept_bytes", "Their bytes: bodies and header lines.")?,
            oldest_age: add
                .float_gauge("oldest_message_age_seconds", "Age of the oldest buffered message.")?,
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
        self.proxied.with_label_values(&[status.to_string()]).inc();
    }

    /// The upstream did not answer.
    pub fn upstream_error(&self, error: UpstreamError) {
        self.upstream_errors.add(error.name(), 1);
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
        set(&self.kept_bytes, store.dropped_bytes);
        self.oldest_age.set(oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

pub(super) fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
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

/// Counters of one name whose label has few values, all known: each exists from the start, so that its first
/// increase is seen, and none is looked up behind a lock.
#[derive(Debug)]
pub(super) struct ByWord(Vec<(&'static str, IntCounter)>);

impl ByWord {
    pub(super) fn add(&self, word: &'static str, by: u64) {
        let found = self.0.iter().find(|(other, _)| *other == word);
        debug_assert!(found.is_some(), "{word} is not among the words");
        if let Some((_, counter)) = found {
            counter.inc_by(by);
        }
    }
}

/// Makes metrics and registers them.
pub(super) struct Adder(Registry);

impl Adder {
    fn register<C: core::Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(format!("pollgate_{name}"), help)?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        self.counters_by(name, help, &[label])
    }

    pub(super) fn counters_by(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(format!("pollgate_{name}"), help), labels)?)
    }

    pub(super) fn by_word(
        &self,
        name: &str,
        help: &str,
        label: &str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> prometheus::Result<ByWord> {
        let counters = self.counters(name, help, label)?;
        Ok(ByWord(words.into_iter().map(|word| (word, counters.with_label_values(&[word]))).collect()))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(format!("pollgate_{name}"), help)?)
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> prometheus::Result<prometheus::Gauge> {
        self.register(prometheus::Gauge::new(format!("pollgate_{name}"), help)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::new(format!("pollgate_{name}"), help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }
}
