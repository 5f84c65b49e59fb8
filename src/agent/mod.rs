//! The client's side of the wire.
//!
//! - [`Poller`]: polls a mailbox for ever, through every kind of break.
//! - [`Target`]: what is polled; [`Message`]: what comes; [`Backoff`]: how long to wait after a failure.

mod backoff;
mod message;
mod poller;
mod target;

pub use backoff::Backoff;
pub use message::{Message, News};
pub use poller::{Ended, Poller, Trouble};
pub use target::{BadTarget, Target};
