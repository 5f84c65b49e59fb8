//! Delivering: which mailboxes have something to deliver, and a turn for one message at a time.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::slot::{Slot, SlotState};
use super::{Engine, Journal};
use crate::mailbox::{Batch, DeliveryMode, Limits, Lost, MailboxId, Timestamp};
use crate::store::deliver::{Delivery, Patience, Standing};
use crate::store::settlement::Settlement;
use crate::store::{Bell, Turn};

/// The mailboxes in which messages came to be delivered since a deliverer last asked: each once.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    mailboxes: Mutex<BTreeSet<MailboxId>>,
    bell: Notify,
}

impl Arrivals {
    /// There may be something to deliver; nothing is noted of a mailbox that is only polled.
    pub(super) fn note<C: Clone>(&self, slot: &Slot<C>) {
        if slot.subscription.delivery_mode() == DeliveryMode::Polling {
            return;
        }
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(slot.id);
        self.bell.notify_one();
    }

    fn take(&self) -> BTreeSet<MailboxId> {
        std::mem::take(&mut *self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a deliverer finds, of a message that is not read yet.
#[derive(Debug)]
pub(in crate::store) enum Due<C> {
    Batch { turn: Turn, batch: Batch<C>, settlement: Settlement, acknowledged: u64 },
    Standing(Standing),
}

impl<J: Journal> Engine<J> {
    /// Resolves when there are mailboxes with something new to deliver.
    pub(in crate::store) async fn arrivals(&self) -> Vec<MailboxId> {
        loop {
            let mailboxes = self.arrivals.take();
            if !mailboxes.is_empty() {
                return mailboxes.into_iter().collect();
            }
            self.arrivals.bell.notified().await;
        }
    }

    pub(in crate::store) fn standing(
        &self,
        mailbox: MailboxId,
        patience: Patience,
        now: Timestamp,
    ) -> Standing {
        let Ok(slot) = self.slot(mailbox) else { return Standing::Ended };
        slot.lock().standing(patience, now)
    }

    pub(in crate::store) fn take_delivery(
        &self,
        mailbox: MailboxId,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due<J::Content>, Lost) {
        self.quietly(mailbox, |slot, state| {
            SlotState::take_delivery(slot, state, bell, patience, limits, now)
        })
        .unwrap_or((Due::Standing(Standing::Ended), Lost::default()))
    }

    pub(in crate::store) fn accept_delivery(&self, mailbox: MailboxId, mut delivery: Delivery) -> bool {
        delivery.settlement.is_done();
        let (turn, handout, event) = (delivery.turn, delivery.handout, delivery.event());
        self.quietly(mailbox, |_, state| state.settle_delivery(turn, handout, event, true)).unwrap_or(false)
    }
}
