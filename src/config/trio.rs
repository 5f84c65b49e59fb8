//! The paper's trios: a default with a minimum and a maximum.
//!
//! "All three values must be updated or they are not valid": what is given in part is an error.

use std::time::Duration;

use crate::mailbox::LifeTimes;

use super::duration;
use super::reader::{Given, Section};

const KEYS: [&str; 3] = ["default", "minimum", "maximum"];
const EXAMPLE: &str = "such as { default = 300, minimum = 60, maximum = 600 }";

/// The trio `key` of a section; none of its times may be longer than `longest`.
pub(super) fn life_times(
    section: &mut Section<'_, '_>,
    key: &'static str,
    preset: LifeTimes,
    longest: Duration,
) -> LifeTimes {
    section.section(key, EXAMPLE, |trio| {
        let given = KEYS.map(|key| trio.given(key, |value| duration::whole_seconds(value, longest)));
        read(trio, given).unwrap_or(preset)
    })
}

/// The life times, if all three are given and fit; `None` leaves the preset, or has a problem reported.
fn read(trio: &mut Section<'_, '_>, given: [Given<Duration>; 3]) -> Option<LifeTimes> {
    let is_absent = |given: &Given<Duration>| matches!(given, Given::Absent);
    let absent = KEYS.iter().zip(&given).filter(|(_, given)| is_absent(given));
    let missing: Vec<&str> = absent.map(|(key, _)| *key).collect();
    if missing.len() == KEYS.len() && !trio.stated() {
        return None;
    }
    if !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        let missing = missing.join(" and ");
        trio.problem(&KEYS, format!("needs all of default, minimum and maximum; {missing} {verb} missing"));
        return None;
    }
    let [Given::Value(default), Given::Value(minimum), Given::Value(maximum)] = given else { return None };
    LifeTimes::new(default, minimum, maximum)
        .map_err(|error| {
            let [default, minimum, maximum] = [default, minimum, maximum].map(|time| time.as_secs());
            let sentence = format!(
                "must have minimum ≤ default ≤ maximum, but {error}: default {default}, minimum {minimum}, \
                 maximum {maximum} seconds"
            );
            trio.problem(&KEYS, sentence);
        })
        .ok()
}
