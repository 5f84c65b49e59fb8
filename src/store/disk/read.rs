//! Bodies: from the cache, from the file, or from the hands of the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::spawn_blocking;

use super::DiskStore;
use super::file::{DatabaseFile, FileError};
use super::record::{self, Place};
use super::status::Status;
use super::tables::{Put, Table};
use crate::mailbox::{Batch, EventId, Lost, MailboxId, Message, TakenMessage};

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is none in this place.
    Missing,
    /// There is something else.
    Damaged(Vec<u8>),
    /// The file cannot be read at this moment.
    Unavailable,
}

impl DiskStore {
    /// Waits until everything that was handed to the writer before is on the disk.
    pub(super) async fn caught_up(&self) -> bool {
        self.engine.journal.writer.write_and_tell(Vec::new()).await.is_ok()
    }

    /// The messages in these places. What is neither in the cache nor on the disk was handed to the writer
    /// just now.
    pub(super) async fn load(
        &self,
        mailbox: MailboxId,
        places: &[Place],
    ) -> Vec<Result<Arc<Message>, Unread>> {
        let cached = places.iter().map(|place| self.engine.journal.bodies.get(*place));
        let mut loaded: Vec<_> = cached.map(|message| message.ok_or(Unread::Missing)).collect();
        for attempt in 0..2 {
            let missing: Vec<usize> =
                (0..places.len()).filter(|n| matches!(loaded[*n], Err(Unread::Missing))).collect();
            if missing.is_empty() {
                break;
            }
            let known = attempt == 0 || self.caught_up().await;
            let wanted: Vec<Place> = missing.iter().map(|n| places[*n]).collect();
            let (file, status) = (self.file.clone(), self.status.clone());
            let read = spawn_blocking(move || read_all(&file, &status, mailbox, &wanted)).await;
            // A task that ended early has read nothing; and what the writer could not write is not missing.
            let mut read = read.ok().filter(|_| known).into_iter().flatten();
            for n in missing {
                loaded[n] = read.next().unwrap_or(Err(Unread::Unavailable));
            }
        }
        loaded
    }

    /// A batch with its bodies; or, if not all of them can be read at this moment, how many of the first can.
    pub(super) async fn fill(
        &self,
        mailbox: MailboxId,
        batch: Batch<Place>,
        lost: &mut Lost,
    ) -> Result<Batch, usize> {
        let places: Vec<Place> = batch.messages.iter().map(|taken| taken.message).collect();
        let loaded = self.load(mailbox, &places).await;
        if let Some(first) = loaded.iter().position(|body| matches!(body, Err(Unread::Unavailable))) {
            return Err(first);
        }
        let Batch { handout, messages, pending, gap, answer } = batch;
        let mut filled = Vec::with_capacity(messages.len());
        for (taken, loaded) in messages.into_iter().zip(loaded) {
            let TakenMessage { id, received, redelivered, message: place } = taken;
            match loaded {
                Ok(message) => filled.push(TakenMessage { id, received, redelivered, message }),
                Err(unread) => lost.add(self.damaged(mailbox, id, place, unread)),
            }
        }
        Ok(Batch { handout, messages: filled, pending, gap, answer })
    }

    /// A body cannot be read and never will be, unless its message has just left.
    fn damaged(&self, mailbox: MailboxId, id: EventId, place: Place, unread: Unread) -> Lost {
        let lost = self.engine.lose_damaged(mailbox, id);
        if lost.total() > 0 {
            self.status.quarantined.fetch_add(1, Relaxed);
            tracing::warn!(%mailbox, event = %id, "a message cannot be read: it is in quarantine, and lost");
            if let Unread::Damaged(record) = unread {
                let key = Table::Bodies.quarantine_key(place.0);
                self.engine.journal.writer.write(vec![Put::row(Table::Quarantine, key, record)]);
            }
        }
        lost
    }
}

fn read_all(
    file: &DatabaseFile,
    status: &Status,
    mailbox: MailboxId,
    places: &[Place],
) -> Vec<Result<Arc<Message>, Unread>> {
    let read = |place: &Place| {
        let read = match file.read(Table::Bodies, place.0) {
            Ok(Some(record)) => match record::read(&record, mailbox, *place) {
                Ok(message) => Ok(Arc::new(message)),
                Err(_) => Err(Unread::Damaged(record)),
            },
            Ok(None) => Err(Unread::Missing),
            Err(error) => match file.view(Table::Bodies, place.0) {
                Ok(record) => {
                    // A view may be older than the database: what it does not have is not missing.
                    let message = record.and_then(|record| record::read(&record, mailbox, *place).ok());
                    message.map(Arc::new).ok_or(Unread::Unavailable)
                }
                Err(FileError::Closed) => Err(Unread::Unavailable),
                Err(_) => {
                    status.unread(*place, &error);
                    return Err(Unread::Unavailable);
                }
            },
        };
        status.read(*place);
        read
    };
    places.iter().map(read).collect()
}

/// Tries again what could not be read.
pub(super) fn retry(file: &DatabaseFile, status: &Status) {
    if let Some(place) = status.unreadable()
        && (file.read(Table::Bodies, place.0).is_ok() || file.view(Table::Bodies, place.0).is_ok())
    {
        status.read(place);
    }
}
