//! Whatever has its callers register an address over HTTP: told by rules, not by code.
//!
//! A webhook has no protocol of its own. Each server has a request that registers, somewhere in which the address
//! stands; an answer, somewhere in which there may be an id; and ways of its own to make sure that the address wants
//! to be called. [`Rules`] say where. The file that they are read from is the business of the configuration.
//!
//! - [`Rules`]: what is said of a server. [`PathPattern`], [`Place`]: the words it is said in.
//! - `json`, `xml`, `form`: where in a body a place is; to replace a value changes no other byte.
//! - `request`: what a client asks. `answer`: what the server grants, and how it is answered.
//! - `challenge`: the handshakes of servers that ask first whether an address wants to be called.
//!
//! What is decided here:
//! - A request that registers and cannot be read is refused, 400: passed on as it is, it would make the server call
//!   an address that it cannot reach, and nobody would be told.
//! - An address that is given twice is refused too: which of them counts, two implementations may see in two ways.
//! - What is not an `http` or `https` URL, or is one of the server's own, is no address to be called: it passes.
//! - A subscription that is over is answered 410, which senders of webhooks take for the end (W3C WebSub §7).

mod answer;
mod challenge;
mod form;
mod json;
mod path;
mod place;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod xml;

use std::time::Duration;

pub use answer::{read_content, read_grant, word};
pub use challenge::{Handshake, challenge};
pub use path::PathPattern;
pub use place::Place;
pub use request::{node, read_request, reads_content, unsubscribe, with_callback};
pub use rules::{
    Answer, Callback, Challenge, Condition, Known, Lease, Registration, RequestPattern, Rules, Unit,
};

/// The largest body in which a place is looked for, in bytes. Registrations are a few hundred.
pub const LARGEST_CONTENT: usize = 256 * 1024;

/// The longest lease. What never ends at the server must end here some day, if its client never comes again.
pub const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The body is not JSON.
    #[error("the body is not JSON")]
    Json,
    /// The body is not XML, or has a DTD.
    #[error("the body is not XML that is read here")]
    Xml,
    /// A value is there more than once.
    #[error("a value is given twice")]
    Twice,
    /// The body is compressed.
    #[error("the body has a content coding")]
    Coding,
}
