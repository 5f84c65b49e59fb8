//! What is remembered of a client that could not be called: since how many tries, why, and when it is
//! tried again.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::telemetry::DeliveryResult;

/// How long a first wait is.
const FIRST: Duration = Duration::from_secs(1);

/// A client whose last try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Why the last try failed.
    pub(super) why: DeliveryResult,
    /// How many tries failed since the last delivery.
    pub(super) tries: u32,
    /// When it is tried again.
    pub(super) again: Instant,
    /// The port at which the last try ran out of time.
    pub(super) next_port: Option<u16>,
}

impl Trouble {
    /// Another try failed. `random` is a number from 0 to 1.
    pub(super) fn after(
        before: Option<Self>,
        why: DeliveryResult,
        next_port: Option<u16>,
        longest: Duration,
        random: f64,
    ) -> Self {
        let tries = before.map_or(0, |before| before.tries).saturating_add(1);
        Self { why, tries, again: clock::in_time(delay(tries, longest, random)), next_port }
    }

    /// Whether the client could not be reached, rather than having answered something.
    pub(super) fn is_unreachable(&self) -> bool {
        use DeliveryResult::{NotAllowed, Unanswered, Unreachable};
        matches!(self.why, Unreachable | Unanswered | NotAllowed)
    }
}

/// How long to wait after so many tries: twice as long each time, up to `longest`; half of it by chance, so
/// that clients behind one failure do not all come at once.
fn delay(tries: u32, longest: Duration, random: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(20);
    let full = FIRST.saturating_mul(1 << doublings).min(longest);
    full.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        let longest = Duration::from_secs(300);
        for (tries, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1000, 300), (u32::MAX, 300)] {
            let full = Duration::from_secs(seconds);
            assert_eq!(delay(tries, longest, 1.0), full, "{tries}");
            assert_eq!(delay(tries, longest, 0.0), full / 2, "{tries}");
        }
        assert_eq!(delay(1, Duration::from_millis(100), 1.0), Duration::from_millis(100));
    }

    #[test]
    fn tries_are_counted_until_a_delivery() {
        let longest = Duration::from_secs(1);
        let first = Trouble::after(None, DeliveryResult::Unreachable, Some(1050), longest, 0.5);
        let second = Trouble::after(Some(first), DeliveryResult::Refused, None, longest, 0.5);
        assert_eq!((first.tries, second.tries, second.next_port), (1, 2, None));
        assert!(first.is_unreachable() && !second.is_unreachable());
    }
}
