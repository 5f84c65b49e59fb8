//! The metrics of outgoing deliveries.

use prometheus::{IntCounter, IntGauge};

use super::adder::Adder;
use crate::mailbox::DeliveryMode;

/// What became of one try to deliver a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The client answered 2xx.
    Delivered,
    /// The client answered something else.
    Refused,
    /// The client answered that it is gone for good: 410 or 412.
    ClientGone,
    /// No connection could be made.
    Unreachable,
    /// A connection was made, and no answer came.
    Unanswered,
    /// Its address is one that may not be connected to.
    NotAllowed,
    /// A poll took over before the client had answered.
    Polled,
    /// A datagram was sent, which says that there is something to poll.
    Told,
}

impl DeliveryResult {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Refused,
        Self::ClientGone,
        Self::Unreachable,
        Self::Unanswered,
        Self::NotAllowed,
        Self::Polled,
        Self::Told,
    ];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::ClientGone => "client-gone",
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
            Self::NotAllowed => "not-allowed",
            Self::Polled => "polled",
            Self::Told => "told",
        }
    }
}

/// What is measured of deliveries.
#[derive(Debug)]
pub(super) struct DeliveryMetrics {
    /// Each from the start, so that its first increase is seen.
    tries: Vec<(DeliveryMode, DeliveryResult, IntCounter)>,
    pub(super) unreachable: IntGauge,
}

impl DeliveryMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        let counters = add.counters_by(
            "deliveries_total",
            "Tries to deliver a message to a client, by the client's delivery mode and by result.",
            &["mode", "result"],
        )?;
        let modes = DeliveryMode::ALL.into_iter().filter(|mode| *mode != DeliveryMode::Polling);
        let tries = modes.flat_map(|mode| DeliveryResult::ALL.map(|result| (mode, result)));
        let counter = |mode: DeliveryMode, result: DeliveryResult| {
            counters.with_label_values(&[mode.as_str(), result.name()])
        };
        Ok(Self {
            tries: tries.map(|(mode, result)| (mode, result, counter(mode, result))).collect(),
            unreachable: add.gauge(
                "unreachable_clients",
                "Clients to be called that could not be reached when they were last tried.",
            )?,
        })
    }

    pub(super) fn tried(&self, mode: DeliveryMode, result: DeliveryResult) {
        let found = self.tries.iter().find(|(m, r, _)| (*m, *r) == (mode, result));
        debug_assert!(found.is_some(), "{mode:?} delivers nothing");
        if let Some((.., counter)) = found {
            counter.inc();
        }
    }
}
