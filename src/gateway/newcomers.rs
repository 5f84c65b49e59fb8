//! Subscriptions whose client has not been told of them yet.
//!
//! A server may call back before it answers the subscription, and some do: UPnP's first event is on its way
//! when the device writes its answer. A client that is called must have that answer first, or it does not
//! know what the event is for (UPnP Device Architecture 2.0 §4.1.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::mailbox::MailboxId;

/// The mailboxes of those clients.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Mutex<HashMap<MailboxId, CancellationToken>>);

/// A client that waits for the answer to its subscription; it has it, or never will, when this goes.
#[derive(Debug)]
pub struct Newcomer {
    all: Arc<Newcomers>,
    mailbox: MailboxId,
}

impl Newcomers {
    /// The mailbox was made for a client that waits for its answer.
    pub(super) fn add(self: &Arc<Self>, mailbox: MailboxId) -> Newcomer {
        self.all().insert(mailbox, CancellationToken::new());
        Newcomer { all: self.clone(), mailbox }
    }

    /// Waits until the client of this mailbox has its answer; not at all for one that subscribed before.
    pub(super) async fn answered(&self, mailbox: MailboxId) {
        let waiting = self.all().get(&mailbox).cloned();
        if let Some(waiting) = waiting {
            waiting.cancelled().await;
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<MailboxId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(waiting) = self.all.all().remove(&self.mailbox) {
            waiting.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn only_a_newcomer_is_waited_for() {
        let newcomers = Arc::new(Newcomers::default());
        let newcomer = newcomers.add(MailboxId(1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(newcomers.answered(MailboxId(2))).poll(&mut context).is_ready());
        let mut waits = pin!(newcomers.answered(MailboxId(1)));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        drop(newcomer);
        assert!(waits.poll(&mut context).is_ready());
        assert!(newcomers.all().is_empty());
    }
}
