//! Digest access authentication (RFC 7616, and RFC 2617 for peers of its time).
//!
//! - [`Algorithm`], [`secret`]: what is hashed, and how.
//! - [`Challenge`]: the client's side: a challenge in, an `Authorization` out.
//! - [`Authorization`]: the server's side: an `Authorization` in, whether it proves that the secret is known.
//! - `fields`: the grammar that both share.
//!
//! `qop=auth` with MD5 or SHA-256. What it refuses to do: `auth-int`, `-sess`, `userhash`.

mod authorization;
mod client;
mod fields;

use sha2::Digest;

pub use authorization::{Authorization, Malformed, challenge};
pub use client::{Challenge, Credentials, Request, next_nonce};

/// The hash function; the later, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, which is also meant where none is named.
    Md5,
    /// `SHA-256`.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Md5, Self::Sha256];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// How many hexadecimal digits a hash has.
    pub fn digits(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 => 64,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The hash of these parts with a colon between each two, in hexadecimal digits.
    fn hash<const N: usize>(self, parts: [&str; N]) -> String {
        fn hashed<D: Digest, const N: usize>(parts: [&str; N]) -> String {
            let mut hasher = D::new();
            for (index, part) in parts.into_iter().enumerate() {
                if index > 0 {
                    hasher.update(b":");
                }
                hasher.update(part);
            }
            hex(&hasher.finalize())
        }
        match self {
            Algorithm::Md5 => hashed::<md5::Md5, N>(parts),
            Algorithm::Sha256 => hashed::<sha2::Sha256, N>(parts),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// What stands for a password where passwords are kept: the `A1` of RFC 7616 §3.4.2, hashed. Who has it can
/// authenticate in this realm.
pub fn secret(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    algorithm.hash([user, realm, password])
}

/// One use of a nonce with `qop=auth`.
#[derive(Clone, Copy)]
struct Use<'a> {
    nonce: &'a str,
    /// The count as it stands on the wire: eight hexadecimal digits.
    nc: &'a str,
    cnonce: &'a str,
}

impl Use<'_> {
    /// The proof that the secret is known (RFC 7616 §3.4.1); without a method it is the server's
    /// (`rspauth`, §3.5).
    fn proof(self, algorithm: Algorithm, secret: &str, method: &str, uri: &str) -> String {
        let what = algorithm.hash([method, uri]);
        algorithm.hash([secret, self.nonce, self.nc, self.cnonce, "auth", &what])
    }
}
