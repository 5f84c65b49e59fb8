//! How fast somebody asks: a bucket that fills at an even rate, and of which each request takes one.
//!
//! Kept is not how full it is but when it will be full (the generic cell rate algorithm, ITU-T I.371): one number,
//! changed without a lock, that means the same under another rate. That is all there is to it, and a rate is a
//! setting that may change: a crate for this would bring a table of its own, keyed and never shrinking by itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many requests there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Each second, for as long as one likes; at least one.
    pub per_second: u64,
    /// At once, after a while without any; at least one.
    pub burst: u64,
}

/// Who asks too fast may ask again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast(pub Duration);

/// When it will be full, in nanoseconds since an instant that all share. At zero it is full already.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// A bucket that will be full at this time.
    pub fn full_at(nanos: u64) -> Self {
        Self(AtomicU64::new(nanos))
    }

    /// When it will be full.
    pub fn full(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Takes one out, or says how long until there is one.
    pub fn take(&self, rate: Rate, now: u64) -> Result<(), TooFast> {
        const SECOND: u64 = 1_000_000_000;
        let each = SECOND / rate.per_second.max(1);
        let all = each.saturating_mul(rate.burst.max(1));
        let taken = self.0.fetch_update(Relaxed, Relaxed, |full| {
            let after = full.max(now).saturating_add(each);
            (after - now <= all).then_some(after)
        });
        taken.map(drop).map_err(|full| {
            let after = full.max(now).saturating_add(each);
            TooFast(Duration::from_nanos(after.saturating_sub(now.saturating_add(all))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };
    /// What one request takes.
    const EACH: u64 = 100_000_000;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let bucket = Bucket::default();
        let start = 5_000_000_000;
        for _ in 0..3 {
            bucket.take(RATE, start).unwrap();
        }
        assert_eq!(bucket.take(RATE, start), Err(TooFast(Duration::from_nanos(EACH))));
        assert_eq!(bucket.take(RATE, start + EACH - 1), Err(TooFast(Duration::from_nanos(1))));
        bucket.take(RATE, start + EACH).unwrap();
        assert!(bucket.take(RATE, start + EACH).is_err(), "what was refused took nothing");
        // After a while there are as many as at first, and no more.
        let later = start + 100 * EACH;
        assert_eq!((0..9).filter(|_| bucket.take(RATE, later).is_ok()).count(), 3);
    }

    #[test]
    fn another_rate_holds_at_once() {
        let bucket = Bucket::default();
        for _ in 0..3 {
            bucket.take(RATE, 0).unwrap();
        }
        assert!(bucket.take(RATE, 0).is_err());
        bucket.take(Rate { burst: 4, ..RATE }, 0).unwrap();
        assert_eq!(bucket.full(), 4 * EACH);
        assert_eq!(
            Bucket::full_at(bucket.full()).take(RATE, 0),
            Err(TooFast(Duration::from_nanos(2 * EACH)))
        );
    }
}
