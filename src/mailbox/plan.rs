//! Where limits are decided: the one function that every store obeys.
//!
//! A store that keeps its messages elsewhere than in a [`Mailbox`](super::Mailbox) shows them as a
//! [`View`]; what comes out is either a refusal, or exactly what has to be done to make room.

use std::time::Duration;

use super::{Class, EventId, Limits, Overflow, TYPING_LIFE_TIME};

/// How long a message of life time 0 is kept for the poll that was held when it came: time enough to
/// wake that poll and to write its answer, and to hand it out once more if that answer broke.
const HANDOVER: Duration = Duration::from_secs(5);

/// What a mailbox looks like to [`plan`](plan()).
pub trait View {
    /// How many messages it holds.
    fn messages(&self) -> u64;
    /// Their cost together, in bytes.
    fn bytes(&self) -> u64;
    /// Whether a poll is held at this moment.
    fn poll_is_held(&self) -> bool;
    /// The buffered message that a newer one of this class replaces, if it was never handed out.
    fn superseded_by(&self, class: &Class) -> Option<Superseded>;
    /// Id and cost of all typing notifications that are not handed out, oldest first.
    fn typing(&self) -> impl Iterator<Item = (EventId, u64)>;
    /// Id and cost of all messages that are not handed out, oldest first.
    fn waiting(&self) -> impl Iterator<Item = (EventId, u64)>;
}

/// A buffered message which a newer one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Its id.
    pub id: EventId,
    /// Its cost in bytes.
    pub cost: u64,
}

/// What is asked for: room for one message.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// How it will behave.
    pub class: &'a Class,
    /// What it costs, in bytes.
    pub cost: u64,
    /// The life time that the subscription asked for, if it did.
    pub wish: Option<Duration>,
}

/// What has to be done to take the message in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long it may be buffered.
    pub life_time: Duration,
    /// The older message that it replaces: a presence state in place, a typing notification by leaving.
    pub superseded: Option<Superseded>,
    /// The messages that make room for it, in this order.
    pub evict: Vec<EventId>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// PollMsgLimit or PollMsgKByteLimit is 0.
    #[error("message buffering is disabled")]
    Disabled,
    /// PollMsgLifeTime is 0, and no poll is held.
    #[error("messages are not buffered, and no poll is held")]
    NobodyPolls,
    /// The mailbox is full.
    #[error("the mailbox is full")]
    Full,
    /// It would not fit into an empty mailbox.
    #[error("the message is larger than the mailbox")]
    TooLarge,
}

/// Decides whether a message may be buffered, and what has to go for it.
///
/// Typing notifications make room for anything; other messages make room only for what is not a typing
/// notification, and only with [`Overflow::DropOldest`]; what is handed out and not yet acknowledged
/// never does. A refusal evicts nothing.
pub fn plan(view: &impl View, candidate: Candidate<'_>, limits: &Limits) -> Result<Plan, Refusal> {
    if !limits.messages.allows(1) || !limits.bytes.allows(1) {
        return Err(Refusal::Disabled);
    }
    if !limits.bytes.allows(candidate.cost) {
        return Err(Refusal::TooLarge);
    }
    let mut life_time = limits.life_time.apply(candidate.wish);
    if life_time.is_zero() {
        if !view.poll_is_held() {
            return Err(Refusal::NobodyPolls);
        }
        life_time = HANDOVER;
    }
    if candidate.class.is_typing() {
        life_time = life_time.min(TYPING_LIFE_TIME);
    }

    let superseded = match candidate.class {
        Class::Presence { .. } if !limits.coalesce => None,
        class => view.superseded_by(class),
    };
    let freed = superseded.map_or(0, |s| s.cost);
    let mut room = Room {
        messages: view.messages() + 1 - u64::from(superseded.is_some()),
        bytes: view.bytes() + candidate.cost - freed,
        limits,
        evict: Vec::new(),
    };
    let others = |(id, _): &(EventId, u64)| superseded.is_none_or(|s| s.id != *id);
    if !room.suffices() {
        room.make(view.typing().filter(others));
    }
    if !room.suffices() && limits.overflow == Overflow::DropOldest && !candidate.class.is_typing() {
        let evicted = room.evict.clone();
        room.make(view.waiting().filter(others).filter(|(id, _)| !evicted.contains(id)));
    }
    if room.suffices() { Ok(Plan { life_time, superseded, evict: room.evict }) } else { Err(Refusal::Full) }
}

/// What the mailbox would hold with the candidate in it.
struct Room<'a> {
    messages: u64,
    bytes: u64,
    limits: &'a Limits,
    evict: Vec<EventId>,
}

impl Room<'_> {
    fn suffices(&self) -> bool {
        self.limits.messages.allows(self.messages) && self.limits.bytes.allows(self.bytes)
    }

    fn make(&mut self, candidates: impl Iterator<Item = (EventId, u64)>) {
        for (id, cost) in candidates {
            if self.suffices() {
                break;
            }
            self.messages -= 1;
            self.bytes -= cost;
            self.evict.push(id);
        }
    }
}

#[cfg(test)]
mod tests;
