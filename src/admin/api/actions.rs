//! Changing what is in mailboxes. What is lost by it is counted and logged as any other loss.

use serde::Serialize;

use super::answer;
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::clock;
use crate::http1::Response;
use crate::mailbox::MailboxId;
use crate::store::{EndedBy, Ending, Gone, ReplayError, RotateError};
use crate::telemetry::Happened;

#[derive(Serialize)]
struct ReplayedJson {
    replayed: u64,
    refused: u64,
}

#[derive(Serialize)]
struct DroppedJson {
    dropped: u64,
}

#[derive(Serialize)]
struct RotatedJson<'a> {
    poll_path: &'a str,
}

impl Admin {
    pub(super) async fn replay(&self, id: MailboxId) -> Result<Response, Problem> {
        let now = clock::now();
        let config = self.config.load_full();
        let replay = match self.store.replay(id, &config.polling.limits, now).await {
            Ok(replay) => replay,
            Err(ReplayError::Gone(Gone)) => return Err(Problem::NoSuchMailbox),
            Err(ReplayError::Ended) => return Err(Problem::MailboxEnded),
            Err(ReplayError::Unavailable(lost)) => {
                self.drops.record(id, &lost, now);
                return Err(Problem::StoreUnavailable);
            }
        };
        self.drops.record(id, &replay.lost, now);
        let (replayed, refused) = (replay.replayed.replayed, replay.replayed.refused);
        tracing::info!(mailbox = %id, replayed, refused, "dropped messages replayed by an operator");
        Ok(answer(&ReplayedJson { replayed, refused }))
    }

    pub(super) async fn purge(&self, id: MailboxId) -> Result<Response, Problem> {
        let now = clock::now();
        let config = self.config.load_full();
        let Ok(lost) = self.store.purge(id, &config.polling.limits, now).await else {
            return Err(self.gone_or_ended(id));
        };
        self.drops.record(id, &lost, now);
        tracing::info!(mailbox = %id, dropped = lost.total(), "mailbox purged by an operator");
        Ok(answer(&DroppedJson { dropped: lost.total() }))
    }

    pub(super) async fn end(&self, id: MailboxId) -> Result<Response, Problem> {
        let now = clock::now();
        let config = self.config.load_full();
        let ended = self.store.end(id, EndedBy::Other, &config.polling.limits, now).await;
        let Ok(Ending { lost, .. }) = ended else {
            return Err(self.gone_or_ended(id));
        };
        self.drops.record(id, &lost, now);
        self.traffic.tell(id, || Happened::Ended { abandoned: lost.total() });
        tracing::info!(mailbox = %id, dropped = lost.total(), "mailbox ended by an operator");
        Ok(answer(&DroppedJson { dropped: lost.total() }))
    }

    /// The one answer that has a poll key in it, and nobody else is told: an operator hands it to the client.
    pub(super) async fn rotate_key(&self, id: MailboxId) -> Result<Response, Problem> {
        let (key, path) = (self.new_poll_key)();
        match self.store.rotate_key(id, key).await {
            Ok(()) => {}
            Err(RotateError::Gone(Gone)) => return Err(self.gone_or_ended(id)),
            Err(RotateError::Unavailable) => return Err(Problem::StoreUnavailable),
        }
        tracing::info!(mailbox = %id, "poll key replaced by an operator");
        Ok(answer(&RotatedJson { poll_path: &path }))
    }

    /// Why a mailbox is not live: those that ended can still be looked at.
    fn gone_or_ended(&self, id: MailboxId) -> Problem {
        match self.store.report(id) {
            Ok(_) => Problem::MailboxEnded,
            Err(Gone) => Problem::NoSuchMailbox,
        }
    }
}
