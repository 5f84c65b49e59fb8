//! The deliveries of one mailbox, one after the other, for as long as there is something to deliver.
//!
//! It connects first and takes the message afterwards: a poll that comes meanwhile gets everything, and what
//! a dead client is not told of stays as new as it was. While a message is on its way the courier has the
//! turn at the mailbox; when a poll takes that, the courier breaks off and comes back later.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Deliverer;
use super::address::Address;
use super::allowed::Rules;
use super::connect::{NotReached, Reached, Start, connect};
use super::datagram;
use super::ending;
use super::exchange::exchange;
use super::trouble::Trouble;
use crate::clock;
use crate::mailbox::{DeliveryMode, MailboxId};
use crate::store::{Bell, Due, MailboxReport, MailboxState, Patience, Standing};
use crate::telemetry::{DeliveryResult, Happened};

/// How long a mailbox that a poll has is left alone before it is looked at again.
const AFTER_POLL: Duration = Duration::from_secs(2);

/// How long the store is left alone when it cannot read a message.
const AFTER_UNAVAILABLE: Duration = Duration::from_secs(1);

/// Delivers what is in one mailbox.
pub(super) struct Courier {
    pub(super) deliverer: Arc<Deliverer>,
    pub(super) mailbox: MailboxId,
    /// What is known of a client that could not be called.
    pub(super) trouble: Option<Trouble>,
    /// Set when the gateway stops.
    pub(super) stop: CancellationToken,
}

/// What a try came to.
enum Tried {
    /// There may be more.
    Delivered,
    /// The client knows that there is something, and has nothing of it.
    Told,
    /// The client was not there, or did not take it.
    Failed(DeliveryResult, Option<u16>),
    /// The mailbox is not to be delivered from, at least for so long; none: until something comes.
    Pause(Option<Duration>),
    /// The mailbox has ended.
    Ended,
}

impl Courier {
    /// Delivers until there is nothing more.
    pub(super) async fn run(&mut self) -> Outcome {
        let mut good = None;
        while !self.stop.is_cancelled() {
            if let Some(trouble) = &self.trouble {
                let again = sleep_until(trouble.again);
                if self.stop.run_until_cancelled(again).await.is_none() {
                    break;
                }
            }
            match self.try_once(&mut good).await {
                Tried::Delivered => self.is_well(),
                Tried::Told => {
                    self.is_well();
                    return Outcome::Idle;
                }
                Tried::Failed(why, next_port) => {
                    good = None;
                    self.is_in_trouble(why, next_port);
                }
                Tried::Pause(None) => return Outcome::Idle,
                Tried::Pause(Some(span)) => _ = self.stop.run_until_cancelled(sleep(span)).await,
                Tried::Ended => return Outcome::Ended,
            }
        }
        Outcome::Idle
    }

    async fn try_once(&mut self, good: &mut Option<SocketAddr>) -> Tried {
        let gateway = self.deliverer.gateway.clone();
        if self.stop.run_until_cancelled(gateway.newcomers.answered(self.mailbox)).await.is_none() {
            return Tried::Pause(Some(Duration::ZERO));
        }
        let patience = self.patience();
        match gateway.store.standing(self.mailbox, patience, clock::now()) {
            Standing::Waiting => {}
            Standing::Nothing => return Tried::Pause(None),
            Standing::Polled => return Tried::Pause(Some(AFTER_POLL)),
            Standing::Ended => return Tried::Ended,
        }
        let report = match gateway.store.report(self.mailbox) {
            Ok(report) if report.state != MailboxState::Ended => report,
            _ => return Tried::Ended,
        };
        let Some(address) = Address::of(&report.subscription) else { return Tried::Pause(None) };
        let deliverer = self.deliverer.clone();
        let stop = self.stop.clone();
        let reach = async {
            let permit = deliverer.permit(self.trouble.is_some()).await?;
            Some((permit, self.reach(&address, &report, *good).await))
        };
        // Nothing is on its way yet: a stop need not wait.
        let Some(Some((permit, reached))) = stop.run_until_cancelled(reach).await else {
            return Tried::Pause(Some(Duration::ZERO));
        };
        let mode = report.subscription.delivery_mode();
        match reached {
            Ok(Some(reached)) => {
                *good = Some(reached.address);
                self.hand_over(reached, &address, &report, mode, patience, permit).await
            }
            Ok(None) => {
                gateway.metrics.delivery_tried(mode, DeliveryResult::Told);
                tracing::debug!(mailbox = %self.mailbox, "client told by a datagram");
                Tried::Told
            }
            Err(not_reached) => {
                let (result, next_port) = match not_reached {
                    NotReached::NotAllowed(forbidden) => {
                        tracing::debug!(mailbox = %self.mailbox, %forbidden, "not connected");
                        (DeliveryResult::NotAllowed, None)
                    }
                    NotReached::Unresolved => (DeliveryResult::Unreachable, None),
                    NotReached::Nobody { next_port } => (DeliveryResult::Unreachable, next_port),
                };
                gateway.metrics.delivery_tried(mode, result);
                Tried::Failed(result, next_port)
            }
        }
    }

    /// Connects to the client; or tells it, without a connection, if it listens for datagrams.
    async fn reach(
        &self,
        address: &Address,
        report: &MailboxReport,
        good: Option<SocketAddr>,
    ) -> Result<Option<Reached>, NotReached> {
        let config = self.deliverer.gateway.config().clone();
        let rules = Rules {
            allow: &config.delivery.allow,
            subscriber: report.subscription.subscriber,
            listeners: &self.deliverer.listeners,
        };
        let (names, within) = (&self.deliverer.names, config.delivery.connect_timeout);
        if address.by_datagram {
            let id = report.subscription_id.as_deref();
            return datagram::tell(address, id, names, &rules, within).await.map(|()| None);
        }
        let start = Start { good, next_port: self.trouble.and_then(|trouble| trouble.next_port) };
        connect(address, start, names, &rules, within).await.map(Some)
    }

    /// Takes the oldest message, and sends it on this connection.
    async fn hand_over(
        &mut self,
        reached: Reached,
        address: &Address,
        report: &MailboxReport,
        mode: DeliveryMode,
        patience: Patience,
        _permit: SemaphorePermit<'_>,
    ) -> Tried {
        let gateway = self.deliverer.gateway.clone();
        let Some(_at_store) = gateway.stop.use_store() else { return Tried::Pause(Some(Duration::ZERO)) };
        let handed_over = gateway.stop.hand_over.child_token();
        let (bell, now) = (Bell::default(), clock::now());
        let limits = gateway.config().polling.limits.clone();
        let (due, lost) = gateway.store.take_delivery(self.mailbox, &bell, patience, &limits, now).await;
        gateway.record_lost(self.mailbox, &lost, now);
        let delivery = match due {
            Due::Message(delivery) => delivery,
            Due::Nothing => return Tried::Pause(None),
            Due::Polled => return Tried::Pause(Some(AFTER_POLL)),
            Due::Ended => return Tried::Ended,
            Due::Unavailable => return Tried::Pause(Some(AFTER_UNAVAILABLE)),
        };
        let (event, message) = (delivery.event(), &delivery.message);
        gateway.metrics.acknowledged(delivery.acknowledged);
        gateway.metrics.handed_out(now.since(message.received), message.redelivered);
        tracing::debug!(%event, mailbox = %self.mailbox, redelivered = message.redelivered, "message sent");

        let within = gateway.config().delivery.answer_timeout;
        let port = reached.address.port();
        let answer = exchange(reached.stream, &message.message, address, port, within);
        let stopped = async {
            self.stop.cancelled().await;
            // Less than the stop waits.
            let patience = self.deliverer.gateway.config().shutdown.deadline / 2;
            // The message stays, and the next process brings it.
            handed_over.run_until_cancelled(sleep(patience)).await;
        };
        let (result, status) = tokio::select! {
            // First, so that an answer which comes at the same moment counts.
            biased;
            answer = answer => match answer {
                Ok(status @ 200..300) => (DeliveryResult::Delivered, Some(status)),
                // RFC 9110 §15.5.11; and what clients of RVP say of a sign-in that they do not know.
                Ok(status @ (410 | 412)) => (DeliveryResult::ClientGone, Some(status)),
                Ok(status) => (DeliveryResult::Refused, Some(status)),
                Err(error) => {
                    tracing::debug!(%event, %error, "no answer");
                    (DeliveryResult::Unanswered, None)
                }
            },
            () = bell.notified() => (DeliveryResult::Polled, None),
            () = stopped => (DeliveryResult::Unanswered, None),
        };
        gateway.metrics.delivery_tried(mode, result);
        gateway
            .traffic
            .tell(self.mailbox, || Happened::Delivered { message: event.0, result: result.name() });
        if result != DeliveryResult::Delivered {
            drop(delivery);
        } else if gateway.store.accept_delivery(self.mailbox, delivery) {
            gateway.metrics.acknowledged(1);
            gateway.traffic.tell(self.mailbox, || Happened::Acknowledged { messages: 1 });
        }
        tracing::debug!(%event, mailbox = %self.mailbox, result = result.name(), status, "message tried");
        match result {
            DeliveryResult::Delivered => Tried::Delivered,
            DeliveryResult::Polled => Tried::Pause(Some(AFTER_POLL)),
            DeliveryResult::ClientGone => {
                ending::client_is_gone(&gateway, report).await;
                Tried::Ended
            }
            _ => Tried::Failed(result, None),
        }
    }

    /// How long the answer to a poll may be on its way: no longer than it may take to be written.
    fn patience(&self) -> Patience {
        Patience(self.deliverer.gateway.config().limits.write_timeout * 2)
    }

    fn is_well(&mut self) {
        let Some(trouble) = self.trouble.take() else { return };
        if trouble.is_unreachable() {
            self.deliverer.gateway.metrics.client_reached();
        }
        let (mailbox, tries) = (self.mailbox, trouble.tries);
        tracing::info!(%mailbox, tries, "client takes its messages again");
    }

    fn is_in_trouble(&mut self, why: DeliveryResult, next_port: Option<u16>) {
        let gateway = &self.deliverer.gateway;
        let longest = gateway.config().delivery.max_retry_delay;
        let trouble = Trouble::after(self.trouble, why, next_port, longest, rand::random());
        let was_unreachable = self.trouble.is_some_and(|before| before.is_unreachable());
        match (was_unreachable, trouble.is_unreachable()) {
            (false, true) => gateway.metrics.client_unreachable(),
            (true, false) => gateway.metrics.client_reached(),
            _ => {}
        }
        // Once for each reason, and not for each try.
        if self.trouble.is_none_or(|before| before.why != why) {
            let said =
                if trouble.is_unreachable() { "client is unreachable" } else { "client refuses messages" };
            tracing::info!(mailbox = %self.mailbox, reason = why.name(), "{said}; its messages wait");
        }
        self.trouble = Some(trouble);
    }
}

/// How the work of a courier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is nothing to deliver at this moment.
    Idle,
    /// The mailbox has ended.
    Ended,
}
