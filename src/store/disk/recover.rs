//! What is in the file when the gateway starts: every mailbox as it was, and what cannot be read.

use std::collections::HashMap;
use std::sync::Arc;

use super::clients::{client_put, read_client, read_policy};
use super::codec::Damage;
use super::elapsed::StoreClock;
use super::file::{DatabaseFile, FileError};
use super::follow::state_put;
use super::record::{self, Place};
use super::row::{DroppedRow, IndexRow, MailboxRow, read_state};
use super::tables::{self, Put, Table};
use crate::mailbox::{Buffered, DroppedMessage, EventId, Mailbox, MailboxId, Snapshot, Timestamp};
use crate::store::clients::Book;
use crate::store::engine::{Lease, Slot};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) mailboxes: Vec<Slot<Place>>,
    pub(super) messages: u64,
    /// The newest id of a message, and of a mailbox.
    pub(super) newest_event: u64,
    pub(super) newest_mailbox: u64,
    /// What is to be written: what cannot be read goes into quarantine.
    pub(super) puts: Vec<Put>,
    pub(super) quarantined: u64,
    /// What users set, and which policies there were.
    pub(super) clients: Book,
}

/// What belongs to one mailbox.
#[derive(Default)]
struct Contents {
    state: Snapshot,
    messages: Vec<(EventId, Buffered<Place>)>,
    dropped: Vec<DroppedMessage<Place>>,
    first_submitted: Option<Timestamp>,
    /// Messages whose row cannot be read.
    damaged: u64,
}

/// A row that cannot be read, or that belongs to nobody.
struct Bad {
    table: Table,
    key: u64,
    row: Vec<u8>,
    /// Where its body is, as far as is known.
    body: Option<u64>,
}

/// The newest ids that can have been given, as far as the file says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserved {
    pub(super) event: Option<u64>,
    pub(super) mailbox: Option<u64>,
}

/// An id that was never reserved is damage, whatever its row says.
fn was_reserved(id: u64, newest: Option<u64>) -> Result<(), Damage> {
    if newest.is_none_or(|newest| id <= newest) { Ok(()) } else { Err(Damage::Fields) }
}

/// Reads everything but the bodies.
pub(super) fn recover(
    file: &DatabaseFile,
    clock: StoreClock,
    reserved: Reserved,
) -> Result<Found, FileError> {
    let mut found = Found::default();
    let mut bad = Vec::new();
    let mut rows = HashMap::new();
    let mut contents: HashMap<u64, Contents> = HashMap::new();
    each(file, Table::Mailboxes, &mut bad, |key, row| {
        was_reserved(key, reserved.mailbox)?;
        rows.insert(key, MailboxRow::read(row, clock)?);
        found.newest_mailbox = found.newest_mailbox.max(key);
        Ok(())
    })?;
    each(file, Table::States, &mut bad, |key, row| {
        read_state(row, clock).map(|state| contents.entry(key).or_default().state = state)
    })?;
    each(file, Table::Index, &mut bad, |key, row| {
        was_reserved(key, reserved.event)?;
        let IndexRow { mailbox, message, first_submitted } = IndexRow::read(row, clock)?;
        found.newest_event = found.newest_event.max(key);
        let contents = contents.entry(mailbox.0).or_default();
        contents.first_submitted = contents.first_submitted.max(first_submitted);
        contents.messages.push((EventId(key), message));
        Ok(())
    })?;
    each(file, Table::Dropped, &mut bad, |key, row| {
        was_reserved(key, reserved.event)?;
        let row = DroppedRow::read(row, clock)?;
        found.newest_event = found.newest_event.max(key);
        let contents = contents.entry(row.index.mailbox.0).or_default();
        contents.first_submitted = contents.first_submitted.max(row.index.first_submitted);
        contents.dropped.push(row.into_message(EventId(key)));
        Ok(())
    })?;
    let (mut clients, mut policies) = (Vec::new(), Vec::new());
    each(file, Table::Clients, &mut bad, |key, row| read_client(key, row).map(|row| clients.push(row)))?;
    each(file, Table::Policies, &mut bad, |key, row| {
        read_policy(row).map(|policy| policies.push((key, policy)))
    })?;
    let (book, older) = Book::restore(clients, policies);
    found.clients = book;
    found.puts.extend(older.into_iter().map(client_put));
    found.strays(file, &rows, &mut contents, &mut bad)?;
    found.quarantine(file, bad, &mut contents)?;
    for (id, row) in rows {
        let contents = contents.remove(&id).unwrap_or_default();
        found.messages += contents.messages.len() as u64;
        found.mailbox(id, row, contents, clock);
    }
    Ok(found)
}

fn each(
    file: &DatabaseFile,
    table: Table,
    bad: &mut Vec<Bad>,
    mut read: impl FnMut(u64, &[u8]) -> Result<(), Damage>,
) -> Result<(), FileError> {
    file.with(|database| {
        tables::each(database, table, |key, row| {
            if read(key, row).is_err() {
                bad.push(Bad { table, key, row: row.to_vec(), body: Some(key) });
            }
        })
    })
}

impl Found {
    /// What belongs to a mailbox that is not there cannot be handed to anybody.
    fn strays(
        &mut self,
        file: &DatabaseFile,
        rows: &HashMap<u64, MailboxRow>,
        contents: &mut HashMap<u64, Contents>,
        bad: &mut Vec<Bad>,
    ) -> Result<(), FileError> {
        let strays: Vec<u64> = contents.keys().copied().filter(|id| !rows.contains_key(id)).collect();
        for mailbox in strays {
            let Some(contents) = contents.remove(&mailbox) else { continue };
            let messages = contents.messages.iter().map(|(id, m)| (Table::Index, id.0, m.message.0));
            let dropped = contents.dropped.iter().map(|d| (Table::Dropped, d.id.0, d.message.message.0));
            let all = messages.chain(dropped).chain([(Table::States, mailbox, 0)]);
            for (table, key, body) in all {
                if let Some(row) = file.read(table, key)? {
                    bad.push(Bad { table, key, row, body: Some(body).filter(|body| *body > 0) });
                }
            }
        }
        Ok(())
    }

    /// Moves rows to where they do no harm and can be looked at, with their bodies; the mailbox that a
    /// message was for has a gap.
    fn quarantine(
        &mut self,
        file: &DatabaseFile,
        bad: Vec<Bad>,
        contents: &mut HashMap<u64, Contents>,
    ) -> Result<(), FileError> {
        for Bad { table, key, row, body } in bad {
            tracing::warn!(table = table.name(), key, "a record cannot be read: it is in quarantine");
            self.quarantined += 1;
            self.puts.push(Put::no_row(table, key));
            self.puts.push(Put::row(Table::Quarantine, table.quarantine_key(key), row));
            if !matches!(table, Table::Index | Table::Dropped) {
                continue;
            }
            let Some(place) = body else { continue };
            if let Some(record) = file.read(Table::Bodies, place)? {
                if table == Table::Index
                    && let Some(owner) = record::owner(&record)
                {
                    contents.entry(owner.0).or_default().damaged += 1;
                }
                self.puts.push(Put::no_row(Table::Bodies, place));
                self.puts.push(Put::row(Table::Quarantine, Table::Bodies.quarantine_key(place), record));
            }
        }
        Ok(())
    }

    fn mailbox(&mut self, id: u64, row: MailboxRow, contents: Contents, clock: StoreClock) {
        let Contents { mut state, messages, mut dropped, first_submitted, damaged } = contents;
        state.first_submitted = state.first_submitted.max(first_submitted);
        if damaged > 0 {
            state.gap += damaged;
            self.puts.push(state_put(id, state, clock));
        }
        dropped.sort_by_key(|dropped| (dropped.dropped_at, dropped.id));
        let MailboxRow { token, poll_key, created, lease_ends, ended, subscription_id, subscription } = row;
        let lease = Lease { subscription_id, ends: lease_ends, ended };
        let mailbox = Mailbox::restore(state, messages, dropped);
        let id = MailboxId(id);
        let subscription = Arc::new(subscription);
        self.mailboxes.push(Slot::restored(id, token, poll_key, created, subscription, lease, mailbox));
    }
}
