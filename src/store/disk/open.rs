//! Opening the store: what the file is, and everything that is in it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::cache::Bodies;
use super::clients::Keeper;
use super::codec::Damage;
use super::elapsed::StoreClock;
use super::file::{DatabaseFile, FileError};
use super::follow::Follower;
use super::medium::{Directory, Medium};
use super::status::Status;
use super::tables::{self, FORMAT, Put, Table, meta};
use super::writer::Writer;
use super::{DiskOptions, DiskStore, OpenError, recover, row};
use crate::clock;
use crate::mailbox::{EventId, MailboxId};
use crate::store::engine::Engine;
use crate::store::{Clients, Recovery};

impl DiskStore {
    /// Opens the store in this directory, or makes a new one, and finds everything that is in it. Nobody
    /// else may use the directory as long as it is open.
    pub fn open(directory: &Path, options: DiskOptions) -> Result<Self, OpenError> {
        let directory = Directory::take(directory)?;
        let name = directory.file().display().to_string();
        Self::open_on(Box::new(directory), &name, options)
    }

    /// What opening would find, without making or changing anything in it but what a process that was killed left
    /// open; none where there is no store yet. Nobody else may use the directory meanwhile.
    pub fn examine(directory: &Path) -> Result<Option<Recovery>, OpenError> {
        let began = clock::instant();
        if !Directory::has_store(directory)? {
            return Ok(None);
        }
        let directory = Directory::take(directory)?;
        let name = directory.file().display().to_string();
        let file = open_file(Box::new(directory), &name)?;
        if check_format(&file, &name)? == Format::New {
            return Ok(None);
        }
        let reserved = reserved(&file).map_err(unreadable(&name))?;
        let found = recover::recover(&file, StoreClock::default(), reserved).map_err(unreadable(&name))?;
        let mailboxes = found.mailboxes.len() as u64;
        file.close().map_err(unreadable(&name))?;
        Ok(Some(Recovery { took: began.elapsed(), mailboxes, messages: found.messages }))
    }

    pub(super) fn open_on(
        medium: Box<dyn Medium>,
        name: &str,
        options: DiskOptions,
    ) -> Result<Self, OpenError> {
        let began = clock::instant();
        let unreadable = unreadable(name);
        let file = Arc::new(open_file(medium, name)?);
        let mut first = Vec::new();
        if check_format(&file, name)? != Format::Known(FORMAT) {
            first.push(Put::row(Table::Meta, meta::FORMAT, row::write_number(FORMAT)));
        }
        let reading = options.clock.read();
        let seen = known(&file, meta::SEEN, row::read_seen).map_err(&unreadable)?;
        let store_clock = seen.map_or_else(StoreClock::default, |seen| StoreClock::resume(&seen, &reading));
        let reserved = reserved(&file).map_err(&unreadable)?;
        let found = recover::recover(&file, store_clock, reserved).map_err(&unreadable)?;
        first.extend(found.puts);
        // A thousand ids a millisecond: they grow even if the directory is emptied, and stay exact in JSON.
        let events = reserved.event.unwrap_or(reading.wall.as_millis() * 1000).max(found.newest_event);
        let mailboxes = reserved.mailbox.unwrap_or_default().max(found.newest_mailbox);
        let status = Arc::new(Status::default());
        status.quarantined.store(found.quarantined, Relaxed);
        let writer = Writer {
            file: file.clone(),
            status: status.clone(),
            store_clock,
            clock: options.clock,
            min_free_bytes: options.min_free_bytes,
            on_commit: options.on_commit,
            reserved: events,
            first,
        };
        let (handle, thread) = writer.start().map_err(&unreadable)?;
        let keeper = Keeper { writer: handle.clone(), status: status.clone() };
        let clients = Clients::new(found.clients, keeper);
        let bodies = Bodies::new(options.cache_bytes);
        let newest_mailbox = AtomicU64::new(mailboxes);
        let follower = Follower { writer: handle, bodies, clock: store_clock, newest_mailbox };
        let engine = Engine::new(follower, options.caps, EventId(events), MailboxId(mailboxes));
        let recovered = found.mailboxes.len() as u64;
        for mailbox in found.mailboxes {
            engine.restore(mailbox, reading.now);
        }
        let recovery = Recovery { took: began.elapsed(), mailboxes: recovered, messages: found.messages };
        Ok(Self { engine, clients, file, status, recovery, writer: Mutex::new(Some(thread)) })
    }
}

fn unreadable(name: &str) -> impl Fn(FileError) -> OpenError {
    move |error| match error {
        FileError::Redb(redb::Error::DatabaseAlreadyOpen) => OpenError::InUse { path: name.to_owned() },
        error => OpenError::Unreadable { path: name.to_owned(), cause: error.to_string() },
    }
}

fn open_file(medium: Box<dyn Medium>, name: &str) -> Result<DatabaseFile, OpenError> {
    DatabaseFile::open(medium).map_err(unreadable(name))
}

/// The format of a file that this version can work with.
fn check_format(file: &DatabaseFile, name: &str) -> Result<Format, OpenError> {
    match format(file).map_err(unreadable(name))? {
        known @ (Format::New | Format::Known(1..=FORMAT)) => Ok(known),
        Format::Known(found) if found > FORMAT => Err(OpenError::Newer { path: name.to_owned(), found }),
        Format::Known(_) | Format::Foreign => {
            let cause = "it does not say which format it has".to_owned();
            Err(OpenError::Unreadable { path: name.to_owned(), cause })
        }
    }
}

/// Which format a file has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    New,
    Known(u64),
    Foreign,
}

fn format(file: &DatabaseFile) -> Result<Format, FileError> {
    let tables = file.with(tables::count)?;
    Ok(match known(file, meta::FORMAT, row::read_number)? {
        Some(format) => Format::Known(format),
        None if tables == 0 => Format::New,
        None => Format::Foreign,
    })
}

/// The newest ids that can have been given.
fn reserved(file: &DatabaseFile) -> Result<recover::Reserved, FileError> {
    Ok(recover::Reserved {
        event: known(file, meta::EVENTS, row::read_number)?,
        mailbox: known(file, meta::MAILBOXES, row::read_number)?,
    })
}

/// What is known of the file as a whole; what cannot be read counts as unknown.
fn known<T>(
    file: &DatabaseFile,
    key: u64,
    read: impl FnOnce(&[u8]) -> Result<T, Damage>,
) -> Result<Option<T>, FileError> {
    Ok(file.read(Table::Meta, key)?.and_then(|row| read(&row).ok()))
}
