//! The metrics of TLS.

use std::time::SystemTime;

use prometheus::Gauge;

use super::adder::{Adder, ByWord};

/// What became of a handshake with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It was completed.
    Completed,
    /// The client speaks something else, such as plain HTTP.
    NotTls,
    /// It was broken off by either side, or the two have nothing in common.
    Failed,
    /// It did not end in time.
    TimedOut,
}

impl Handshake {
    const ALL: [Handshake; 4] =
        [Handshake::Completed, Handshake::NotTls, Handshake::Failed, Handshake::TimedOut];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Handshake::Completed => "completed",
            Handshake::NotTls => "not-tls",
            Handshake::Failed => "failed",
            Handshake::TimedOut => "timeout",
        }
    }
}

#[derive(Debug)]
pub(super) struct TlsMetrics {
    handshakes: ByWord,
    certificate_ends: Gauge,
}

impl TlsMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        let metrics = Self {
            handshakes: add.by_word(
                "tls_handshakes_total",
                "TLS handshakes with clients, by result.",
                "result",
                Handshake::ALL.map(Handshake::name),
            )?,
            certificate_ends: add.float_gauge(
                "tls_certificate_not_after_timestamp_seconds",
                "When the certificate that clients are shown ends, in seconds since 1970; NaN without TLS.",
            )?,
        };
        metrics.certificate_ends(None);
        Ok(metrics)
    }

    pub(super) fn ended(&self, handshake: Handshake) {
        self.handshakes.add(handshake.name(), 1);
    }

    /// NaN is less than nothing: an alert for a near end stays silent without TLS.
    pub(super) fn certificate_ends(&self, at: Option<SystemTime>) {
        let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.certificate_ends.set(since.map_or(f64::NAN, |since| since.as_secs_f64()));
    }
}
