//! Polls: a parsed request in, an answer out. What carries them is somebody else's business.
//!
//! - [`request`]: what a poll asks for.
//! - [`hold`]: waiting until there is something to say; [`session`]: taking it, from one mailbox or several.
//! - [`forms`]: how messages are written; [`events`]: the same as a stream.

mod events;
mod forms;
mod hold;
mod request;
mod session;
#[cfg(test)]
mod simulation;

pub use events::Events;
pub use hold::{Answer, Client, answer, come_again};
pub use request::{Form, MOST_IDS, PATH, PollRequest, Subscriptions, Target, is_poll, new_key, read};
pub use session::Receipt;
