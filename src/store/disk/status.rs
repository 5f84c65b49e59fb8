//! How the store is: for readiness, metrics, and whoever wants to offer something.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::store::{DiskStatus, Recovery, StoreStatus};

/// Written by the writer, read by all.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Whether the last commit failed, and none succeeded since.
    pub(super) broken: AtomicBool,
    /// Whether the file system has too little room.
    pub(super) no_space: AtomicBool,
    /// Whether the file was removed or replaced.
    pub(super) displaced: AtomicBool,
    pub(super) file_bytes: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    pub(super) quarantined: AtomicU64,
}

impl Status {
    pub(super) fn report(&self, recovery: Recovery, readable: bool) -> StoreStatus {
        StoreStatus {
            available: !self.broken.load(Relaxed),
            no_space: self.no_space.load(Relaxed),
            readable,
            in_place: !self.displaced.load(Relaxed),
            disk: DiskStatus {
                file_bytes: self.file_bytes.load(Relaxed),
                free_bytes: self.free_bytes.load(Relaxed),
                quarantined: self.quarantined.load(Relaxed),
                recovery,
            },
        }
    }
}
