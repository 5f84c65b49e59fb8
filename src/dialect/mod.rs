//! How one protocol family writes subscriptions and callbacks.
//!
//! A dialect reads and words; it decides nothing about limits, looks nothing up and sends nothing. What
//! it reads from either side comes out in the terms of this module, so that the gateway knows no
//! protocol by name.
//!
//! - [`Dialect`]: which family it is; every question is asked of it.
//! - [`Reading`]: what a client's request means to the gateway.
//! - [`Grant`]: what the upstream's answer to a subscription says.
//! - [`Delivery`]: what a callback says of itself.
//! - [`Verdict`]: what became of a callback, to be worded for the upstream.
//! - [`webhook`]: the family that is told by rules; only there a request's body says what it means.

mod exchange;
mod family;
pub mod gena;
pub mod rvp;
mod verdict;
pub mod webdav;
pub mod webhook;

use std::time::Duration;

pub use family::{Choice, Dialect};
pub use verdict::{CallbackRefusal, Verdict};

use crate::mailbox::{Class, Subscription};

/// What a client's request means to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing of ours: it passes as it is.
    Other,
    /// A subscription whose callbacks the gateway must receive in the client's place.
    Subscribe(Subscribe),
    /// A lease to be prolonged.
    Renew {
        /// The upstream's ids.
        ids: Vec<String>,
        /// How long the client wants it.
        lease: Option<Duration>,
    },
    /// A lease to be ended.
    Unsubscribe {
        /// The upstream's ids.
        ids: Vec<String>,
    },
    /// A subscription that must not reach the upstream.
    Invalid {
        /// The status of its answer.
        status: u16,
        /// What is wrong with it.
        what: String,
    },
}

/// A subscription whose callbacks the gateway must receive in the client's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Whose mailbox it needs.
    pub subscription: Subscription,
    /// How long the client wants the lease.
    pub lease: Option<Duration>,
    /// The id of the subscription that it renews, if it does.
    pub renews: Option<String>,
}

/// What the upstream's answer to a subscription says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The upstream's id.
    pub subscription_id: Option<String>,
    /// How long the lease is.
    pub lease: Option<Duration>,
}

/// What a callback says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How the message will behave while it waits.
    pub class: Class,
    /// Whether the upstream wants to be answered only when the client has it.
    pub deep_ack: bool,
}
