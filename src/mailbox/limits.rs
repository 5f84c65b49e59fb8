//! The documented settings that a mailbox is under (white paper, *Server Registry Settings*).

use std::time::Duration;

/// How much may be buffered of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Buffering is disabled: the setting is 0.
    Disabled,
    /// At most so many; never zero.
    AtMost(u64),
    /// No bound: the setting is 0xFFFFFFFF.
    Unlimited,
}

impl Bound {
    /// The bound that a number stands for: 0 disables.
    pub fn new(limit: u64) -> Self {
        if limit == 0 { Bound::Disabled } else { Bound::AtMost(limit) }
    }

    /// Whether `amount` is within it.
    pub fn allows(self, amount: u64) -> bool {
        match self {
            Bound::Disabled => false,
            Bound::AtMost(limit) => amount <= limit,
            Bound::Unlimited => true,
        }
    }
}

/// A default with the bounds of what may be asked for: minimum ≤ default ≤ maximum, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeTimes {
    default: Duration,
    minimum: Duration,
    maximum: Duration,
}

/// Why three durations do not make life times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifeTimesError {
    /// The default lies below the minimum.
    #[error("the default is smaller than the minimum")]
    DefaultBelowMinimum,
    /// The default lies above the maximum.
    #[error("the default is larger than the maximum")]
    DefaultAboveMaximum,
    /// The minimum lies above the maximum.
    #[error("the minimum is larger than the maximum")]
    MinimumAboveMaximum,
}

impl LifeTimes {
    /// Life times, if minimum ≤ default ≤ maximum.
    pub fn new(default: Duration, minimum: Duration, maximum: Duration) -> Result<Self, LifeTimesError> {
        if minimum > maximum {
            Err(LifeTimesError::MinimumAboveMaximum)
        } else if default < minimum {
            Err(LifeTimesError::DefaultBelowMinimum)
        } else if default > maximum {
            Err(LifeTimesError::DefaultAboveMaximum)
        } else {
            Ok(Self { default, minimum, maximum })
        }
    }

    /// What applies to a client that asked for `wish`: clamped to minimum..maximum, or the default.
    pub fn apply(&self, wish: Option<Duration>) -> Duration {
        wish.map_or(self.default, |wish| wish.clamp(self.minimum, self.maximum))
    }

    /// What applies when nothing is asked for.
    pub fn default_value(&self) -> Duration {
        self.default
    }

    /// The least that may be asked for.
    pub fn minimum(&self) -> Duration {
        self.minimum
    }

    /// The most that may be asked for.
    pub fn maximum(&self) -> Duration {
        self.maximum
    }
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is refused, so that the upstream knows.
    Reject,
    /// The oldest messages that were not yet handed out make room.
    DropOldest,
}

/// The limits of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// PollMsgLimit: messages, those handed out but not yet acknowledged included.
    pub messages: Bound,
    /// PollMsgKByteLimit, in bytes: the cost of all messages together.
    pub bytes: Bound,
    /// PollMsgLifeTime: how long a message may be buffered; 0: only handed to a poll held at that moment.
    pub life_time: LifeTimes,
    /// PollDropMsgLifeTime: how long dropped messages are kept, from the first message submitted on.
    pub drop_life_time: Duration,
    /// What happens when there is no room.
    pub overflow: Overflow,
    /// Whether a newer presence state takes the place of a buffered older one.
    pub coalesce: bool,
}

impl Default for Limits {
    /// The white paper's defaults.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            messages: Bound::AtMost(100),
            bytes: Bound::AtMost(100 * 1024),
            life_time: LifeTimes { default: seconds(1800), minimum: seconds(0), maximum: seconds(3600) },
            drop_life_time: seconds(57_600),
            overflow: Overflow::Reject,
            coalesce: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_clamped() {
        let s = Duration::from_secs;
        let life_times = LifeTimes::new(s(300), s(60), s(600)).unwrap();
        for (wish, applied) in
            [(None, 300), (Some(0), 60), (Some(60), 60), (Some(301), 301), (Some(9999), 600)]
        {
            assert_eq!(life_times.apply(wish.map(s)), s(applied), "{wish:?}");
        }
    }

    #[test]
    fn life_times_are_ordered_or_refused() {
        let new = |d, min, max| {
            LifeTimes::new(Duration::from_secs(d), Duration::from_secs(min), Duration::from_secs(max))
        };
        assert!(new(1, 1, 1).is_ok());
        assert_eq!(new(0, 1, 2), Err(LifeTimesError::DefaultBelowMinimum));
        assert_eq!(new(3, 1, 2), Err(LifeTimesError::DefaultAboveMaximum));
        assert_eq!(new(2, 3, 1), Err(LifeTimesError::MinimumAboveMaximum));
    }

    #[test]
    fn bounds() {
        assert!(!Bound::new(0).allows(0));
        assert!(Bound::new(1).allows(1) && !Bound::new(1).allows(2));
        assert!(Bound::Unlimited.allows(u64::MAX));
    }
}
