//! How the store works, and why it may not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::tables::FORMAT;
use crate::clock::{self, Reading};
use crate::store::{Caps, Commit};

/// What the clocks say.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> Reading + Send + Sync>);

impl Clock {
    pub(super) fn read(&self) -> Reading {
        (self.0)()
    }
}

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        Self(Arc::new(clock::read))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Whoever wants to know of each commit.
#[derive(Clone)]
pub struct CommitWatch(pub Arc<dyn Fn(Commit) + Send + Sync>);

impl Default for CommitWatch {
    /// Nobody.
    fn default() -> Self {
        Self(Arc::new(|_| {}))
    }
}

impl fmt::Debug for CommitWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitWatch")
    }
}

/// How the store works.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What it may hold.
    pub caps: Caps,
    /// How many bytes of recent bodies are kept in memory.
    pub cache_bytes: u64,
    /// With less room than this on the file system nothing is taken in.
    pub min_free_bytes: u64,
    /// What the clocks say.
    pub clock: Clock,
    /// Whoever wants to know of each commit.
    pub on_commit: CommitWatch,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("cannot use the directory {path}: {cause}", path = path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process (process id {holder})", path = path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process, as it wrote itself down.
        holder: String,
    },
    /// Another process has its file, though it does not hold the lock.
    #[error("{path} is in use by another process, whose lock file was removed: stop that process first")]
    InUse {
        /// Which file.
        path: String,
    },
    /// The file cannot be read as what it should be.
    #[error("{path} cannot be read: it is damaged, or no store of Pollgate's ({cause})")]
    Unreadable {
        /// Which file.
        path: String,
        /// What was found.
        cause: String,
    },
    /// The file is of a newer version.
    #[error("{path} was written by a newer version of Pollgate (format {found}; this one knows {FORMAT})")]
    Newer {
        /// Which file.
        path: String,
        /// Its format.
        found: u64,
    },
}
