//! The core: what a mailbox holds, what it may hold, and what leaves it.
//!
//! Everything here is pure. Time and ids come in as arguments; there is no clock, no randomness, no
//! I/O, no async and no serialisation in this module, so that each rule can be tested by itself and a
//! whole day of a mailbox can be simulated in a millisecond.
//!
//! In reading order:
//! - [`Message`], [`Class`]: one callback as the upstream sent it, and how it behaves while it waits.
//! - [`Limits`]: the documented settings a mailbox is under; valid by construction.
//! - [`plan`](plan()): the one place where limits are decided.
//! - [`Mailbox`]: offer, begin a poll, take, settle, acknowledge, expire, replay, end. Of a message it
//!   keeps what it decides by ([`Buffered`]); where the message itself is, is its store's business.
//! - [`Change`]: what an operation changed, for a store that follows it elsewhere.
//! - [`Subscription`]: whose mailbox it is; [`normal_path`](normal_path()): when two paths are the same.
//! - [`ConnectionSettings`]: how its client wants to be told; [`OwnSettings`]: as its user typed it.
//! - [`Pace`]: how often a mailbox may be polled in vain.
//!
//! Invariants ([`Mailbox::check_invariants`] checks them after each step in tests and debug builds):
//! - the byte total is the sum of the costs of the buffered messages;
//! - event ids grow for ever: an id that was acknowledged, dropped or replaced never comes back;
//! - messages that are handed out and not yet acknowledged are the front of the queue, and count
//!   against both limits;
//! - a message that was ever handed out is never changed in place;
//! - every message has exactly one end: it is acknowledged, dropped for a reason, or replaced; what is dropped is
//!   counted in the gap until the client has acknowledged an answer that told of it;
//! - an id acknowledges no more than what an answer that carried it brought from this mailbox.

mod batch;
mod buffered;
mod change;
mod connection;
mod dropped;
#[cfg(test)]
mod follower;
mod id;
mod limits;
mod message;
#[cfg(test)]
mod model;
mod normal;
mod pace;
mod plan;
mod queue;
#[cfg(test)]
mod simulation;
mod subscription;
#[cfg(test)]
pub(crate) mod testing;
mod time;

pub use batch::{Acknowledgement, Batch, BatchLimits, MailboxTotals, Offered, Outcome, Take, TakenMessage};
pub use buffered::{Buffered, Incoming};
pub use change::Change;
pub use connection::{
    ConnectionSettings, DeliveryMode, LowPorts, OwnSettings, PollingPeriod, PollingPeriodError, PortRange,
    Ports, PortsError,
};
pub use dropped::{DropReason, DroppedMessage, Lost};
pub use id::{CallbackToken, EventId, HandoutId, MailboxId, PollKey};
pub use limits::{Bound, LifeTimes, LifeTimesError, Limits, Overflow};
pub use message::{Class, Message, TYPING_LIFE_TIME};
pub use normal::{fold_case, normal_path};
pub use pace::Pace;
pub use plan::{Candidate, Plan, Refusal, Superseded, View, plan};
pub use queue::{Mailbox, Replayed, Snapshot};
pub use subscription::Subscription;
pub use time::Timestamp;

#[cfg(test)]
use follower::Follower;
