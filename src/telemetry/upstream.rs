//! The metrics of the upstream: what it is asked, how soon it answers, and when it does not.

use std::time::{Duration, SystemTime};

use prometheus::{Gauge, Histogram, IntCounterVec, IntGauge};

use super::adder::{Adder, ByWord};

/// From an answer out of memory to one that nearly ran into `upstream.read_timeout`.
const ANSWERS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

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
    pub(super) const ALL: [UpstreamError; 5] = [
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

/// What is measured of the upstream.
#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    proxied: IntCounterVec,
    errors: ByWord,
    answers: Histogram,
    in_flight: IntGauge,
    up: IntGauge,
    last_error: Gauge,
}

/// Counts as a request on its way while it lives.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl UpstreamMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        let metrics = Self {
            proxied: add.counters(
                "proxied_requests_total",
                "Requests passed on, by status code.",
                "status",
            )?,
            errors: add.by_word(
                "upstream_errors_total",
                "Requests that the upstream did not answer, by reason.",
                "reason",
                UpstreamError::ALL.map(UpstreamError::name),
            )?,
            answers: add.histogram(
                "upstream_request_duration_seconds",
                "Time from passing a request on to the head of the upstream's answer.",
                ANSWERS,
            )?,
            in_flight: add.gauge("upstream_requests", "Requests on their way to the upstream and back.")?,
            up: add.gauge(
                "upstream_up",
                "1 if the upstream answered when it was last asked, or was not asked yet; else 0.",
            )?,
            last_error: add.float_gauge(
                "upstream_last_error_timestamp_seconds",
                "When the upstream last did not answer, in seconds since 1970; 0 if it always did.",
            )?,
        };
        metrics.up.set(1);
        Ok(metrics)
    }

    pub(super) fn passing(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(super) fn proxied(&self, status: u16) {
        self.proxied.with_label_values(&[status.to_string()]).inc();
    }

    pub(super) fn answered(&self, took: Duration) {
        self.up.set(1);
        self.answers.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, error: UpstreamError, wall: SystemTime) {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.errors.add(error.name(), 1);
        self.up.set(0);
        self.last_error.set(since.as_secs_f64());
    }
}
