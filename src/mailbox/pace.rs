//! How often a mailbox may be polled in vain.
//!
//! The white paper warns that frequent polling congests the server. A poll that brings something, and one that
//! is held for its whole time, cost no more than they must; one that ends with nothing before that is paid for
//! with the time until the next one should come. What is paid ahead is bounded: a client whose connection broke
//! a few times comes back at once, one that keeps asking waits.

use std::time::Duration;

use super::Timestamp;

/// When the polls that were in vain would be over, had each been a floor after the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace(Timestamp);

impl Pace {
    /// So many polls in vain may come at once.
    pub const BURST: u32 = 10;

    /// The same from milliseconds.
    pub fn from_millis(millis: u64) -> Self {
        Self(Timestamp::from_millis(millis))
    }

    /// As milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0.as_millis()
    }

    /// After a poll in vain.
    #[must_use]
    pub fn after_a_vain_poll(self, floor: Duration, now: Timestamp) -> Self {
        Self(self.0.max(now) + floor)
    }

    /// How long the next poll has to wait; zero if it may come now, as with a floor of zero.
    pub fn wait(self, floor: Duration, now: Timestamp) -> Duration {
        if floor.is_zero() {
            return Duration::ZERO;
        }
        self.0.since(now).saturating_sub(floor * (Self::BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    /// How many of these polls in vain, at these milliseconds, are let in.
    fn let_in(times: impl IntoIterator<Item = u64>, floor: Duration) -> usize {
        let mut pace = Pace::default();
        let mut let_in = 0;
        for time in times.into_iter().map(at) {
            if pace.wait(floor, time).is_zero() {
                pace = pace.after_a_vain_poll(floor, time);
                let_in += 1;
            }
        }
        let_in
    }

    #[test]
    fn a_burst_is_let_in_and_then_one_for_each_floor() {
        assert_eq!(let_in((0..1000).map(|_| 0), FLOOR), 10);
        // A hundred seconds, ten a second: the burst, and one a second.
        assert_eq!(let_in((0..1000).map(|n| n * 100), FLOOR), 10 + 99);
        assert_eq!(let_in((0..1000).map(|n| n * 1000), FLOOR), 1000);
        assert_eq!(let_in((0..1000).map(|_| 0), Duration::ZERO), 1000);
    }

    #[test]
    fn whoever_waits_as_told_is_let_in() {
        let mut pace = Pace::default();
        for _ in 0..Pace::BURST {
            assert_eq!(pace.wait(FLOOR, at(0)), Duration::ZERO);
            pace = pace.after_a_vain_poll(FLOOR, at(0));
        }
        assert_eq!(pace.wait(FLOOR, at(0)), FLOOR);
        assert_eq!(pace.wait(FLOOR, at(400)), Duration::from_millis(600));
        assert_eq!(pace.wait(FLOOR, at(1000)), Duration::ZERO);
        let rested = at(3_600_000);
        assert_eq!(pace.after_a_vain_poll(FLOOR, rested), Pace(rested + FLOOR), "rest is not saved up");
    }

    #[test]
    fn a_floor_that_was_changed_counts_at_once() {
        let pace = (0..10).fold(Pace::default(), |pace, _| pace.after_a_vain_poll(FLOOR, at(0)));
        assert_eq!(pace.wait(Duration::ZERO, at(0)), Duration::ZERO);
        assert_eq!(pace.wait(FLOOR / 2, at(0)), Duration::from_millis(5500));
    }
}
