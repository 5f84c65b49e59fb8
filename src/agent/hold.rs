//! How long to ask for a poll to be held.
//!
//! Proxies and firewalls between the agent and the gateway cut connections that are silent for long, each after
//! a time of its own. What survives is found by trying: after a cut it is asked for less, and after many holds
//! that went well for a little more again, since the cut may have been of another cause.

use std::time::Duration;

/// Less is not worth asking for: a gateway holds for its minimum anyway.
const SHORTEST: Duration = Duration::from_secs(15);

/// A connection that ends sooner was not cut for its silence.
const SHORTEST_CUT: Duration = Duration::from_secs(5);

/// After so many holds in a row that went well it is asked for more.
const GOOD_ONES: u32 = 20;

/// Learns how long a poll can be held.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    longest: Duration,
    current: Duration,
    good: u32,
}

impl Hold {
    /// Begins with the longest that is wanted.
    pub fn new(longest: Duration) -> Self {
        Self { longest, current: longest, good: 0 }
    }

    /// How long to ask for.
    pub fn ask(&self) -> Duration {
        self.current
    }

    /// A poll was held to its end.
    pub fn survived(&mut self) {
        self.good += 1;
        if self.good >= GOOD_ONES {
            self.good = 0;
            self.current = (self.current * 5 / 4).min(self.longest);
        }
    }

    /// The connection of a held poll ended after this time. Whether that was for its silence: then there is
    /// no reason to wait before the next poll.
    pub fn cut(&mut self, after: Duration) -> bool {
        if after < SHORTEST_CUT {
            return false;
        }
        self.good = 0;
        self.current = self.current.min((after * 3 / 4).max(SHORTEST)).min(self.longest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_asks_for_less_after_a_cut_and_slowly_for_more_again() {
        let mut hold = Hold::new(s(300));
        assert_eq!(hold.ask(), s(300));
        assert!(hold.cut(s(120)));
        assert_eq!(hold.ask(), s(90));
        for _ in 0..GOOD_ONES - 1 {
            hold.survived();
        }
        assert_eq!(hold.ask(), s(90));
        hold.survived();
        assert_eq!(hold.ask(), Duration::from_millis(112_500));
        assert!(hold.cut(s(110)));
        assert_eq!(hold.ask(), Duration::from_millis(82_500));
        for _ in 0..10 * GOOD_ONES {
            hold.survived();
        }
        assert_eq!(hold.ask(), s(300), "never more than is wanted");
    }

    #[test]
    fn what_breaks_at_once_was_not_cut() {
        let mut hold = Hold::new(s(300));
        assert!(!hold.cut(s(1)));
        assert_eq!(hold.ask(), s(300));
        assert!(hold.cut(s(6)));
        assert_eq!(hold.ask(), s(15));
        let mut short = Hold::new(s(10));
        assert!(short.cut(s(10)));
        assert_eq!(short.ask(), s(10));
    }
}
