//! Who somebody is, and what is theirs.
//!
//! - [`digest`]: HTTP's Digest, both sides of it: what stands in the fields, and what it proves.
//! - [`Verifier`]: the server's whole check: users, nonces, and what becomes of them.
//! - `nonce`: nonces that need no memory until they are used, and none twice with the same count.
//! - [`htdigest`]: the file of users. `principal`: which principal a user is.
//!
//! Time and randomness come in from outside. Secrets are never logged, and their types hide them.

pub mod digest;
pub mod htdigest;
mod nonce;
mod principal;
mod verifier;

pub use verifier::{Proven, Refusal, Request, Settings, Verifier};
