//! A copy of a mailbox that is led along by its changes, as a store keeps it: rows by id, and contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Buffered, Change, DroppedMessage, EventId, Mailbox, Message, Snapshot, Timestamp};

/// The copy.
#[derive(Default)]
pub struct Follower {
    /// Each row with the time when the mailbox began to fill, as it was then.
    messages: BTreeMap<EventId, (Buffered, Option<Timestamp>)>,
    dropped: BTreeMap<EventId, (DroppedMessage, Option<Timestamp>)>,
    /// What is stored, however often.
    contents: Vec<Arc<Message>>,
    snapshot: Snapshot,
}

impl Follower {
    /// Takes over what changed since it last looked.
    pub fn follow(&mut self, mailbox: &mut Mailbox) {
        let since = mailbox.snapshot().first_submitted;
        for change in mailbox.changes() {
            match change {
                Change::Added(id, message) => {
                    if !self.contents.iter().any(|other| Arc::ptr_eq(other, &message.message)) {
                        self.contents.push(message.message.clone());
                    }
                    self.messages.insert(id, (message, since));
                }
                Change::Left(id, message) => {
                    self.messages.remove(&id).expect("it was there");
                    self.forget(&message);
                }
                Change::Kept(dropped) => {
                    self.contents.push(dropped.message.message.clone());
                    self.dropped.insert(dropped.id, (dropped, since));
                }
                Change::Forgotten(id, message) => {
                    self.dropped.remove(&id).expect("it was there");
                    self.forget(&message);
                }
                Change::Revived(id) => drop(self.dropped.remove(&id).expect("it was there")),
                Change::State => self.snapshot = mailbox.snapshot(),
            }
        }
    }

    fn forget(&mut self, message: &Arc<Message>) {
        let place = self.contents.iter().position(|other| Arc::ptr_eq(other, message));
        self.contents.swap_remove(place.expect("its content was there"));
    }

    /// The mailbox that the copy is of. Nothing is stored that nobody needs.
    pub fn restore(&self) -> Mailbox {
        assert_eq!(self.contents.len(), self.messages.len() + self.dropped.len());
        let mut dropped: Vec<DroppedMessage> = self.dropped.values().map(|(d, _)| d.clone()).collect();
        dropped.sort_by_key(|dropped| (dropped.dropped_at, dropped.id));
        let rows = self.messages.values().map(|row| row.1).chain(self.dropped.values().map(|row| row.1));
        let first_submitted = rows.max().flatten().max(self.snapshot.first_submitted);
        let messages = self.messages.iter().map(|(id, (message, _))| (*id, message.clone()));
        Mailbox::restore(Snapshot { first_submitted, ..self.snapshot }, messages, dropped)
    }
}
