//! Lost messages: each is counted; the log has one line when it starts and one when it ends, however many
//! there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Happened, Metrics, Traffic};
use crate::mailbox::{DropReason, Lost, MailboxId, Timestamp};

/// After so long without a loss it counts as over.
const QUIET: Duration = Duration::from_secs(60);

/// Told of every loss, whoever caused it; knows which kinds of loss are going on.
#[derive(Debug)]
pub struct Drops {
    metrics: Arc<Metrics>,
    traffic: Arc<Traffic>,
    episodes: Mutex<[Option<Episode>; DropReason::ALL.len()]>,
}

#[derive(Clone, Copy, Debug)]
struct Episode {
    messages: u64,
    began: Timestamp,
    latest: Timestamp,
}

impl Drops {
    /// Nothing was lost yet; what will be is counted there, and told to those who follow.
    pub fn new(metrics: Arc<Metrics>, traffic: Arc<Traffic>) -> Self {
        Self { metrics, traffic, episodes: Mutex::default() }
    }

    /// Messages of a mailbox were lost.
    pub fn record(&self, mailbox: MailboxId, lost: &Lost, now: Timestamp) {
        if lost.left() == 0 {
            return;
        }
        self.metrics.lost(lost);
        if lost.total() == 0 {
            return;
        }
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, messages) in lost.by_reason() {
            self.traffic.tell(mailbox, || Happened::Dropped { reason: reason.name(), messages });
            match &mut episodes[reason as usize] {
                Some(episode) => {
                    episode.messages += messages;
                    episode.latest = now;
                }
                none => {
                    tracing::warn!(reason = reason.name(), "messages are being dropped");
                    *none = Some(Episode { messages, began: now, latest: now });
                }
            }
        }
    }

    /// Tells of what is over by `now`; returns how many kinds of loss that were.
    pub fn tick(&self, now: Timestamp) -> usize {
        let mut over = 0;
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, slot) in DropReason::ALL.into_iter().zip(episodes.iter_mut()) {
            if let Some(episode) = slot.take_if(|episode| now.since(episode.latest) >= QUIET) {
                over += 1;
                tracing::warn!(
                    reason = reason.name(),
                    messages = episode.messages,
                    seconds = episode.latest.since(episode.began).as_secs(),
                    "no more messages are being dropped"
                );
            }
        }
        over
    }
}
