//! How a gateway ends: in stages, so that nobody is refused whom somebody else still waits for.
//!
//! `app` says in which order the stages come. Whatever touches the store says so as long as it does, so that the
//! store can change hands while requests that do not touch it go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::clock;
use crate::mailbox::MailboxId;
use crate::store::{MailboxReport, MailboxState};

/// So many may use the store at a time: more than there can be.
const USERS: u32 = u32::MAX >> 4;

/// The stages of the end, and who uses the store.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Set first: public listeners accept no more, held polls are answered, no delivery is begun.
    pub clients: CancellationToken,
    /// Set when no request is on its way to an upstream any more: callback listeners accept no more.
    pub callbacks: CancellationToken,
    /// Set last: the admin listener accepts no more.
    pub admin: CancellationToken,
    /// Set with all of the others, and before them, when another process goes on: held polls are answered at once,
    /// and deliveries are broken off.
    pub hand_over: CancellationToken,
    store: Arc<Semaphore>,
    late: UnboundedSender<Late>,
    all_late: Arc<Mutex<Option<UnboundedReceiver<Late>>>>,
}

/// What an answer of an upstream made of a mailbox after the store was given away: for whoever has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// The upstream's id of its subscription.
    pub subscription_id: Option<Box<str>>,
    /// How long its lease goes on; none if it ended.
    pub lease: Option<Duration>,
}

/// Somebody uses the store, as long as this lives.
#[must_use]
#[derive(Debug)]
pub struct StoreUse {
    _permit: OwnedSemaphorePermit,
}

impl Default for Stop {
    fn default() -> Self {
        let (late, all_late) = unbounded_channel();
        Self {
            late,
            all_late: Arc::new(Mutex::new(Some(all_late))),
            clients: CancellationToken::new(),
            callbacks: CancellationToken::new(),
            admin: CancellationToken::new(),
            hand_over: CancellationToken::new(),
            store: Arc::new(Semaphore::new(USERS as usize)),
        }
    }
}

impl Stop {
    /// Leave to use the store; none when it is given away.
    pub fn use_store(&self) -> Option<StoreUse> {
        let _permit = self.store.clone().try_acquire_owned().ok()?;
        Some(StoreUse { _permit })
    }

    /// What comes too late for the store of this process. For one who tells the next process; none for any other.
    pub fn take_late(&self) -> Option<UnboundedReceiver<Late>> {
        self.all_late.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on nobody else may use the store. Waits until those who do are done, but no longer than `within`:
    /// whether they were.
    pub async fn settle(&self, within: Duration) -> bool {
        let all = timeout(within, self.store.acquire_many(USERS)).await;
        // After the time is over, too: whoever asks from now on gets none.
        self.store.close();
        matches!(all, Ok(Ok(_)))
    }
}

/// A request whose answer will change mailboxes. While it is under way the store is used; if it is given away all the
/// same, what the answer changes is told to whoever has it then.
pub struct Pending {
    gateway: Arc<Gateway>,
    /// The mailboxes as they were.
    before: Vec<MailboxReport>,
    _use: StoreUse,
}

impl Pending {
    /// A request about these mailboxes.
    pub fn new(gateway: &Arc<Gateway>, mailboxes: &[MailboxId], at_store: StoreUse) -> Self {
        let before = mailboxes.iter().filter_map(|mailbox| gateway.store.report(*mailbox).ok()).collect();
        Self { gateway: gateway.clone(), before, _use: at_store }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let stop = &self.gateway.stop;
        if !stop.store.is_closed() {
            return;
        }
        for before in &self.before {
            let report = self.gateway.store.report(before.id).ok();
            let after = report.filter(|report| report.state != MailboxState::Ended);
            let is_same = after.as_ref().is_some_and(|after| {
                (&after.subscription_id, after.lease_ends) == (&before.subscription_id, before.lease_ends)
            });
            if !is_same {
                let lease = after.as_ref().map(|after| after.lease_ends.since(clock::now()));
                let subscription_id = after.and_then(|after| after.subscription_id);
                // Without a next process nobody wants to know.
                let _ = stop.late.send(Late { mailbox: before.id, subscription_id, lease });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_store_is_given_away_when_nobody_uses_it() {
        let stop = Stop::default();
        let used = stop.use_store().expect("leave");
        let settling = tokio::spawn({
            let stop = stop.clone();
            async move { stop.settle(Duration::from_secs(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(stop.use_store().is_none(), "nobody new while it is waited for");
        assert!(!settling.is_finished());
        drop(used);
        assert!(settling.await.unwrap());
        assert!(stop.use_store().is_none(), "nor afterwards");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_is_not_waited_for() {
        let stop = Stop::default();
        let _used = stop.use_store();
        assert!(!stop.settle(Duration::from_secs(1)).await);
        assert!(stop.use_store().is_none());
    }
}
