//! A poll's claim on its mailboxes: it takes from several as if they were one.
//!
//! - What several mailboxes hold leaves in the order in which it came, whatever mailbox it is in: a full mailbox keeps
//!   no other waiting.
//! - An answer from several mailboxes has an id of its own, so that acknowledging it releases in each of them
//!   what the answer brought from there, and nothing else. The client need not know: it may as well name the last
//!   message, as long as no other answer carried that one.
//! - Whatever ends a session early gives back its claims, and what it took is handed out again.

use std::sync::Arc;

use crate::mailbox::{
    Acknowledgement, Batch, BatchLimits, EventId, Limits, Lost, MailboxId, Outcome, Subscription, Take,
    TakenMessage, Timestamp,
};
use crate::store::{Bell, Found, MailboxStore, Next, Outlook, Settlement, Taken, Turn};

/// A message, and whose it is.
pub struct Handed {
    /// The message.
    pub message: TakenMessage,
    /// Of which mailbox.
    pub from: MailboxId,
    /// Of which subscription.
    pub of: Arc<Subscription>,
}

/// Something to say.
pub struct News {
    /// The messages, oldest first.
    pub messages: Vec<Handed>,
    /// How many more wait.
    pub pending: u64,
    /// How many were dropped that the client does not know of.
    pub dropped: u64,
    /// By which id the client acknowledges all of it.
    pub last_event_id: Option<EventId>,
    /// To be settled.
    pub receipt: Receipt,
}

impl News {
    /// Whether there is something in it from this mailbox.
    pub fn is_from(&self, mailbox: MailboxId) -> bool {
        self.receipt.0.iter().any(|part| part.mailbox == mailbox)
    }

    /// How many messages of this mailbox were dropped that the client does not know of.
    pub fn gap_of(&self, mailbox: MailboxId) -> u64 {
        self.receipt.0.iter().filter(|part| part.mailbox == mailbox).map(|part| part.gap).sum()
    }
}

/// The messages of an answer, whose fate is not known until it is written. Dropped without a word, they are
/// handed out again.
#[must_use]
#[derive(Debug, Default)]
pub struct Receipt(Vec<Part>);

/// What an answer has from one mailbox.
#[derive(Debug)]
struct Part {
    mailbox: MailboxId,
    gap: u64,
    settlement: Settlement,
}

impl Receipt {
    /// Tells the mailboxes what became of the answer; afterwards it may still be said that it broke.
    pub fn settle(&mut self, outcome: Outcome) {
        for part in &mut self.0 {
            part.settlement.settle(outcome);
        }
    }
}

/// What there is.
pub enum Look {
    /// Something to say.
    News(News),
    /// Nothing yet.
    Nothing,
    /// A newer poll has one of the mailboxes.
    Superseded,
    /// Every mailbox has ended.
    Ended,
    /// There is something, and it cannot be read at this moment.
    Unavailable,
}

/// What is wanted of a look.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How much goes into the answer.
    pub room: BatchLimits,
    /// Whether that is meant for each mailbox by itself: the answer says only which of them have messages.
    pub each: bool,
    /// Whether the answer goes on behind what it carried already.
    pub goes_on: bool,
    /// Whether the poll ends with it, whatever there is.
    pub last: bool,
}

/// A poll's claims on its mailboxes.
pub struct Session {
    store: Arc<dyn MailboxStore>,
    claims: Vec<(Found, Turn)>,
    bell: Bell,
    /// Whether there is nothing left to give back.
    has_left: bool,
}

impl Session {
    /// Takes the mailboxes over from older polls, and acknowledges. Tells how many messages of which mailbox that were.
    pub fn begin(
        store: Arc<dyn MailboxStore>,
        found: Vec<Found>,
        mut by: Acknowledgement,
    ) -> (Self, Vec<(MailboxId, u64)>) {
        if found.len() > 1 {
            by.shared = true;
            // The last message of an answer stands for all of it, in every mailbox that it came from.
            let answer =
                |last| found.iter().find_map(|mailbox| store.answer_with(mailbox.id, last)).unwrap_or(last);
            by.last_event_id = by.last_event_id.map(answer);
        }
        let bell = Bell::default();
        let mut claims = Vec::with_capacity(found.len());
        let mut acknowledged = Vec::new();
        for found in found {
            // One that ended meanwhile is none.
            let Ok((turn, messages)) = store.begin_poll(found.id, by, &bell) else { continue };
            if messages > 0 {
                acknowledged.push((found.id, messages));
            }
            claims.push((found, turn));
        }
        (Self { store, claims, bell, has_left: false }, acknowledged)
    }

    /// The mailboxes; none if all have ended.
    pub fn mailboxes(&self) -> impl ExactSizeIterator<Item = &Found> {
        self.claims.iter().map(|(found, _)| found)
    }

    /// Rung when it should look again.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Takes what there is. `lost` is told what expired on the occasion.
    pub async fn look(
        &mut self,
        wanted: Wanted,
        limits: &Limits,
        now: Timestamp,
        mut lost: impl FnMut(MailboxId, &Lost),
    ) -> Look {
        let plan = Plan::of(self, wanted);
        let mut news = News {
            messages: Vec::new(),
            pending: 0,
            dropped: 0,
            last_event_id: None,
            receipt: Receipt::default(),
        };
        let (mut is_alive, mut unavailable) = (false, false);
        for (n, (mailbox, turn)) in self.claims.iter().enumerate() {
            let (taken, expired) = self.store.take(mailbox.id, *turn, plan.take, limits, now).await;
            lost(mailbox.id, &expired);
            match taken {
                Taken::Superseded => return Look::Superseded,
                Taken::Ended => {}
                Taken::Unavailable => (is_alive, unavailable) = (true, true),
                Taken::Nothing => {
                    is_alive = true;
                    news.pending += plan.waiting(n).saturating_sub(expired.left());
                }
                Taken::Batch(batch, settlement) => {
                    is_alive = true;
                    let Batch { messages, pending, gap, answer, .. } = batch;
                    news.pending += pending;
                    news.dropped += gap;
                    news.last_event_id = news.last_event_id.max(answer);
                    news.receipt.0.push(Part { mailbox: mailbox.id, gap, settlement });
                    let (from, of) = (mailbox.id, &mailbox.subscription);
                    news.messages.extend(messages.into_iter().map(|message| Handed {
                        message,
                        from,
                        of: of.clone(),
                    }));
                }
            }
        }
        if news.receipt.0.is_empty() {
            return match (unavailable, is_alive) {
                (true, _) => Look::Unavailable,
                (false, true) => Look::Nothing,
                (false, false) => Look::Ended,
            };
        }
        // What it took ended its claim there, unless the answer goes on.
        self.has_left |= self.claims.len() == 1 && !wanted.goes_on;
        if self.claims.len() > 1 {
            news.messages.sort_by_key(|handed| handed.message.id);
        }
        let last = news.messages.last().map(|handed| &handed.message);
        let is_the_last =
            |last: &TakenMessage| plan.take.answer.is_none() || plan.take.up_to == Some(last.id);
        news.last_event_id = match last {
            Some(last) if !last.redelivered && is_the_last(last) => Some(last.id),
            _ => news.last_event_id.or(last.map(|last| last.id)),
        };
        Look::News(news)
    }

    /// Gives back what it still claims.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            for (mailbox, turn) in &self.claims {
                self.store.leave(mailbox.id, *turn);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}

/// How much is taken from each mailbox.
struct Plan {
    take: Take,
    outlooks: Vec<Outlook>,
}

impl Plan {
    fn of(session: &Session, wanted: Wanted) -> Self {
        let Wanted { room, each, goes_on, last } = wanted;
        let alone = Take { room, up_to: None, answer: None, goes_on, last };
        if each || session.claims.len() < 2 {
            return Self { take: alone, outlooks: Vec::new() };
        }
        let most = room.messages.max(1);
        let outlook =
            |(mailbox, turn): &(Found, Turn)| session.store.outlook(mailbox.id, *turn, goes_on, most);
        let outlooks: Vec<Outlook> = session.claims.iter().map(outlook).collect();
        let up_to = newest_that_fits(&outlooks, room);
        let has_part = |outlook: &&Outlook| {
            outlook.gap > 0 || outlook.next.first().is_some_and(|first| first.id <= up_to)
        };
        // Drawn before anything is taken: what comes later has a larger id.
        let answer = if outlooks.iter().filter(has_part).count() > 1 { session.store.draw() } else { None };
        // What comes meanwhile may make it a little more than there is room for.
        let room = BatchLimits { messages: usize::MAX, bytes: u64::MAX };
        Self { take: Take { room, up_to: Some(up_to), answer, ..alone }, outlooks }
    }

    /// How many wait in the `n`th mailbox, from which nothing was taken.
    fn waiting(&self, n: usize) -> u64 {
        self.outlooks.get(n).map_or(0, |outlook| outlook.waiting)
    }
}

/// The newest message that has room in an answer which carries the oldest first, from whatever mailbox.
fn newest_that_fits(outlooks: &[Outlook], room: BatchLimits) -> EventId {
    let mut all: Vec<Next> = outlooks.iter().flat_map(|outlook| outlook.next.iter().copied()).collect();
    all.sort_unstable_by_key(|next| next.id);
    let mut bytes = 0;
    let fits = |(place, next): &(usize, Next)| {
        bytes += next.cost;
        *place == 0 || bytes <= room.bytes
    };
    let fitting = all.into_iter().enumerate().take(room.messages.max(1)).take_while(fits);
    fitting.last().map_or(EventId(0), |(_, next)| next.id)
}
