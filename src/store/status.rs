//! How a store is: for readiness and metrics.

use std::time::Duration;

/// How a store is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Whether it can keep what it is given.
    pub available: bool,
    /// Whether messages that are not in memory can be read.
    pub readable: bool,
    /// What its paths lead to, if that is not what it has open.
    pub wrong_path: Option<WrongPath>,
    /// Whether its file system has too little room.
    pub no_space: bool,
    /// What there is to say of its file; zeros, if it has none.
    pub disk: DiskStatus,
}

impl Default for StoreStatus {
    /// A store that cannot fail.
    fn default() -> Self {
        Self {
            available: true,
            readable: true,
            wrong_path: None,
            no_space: false,
            disk: DiskStatus::default(),
        }
    }
}

/// What a path of the store leads to, when it does not lead to what the store has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongPath {
    /// Another directory, or none.
    #[error("its directory was moved, removed or replaced: put it back where it was")]
    Directory,
    /// Another lock file, or none.
    #[error("its lock file was removed or replaced: stop the other gateway that holds it")]
    Lock,
    /// Nothing.
    #[error("its file was removed: it is written anew as soon as that is possible")]
    Removed,
    /// Another file.
    #[error("its file was replaced: put the right one back, or remove the other, and it is written anew")]
    Replaced,
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
