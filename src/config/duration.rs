//! Durations: a number of seconds, or a string with a unit such as `"5m"`.

use std::time::Duration;

use super::value::{Reading, Value};
use crate::mailbox::PollingPeriod;

/// No poll is held for longer than a day: nothing between a client and the gateway keeps a silent
/// connection for as long. (The paper's own example goes up to 57,600 seconds.)
pub const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Nothing is buffered for longer than a year. (The paper's own example goes up to ten days.)
pub const LONGEST_LIFE_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// No time-out is longer than a day; a longer one is a slip in the unit.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A time of the white paper: whole seconds, for that is what clients ask for and are told; 0 is fine.
pub(super) fn whole_seconds(value: &Value, longest: Duration) -> Reading<Duration> {
    duration(value).filter(|time| time.subsec_nanos() == 0 && *time <= longest).ok_or_else(|| {
        format!(
            "must be a number of whole seconds, or a string such as \"5m\", of at most {} seconds, not {value}",
            longest.as_secs()
        )
    })
}

/// How long to wait for something: longer than zero.
pub(super) fn timeout(value: &Value) -> Reading<Duration> {
    duration(value).filter(|time| !time.is_zero() && *time <= LONGEST_TIMEOUT).ok_or_else(|| {
        format!(
            "must be a number of seconds, or a string such as \"5s\" or \"500ms\", longer than 0 and at most {} \
             seconds, not {value}",
            LONGEST_TIMEOUT.as_secs()
        )
    })
}

/// How far apart polls should be: zero, or up to the shortest polling period, for who keeps to a period must
/// not be told to wait.
pub(super) fn poll_interval(value: &Value) -> Reading<Duration> {
    let shortest = Duration::from_secs(u64::from(*PollingPeriod::MINUTES.start()) * 60);
    duration(value).filter(|time| *time <= shortest).ok_or_else(|| {
        format!(
            "must be a number of seconds, or a string such as \"1s\" or \"500ms\", of at most {} seconds, \
             or 0 for none, not {value}",
            shortest.as_secs()
        )
    })
}

/// How often a server is looked at: zero, which is never, or up to an hour.
pub(super) fn health_interval(value: &Value) -> Reading<Duration> {
    const LONGEST: Duration = Duration::from_secs(60 * 60);
    const SHORTEST: Duration = Duration::from_millis(10);
    duration(value).filter(|time| time.is_zero() || (SHORTEST..=LONGEST).contains(time)).ok_or_else(|| {
        format!(
            "must be a number of seconds, or a string such as \"5s\", from \"10ms\" to \"1h\", or 0 for never, \
             not {value}"
        )
    })
}

/// A polling period: whole minutes, within the white paper's bounds.
pub(super) fn polling_period(value: &Value) -> Reading<PollingPeriod> {
    duration(value)
        .filter(|time| time.subsec_nanos() == 0 && time.as_secs() % 60 == 0)
        .and_then(|time| PollingPeriod::from_minutes(time.as_secs() / 60).ok())
        .ok_or_else(|| format!("must be whole minutes between 1 and 15, such as \"10m\", not {value}"))
}

fn duration(value: &Value) -> Option<Duration> {
    if let Some(number) = value.integer() {
        return u64::try_from(number).ok().map(Duration::from_secs);
    }
    humantime::parse_duration(value.text()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let text = |text: &str| Value::Text(text.to_owned());
        let untyped = |text: &str| Value::Untyped(text.to_owned());
        for (value, milliseconds) in [
            (Value::Integer(0), Some(0)),
            (Value::Integer(300), Some(300_000)),
            (untyped("300"), Some(300_000)),
            (untyped("5m"), Some(300_000)),
            (text("5m"), Some(300_000)),
            (text("1h 30m"), Some(5_400_000)),
            (text("500ms"), Some(500)),
            (text("soon"), None),
            (text(""), None),
            (text("-5m"), None),
            (text("99999999999999999999h"), None),
            (Value::Integer(-1), None),
            (Value::Integer(i128::MAX), None),
            (Value::Other("1.5".to_owned()), None),
            (Value::Boolean(true), None),
        ] {
            assert_eq!(duration(&value), milliseconds.map(Duration::from_millis), "{value:?}");
        }
    }

    #[test]
    fn polling_periods() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, minutes) in [
            (text("10m"), Some(10)),
            (text("1m"), Some(1)),
            (text("15min"), Some(15)),
            (Value::Integer(600), Some(10)),
            (text("16m"), None),
            (text("59s"), None),
            (text("90s"), None),
            (text("1m 1ms"), None),
            (Value::Integer(10), None),
            (Value::Integer(0), None),
            (Value::Integer(u64::MAX.into()), None),
        ] {
            let period = polling_period(&value).ok();
            assert_eq!(period.map(PollingPeriod::minutes), minutes, "{value:?}");
        }
    }

    #[test]
    fn poll_intervals() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, millis) in [
            (Value::Integer(0), Some(0)),
            (text("500ms"), Some(500)),
            (Value::Integer(60), Some(60_000)),
            (text("61s"), None),
            (text("often"), None),
        ] {
            assert_eq!(poll_interval(&value).ok(), millis.map(Duration::from_millis), "{value:?}");
        }
    }

    #[test]
    fn bounds() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(whole_seconds(&Value::Integer(0), LONGEST_HOLD), Ok(Duration::ZERO));
        assert_eq!(whole_seconds(&text("24h"), LONGEST_HOLD), Ok(LONGEST_HOLD));
        assert!(whole_seconds(&Value::Integer(86_401), LONGEST_HOLD).is_err());
        assert!(whole_seconds(&text("1500ms"), LONGEST_HOLD).is_err());
        assert!(whole_seconds(&Value::Integer(u64::MAX.into()), LONGEST_LIFE_TIME).is_err());
        assert_eq!(timeout(&text("1500ms")), Ok(Duration::from_millis(1500)));
        assert!(timeout(&Value::Integer(0)).is_err());
        assert!(timeout(&text("25h")).is_err());
    }
}
