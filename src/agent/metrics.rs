//! What the agent counts.

use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};

use crate::telemetry::adder::{Adder, ByWord, set};

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
    messages: ByWord,
    dropped: IntCounter,
    breaks: IntCounter,
    unpolled: IntCounter,
    hold: IntGauge,
}

impl Metrics {
    /// All of them, at zero, on a new registry.
    pub fn new() -> prometheus::Result<Self> {
        let add = Adder(Registry::new());
        Ok(Self {
            subscriptions: add.gauge("agent_subscriptions", "Subscriptions whose messages are fetched.")?,
            requests: add.counter("agent_requests_total", "Requests of clients passed on to the gateway.")?,
            unforwarded: add
                .counter("agent_request_errors_total", "Requests that the gateway did not answer.")?,
            messages: add.by_word(
                "agent_messages_total",
                "Messages brought to clients, by result.",
                "result",
                Replayed::ALL.map(Replayed::name),
            )?,
            dropped: add.counter(
                "agent_dropped_messages_total",
                "Messages that the gateway dropped before they were fetched.",
            )?,
            breaks: add.counter("agent_poll_breaks_total", "Polls that ended without an answer.")?,
            unpolled: add.counter(
                "agent_unpolled_subscriptions_total",
                "Subscriptions granted without a place to poll: is there a gateway?",
            )?,
            hold: add.gauge("agent_hold_seconds", "How long polls are asked to be held.")?,
            registry: add.0,
        })
    }

    pub(super) fn subscriptions(&self, subscriptions: usize) {
        set(&self.subscriptions, subscriptions as u64);
    }

    pub(super) fn passed_on(&self, answered: bool) {
        self.requests.inc();
        if !answered {
            self.unforwarded.inc();
        }
    }

    pub(super) fn replayed(&self, result: Replayed) {
        self.messages.add(result.name(), 1);
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
        set(&self.hold, seconds);
    }

    /// In the text format of Prometheus.
    pub fn expose(&self) -> String {
        let mut text = Vec::new();
        // It is written to memory, and no two metrics have one name.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
