//! The client's side of the wire: what lets a client that listens work through a firewall, and knows nothing of it.
//!
//! - [`Agent`]: the whole, with its [`Settings`].
//! - `relay`: a client's requests on their way to the gateway; `rewrite`: what is changed in them.
//! - `subscriptions`: which there are; `courier`: fetching the messages of one; `replay`: bringing one to the
//!   client; `hold`: how long to ask for a poll to be held; `state`: what outlives the agent.
//! - [`Poller`]: polls a mailbox for ever, through every kind of break.
//! - [`Reach`]: connections to the gateway; [`Target`]: what is polled; [`Message`]: what comes; [`Backoff`]: how
//!   long to wait after a failure.
//!
//! Invariants:
//! - the client has the answer to its subscription before the first message;
//! - one message at a time goes to a subscription, in the gateway's order;
//! - a message is acknowledged only when the client took it, or was asked in vain often enough.

mod backoff;
mod courier;
mod hold;
mod message;
mod metrics;
mod poller;
mod reach;
mod relay;
mod replay;
mod rewrite;
mod service;
mod state;
mod subscriptions;
mod target;

pub use backoff::Backoff;
pub use message::{Message, News};
pub use metrics::Metrics;
pub use poller::{Ended, Poller, Trouble};
pub use reach::Reach;
pub use service::{Agent, Settings, StartError};
pub use state::StateFile;
pub use subscriptions::Polling;
pub use target::{BadTarget, Target};
