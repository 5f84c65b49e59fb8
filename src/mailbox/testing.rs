//! What the tests of the core have in common.

use std::sync::Arc;
use std::time::Duration;

use super::{Class, LifeTimes, Limits, Message, Timestamp};

/// How long a message of life time 0 waits for the poll that was held when it came.
pub const HANDOVER: Duration = Duration::from_secs(5);

/// So many seconds.
pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after the epoch.
pub const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// A message of this class and cost, in which both header lines and body count.
pub fn of_class(class: Class, cost: u64) -> Arc<Message> {
    let headers = cost / 3;
    Arc::new(Message {
        method: "NOTIFY".into(),
        header_lines: vec![b'h'; headers as usize].into(),
        body: vec![b'b'; (cost - headers) as usize].into(),
        class,
    })
}

/// A plain message.
pub fn message(cost: u64) -> Arc<Message> {
    of_class(Class::Message, cost)
}

/// A presence state.
pub fn presence(key: &str, cost: u64) -> Arc<Message> {
    of_class(Class::Presence { key: key.into() }, cost)
}

/// A typing notification.
pub fn typing(key: &str, cost: u64) -> Arc<Message> {
    of_class(Class::Typing { key: key.into() }, cost)
}

/// Life times in seconds.
pub fn life_times(default: u64, minimum: u64, maximum: u64) -> LifeTimes {
    LifeTimes::new(s(default), s(minimum), s(maximum)).expect("life times in order")
}

/// Limits that nothing in a test meets, unless it sets them.
pub fn wide() -> Limits {
    use super::Bound::Unlimited;
    Limits {
        messages: Unlimited,
        bytes: Unlimited,
        life_time: life_times(1000, 0, 2000),
        ..Limits::default()
    }
}

/// Names the seed and the step of whatever panics while it lives.
pub struct Whereabouts {
    /// Which simulation it is.
    pub seed: u64,
    /// How far it is.
    pub step: u32,
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}: POLLGATE_SIMULATION_SEED={0} replays it", self.seed, self.step);
        }
    }
}
