//! RVP over HTTP, as Exchange 2000 Instant Messaging speaks it (draft-calsyn-rvp-01,
//! draft-osborne-rvp-00).
//!
//! - [`subscription`]: what a client asks, and what the upstream grants.
//! - [`callback`]: what the upstream delivers, and how it is answered.

pub mod callback;
pub mod subscription;
mod unsubscribe;

pub use callback::{notification_to, read_callback, word};
pub use subscription::{Names, read_grant, read_request};

/// The field whose value the gateway replaces.
pub const CALL_BACK: &str = "Call-Back";
pub use unsubscribe::unsubscribe;
