//! The tables of the file, and what is to be written into them.
//!
//! Every table is from numbers to rows. What is to be written is, for each row, what it shall be: so it
//! does no harm to write it twice, and of two wishes the later one holds.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

/// The version of the file's format. A file of a newer one is not touched.
///
/// Format 2: each row ends with a checksum of its table, its key and itself, so that a row which is found under another
/// key is none. Rows of format 1 have only the one of their own; they are read, and are of format 2 when they are
/// written again.
pub(super) const FORMAT: u64 = 2;

/// Of the checksum at the end of a row.
const SEAL_BYTES: usize = 4;

impl Table {
    fn seal(self, key: u64, row: &[u8]) -> [u8; SEAL_BYTES] {
        let mut sum = crc32fast::Hasher::new();
        sum.update(self.name().as_bytes());
        sum.update(&key.to_le_bytes());
        sum.update(row);
        sum.finalize().to_le_bytes()
    }

    /// A row as it was before it was sealed. One of format 1 comes as it is, and so does one that is damaged or of
    /// another key: as that of format 1 it is damaged too.
    fn unsealed(self, key: u64, stored: &[u8]) -> &[u8] {
        match stored.split_last_chunk::<SEAL_BYTES>() {
            Some((row, seal)) if *seal == self.seal(key, row) => row,
            _ => stored,
        }
    }
}

/// One table. The numbers of these are in the keys of what is in quarantine: a new one comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// What is known of the file as a whole; its keys are the constants of [`meta`].
    Meta,
    /// Mailbox id: whose mailbox it is.
    Mailboxes,
    /// Mailbox id: what it knows beside its messages.
    States,
    /// Event id: a message that waits.
    Index,
    /// Event id: a message that was dropped and is kept.
    Dropped,
    /// Arrival number: a body.
    Bodies,
    /// Table and key: a row that cannot be read.
    Quarantine,
    /// Number of the write: what a user set.
    Clients,
    /// Number of the write: a policy.
    Policies,
}

/// The keys of [`Table::Meta`].
pub(super) mod meta {
    /// The version of the format.
    pub(in super::super) const FORMAT: u64 = 0;
    /// No message ever got an id above this one.
    pub(in super::super) const EVENTS: u64 = 1;
    /// No mailbox ever got an id above this one.
    pub(in super::super) const MAILBOXES: u64 = 2;
    /// What the clocks said at the last commit.
    pub(in super::super) const SEEN: u64 = 3;
}

impl Table {
    pub(super) const ALL: [Table; 9] = [
        Table::Meta,
        Table::Mailboxes,
        Table::States,
        Table::Index,
        Table::Dropped,
        Table::Bodies,
        Table::Quarantine,
        Table::Clients,
        Table::Policies,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Meta => "pollgate-meta",
            Table::Mailboxes => "mailbox",
            Table::States => "state",
            Table::Index => "index",
            Table::Dropped => "dropped",
            Table::Bodies => "body",
            Table::Quarantine => "quarantine",
            Table::Clients => "client",
            Table::Policies => "policy",
        }
    }

    pub(super) fn definition(self) -> TableDefinition<'static, u64, &'static [u8]> {
        TableDefinition::new(self.name())
    }

    /// Under which key a row of this table is in quarantine. Ids that a JSON number can hold have eleven
    /// bits to spare.
    pub(super) fn quarantine_key(self, key: u64) -> u64 {
        (self as u64) << 56 | (key & (u64::MAX >> 8))
    }
}

/// One row, as it shall be; none to be there no longer.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) table: Table,
    pub(super) key: u64,
    pub(super) row: Option<Vec<u8>>,
}

impl Put {
    pub(super) fn row(table: Table, key: u64, row: Vec<u8>) -> Self {
        Self { table, key, row: Some(row) }
    }

    pub(super) fn no_row(table: Table, key: u64) -> Self {
        Self { table, key, row: None }
    }
}

/// What the next commit writes.
#[derive(Debug, Default)]
pub(super) struct Staged {
    tables: [BTreeMap<u64, Option<Vec<u8>>>; Table::ALL.len()],
}

impl Staged {
    /// Adds a row; returns how many bytes it has.
    pub(super) fn put(&mut self, put: Put) -> usize {
        let bytes = put.row.as_ref().map_or(0, Vec::len);
        self.tables[put.table as usize].insert(put.key, put.row);
        bytes
    }

    /// Adds what came later.
    pub(super) fn then(&mut self, later: Staged) {
        for (mine, theirs) in self.tables.iter_mut().zip(later.tables) {
            mine.extend(theirs);
        }
    }

    /// How many rows it touches.
    pub(super) fn rows(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    /// Writes everything in one transaction: when it returns, it is on the disk.
    pub(super) fn commit(&self, database: &Database) -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        // The state of the allocator goes with each commit, so that a start after a crash reads nothing
        // but what it needs.
        transaction.set_quick_repair(true);
        self.write(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let mut sealed = Vec::new();
        for (which, rows) in Table::ALL.into_iter().zip(&self.tables) {
            if rows.is_empty() {
                continue;
            }
            let mut table = transaction.open_table(which.definition())?;
            for (key, row) in rows {
                match row {
                    Some(row) => {
                        sealed.clear();
                        sealed.extend_from_slice(row);
                        sealed.extend_from_slice(&which.seal(*key, row));
                        table.insert(key, sealed.as_slice())?;
                    }
                    None => _ = table.remove(key)?,
                }
            }
        }
        Ok(())
    }
}

/// How many tables there are, whoever made them.
pub(super) fn count(database: &Database) -> Result<usize, redb::Error> {
    let transaction = database.begin_read()?;
    Ok(transaction.list_tables()?.count() + transaction.list_multimap_tables()?.count())
}

/// One row, if it is there.
pub(super) fn read(database: &Database, which: Table, key: u64) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(which.definition()) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get(key)?.map(|row| which.unsealed(key, row.value()).to_vec()))
}

/// Every row of a table, by growing key.
pub(super) fn each(
    database: &Database,
    which: Table,
    mut see: impl FnMut(u64, &[u8]),
) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(which.definition()) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in table.iter()? {
        let (key, row) = entry?;
        see(key.value(), which.unsealed(key.value(), row.value()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap()
    }

    fn put(key: u64, row: Option<&[u8]>) -> Put {
        Put { table: Table::Index, key, row: row.map(<[u8]>::to_vec) }
    }

    fn rows(database: &Database) -> Vec<(u64, Vec<u8>)> {
        let mut rows = Vec::new();
        each(database, Table::Index, |key, row| rows.push((key, row.to_vec()))).unwrap();
        rows
    }

    #[test]
    fn of_two_wishes_the_later_one_holds() {
        let database = database();
        assert_eq!(rows(&database), []);
        let mut staged = Staged::default();
        assert_eq!(staged.rows(), 0);
        for (key, row) in [(1, Some(&b"a"[..])), (2, Some(b"b")), (1, None), (2, Some(b"c")), (3, None)] {
            staged.put(put(key, row));
        }
        assert_eq!(staged.rows(), 3);
        let mut later = Staged::default();
        later.put(put(4, Some(b"d")));
        later.put(put(2, Some(b"e")));
        staged.then(later);
        for _ in 0..2 {
            staged.commit(&database).unwrap();
            assert_eq!(rows(&database), [(2, b"e".to_vec()), (4, b"d".to_vec())]);
        }
        assert_eq!(read(&database, Table::Index, 2).unwrap(), Some(b"e".to_vec()));
        assert_eq!(read(&database, Table::Index, 1).unwrap(), None);
        assert_eq!(read(&database, Table::Bodies, 1).unwrap(), None);
    }

    #[test]
    fn a_row_under_another_key_is_none() {
        let database = database();
        let mut staged = Staged::default();
        let row = super::super::row::write_number(7);
        staged.put(put(1, Some(&row)));
        staged.commit(&database).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(Table::Index.definition()).unwrap();
            let stored = table.get(1).unwrap().unwrap().value().to_vec();
            table.insert(2, stored.as_slice()).unwrap();
            // As format 1 had it.
            table.insert(3, row.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        let number =
            |key| super::super::row::read_number(&read(&database, Table::Index, key).unwrap().unwrap());
        assert_eq!((number(1), number(3)), (Ok(7), Ok(7)));
        assert!(number(2).is_err());
    }

    #[test]
    fn what_is_in_quarantine_has_a_key_of_its_own() {
        let mut keys = Vec::new();
        for table in Table::ALL {
            keys.extend([1, 2, 1 << 53].map(|key| table.quarantine_key(key)));
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Table::ALL.len() * 3);
    }
}
