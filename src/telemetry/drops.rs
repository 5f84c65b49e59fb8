//! Log lines about lost messages: one when it starts and one when it ends, however many there are.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::mailbox::{DropReason, Lost, Timestamp};

/// After so long without a loss it counts as over.
const QUIET: Duration = Duration::from_secs(60);

/// Knows which kinds of loss are going on.
#[derive(Debug, Default)]
pub struct DropLog(Mutex<[Option<Episode>; DropReason::ALL.len()]>);

#[derive(Clone, Copy, Debug)]
struct Episode {
    messages: u64,
    began: Timestamp,
    latest: Timestamp,
}

impl DropLog {
    /// Messages were lost.
    pub fn record(&self, lost: &Lost, now: Timestamp) {
        if lost.total() == 0 {
            return;
        }
        let mut episodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, messages) in lost.by_reason() {
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
        let mut episodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
