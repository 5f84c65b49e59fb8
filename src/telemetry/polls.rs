//! How polls end, and what becomes of their credentials: the words in metrics and logs.

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// With messages, or with a gap to tell of.
    News,
    /// With nothing, when the hold was over.
    Empty,
    /// A newer poll took its place.
    Superseded,
    /// The client went away.
    Gone,
    /// The gateway is stopping.
    Stopping,
    /// There is no such mailbox, or it ended meanwhile.
    Unknown,
    /// It was not understood, or not allowed.
    Refused,
    /// Too many polls are held.
    TooMany,
    /// Too many polls of the mailbox ended with nothing before their time was over.
    TooOften,
    /// There is something, and the store cannot read it at this moment.
    Unavailable,
}

impl PollResult {
    pub(super) const ALL: [PollResult; 10] = [
        PollResult::News,
        PollResult::Empty,
        PollResult::Superseded,
        PollResult::Gone,
        PollResult::Stopping,
        PollResult::Unknown,
        PollResult::Refused,
        PollResult::TooMany,
        PollResult::TooOften,
        PollResult::Unavailable,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            PollResult::News => "news",
            PollResult::Empty => "empty",
            PollResult::Superseded => "superseded",
            PollResult::Gone => "gone",
            PollResult::Stopping => "stopping",
            PollResult::Unknown => "unknown",
            PollResult::Refused => "refused",
            PollResult::TooMany => "too-many",
            PollResult::TooOften => "too-often",
            PollResult::Unavailable => "unavailable",
        }
    }
}

/// What became of the credentials of a poll, where they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// They prove who it is.
    Accepted,
    /// There are none.
    Missing,
    /// There is no such user, or that is not the password.
    Denied,
    /// They are right, but the nonce is too old.
    Stale,
    /// They are right, but were used before.
    Replayed,
    /// They are not understood.
    Malformed,
    /// They were accepted, but the mailbox is somebody else's.
    Forbidden,
}

impl AuthResult {
    pub(super) const ALL: [AuthResult; 7] = [
        AuthResult::Accepted,
        AuthResult::Missing,
        AuthResult::Denied,
        AuthResult::Stale,
        AuthResult::Replayed,
        AuthResult::Malformed,
        AuthResult::Forbidden,
    ];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            AuthResult::Accepted => "accepted",
            AuthResult::Missing => "missing",
            AuthResult::Denied => "denied",
            AuthResult::Stale => "stale",
            AuthResult::Replayed => "replayed",
            AuthResult::Malformed => "malformed",
            AuthResult::Forbidden => "forbidden",
        }
    }
}
