//! Outgoing deliveries: messages are brought to clients that are called rather than waited for, to their own
//! callback address or to their fixed ports.
//!
//! In reading order:
//! - [`Deliverer`]: learns from the store where something is to be delivered, and sends a courier there.
//! - [`courier`]: the deliveries of one mailbox; [`trouble`]: when a client is tried again.
//! - [`address`]: where a client is to be called; [`allowed`]: whether it may be; [`connect`]: doing it.
//! - [`exchange`]: one callback and its answer; [`ending`]: a client that says it is gone.
//! - [`datagram`]: clients that listen for datagrams are told that there is something, and poll.
//!
//! Invariants:
//! - a mailbox has one courier at most, and none when nothing is to be delivered from it;
//! - its messages go one at a time and in order: the next one after the client's 2xx and not before;
//! - nothing is connected to that was not allowed at that moment, by the address that is connected to;
//!   redirects are not followed, and no credentials are sent;
//! - clients that could not be reached lately never use up what the others need.
//!
//! What becomes of a message that nobody takes is not decided here: it stays in its mailbox, for a poll or a
//! next try, until its life time is over.

mod address;
mod allowed;
mod connect;
mod courier;
mod datagram;
mod ending;
mod exchange;
mod trouble;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address::Names;
use self::courier::{Courier, Outcome};
use self::trouble::Trouble;
use super::Gateway;
use crate::clock;
use crate::mailbox::MailboxId;
use crate::store::{Patience, Standing};

/// How often it is looked whether clients in trouble are subscribed still.
const SWEEP: Duration = Duration::from_secs(60);

/// Clients that could not be reached lately have a quarter of what the others have, beside it.
const SHARE_OF_TROUBLED: usize = 4;

/// Brings messages to clients.
pub struct Deliverer {
    gateway: Arc<Gateway>,
    /// The gateway's own listeners.
    listeners: Vec<SocketAddr>,
    names: Names,
    /// Clients with a courier, or in trouble.
    clients: Mutex<HashMap<MailboxId, Client>>,
    /// How many clients are called at a time.
    permits: Semaphore,
    /// The same for those that could not be reached when they were last tried.
    permits_of_troubled: Semaphore,
}

/// A client with a courier, or in trouble.
#[derive(Debug, Default)]
struct Client {
    /// Whether a courier is at work.
    at_work: bool,
    /// Whether something came since that courier last looked.
    again: bool,
    trouble: Option<Trouble>,
}

impl Deliverer {
    /// Delivers for this gateway, which listens at these addresses.
    pub fn new(gateway: Arc<Gateway>, listeners: Vec<SocketAddr>) -> Self {
        let most = usize::try_from(gateway.config().delivery.max_concurrent).unwrap_or(usize::MAX);
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            gateway,
            listeners,
            names: Names::default(),
            clients: Mutex::default(),
            permits: Semaphore::new(most),
            permits_of_troubled: Semaphore::new((most / SHARE_OF_TROUBLED).max(1)),
        }
    }

    /// Delivers until the gateway stops. What is on its way then is finished by the tasks.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                mailboxes = self.gateway.store.arrivals() => {
                    for mailbox in mailboxes {
                        self.send_courier(mailbox, &tasks, &stop);
                    }
                }
                () = sleep(SWEEP) => self.forget_the_ended(),
            }
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<MailboxId, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A courier goes to the mailbox, unless one is there, who will look once more.
    fn send_courier(self: &Arc<Self>, mailbox: MailboxId, tasks: &TaskTracker, stop: &CancellationToken) {
        let trouble = {
            let mut clients = self.clients();
            let client = clients.entry(mailbox).or_default();
            if client.at_work {
                client.again = true;
                return;
            }
            client.at_work = true;
            client.trouble
        };
        // A token of its own: to wait for the one that all share, each would queue at its lock.
        let stop = stop.child_token();
        let mut courier = Courier { deliverer: self.clone(), mailbox, trouble, stop };
        tasks.spawn(async move {
            loop {
                let outcome = courier.run().await;
                if !courier.deliverer.come_back(&courier, outcome) {
                    return;
                }
            }
        });
    }

    /// A courier is done. Whether it is to look once more.
    fn come_back(&self, courier: &Courier, outcome: Outcome) -> bool {
        let mut clients = self.clients();
        let Some(client) = clients.get_mut(&courier.mailbox) else { return false };
        if outcome == Outcome::Idle && std::mem::take(&mut client.again) && !courier.stop.is_cancelled() {
            return true;
        }
        client.at_work = false;
        client.trouble = courier.trouble;
        if outcome == Outcome::Ended || client.trouble.is_none() {
            clients.remove(&courier.mailbox);
            self.is_over(courier.trouble);
        }
        false
    }

    /// The mailbox of a client is over, and so is its trouble.
    fn is_over(&self, trouble: Option<Trouble>) {
        if trouble.is_some_and(|trouble| trouble.is_unreachable()) {
            self.gateway.metrics.client_reached();
        }
    }

    /// Forgets clients in trouble whose mailbox has ended while nothing was to be delivered to them.
    fn forget_the_ended(&self) {
        let idle: Vec<MailboxId> =
            self.clients().iter().filter(|(_, client)| !client.at_work).map(|(id, _)| *id).collect();
        for mailbox in idle {
            let standing = self.gateway.store.standing(mailbox, Patience(Duration::ZERO), clock::now());
            if standing != Standing::Ended {
                continue;
            }
            let mut clients = self.clients();
            if clients.get(&mailbox).is_some_and(|client| !client.at_work)
                && let Some(client) = clients.remove(&mailbox)
            {
                self.is_over(client.trouble);
            }
        }
    }

    /// Leave to call a client.
    async fn permit(&self, troubled: bool) -> Option<SemaphorePermit<'_>> {
        let permits = if troubled { &self.permits_of_troubled } else { &self.permits };
        // They are never closed.
        permits.acquire().await.ok()
    }
}
