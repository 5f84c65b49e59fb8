//! How much there may be of what is measured elsewhere: saturation is the one divided by the other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus::{Gauge, IntGauge};

use super::adder::{Adder, set};
use crate::config::Config;

/// The bounds of the running configuration.
#[derive(Debug)]
pub(super) struct BoundMetrics {
    /// For how many clients the process has file descriptors.
    descriptors: AtomicU64,
    connections: IntGauge,
    held_polls: IntGauge,
    mailboxes: IntGauge,
    buffered_bytes: IntGauge,
    body_bytes: IntGauge,
    min_free_bytes: IntGauge,
    message_life_time: Gauge,
}

impl BoundMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        Ok(Self {
            descriptors: AtomicU64::new(u64::MAX),
            connections: add.gauge(
                "connections_limit",
                "Connections that clients may have: by the configuration, or by the file descriptors if those are fewer.",
            )?,
            held_polls: add.gauge("held_polls_limit", "Polls that may be held.")?,
            mailboxes: add.gauge("mailboxes_limit", "Mailboxes that there may be.")?,
            buffered_bytes: add
                .gauge("buffered_bytes_limit", "Bytes that messages in mailboxes may have.")?,
            body_bytes: add.gauge(
                "body_bytes_in_flight_limit",
                "Bytes that request bodies may take in memory at a time.",
            )?,
            min_free_bytes: add.gauge(
                "store_min_free_bytes",
                "Room on the store's file system with less than which it takes nothing in.",
            )?,
            message_life_time: add.float_gauge(
                "message_life_time_seconds",
                "Life time of a message whose client asks for none.",
            )?,
        })
    }

    pub(super) fn descriptors_are_for(&self, clients: u64) {
        self.descriptors.store(clients, Relaxed);
    }

    pub(super) fn set(&self, config: &Config) {
        set(&self.connections, config.limits.connections.min(self.descriptors.load(Relaxed)));
        set(&self.held_polls, config.polling.max_held_polls);
        set(&self.mailboxes, config.store.max_mailboxes);
        set(&self.buffered_bytes, config.store.max_buffered_bytes);
        set(&self.body_bytes, config.limits.body_bytes_in_flight);
        set(&self.min_free_bytes, config.store.min_free_bytes);
        self.message_life_time.set(config.polling.limits.life_time.apply(None).as_secs_f64());
    }
}
