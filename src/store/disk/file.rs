//! The open database, which may be closed under everyone's hands when the disk fails, and comes back.
//!
//! While it is closed, or given up by redb after an error, bodies are read through a [`View`] of the file.
//! Only the database itself says that a row is not there: a view may be older.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};

use redb::{Builder, Database, DatabaseError};

use super::medium::Medium;
use super::tables::{self, Staged, Table};
use super::view::View;
use crate::store::{WrongPath, caught};

/// What redb may keep in memory of a view: it is read seldom, and not for long.
const VIEW_CACHE_BYTES: usize = 1024 * 1024;

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
    /// The paths lead elsewhere.
    #[error("{0}")]
    WrongPath(WrongPath),
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
    /// What bodies are read from while the database cannot be.
    view: Mutex<Option<Database>>,
    /// Whether redb gave the open database up, since it could not read.
    given_up: AtomicBool,
    /// Whether it was closed for good.
    ended: AtomicBool,
}

impl DatabaseFile {
    /// Opens it, or makes a new one.
    pub(super) fn open(medium: Box<dyn Medium>) -> Result<Self, FileError> {
        let database = open(&*medium, false)?;
        Ok(Self {
            medium,
            database: RwLock::new(Some(database)),
            view: Mutex::default(),
            given_up: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
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
        if let Err(FileError::Redb(redb::Error::Io(_) | redb::Error::PreviousIo)) = read {
            self.given_up.store(true, Relaxed);
        }
        read
    }

    /// Whether the database has to be read anew, since redb could not read.
    pub(super) fn given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// A row as a view shows it, for when the database cannot be read. That a row is not in it, or is
    /// damaged, says nothing. A view that fails is made anew for the next one.
    pub(super) fn view(&self, table: Table, key: u64) -> Result<Option<Vec<u8>>, FileError> {
        if self.ended.load(Relaxed) {
            return Err(FileError::Closed);
        }
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was there may be too old.
        if let Some(database) = view.as_ref()
            && let Ok(Some(row)) = catch(|| Ok(tables::read(database, table, key)?))
        {
            return Ok(Some(row));
        }
        view.take().into_iter().for_each(let_go);
        let opened = self
            .medium
            .view()
            .and_then(View::new)
            .map_err(|cause| FileError::Redb(redb::Error::Io(cause)))?;
        let mut builder = Builder::new();
        builder.set_cache_size(VIEW_CACHE_BYTES);
        let open = || builder.create_with_backend(opened).map_err(|error| FileError::Redb(error.into()));
        let database = catch(open)?;
        let row = catch(|| Ok(tables::read(&database, table, key)?))?;
        *view = Some(database);
        Ok(row)
    }

    /// Closes it; what was committed stays.
    pub(super) fn close(&self) -> Result<(), FileError> {
        self.ended.store(true, Relaxed);
        self.view.lock().unwrap_or_else(PoisonError::into_inner).take().into_iter().for_each(let_go);
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(database) = database else { return Ok(()) };
        catch(|| database.close().map_err(|error| FileError::Redb(error.into())))
    }

    /// Reads it anew from the disk; after a failed write all of it is to be checked.
    pub(super) fn reopen(&self, check: bool) -> Result<(), FileError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = database.take() {
            // It cannot be closed properly after an error; what matters is that it is closed.
            let_go(open);
        }
        let io = |cause| FileError::Redb(redb::Error::Io(cause));
        self.medium.forget().map_err(io)?;
        if let Some(wrong) = self.medium.put_back().map_err(io)? {
            return Err(FileError::WrongPath(wrong));
        }
        *database = Some(open(&*self.medium, check)?);
        self.given_up.store(false, Relaxed);
        drop(database);
        self.view.lock().unwrap_or_else(PoisonError::into_inner).take().into_iter().for_each(let_go);
        Ok(())
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let view = self.view.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        database.into_iter().chain(view).for_each(let_go);
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
    builder.set_cache_size(medium.cache_bytes()).set_check_integrity_on_open(check);
    catch(|| medium.open(&builder).map_err(|error: DatabaseError| FileError::Redb(error.into())))
}

/// What redb does with a file that somebody else has written to may be a panic; here it is an error.
fn catch<T>(act: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    caught::catch(act).unwrap_or(Err(FileError::Panicked))
}
