//! The names of things: which mailbox, which message, and the two secrets that lead to a mailbox.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use subtle::ConstantTimeEq;

/// Which mailbox, inside the gateway and towards its operators. Never shown to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub u64);

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which message. Ids grow for ever and never repeat; gaps are allowed. Zero is before every message.
///
/// On the wire it is the `Event-ID` of a part and the value of `Last-Event-ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which answer to a poll: the word of the transport about an answer counts only while that answer is
/// the mailbox's latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandoutId(pub u64);

/// Why a token or key in a path was not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 hexadecimal digits")]
pub struct NotASecret;

fn parse_hex(text: &str) -> Result<[u8; 16], NotASecret> {
    let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| NotASecret)?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(NotASecret),
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Display` writes it in full, for the wire; `Debug` hides it, for everything else. To compare two takes
        /// the same time wherever they differ.
        #[derive(Clone, Copy, Eq)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From 128 random bits.
            pub const fn from_random(bits: u128) -> Self {
                Self(bits.to_be_bytes())
            }

            /// The bits, for whoever keeps it.
            pub const fn bits(self) -> u128 {
                u128::from_be_bytes(self.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl FromStr for $name {
            type Err = NotASecret;

            fn from_str(text: &str) -> Result<Self, NotASecret> {
                parse_hex(text).map(Self)
            }
        }
    };
}

secret! {
    /// What the upstream was given instead of the client's callback address: who knows it may deliver.
    CallbackToken
}

secret! {
    /// What the client polls: who knows it may take the messages.
    PollKey
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_what_it_writes() {
        let key = PollKey::from_random(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(key.to_string(), "0123456789abcdef0011223344556677");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_secret_is_equal_to_itself_alone() {
        let key = PollKey::from_random(1 << 64);
        assert_eq!(key, PollKey::from_random(1 << 64));
        for bit in 0..128 {
            assert_ne!(key, PollKey::from_random(1 << 64 ^ 1 << bit), "{bit}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", CallbackToken::from_random(1)), "CallbackToken(…)");
    }

    #[test]
    fn what_is_not_a_secret_is_refused() {
        for text in ["", "0", "0123456789ABCDEF0011223344556677", "0123456789abcdef00112233445566778", "zz"] {
            assert_eq!(text.parse::<PollKey>(), Err(NotASecret), "{text:?}");
        }
    }
}
