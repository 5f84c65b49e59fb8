//! The one place that reads clocks.
//!
//! Life times are counted on a clock that starts at the wall clock's time and then only goes ahead, as
//! the monotonic clock does: while the process lives, a wall clock that is set back or ahead by hours
//! neither drops a message nor keeps one for ever. It is never set right by the wall clock: what outlives
//! the process is kept with a [`Reading`] of all clocks, and the next process finds from that how much
//! time went by (see the disk store).
#![expect(clippy::disallowed_methods, reason = "this is the file that may")]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::mailbox::Timestamp;

static START: LazyLock<(Instant, Duration)> = LazyLock::new(|| {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), wall)
});

/// Which start of the machine this is; none where the system does not say.
static BOOT: LazyLock<Option<u128>> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
});

/// What all clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The clock by which life times are counted; it is this process's own.
    pub now: Timestamp,
    /// The wall clock, which anybody may set.
    pub wall: Timestamp,
    /// The machine's own, if it has one.
    pub boot: Option<Boot>,
}

/// A clock that nobody can set, and that counts on while the machine sleeps. It begins with each start of
/// the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Which start of the machine.
    pub id: u128,
    /// How long it has been up.
    pub up: Duration,
}

/// Now, by all clocks.
pub fn read() -> Reading {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::try_from(up).ok();
    Reading {
        now: now(),
        wall: Timestamp::default() + wall,
        boot: up.and_then(|up| Some(Boot { id: (*BOOT)?, up })),
    }
}

/// Now, for life times.
pub fn now() -> Timestamp {
    let (start, wall) = *START;
    Timestamp::from_millis(0) + (wall + start.elapsed())
}

/// Now, for measuring how long something takes.
pub fn instant() -> Instant {
    Instant::now()
}

/// When the runtime's timers will have waited for `span`.
pub fn in_time(span: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + span
}

/// Now, by the wall clock: for `Date` and for people.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// A point in time as programs and people read it (RFC 3339), to the millisecond, in UTC.
pub fn rfc3339(at: Timestamp) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis().min(LATEST_MILLIS));
    humantime::format_rfc3339_millis(at).to_string()
}

/// The last second of the year 9999: later ones have no form in RFC 3339.
const LATEST_MILLIS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (996_667_200_123, "2001-08-01T12:00:00.123Z"),
            (u64::MAX, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), written);
        }
    }
}
