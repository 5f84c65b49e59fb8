//! How much time went by while nobody counted: between the last commit of one process and the start of the
//! next. Pure.
//!
//! Rows hold times on a clock of the store's own, which goes on from where the last process left it:
//! - After the same start of the machine, by as much as the machine's own clock says. Nobody can set that
//!   one, so whatever the wall clock did, before or meanwhile, changes nothing.
//! - After another start of the machine, by as much as the wall clock says. A wall clock that went back
//!   says nothing, so no time went by: each message keeps what it had left. One that jumped ahead by more
//!   than [`LONGEST`] was set, and was not that long off: no time went by either.
//!
//! So no clock that is wrong keeps anything longer than its life time from the start on, and none that
//! jumps ahead by years drops everything.

use std::time::Duration;

use crate::clock::Reading;
use crate::mailbox::Timestamp;

/// The longest time off that is believed: many times the longest life time that is documented (an hour
/// for a message, 16 hours for what was dropped), and less than what a dead clock battery loses.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What all clocks said at the last commit, and what the store's own clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The store's own clock.
    pub(super) stored: u64,
    /// The others.
    pub(super) reading: Reading,
}

/// Between the clock of this process and the store's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StoreClock {
    /// What the store's clock is ahead, in milliseconds.
    ahead: i64,
}

impl StoreClock {
    /// The store's clock goes on from where it was seen last.
    pub(super) fn resume(seen: &Seen, now: &Reading) -> Self {
        let stored = Timestamp::from_millis(seen.stored) + elapsed(&seen.reading, now);
        Self { ahead: stored.as_millis().wrapping_sub(now.now.as_millis()).cast_signed() }
    }

    /// A time as it is stored. The end of time stays the end of time.
    pub(super) fn to_stored(self, time: Timestamp) -> u64 {
        if time == Timestamp::MAX { u64::MAX } else { time.as_millis().saturating_add_signed(self.ahead) }
    }

    /// A stored time as this process counts it.
    pub(super) fn restore(self, stored: u64) -> Timestamp {
        if stored == u64::MAX {
            return Timestamp::MAX;
        }
        Timestamp::from_millis(stored.saturating_add_signed(self.ahead.saturating_neg()))
    }

    /// What is written with each commit.
    pub(super) fn seen(self, reading: Reading) -> Seen {
        Seen { stored: self.to_stored(reading.now), reading }
    }
}

/// How much time went by between two readings, of different processes.
pub(super) fn elapsed(before: &Reading, now: &Reading) -> Duration {
    if let (Some(then), Some(boot)) = (before.boot, now.boot)
        && then.id == boot.id
    {
        return boot.up.saturating_sub(then.up);
    }
    let by_wall = now.wall.since(before.wall);
    if by_wall > LONGEST { Duration::ZERO } else { by_wall }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Boot;

    const HOUR: u64 = 3600;
    const YEAR: u64 = 365 * 24 * HOUR;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// The wall clock and the machine's own, in seconds.
    fn reading(wall: u64, boot: Option<(u128, u64)>) -> Reading {
        let boot = boot.map(|(id, up)| Boot { id, up: Duration::from_secs(up) });
        Reading { now: at(wall), wall: at(wall), boot }
    }

    #[test]
    fn how_much_time_went_by() {
        let noon = 50 * YEAR;
        for (what, before, now, seconds) in [
            ("the wall clock", (noon, None), (noon + 60, None), 60),
            ("it went back", (noon, None), (noon - 5 * HOUR, None), 0),
            ("a long time off", (noon, None), (noon + 30 * 24 * HOUR, None), 30 * 24 * HOUR),
            ("it was set", (noon, None), (noon + 30 * 24 * HOUR + 1, None), 0),
            ("it had been wrong", (0, None), (noon, None), 0),
            ("the same boot", (noon, Some((1, 100))), (noon + 60, Some((1, 160))), 60),
            ("back in the same boot", (noon, Some((1, 100))), (noon - 5 * HOUR, Some((1, 160))), 60),
            ("ahead in the same boot", (noon, Some((1, 100))), (noon + 5 * HOUR, Some((1, 160))), 60),
            ("another boot", (noon, Some((1, 9000))), (noon + 60, Some((2, 20))), 60),
            ("back over a boot", (noon, Some((1, 9000))), (noon - 60, Some((2, 20))), 0),
        ] {
            let (before, now) = (reading(before.0, before.1), reading(now.0, now.1));
            assert_eq!(elapsed(&before, &now).as_secs(), seconds, "{what}");
        }
    }

    #[test]
    fn a_message_keeps_what_it_had_left_less_the_time_off() {
        let noon = 50 * YEAR;
        // What the wall clock said before the stop, and what it says after it.
        for (before, now, left) in
            [(noon, noon + 60, 840), (noon, noon - 5 * HOUR, 900), (0, noon, 900), (noon, noon + YEAR, 900)]
        {
            let clock = StoreClock::default();
            let first = reading(before, None);
            let expires = clock.to_stored(first.now + Duration::from_secs(900));
            let second = reading(now, None);
            let clock = StoreClock::resume(&clock.seen(first), &second);
            assert_eq!(clock.restore(expires).since(second.now).as_secs(), left, "{before} {now}");
            // And once more: the store's clock is not the wall clock any longer.
            let third = reading(now + 30, None);
            let clock = StoreClock::resume(&clock.seen(second), &third);
            assert_eq!(clock.restore(expires).since(third.now).as_secs(), left - 30, "{before} {now}");
        }
    }

    /// The clock of this process is not the wall clock, which was set right meanwhile.
    #[test]
    fn a_wall_clock_that_was_set_right_during_a_run_is_no_time_off() {
        let first = Reading { now: at(100), wall: at(100 + 5 * HOUR), boot: None };
        let seen = StoreClock::default().seen(first);
        let second = reading(110 + 5 * HOUR, None);
        let clock = StoreClock::resume(&seen, &second);
        assert_eq!(clock.restore(seen.stored), at(100 + 5 * HOUR));
    }

    #[test]
    fn times_come_back_as_they_were() {
        let seen = StoreClock::default().seen(reading(YEAR, None));
        for now in [YEAR, YEAR + 60, YEAR - 60, 1] {
            let clock = StoreClock::resume(&seen, &reading(now, None));
            for time in [Timestamp::default(), at(YEAR), Timestamp::MAX] {
                let back = clock.restore(clock.to_stored(time));
                assert!(back == time || time == Timestamp::default(), "{now} {time:?} {back:?}");
            }
        }
    }
}
