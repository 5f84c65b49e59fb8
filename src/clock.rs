//! The one place that reads clocks.
//!
//! Life times are counted on a clock that starts at the wall clock's time and then only goes ahead, as
//! the monotonic clock does: while the process lives, a wall clock that is set back or ahead by hours
//! neither drops a message nor keeps one for ever.
#![expect(clippy::disallowed_methods, reason = "this is the file that may")]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use crate::mailbox::Timestamp;

static START: LazyLock<(Instant, Duration)> = LazyLock::new(|| {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), wall)
});

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
