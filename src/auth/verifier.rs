//! The server's whole check of Digest credentials.
//!
//! Credentials are checked before their nonce: only to whom knows the secret it is said that nothing but the
//! nonce was wrong (`stale`), and only their nonces are remembered. For a user that does not exist the same is
//! calculated, with a secret that nobody knows.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::digest::{self, Algorithm, Authorization, Malformed};
use super::htdigest::Users;
use super::nonce::{Nonces, Unusable};
use super::principal::{self, Map};
use crate::mailbox::Timestamp;
use crate::watched::{Unusable as UnusableFile, Watched};

/// What is to be verified, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the credentials are for; see [`is_realm`](super::htdigest::is_realm).
    pub realm: String,
    /// The hash functions that may be used, in the order in which they are offered.
    pub algorithms: Vec<Algorithm>,
    /// The [file of users](super::htdigest).
    pub users_file: PathBuf,
    /// The file that says who is which principal, where that is not the same name.
    pub map_file: Option<PathBuf>,
    /// How long a nonce is good.
    pub nonce_life_time: Duration,
}

/// Verifies credentials.
pub struct Verifier {
    realm: String,
    algorithms: Vec<Algorithm>,
    users: Watched<Users>,
    map: Option<Watched<Map>>,
    nonces: Nonces,
    /// The secret of all who do not exist, as long as the longest.
    nobodys: String,
}

/// The request that wants to be authorised.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its target, as it stands in the request line.
    pub target: &'a str,
    /// The authority that it is for.
    pub authority: &'a str,
}

/// Why a request is not authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It brings no Digest credentials.
    #[error("credentials are needed")]
    Missing,
    /// They are not understood, or are for another request.
    #[error("the Authorization is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// There is no such user, or that is not the password.
    #[error("unknown user or wrong password")]
    Denied,
    /// They are right, but the nonce is too old or unknown.
    #[error("the nonce is stale")]
    Stale,
    /// They are right, but were used before.
    #[error("the credentials were used before")]
    Replayed,
}

impl Refusal {
    /// Whether new credentials with the same password would do.
    pub fn is_stale(self) -> bool {
        matches!(self, Refusal::Stale | Refusal::Replayed)
    }
}

/// Who has proven to be who.
#[derive(Debug)]
pub struct Proven {
    /// The names of the principals that the user is.
    principals: Box<[Box<str>]>,
    /// `Authentication-Info`, but for a new nonce.
    info: Box<str>,
    nonce_made: Timestamp,
}

impl Proven {
    /// Whether this principal, a URL, is the user.
    pub fn is(&self, principal: &str) -> bool {
        principal::name(principal).is_some_and(|name| self.principals.iter().any(|own| **own == *name))
    }
}

impl Verifier {
    /// Reads the files. `key` is random, and of this process alone.
    pub fn open(settings: Settings, key: &[u8; 32]) -> Result<Self, UnusableFile> {
        let realm = settings.realm.clone();
        let users = Watched::open(settings.users_file, move |bytes| Users::read(bytes, &realm))?;
        let map = settings.map_file.map(|path| Watched::open(path, Map::read)).transpose()?;
        let nobodys = Sha256::new_with_prefix(key).chain_update(b"nobody").finalize();
        Ok(Self {
            realm: settings.realm,
            algorithms: settings.algorithms,
            users,
            map,
            nonces: Nonces::new(key, settings.nonce_life_time),
            nobodys: nobodys.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// How many users there are.
    pub fn users(&self, now: Timestamp) -> usize {
        self.users.current(now).len()
    }

    /// The values of the `WWW-Authenticate` fields that ask for credentials. All have the same nonce, for
    /// clients that mix them up.
    pub fn challenges(&self, stale: bool, now: Timestamp, random: u64) -> Vec<String> {
        let nonce = self.nonces.make(now, random);
        let offered = self.users.current(now).offer(&self.algorithms);
        offered.into_iter().map(|a| digest::challenge(a, &self.realm, &nonce, stale)).collect()
    }

    /// Who sent a request, by the values of its `Authorization` fields.
    pub fn verify<'a>(
        &self,
        request: Request<'_>,
        mut fields: impl Iterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Result<Proven, Refusal> {
        let field = fields.next().ok_or(Refusal::Missing)?;
        if fields.next().is_some() {
            return Err(Malformed::Several.into());
        }
        let credentials = Authorization::read(field).ok_or(Refusal::Missing)??;
        if !self.algorithms.contains(&credentials.algorithm) {
            return Err(Malformed::Algorithm.into());
        }
        if !credentials.is_for(request.target, request.authority) {
            return Err(Malformed::Uri.into());
        }
        let users = self.users.current(now);
        let secret_of = |name| Some((name, users.secret(name, credentials.algorithm)?));
        let user = credentials.names().find_map(secret_of).filter(|_| credentials.realm == self.realm);
        let nobodys = &self.nobodys[..credentials.algorithm.digits()];
        let secret = user.map_or(nobodys, |(_, secret)| secret);
        let proven = credentials.proves(secret, request.method);
        let (name, _) = user.filter(|_| proven).ok_or(Refusal::Denied)?;
        let nonce_made = self.nonces.take(&credentials.nonce, credentials.count, now).map_err(
            |unusable| match unusable {
                Unusable::Stale => Refusal::Stale,
                Unusable::Replayed => Refusal::Replayed,
            },
        )?;
        let principals = match &self.map {
            Some(map) => map.current(now).principals(name),
            None => Map::default().principals(name),
        };
        Ok(Proven { principals, info: credentials.answer(secret).into(), nonce_made })
    }

    /// The value of `Authentication-Info` in the answer (RFC 7616 §3.5). It has a new nonce if the old one
    /// would soon be stale.
    pub fn authentication_info(&self, proven: &Proven, now: Timestamp, random: u64) -> String {
        if self.nonces.is_aging(proven.nonce_made, now) {
            format!("{}, nextnonce=\"{}\"", proven.info, self.nonces.make(now, random))
        } else {
            proven.info.to_string()
        }
    }
}

#[cfg(test)]
mod tests;
