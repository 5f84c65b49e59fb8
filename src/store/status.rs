//! How a store is: for readiness and metrics.

use std::time::Duration;

/// How a store is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Whether it can keep what it is given.
    pub available: bool,
    /// Whether its file system has too little room.
    pub no_space: bool,
    /// Whether messages that are not in memory can be read.
    pub readable: bool,
    /// Whether its file is where it was opened, and not removed or replaced.
    pub in_place: bool,
    /// What there is to say of its file; zeros, if it has none.
    pub disk: DiskStatus,
}

impl Default for StoreStatus {
    /// A store that cannot fail.
    fn default() -> Self {
        let disk = DiskStatus::default();
        Self { available: true, no_space: false, readable: true, in_place: true, disk }
    }
}

/// What there is to say of a store's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// Its size.
    pub file_bytes: u64,
    /// The room on its file system.
    pub free_bytes: u64,
    /// Records that could not be read, since the start.
    pub quarantined: u64,
    /// What was found at the start.
    pub recovery: Recovery,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How long it took.
    pub took: Duration,
    /// Live mailboxes, and ended ones whose dropped messages are kept.
    pub mailboxes: u64,
    /// Messages that wait.
    pub messages: u64,
}

/// One commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// How long it took, with its sync.
    pub took: Duration,
    /// How many rows it wrote or removed.
    pub rows: u64,
}
