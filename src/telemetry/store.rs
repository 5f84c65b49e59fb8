//! The metrics of the store: how it writes, and how much room it has.

use prometheus::{Gauge, Histogram, IntGauge};

use super::adder::{Adder, set};
use crate::store::{Commit, StoreStatus};

/// From the fastest disks to those that are in trouble.
const COMMITS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// From one message to as many as go into one commit.
const ROWS: &[f64] = &[4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 8192.0];

/// What is measured of the store beside what is in it.
#[derive(Debug)]
pub(super) struct StoreMetrics {
    commit: Histogram,
    rows: Histogram,
    available: IntGauge,
    file_bytes: IntGauge,
    free_bytes: IntGauge,
    quarantined: IntGauge,
    recovery: Gauge,
    recovered: IntGauge,
}

impl StoreMetrics {
    pub(super) fn new(add: &Adder) -> prometheus::Result<Self> {
        Ok(Self {
            commit: add.histogram(
                "store_commit_seconds",
                "Time that a commit took, until it was on the disk.",
                COMMITS,
            )?,
            rows: add.histogram(
                "store_commit_rows",
                "Rows that a commit wrote or removed: about two for each message.",
                ROWS,
            )?,
            available: add.gauge(
                "store_available",
                "1 if the store takes messages in, 0 if it cannot write or has no space.",
            )?,
            file_bytes: add.gauge("store_file_bytes", "Size of the store's file.")?,
            free_bytes: add.gauge("store_free_bytes", "Room on the store's file system.")?,
            quarantined: add
                .gauge("store_quarantined_records", "Records that could not be read, since the start.")?,
            recovery: add.float_gauge("store_recovery_seconds", "Time that the store took to open.")?,
            recovered: add.gauge("store_recovered_messages", "Messages that were there at the start.")?,
        })
    }

    pub(super) fn committed(&self, commit: Commit) {
        self.commit.observe(commit.took.as_secs_f64());
        // Far below the numbers that a float cannot hold.
        self.rows.observe(commit.rows as f64);
    }

    pub(super) fn set(&self, status: StoreStatus) {
        self.available.set(i64::from(status.available && !status.no_space));
        set(&self.file_bytes, status.disk.file_bytes);
        set(&self.free_bytes, status.disk.free_bytes);
        set(&self.quarantined, status.disk.quarantined);
        self.recovery.set(status.disk.recovery.took.as_secs_f64());
        set(&self.recovered, status.disk.recovery.messages);
    }
}
