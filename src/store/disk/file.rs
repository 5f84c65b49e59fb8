//! The open database, which may be closed under everyone's hands when the disk fails, and comes back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, TryLockError};

use redb::{Builder, Database, DatabaseError};

use super::medium::Medium;
use super::tables::{self, Staged, Table};
use crate::store::caught;

/// What redb may keep in memory: enough for the inner pages of its trees and for a few commits. Bodies have
/// a cache of their own.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// It is closed, for the time being.
    #[error("the file is closed")]
    Closed,
    /// redb says so.
    #[error(transparent)]
    Redb(#[from] redb::Error),
    /// redb panicked, as it may over a file that somebody else has written to.
    #[error("the file is damaged")]
    Panicked,
}

impl FileError {
    /// Whether the file system is full.
    pub(super) fn is_no_space(&self) -> bool {
        matches!(self, FileError::Redb(redb::Error::Io(cause)) if matches!(
            cause.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ))
    }
}

/// The database.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    medium: Box<dyn Medium>,
    database: RwLock<Option<Database>>,
    /// How many reads failed since the file was read anew.
    failed_reads: AtomicU64,
}

impl DatabaseFile {
    /// Opens it, or makes a new one.
    pub(super) fn open(medium: Box<dyn Medium>) -> Result<Self, FileError> {
        let database = open(&*medium, false)?;
        Ok(Self { medium, database: RwLock::new(Some(database)), failed_reads: AtomicU64::new(0) })
    }

    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Uses the database, unless it is closed.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        let database = match self.database.try_read() {
            Ok(database) => database,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // It is being closed, or opened: that may take long.
            Err(TryLockError::WouldBlock) => return Err(FileError::Closed),
        };
        let database = database.as_ref().ok_or(FileError::Closed)?;
        catch(|| Ok(act(database)?))
    }

    pub(super) fn commit(&self, staged: &Staged) -> Result<(), FileError> {
        self.with(|database| staged.commit(database))
    }

    pub(super) fn read(&self, table: Table, key: u64) -> Result<Option<Vec<u8>>, FileError> {
        let read = self.with(|database| tables::read(database, table, key));
        if let Err(error) = &read
            // That is so for a moment, and the writer knows of it.
            && !matches!(error, FileError::Closed)
            && self.failed_reads.fetch_add(1, Relaxed) == 0
        {
            // Once for all that fail: each poll that asks would have a line.
            tracing::warn!(%error, "messages cannot be read from the store: polls that need them get 503");
        }
        read
    }

    /// Whether no read has failed since the file was read anew: after one, redb neither reads nor writes any more.
    pub(super) fn is_readable(&self) -> bool {
        self.failed_reads.load(Relaxed) == 0
    }

    /// Closes it; what was committed stays.
    pub(super) fn close(&self) -> Result<(), FileError> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(database) = database else { return Ok(()) };
        catch(|| database.close().map_err(|error| FileError::Redb(error.into())))
    }

    /// Reads it anew from the disk, and checks all of it.
    pub(super) fn reopen(&self) -> Result<(), FileError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = database.take() {
            // It cannot be closed properly after an error; what matters is that it is closed.
            let_go(open);
        }
        self.medium.forget().map_err(|cause| FileError::Redb(redb::Error::Io(cause)))?;
        *database = Some(open(&*self.medium, true)?);
        let failed = self.failed_reads.swap(0, Relaxed);
        if failed > 0 {
            tracing::warn!(failed, "messages can be read from the store again");
        }
        Ok(())
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner);
        database.take().into_iter().for_each(let_go);
    }
}

/// Closes a database over which redb may panic.
fn let_go(database: Database) {
    let _ = catch(|| {
        drop(database);
        Ok(())
    });
}

fn open(medium: &dyn Medium, check: bool) -> Result<Database, FileError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
    catch(|| medium.open(&builder).map_err(|error: DatabaseError| FileError::Redb(error.into())))
}

/// What redb does with a file that somebody else has written to may be a panic; here it is an error.
fn catch<T>(act: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    caught::catch(act).unwrap_or(Err(FileError::Panicked))
}
