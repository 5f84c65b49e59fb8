//! General Event Notification Architecture, as UPnP devices speak it (UPnP Device Architecture 2.0 §4,
//! draft-cohen-gena-p-base-01).
//!
//! - [`subscription`]: what a control point asks, and what the device grants.
//! - [`callback`]: the device's events, and how they are answered.
//!
//! Events are numbered (`SEQ`), and a control point that misses a number has to subscribe anew: none is
//! replaced by a newer one, and one that is dropped shows as a gap in the numbers.
//!
//! One thing is the gateway's own: a `SUBSCRIBE` with `NT` and without `CALLBACK`, which a device answers 412,
//! is a client that chooses polling.

pub mod callback;
pub mod subscription;

pub use callback::{read_callback, word};
pub use subscription::{DEFAULT_LEASE, read_grant, read_request, trial, unsubscribe, with_callback};

/// The header field with a subscription's id, in every message of it.
pub const SID: &str = "SID";

/// The header field with the addresses that are called back.
pub const CALLBACK: &str = "CALLBACK";
