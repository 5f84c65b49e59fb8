//! Notifications of WebDAV servers, as Exchange and Slide have them (Exchange SDK, *Notifications*; the methods are
//! those of RVP).
//!
//! A notification says that something has changed, and not what: its client asks with POLL, which names
//! subscriptions and is told in a [`status`] which of them had events. Servers call back over HTTP, or with one
//! datagram each (`httpu`).

pub mod status;
pub mod subscription;

use std::time::Duration;

pub use subscription::{read_request, unsubscribe};

use crate::dialect::Delivery;
use crate::mailbox::Class;

/// The lease when neither side names one: Exchange's own, an hour.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(3600);

/// What a callback says of itself: each counts as an event.
pub fn read_callback() -> Delivery {
    Delivery { class: Class::Message, deep_ack: false }
}
