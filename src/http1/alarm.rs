//! One timer for all that a connection waits for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set once and kept: most waits are over long before their time, and the next one is for
/// later. To register and remove a timer for each would cost more than the wait.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when it is `deadline` or later.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::clock;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_deadline_that_is_asked_whatever_was_asked_before() {
        let mut alarm = Alarm::default();
        let start = clock::in_time(Duration::ZERO);
        for (asked, given_up_after) in [(10, Some(3)), (20, None), (5, None), (8, Some(1)), (30, None)] {
            let (began, span) = (clock::in_time(Duration::ZERO), Duration::from_secs(asked));
            let wait = poll_fn(|cx| alarm.poll(cx, began + span));
            let given_up_after = given_up_after.map_or(Duration::MAX, Duration::from_secs);
            let waited = timeout(given_up_after, wait).await;
            assert_eq!(waited.is_ok(), given_up_after > span, "{asked} s");
            let passed = clock::in_time(Duration::ZERO) - began;
            assert_eq!(passed.as_secs(), span.min(given_up_after).as_secs(), "{asked} s");
        }
        assert_eq!((clock::in_time(Duration::ZERO) - start).as_secs(), 3 + 20 + 5 + 1 + 30);
    }
}
