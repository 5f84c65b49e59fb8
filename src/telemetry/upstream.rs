//! The metrics of the upstreams: what each is asked, how soon it answers, and when it does not.

use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::adder::Adder;

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

/// What is measured of all upstreams.
#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    proxied: IntCounterVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    answers: HistogramVec,
    in_flight: IntGaugeVec,
    up: IntGaugeVec,
    last_error: GaugeVec,
    server_up: IntGaugeVec,
}

/// What is measured of one upstream. Its samples exist from the start, so that the first increase is seen.
#[derive(Clone, Debug)]
pub struct UpstreamCounters {
    errors: Vec<(UpstreamError, IntCounter)>,
    retries: IntCounter,
    answers: Histogram,
    in_flight: IntGauge,
    up: IntGauge,
    last_error: Gauge,
    servers: Vec<(String, IntGauge)>,
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
        Ok(Self {
            proxied: add.counters(
                "proxied_requests_total",
                "Requests passed on, by status code.",
                "status",
            )?,
            errors: add.counters_by(
                "upstream_errors_total",
                "Requests that an upstream did not answer, by reason.",
                &["upstream", "reason"],
            )?,
            retries: add.counters(
                "upstream_retries_total",
                "Requests that went to another server, since one took no connection.",
                "upstream",
            )?,
            answers: add.histograms(
                "upstream_request_duration_seconds",
                "Time from passing a request on to the head of the upstream's answer.",
                "upstream",
                ANSWERS,
            )?,
            in_flight: add.gauges(
                "upstream_requests",
                "Requests on their way to an upstream and back.",
                &["upstream"],
            )?,
            up: add.gauges(
                "upstream_up",
                "1 if the upstream answered when it was last asked, or was not asked yet; else 0.",
                &["upstream"],
            )?,
            last_error: add.float_gauges(
                "upstream_last_error_timestamp_seconds",
                "When an upstream last did not answer, in seconds since 1970; 0 if it always did.",
                "upstream",
            )?,
            server_up: add.gauges(
                "upstream_server_up",
                "1 if the server took the last connection, or was not asked yet, and no health check failed since.",
                &["upstream", "server"],
            )?,
        })
    }

    /// What is measured of the upstream of this name, which has these servers and no others.
    pub(super) fn of(&self, name: &str, servers: Vec<String>) -> UpstreamCounters {
        let error = |error: UpstreamError| (error, self.errors.with_label_values(&[name, error.name()]));
        let up = self.up.with_label_values(&[name]);
        up.set(1);
        let server = |server: String| {
            let gauge = self.server_up.with_label_values(&[name, &server]);
            gauge.set(1);
            (server, gauge)
        };
        self.forget_servers(name, &servers);
        UpstreamCounters {
            errors: UpstreamError::ALL.map(error).into(),
            retries: self.retries.with_label_values(&[name]),
            answers: self.answers.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            up,
            last_error: self.last_error.with_label_values(&[name]),
            servers: servers.into_iter().map(server).collect(),
        }
    }

    /// An upstream is gone. What was removed already is removed no more.
    pub(super) fn forget(&self, name: &str) {
        for error in UpstreamError::ALL {
            let _ = self.errors.remove_label_values(&[name, error.name()]);
        }
        let _ = self.retries.remove_label_values(&[name]);
        let _ = self.answers.remove_label_values(&[name]);
        let _ = self.in_flight.remove_label_values(&[name]);
        let _ = self.up.remove_label_values(&[name]);
        let _ = self.last_error.remove_label_values(&[name]);
        self.forget_servers(name, &[]);
    }

    fn forget_servers(&self, name: &str, but: &[String]) {
        let label = |metric: &Metric, label: &str| {
            let found = metric.get_label().iter().find(|pair| pair.name() == label);
            found.map(|pair| pair.value().to_owned()).unwrap_or_default()
        };
        for metric in self.server_up.collect().iter().flat_map(MetricFamily::get_metric) {
            let server = label(metric, "server");
            if label(metric, "upstream") == name && !but.contains(&server) {
                let _ = self.server_up.remove_label_values(&[name, &server]);
            }
        }
    }

    pub(super) fn proxied(&self, status: u16) {
        self.proxied.with_label_values(&[status.to_string()]).inc();
    }
}

impl UpstreamCounters {
    /// A request is on its way to the upstream, until the guard goes.
    pub fn passing(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// The upstream answered, so long after the request came.
    pub fn answered(&self, took: Duration) {
        self.up.set(1);
        self.answers.observe(took.as_secs_f64());
    }

    /// The upstream did not answer.
    pub fn failed(&self, error: UpstreamError, wall: SystemTime) {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if let Some((_, counter)) = self.errors.iter().find(|(other, _)| *other == error) {
            counter.inc();
        }
        self.up.set(0);
        self.last_error.set(since.as_secs_f64());
    }

    /// A request went to another server.
    pub fn tried_another(&self) {
        self.retries.inc();
    }

    /// One of its servers is up, or down.
    pub fn server_is(&self, server: &str, up: bool) {
        if let Some((_, gauge)) = self.servers.iter().find(|(other, _)| other == server) {
            gauge.set(i64::from(up));
        }
    }
}
