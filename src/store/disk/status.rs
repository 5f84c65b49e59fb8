//! How the store is: for readiness, metrics, and whoever wants to offer something.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::FileError;
use super::record::Place;
use crate::store::{DiskStatus, Recovery, StoreStatus, WrongPath};

/// A body that could not be read: reading is in trouble until it can be.
#[derive(Debug)]
struct Unreadable {
    place: Place,
    /// How many reads have failed since it began.
    reads: u64,
}

/// Written by the writer and by those that read, and read by all.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Whether the last commit failed, and none succeeded since.
    pub(super) broken: AtomicBool,
    /// Whether the file system has too little room.
    pub(super) no_space: AtomicBool,
    pub(super) file_bytes: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    pub(super) quarantined: AtomicU64,
    /// What the paths lead to, if that is not what is open.
    pub(super) wrong_path: Mutex<Option<WrongPath>>,
    unreadable: Mutex<Option<Unreadable>>,
    /// The same, for those that only want to know whether.
    reads_fail: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Status {
    /// A body could not be read; that is logged when it begins.
    pub(super) fn unread(&self, place: Place, error: &FileError) {
        let mut unreadable = locked(&self.unreadable);
        let reads = unreadable.as_ref().map_or(0, |unreadable| unreadable.reads) + 1;
        if reads == 1 {
            tracing::error!(%error, "the store cannot read: polls of what is not in memory get 503");
        }
        *unreadable = Some(Unreadable { place, reads });
        self.reads_fail.store(true, Relaxed);
    }

    /// A body was read, or is known not to be there.
    pub(super) fn read(&self, place: Place) {
        if !self.reads_fail.load(Relaxed) {
            return;
        }
        let mut unreadable = locked(&self.unreadable);
        if let Some(ended) = unreadable.take_if(|unreadable| unreadable.place == place) {
            self.reads_fail.store(false, Relaxed);
            tracing::warn!(failed = ended.reads, "the store can read again");
        }
    }

    /// What is to be tried again, if reads fail.
    pub(super) fn unreadable(&self) -> Option<Place> {
        locked(&self.unreadable).as_ref().map(|unreadable| unreadable.place)
    }

    pub(super) fn report(&self, recovery: Recovery) -> StoreStatus {
        StoreStatus {
            available: !self.broken.load(Relaxed),
            readable: !self.reads_fail.load(Relaxed),
            wrong_path: *locked(&self.wrong_path),
            no_space: self.no_space.load(Relaxed),
            disk: DiskStatus {
                file_bytes: self.file_bytes.load(Relaxed),
                free_bytes: self.free_bytes.load(Relaxed),
                quarantined: self.quarantined.load(Relaxed),
                recovery,
            },
        }
    }
}
