//! The metrics of the configuration's reloads.

use std::time::SystemTime;

use prometheus::{Gauge, IntGauge};

use super::adder::{Adder, ByWord};

/// What became of the configurations that were written while the gateway ran. Before the first reload they
/// tell of the start.
#[derive(Debug)]
pub(super) struct ReloadMetrics {
    ended: ByWord,
    success: IntGauge,
    success_at: Gauge,
}

impl ReloadMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        Ok(Self {
            ended: add.by_word(
                "config_reloads_total",
                "Configurations that were read again, by result.",
                "result",
                ["followed", "refused"],
            )?,
            success: add.gauge(
                "config_reload_success",
                "Whether the configuration that was read last is the running one (1) or was refused (0).",
            )?,
            success_at: add.float_gauge(
                "config_reload_success_timestamp_seconds",
                "When the running configuration was read, in seconds since 1970.",
            )?,
        })
    }

    /// The gateway starts with a configuration that was read now.
    pub(super) fn started(&self, wall: SystemTime) {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.success.set(1);
        self.success_at.set(since.as_secs_f64());
    }

    /// A configuration was read again.
    pub(super) fn ended(&self, followed: bool, wall: SystemTime) {
        if followed {
            self.ended.add("followed", 1);
            self.started(wall);
        } else {
            self.ended.add("refused", 1);
            self.success.set(0);
        }
    }
}
