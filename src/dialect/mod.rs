//! How one protocol family writes subscriptions and callbacks.
//!
//! A dialect reads and words; it decides nothing about limits, looks nothing up and sends nothing. What
//! it reads from either side comes out in the terms of this module, so that the gateway knows no
//! protocol by name.
//!
//! - [`Reading`]: what a client's request means to the gateway.
//! - [`Grant`]: what the upstream's answer to a subscription says.
//! - [`Delivery`]: what a callback says of itself.
//! - [`Verdict`]: what became of a callback, to be worded for the upstream.

pub mod rvp;

use std::time::Duration;

use crate::mailbox::{Class, Refusal, Subscription};

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
    /// A subscription that must not reach the upstream, and why.
    Invalid(String),
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

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its message is kept, or was delivered where that was asked for.
    Accepted,
    /// It is not.
    Refused(CallbackRefusal),
}

/// Why a callback was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefusal {
    /// It came from an address that may not deliver.
    #[error("this address may not deliver callbacks")]
    Source,
    /// Its method is not one of the dialect's callbacks.
    #[error("the method is not a callback's")]
    Method,
    /// There is no such mailbox, or no longer.
    #[error("no such subscription")]
    Unknown,
    /// It names no mailbox, and more than one could be meant.
    #[error("more than one subscription could be meant")]
    Ambiguous,
    /// The core found no room for it.
    #[error(transparent)]
    NoRoom(#[from] Refusal),
    /// Its body is larger than is read at all.
    #[error("the body is too large")]
    BodyTooLarge,
    /// There are too many other bodies in memory.
    #[error("too many bodies are in memory")]
    NoMemory,
    /// It could not be read.
    #[error("the request is unreadable")]
    Unreadable,
    /// All mailboxes together are full.
    #[error("the store is full")]
    StoreFull,
    /// The store has no space on its file system.
    #[error("the store has no space")]
    NoSpace,
    /// The store cannot keep anything at this moment.
    #[error("the store is unavailable")]
    Unavailable,
    /// The client did not take it in time, where that was waited for.
    #[error("the client did not take it in time")]
    NotTaken,
}

impl CallbackRefusal {
    /// Every reason.
    pub const ALL: [CallbackRefusal; 15] = [
        CallbackRefusal::Source,
        CallbackRefusal::Method,
        CallbackRefusal::Unknown,
        CallbackRefusal::Ambiguous,
        CallbackRefusal::NoRoom(Refusal::Disabled),
        CallbackRefusal::NoRoom(Refusal::NobodyPolls),
        CallbackRefusal::NoRoom(Refusal::Full),
        CallbackRefusal::NoRoom(Refusal::TooLarge),
        CallbackRefusal::BodyTooLarge,
        CallbackRefusal::NoMemory,
        CallbackRefusal::Unreadable,
        CallbackRefusal::StoreFull,
        CallbackRefusal::NoSpace,
        CallbackRefusal::Unavailable,
        CallbackRefusal::NotTaken,
    ];

    /// The reason's word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            CallbackRefusal::Source => "source",
            CallbackRefusal::Method => "method",
            CallbackRefusal::Unknown => "unknown",
            CallbackRefusal::Ambiguous => "ambiguous",
            CallbackRefusal::NoRoom(Refusal::Disabled) => "disabled",
            CallbackRefusal::NoRoom(Refusal::NobodyPolls) => "nobody-polls",
            CallbackRefusal::NoRoom(Refusal::Full) => "full",
            CallbackRefusal::NoRoom(Refusal::TooLarge) => "too-large",
            CallbackRefusal::BodyTooLarge => "body-too-large",
            CallbackRefusal::NoMemory => "no-memory",
            CallbackRefusal::Unreadable => "unreadable",
            CallbackRefusal::StoreFull => "store-full",
            CallbackRefusal::NoSpace => "no-space",
            CallbackRefusal::Unavailable => "unavailable",
            CallbackRefusal::NotTaken => "not-taken",
        }
    }
}
