//! What became of a callback, to be worded for the upstream.

use crate::http1::Response;
use crate::mailbox::Refusal;

/// After how many seconds a callback may be sent again that found no room: what Exchange asks its clients
/// when its queue is full.
const RETRY_AFTER: u64 = 30;

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

    /// The answer as HTTP has it (RFC 9110 §15), to a callback whose methods are these.
    pub(super) fn answer(self, methods: &str) -> Response {
        match self {
            Self::Source => Response::text(403, self),
            Self::Method => Response::text(405, self).with("Allow", methods),
            Self::Unknown | Self::Ambiguous => Response::text(412, self),
            Self::NoRoom(Refusal::TooLarge) | Self::BodyTooLarge => Response::text(413, self),
            Self::Unreadable => Response::text(400, self),
            Self::NotTaken => Response::text(504, self),
            Self::NoRoom(Refusal::Full | Refusal::Disabled | Refusal::NobodyPolls)
            | Self::NoMemory
            | Self::StoreFull
            | Self::NoSpace
            | Self::Unavailable => Response::text(503, self).with("Retry-After", RETRY_AFTER),
        }
    }

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
