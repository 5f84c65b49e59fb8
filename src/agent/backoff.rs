//! How long to wait after a failure.

use std::time::Duration;

/// Doubles from half a second to half a minute, and takes a random part of that: many clients that lost
/// the same gateway do not come back at the same moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    /// Nobody is asked more often than this.
    const SHORTEST: Duration = Duration::from_millis(100);

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed again: how long to wait, given a random number from 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        let longest = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures += 1;
        longest.mul_f64(random.clamp(0.0, 1.0)).max(Self::SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_bound_and_begins_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<f64> = (0..8).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(backoff.next(0.5), Duration::from_secs(15));
        assert_eq!(backoff.next(0.0), Duration::from_millis(100));
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(500));
        let mut long = Backoff { failures: u32::MAX - 1 };
        assert_eq!(long.next(1.0), Duration::from_secs(30));
    }
}
