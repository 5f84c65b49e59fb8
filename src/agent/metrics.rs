//! What the agent counts.

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replayed {
    /// The client took it.
    Taken,
    /// The client did not want it, and was not asked again.
    Refused,
    /// The client was not there, or did not answer: it is tried again.
    Failed,
}

impl Replayed {
    const ALL: [Self; 3] = [Self::Taken, Self::Refused, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Every metric of the agent, on a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    subscriptions: IntGauge,
    requests: IntCounter,
    unforwarded: IntCounter,
    messages: IntCounterVec,
    dropped: IntCounter,
    breaks: IntCounter,
    unpolled: IntCounter,
    hold: IntGauge,
}

impl Metrics {
    /// All of them, at zero, on a new registry.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("pollgate_agent_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("pollgate_agent_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let messages = Opts::new("pollgate_agent_messages_total", "Messages brought to clients, by result.");
        let messages = IntCounterVec::new(messages, &["result"])?;
        registry.register(Box::new(messages.clone()))?;
        for result in Replayed::ALL {
            messages.with_label_values(&[result.name()]);
        }
        Ok(Self {
            subscriptions: gauge("subscriptions", "Subscriptions whose messages are fetched.")?,
            requests: counter("requests_total", "Requests of clients passed on to the gateway.")?,
            unforwarded: counter("request_errors_total", "Requests that the gateway did not answer.")?,
            messages,
            dropped: counter(
                "dropped_messages_total",
                "Messages that the gateway dropped before they were fetched.",
            )?,
            breaks: counter("poll_breaks_total", "Polls that ended without an answer.")?,
            unpolled: counter(
                "unpolled_subscriptions_total",
                "Subscriptions granted without a place to poll: is there a gateway?",
            )?,
            hold: gauge("hold_seconds", "How long polls are asked to be held.")?,
            registry,
        })
    }

    pub(super) fn subscriptions(&self, subscriptions: usize) {
        self.subscriptions.set(i64::try_from(subscriptions).unwrap_or(i64::MAX));
    }

    pub(super) fn passed_on(&self, answered: bool) {
        self.requests.inc();
        if !answered {
            self.unforwarded.inc();
        }
    }

    pub(super) fn replayed(&self, result: Replayed) {
        self.messages.with_label_values(&[result.name()]).inc();
    }

    pub(super) fn dropped(&self, messages: u64) {
        self.dropped.inc_by(messages);
    }

    pub(super) fn broke(&self) {
        self.breaks.inc();
    }

    pub(super) fn no_place_to_poll(&self) {
        self.unpolled.inc();
    }

    pub(super) fn hold_is(&self, seconds: u64) {
        self.hold.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// In the text format of Prometheus.
    pub fn expose(&self) -> String {
        let mut text = Vec::new();
        // It is written to memory, and no two metrics have one name.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
