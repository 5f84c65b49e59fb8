//! What happens in the engine, as rows for the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cache::Bodies;
use super::elapsed::StoreClock;
use super::record::{Draft, Place};
use super::row::{DroppedRow, IndexRow, MailboxRow, write_number, write_state};
use super::tables::{Put, Table, meta};
use super::writer::Handle;
use crate::mailbox::{Change, EventId, Message, Snapshot};
use crate::store::engine::{Journal, Receipt, Row, Slot, SlotState, Step};

/// A message on its way into the engine: as it is for the cache, and as it will be on the disk.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) message: Arc<Message>,
    pub(super) draft: Draft,
}

/// Follows the engine to the disk.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) writer: Handle,
    pub(super) bodies: Bodies,
    pub(super) clock: StoreClock,
    /// The newest id of a mailbox.
    pub(super) newest_mailbox: AtomicU64,
}

impl Journal for Follower {
    type Content = Place;
    type Body = Body;

    const FOLLOWS: bool = true;

    fn content(&self, id: EventId, body: &Body) -> Place {
        // Before anybody can ask for it.
        self.bodies.insert(Place(id.0), body.message.clone());
        Place(id.0)
    }

    fn may_give(&self, id: EventId) -> bool {
        self.writer.may_give(id.0)
    }

    fn record(&self, step: Step<'_, Self>) -> Receipt {
        let Step { slot, state, body, row, wait } = step;
        let mut puts = Vec::new();
        match row {
            Row::Same => {}
            Row::New | Row::Changed => {
                puts.push(Put::row(Table::Mailboxes, slot.id.0, mailbox_row(slot, state).write(self.clock)));
                if row == Row::New {
                    let newest = self.newest_mailbox.fetch_max(slot.id.0, Relaxed).max(slot.id.0);
                    puts.push(Put::row(Table::Meta, meta::MAILBOXES, write_number(newest)));
                }
            }
            Row::Gone => {
                puts.push(Put::no_row(Table::Mailboxes, slot.id.0));
                puts.push(Put::no_row(Table::States, slot.id.0));
            }
        }
        self.changes(slot, state, body, &mut puts);
        if puts.is_empty() {
            Receipt::nothing()
        } else if wait {
            Receipt::when(self.writer.write_and_tell(puts))
        } else {
            self.writer.write(puts);
            Receipt::nothing()
        }
    }
}

impl Follower {
    fn changes(
        &self,
        slot: &Slot<Place>,
        state: &mut SlotState<Place>,
        mut body: Option<(Place, Body)>,
        puts: &mut Vec<Put>,
    ) {
        let offered = body.as_ref().map(|(place, _)| *place);
        let mailbox = slot.id;
        let mut changes = state.mailbox.changes().into_iter().peekable();
        let snapshot = state.mailbox.snapshot();
        let mut state_changed = false;
        while let Some(change) = changes.next() {
            match change {
                Change::Added(id, message) => {
                    let row = IndexRow::write(mailbox, &message, snapshot.first_submitted, self.clock);
                    puts.push(Put::row(Table::Index, id.0, row));
                    if let Some((place, body)) = body.take_if(|(place, _)| *place == message.message) {
                        puts.push(Put::row(Table::Bodies, place.0, body.draft.finish(mailbox, place)));
                    }
                }
                Change::Left(id, place) => {
                    puts.push(Put::no_row(Table::Index, id.0));
                    let kept = |next: &Change<Place>| matches!(next, Change::Kept(kept) if kept.id == id);
                    if !changes.peek().is_some_and(kept) {
                        self.forget(place, puts);
                    }
                }
                Change::Kept(dropped) => {
                    let row = DroppedRow::write(mailbox, &dropped, snapshot.first_submitted, self.clock);
                    puts.push(Put::row(Table::Dropped, dropped.id.0, row));
                }
                Change::Forgotten(id, place) => {
                    puts.push(Put::no_row(Table::Dropped, id.0));
                    self.forget(place, puts);
                }
                Change::Revived(id) => puts.push(Put::no_row(Table::Dropped, id.0)),
                Change::State => state_changed = true,
            }
        }
        if state_changed {
            puts.push(state_put(slot.id.0, snapshot, self.clock));
        }
        if let (Some(_), Some(refused)) = (body, offered) {
            self.bodies.remove(refused);
        }
    }

    fn forget(&self, place: Place, puts: &mut Vec<Put>) {
        self.bodies.remove(place);
        puts.push(Put::no_row(Table::Bodies, place.0));
    }
}

/// The row of what a mailbox knows beside its messages.
pub(super) fn state_put(mailbox: u64, snapshot: Snapshot, clock: StoreClock) -> Put {
    Put::row(Table::States, mailbox, write_state(snapshot, clock))
}

fn mailbox_row(slot: &Slot<Place>, state: &SlotState<Place>) -> MailboxRow {
    MailboxRow {
        token: slot.token,
        poll_key: slot.poll_key,
        created: slot.created,
        lease_ends: state.lease_ends,
        ended: state.ended,
        subscription_id: state.subscription_id.clone(),
        subscription: (*slot.subscription).clone(),
    }
}
