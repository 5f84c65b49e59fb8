//! Nonces: made without remembering them, and remembered once somebody has proven to know a secret with one.
//!
//! A nonce says when it was made and proves that this process made it, so a challenge costs no memory,
//! however many are asked for. The counts that were used with it (`nc`) are kept from its first use with
//! right credentials, for so many nonces at most; a nonce that had to give way counts as stale.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use sha2::Sha256;

use crate::mailbox::Timestamp;

/// How many nonces are remembered: two for each of the polls that may be held by default, and some. Each takes
/// less than 128 bytes.
const MOST_REMEMBERED: NonZeroUsize = NonZeroUsize::new(128 * 1024).expect("more than 0");

/// Makes nonces and takes them back.
pub(super) struct Nonces {
    key: Hmac<Sha256>,
    life_time: Duration,
    used: Mutex<Used>,
}

/// Which nonce.
type Id = [u8; 16];

struct Used {
    counts: LruCache<Id, Counts>,
    /// No nonce made until then is taken for a new one: it may be one that was forgotten.
    forgotten: Option<Timestamp>,
}

/// Why a nonce was not taken, though whoever used it knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is too old, forgotten, or not from this process.
    Stale,
    /// It was used with this count before, or so long ago that this is not known any more.
    Replayed,
}

impl Nonces {
    /// Nonces that are good for `life_time`, and only in a process that has this key.
    pub(super) fn new(key: &[u8; 32], life_time: Duration) -> Self {
        Self::remembering(key, life_time, MOST_REMEMBERED)
    }

    fn remembering(key: &[u8; 32], life_time: Duration, most: NonZeroUsize) -> Self {
        let key = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        let used = Used { counts: LruCache::new(most), forgotten: None };
        Self { key, life_time, used: Mutex::new(used) }
    }

    /// A new nonce: the time, `random` to tell it from others of that time, and the proof that it is ours.
    pub(super) fn make(&self, now: Timestamp, random: u64) -> String {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&now.as_millis().to_be_bytes());
        nonce[8..16].copy_from_slice(&random.to_be_bytes());
        let mac = self.key.clone().chain_update(&nonce[..16]).finalize().into_bytes();
        nonce[16..].copy_from_slice(&mac[..16]);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Uses a nonce with this count; returns when it was made. Only for whoever has proven to know a secret:
    /// it is remembered.
    pub(super) fn take(&self, nonce: &str, count: u32, now: Timestamp) -> Result<Timestamp, Unusable> {
        let id = self.read(nonce).ok_or(Unusable::Stale)?;
        let made = made(&id);
        if now.since(made) >= self.life_time {
            return Err(Unusable::Stale);
        }
        let mut used = self.used();
        if let Some(counts) = used.counts.get_mut(&id) {
            return if counts.take(count) { Ok(made) } else { Err(Unusable::Replayed) };
        }
        if used.forgotten.is_some_and(|until| made <= until) {
            return Err(Unusable::Stale);
        }
        if let Some((other, _)) = used.counts.push(id, Counts::first(count)) {
            used.forgotten = used.forgotten.max(Some(self::made(&other)));
        }
        Ok(made)
    }

    /// Whether a nonce of this age should be replaced before it is too old.
    pub(super) fn is_aging(&self, made: Timestamp, now: Timestamp) -> bool {
        now.since(made) >= self.life_time / 2
    }

    /// Which nonce it is, if it is ours.
    fn read(&self, nonce: &str) -> Option<Id> {
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
        let (id, mac) = bytes.split_first_chunk::<16>().filter(|_| length == bytes.len())?;
        self.key.clone().chain_update(id).verify_truncated_left(mac).ok()?;
        Some(*id)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn made(id: &Id) -> Timestamp {
    let (millis, _) = id.split_first_chunk().expect("16 bytes begin with 8");
    Timestamp::from_millis(u64::from_be_bytes(*millis))
}

/// The counts that were used with one nonce: out of order within a window, never twice (RFC 7616 §5.12).
/// Requests overtake each other on the few connections that a client has; 128 are more than are on the way.
#[derive(Debug)]
struct Counts {
    highest: u32,
    /// Bit n: whether `highest - n` was used.
    used: u128,
}

impl Counts {
    fn first(count: u32) -> Self {
        Self { highest: count, used: 1 }
    }

    /// Whether it was not used before; from now on it was.
    fn take(&mut self, count: u32) -> bool {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1_u128.checked_shl(self.highest - count).unwrap_or(0);
        let new = bit != 0 && self.used & bit == 0;
        self.used |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn nonces() -> Nonces {
        Nonces::new(&[7; 32], 5 * MINUTE)
    }

    #[test]
    fn counts_may_overtake_each_other_and_never_repeat() {
        for (counts, taken) in [
            (&[1, 2, 3][..], &[true, true, true][..]),
            (&[1, 1], &[true, false]),
            (&[3, 1, 2, 3, 1, 2, 4], &[true, true, true, false, false, false, true]),
            (&[5, 4, 5, 4], &[true, true, false, false]),
            // The window has 128 places.
            (&[1000, 873, 872, 873, 0], &[true, true, false, false, false]),
            (&[1, 128, 1], &[true, true, false]),
            (&[1, 129, 1, 2], &[true, true, false, true]),
            (&[1, u32::MAX, u32::MAX, u32::MAX - 1, 1], &[true, true, false, true, false]),
            (&[10, 200, 199, 200, 10, 73, 72], &[true, true, true, false, false, true, false]),
        ] {
            let nonces = nonces();
            let nonce = nonces.make(START, 1);
            let results: Vec<bool> = counts
                .iter()
                .map(|count| match nonces.take(&nonce, *count, START) {
                    Ok(made) => made == START,
                    Err(error) => {
                        assert_eq!(error, Unusable::Replayed);
                        false
                    }
                })
                .collect();
            assert_eq!(results, taken, "{counts:?}");
        }
    }

    #[test]
    fn a_nonce_grows_old() {
        let nonces = nonces();
        let nonce = nonces.make(START, 1);
        for (age, taken, aging) in [
            (Duration::ZERO, true, false),
            (2 * MINUTE, true, false),
            (3 * MINUTE, true, true),
            (5 * MINUTE - Duration::from_millis(1), true, true),
            (5 * MINUTE, false, true),
            (60 * MINUTE, false, true),
        ] {
            let count = 1 + u32::try_from(age.as_millis()).unwrap();
            let result = nonces.take(&nonce, count, START + age);
            assert_eq!(result, if taken { Ok(START) } else { Err(Unusable::Stale) }, "{age:?}");
            assert_eq!(nonces.is_aging(START, START + age), aging, "{age:?}");
        }
    }

    #[test]
    fn a_nonce_of_somebody_else_is_stale() {
        let nonces = nonces();
        let own = nonces.make(START, 1);
        let other = Nonces::new(&[8; 32], MINUTE).make(START, 1);
        let changed = format!("{}{}", if own.starts_with('B') { "C" } else { "B" }, &own[1..]);
        for nonce in
            ["", "x", "dcd98b7102dd2f0e8b11d0f600bfb0c093", &other, &changed, &own[1..], &format!("{own}A")]
        {
            assert_eq!(nonces.take(nonce, 1, START), Err(Unusable::Stale), "{nonce}");
        }
        assert_eq!(nonces.take(&own, 1, START), Ok(START));
    }

    #[test]
    fn nonces_differ() {
        let nonces = nonces();
        assert_ne!(nonces.make(START, 1), nonces.make(START, 2));
        assert_ne!(nonces.make(START, 1), nonces.make(START + MINUTE, 1));
    }

    #[test]
    fn what_was_forgotten_is_not_taken_for_new() {
        let nonces = Nonces::remembering(&[7; 32], 5 * MINUTE, NonZeroUsize::new(2).unwrap());
        let at = |second| START + Duration::from_secs(second);
        let [one, two, three, four] = [1, 2, 3, 4].map(|second| nonces.make(at(second), second));
        let now = at(10);
        for nonce in [&one, &two, &one, &three] {
            let _ = nonces.take(nonce, 1, now);
        }
        // The second was the one not used for longest.
        assert_eq!(nonces.take(&two, 1, now), Err(Unusable::Stale), "it was used with this count");
        assert_eq!(nonces.take(&two, 2, now), Err(Unusable::Stale));
        assert_eq!(nonces.take(&one, 1, now), Err(Unusable::Replayed));
        assert_eq!(nonces.take(&one, 2, now), Ok(at(1)));
        let as_old = nonces.make(at(2), 99);
        assert_eq!(nonces.take(&as_old, 1, now), Err(Unusable::Stale), "nobody knows that it was not used");
        assert_eq!(nonces.take(&four, 1, now), Ok(at(4)));
        assert_eq!(nonces.used().counts.len(), 2);
    }

    #[test]
    fn a_challenge_takes_no_memory() {
        let nonces = nonces();
        for random in 0..1000 {
            nonces.make(START, random);
        }
        assert!(nonces.used().counts.is_empty());
    }
}
