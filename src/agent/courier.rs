//! Fetches the messages of one subscription, and brings them to the client: one at a time, in order.
//!
//! A message is acknowledged to the gateway with the next poll, and that is sent only when the client has all
//! that the last one brought. So whatever breaks in between, the gateway has it still.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::metrics::Replayed;
use super::replay::{Said, replay};
use super::subscriptions::{Entry, Work};
use super::{Backoff, Ended, Message, Trouble};
use crate::clock;

/// How often a client is asked that answers, and does not take a message; then it goes without it.
const MOST_REFUSALS: u32 = 8;

/// How long to wait before it is tried again what only a person can mend.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A poll that ends with nothing before this time is over was answered early: somebody else polls, or the
/// gateway stops.
const EARLY: Duration = Duration::from_secs(1);

/// Why there is nothing more to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The agent stops, or the subscription was ended.
    Stopped,
    /// The lease ended, and nobody renewed it.
    Expired,
    /// The gateway knows it no longer.
    Lost,
    /// The client knows it no longer.
    ClientGone,
}

/// Fetches and brings what belongs to one subscription.
pub(super) struct Courier {
    pub(super) work: Arc<Work>,
    pub(super) entry: Arc<Entry>,
    pub(super) stop: CancellationToken,
}

impl Courier {
    /// Until there is nothing more to fetch.
    pub(super) async fn run(&self) -> End {
        let record = self.entry.record();
        // What cannot be called was not taken on.
        let Ok(callback) = Url::parse(&record.callback) else { return End::Lost };
        let mut poller = self.work.poller(&record);
        let mut backoff = Backoff::default();
        loop {
            let Some(left) = self.entry.lease_left() else { return End::Expired };
            let (wait, began) = (self.work.hold(), clock::instant());
            let polled = tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                () = sleep(left) => continue,
                () = self.work.woken() => {
                    // The machine slept: nobody knows what became of the connection meanwhile.
                    poller.hang_up();
                    continue;
                }
                polled = poller.poll(wait, false, |_, _| {}) => polled,
            };
            let held = began.elapsed();
            let pause = match polled {
                Ok(news) => {
                    self.work.metrics.dropped(news.dropped);
                    if news.dropped > 0 {
                        tracing::warn!(messages = news.dropped, "the gateway dropped messages");
                    }
                    for message in &news.messages {
                        match self.bring(message, &callback).await {
                            Some(end) => return end,
                            None => self.entry.has(message.id, &self.work),
                        }
                    }
                    let early = news.messages.is_empty() && held < EARLY && !wait.is_zero();
                    if news.messages.is_empty() && !early && !wait.is_zero() {
                        self.work.survived();
                    }
                    match (early, wait.is_zero()) {
                        (true, _) => backoff.next(rand::random()),
                        (false, true) => {
                            backoff.reset();
                            self.work.pause_between_polls(poller.interval(&news))
                        }
                        (false, false) => {
                            backoff.reset();
                            Duration::ZERO
                        }
                    }
                }
                Err(Ended::Gone(status)) => {
                    tracing::warn!(status, "the gateway knows the subscription no longer");
                    return End::Lost;
                }
                Err(Ended::Failed(trouble)) => self.after(&trouble, held, &mut backoff),
                Err(ended) => {
                    tracing::error!(%ended, "the gateway does not let the agent poll");
                    AFTER_REFUSAL
                }
            };
            if !pause.is_zero() && self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return End::Stopped;
            }
        }
    }

    /// How long to wait after a poll that failed.
    fn after(&self, trouble: &Trouble, held: Duration, backoff: &mut Backoff) -> Duration {
        self.work.metrics.broke();
        match trouble {
            Trouble::NoAnswer(error) if self.work.cut(held) => {
                tracing::info!(%error, held = held.as_secs(), ask = self.work.hold().as_secs(), "a held poll was cut");
                backoff.reset();
                Duration::ZERO
            }
            Trouble::Refused { retry_after, .. } => {
                tracing::warn!(%trouble, "no answer to a poll");
                backoff.next(rand::random()).max(retry_after.unwrap_or_default())
            }
            _ => {
                tracing::warn!(%trouble, "no answer to a poll");
                backoff.next(rand::random())
            }
        }
    }

    /// Until the client has it, or did not want it often enough. An end, if that is what comes of it.
    async fn bring(&self, message: &Message, callback: &Url) -> Option<End> {
        let mut backoff = Backoff::default();
        let mut refusals = 0;
        loop {
            // What is on its way when the agent stops is finished: it takes a bounded time.
            let said = replay(message, callback, self.entry.silent_is_taken()).await;
            match said {
                Said::Taken => {
                    self.work.metrics.replayed(Replayed::Taken);
                    tracing::debug!(message = message.id, "message taken");
                    return None;
                }
                Said::Gone(status) => {
                    tracing::info!(status, "the client knows the subscription no longer");
                    return Some(End::ClientGone);
                }
                Said::Refused(status) => {
                    refusals += 1;
                    if refusals >= MOST_REFUSALS || self.entry.takes_no_for_an_answer(status) {
                        self.work.metrics.replayed(Replayed::Refused);
                        tracing::warn!(message = message.id, status, "the client does not take a message");
                        return None;
                    }
                }
                Said::Nothing => {}
            }
            self.work.metrics.replayed(Replayed::Failed);
            if self.entry.lease_left().is_none() {
                return Some(End::Expired);
            }
            let pause = backoff.next(rand::random());
            tracing::info!(
                message = message.id,
                ?said,
                seconds = pause.as_secs_f32(),
                "the client is tried again"
            );
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return Some(End::Stopped);
            }
        }
    }
}
