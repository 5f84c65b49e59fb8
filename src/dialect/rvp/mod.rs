//! RVP over HTTP, as Exchange 2000 Instant Messaging speaks it (draft-calsyn-rvp-01,
//! draft-osborne-rvp-00).
//!
//! - [`subscription`]: what a client asks, and what the upstream grants.
//! - [`callback`]: what the upstream delivers, and how it is answered.

pub mod callback;
pub mod subscription;
mod trial;
mod unsubscribe;

use std::time::Duration;

pub(in crate::dialect) use subscription::is_logical;

pub use callback::{notification_to, read_callback, word};
pub use subscription::{Names, read_request};
pub use trial::{provoke, trial};
pub use unsubscribe::unsubscribe;

/// The lease when neither side names one: what clients of the time ask for.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(14_400);
