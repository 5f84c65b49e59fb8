//! The server's settings: from their registry values to `[polling]`, and back.

use std::time::Duration;

use super::document::{Setting, origin, shown};
use super::hive::{Key, Place, Value};
use super::names::{
    POL_MSG_LIMIT, POLL_DROP_MSG_LIFE_TIME, POLL_LIFE_TIME, POLL_MSG_KBYTE_LIMIT, POLL_MSG_LIFE_TIME,
    POLL_MSG_LIMIT, POLL_SUPPORT, SERVER_VALUES, UNLIMITED,
};
use super::parse::Data;
use super::warning::Warnings;
use crate::config::{LONGEST_HOLD, LONGEST_LIFE_TIME, Polling};
use crate::mailbox::{Bound, LifeTimes};

/// The settings that the server's key makes, each valid; what makes none is warned of.
pub(super) fn read(key: Key, warnings: &mut Warnings) -> Vec<Setting> {
    let mut reader = Reader { place: key.place.clone(), key, warnings };
    let settings = [
        Some(reader.poll_support()),
        reader.trio("poll_life_time", "PollLifeTime", POLL_LIFE_TIME, LONGEST_HOLD),
        reader.trio("poll_msg_life_time", "PollMsgLifeTime", POLL_MSG_LIFE_TIME, LONGEST_LIFE_TIME),
        reader.message_limit(),
        reader.kbyte_limit(),
        reader.drop_life_time(),
    ];
    reader.warnings.unknown(reader.key, SERVER_VALUES);
    settings.into_iter().flatten().collect()
}

struct Reader<'a> {
    key: Key,
    place: Place,
    warnings: &'a mut Warnings,
}

impl Reader<'_> {
    fn dword(&mut self, name: &str) -> Option<(u32, Value)> {
        let value = self.key.take(name)?;
        self.warnings.number(value)
    }

    /// Polling is off until it is switched on: "The Instant Message Polling feature on the Instant
    /// Messaging server is not configured by default" (white paper, *Best Practices*).
    fn poll_support(&mut self) -> Setting {
        let (supported, origin) = match self.dword(POLL_SUPPORT) {
            Some((number @ (0 | 1), value)) => (number == 1, origin(&value)),
            Some((number, value)) => {
                let sentence = format!("{POLL_SUPPORT} must be 0 or 1, not {number}; it is taken for 0");
                self.warnings.add(&value.place, sentence);
                (false, origin(&value))
            }
            None => {
                let sentence = format!("{POLL_SUPPORT} is not set, which means 0: polling is not supported");
                self.warnings.add(&self.place, sentence);
                (false, format!("{}: {POLL_SUPPORT} is not set, which means 0", self.place))
            }
        };
        setting("poll_support", supported.to_string(), vec![origin])
    }

    /// "All three values must be updated or they are not valid."
    fn trio(
        &mut self,
        key: &'static str,
        name: &str,
        names: [&'static str; 3],
        longest: Duration,
    ) -> Option<Setting> {
        let given = names.map(|name| self.dword(name));
        let missing: Vec<&str> =
            names.iter().zip(&given).filter(|(_, given)| given.is_none()).map(|(name, _)| *name).collect();
        let place = given.iter().flatten().map(|(_, value)| value.place.clone()).next()?;
        let [Some((default, a)), Some((minimum, b)), Some((maximum, c))] = given else {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            let sentence = format!(
                "{name} is not valid: all three values must be updated; {} {verb} missing; it is left out",
                missing.join(" and ")
            );
            self.warnings.add(&place, sentence);
            return None;
        };
        let seconds = |number: u32| Duration::from_secs(number.into());
        if let Err(error) = LifeTimes::new(seconds(default), seconds(minimum), seconds(maximum)) {
            self.warnings.add(&place, format!("{name} is not valid: {error}; it is left out"));
            return None;
        }
        if !self.fits(&c, maximum, longest) {
            return None;
        }
        let value = format!("{{ default = {default}, minimum = {minimum}, maximum = {maximum} }}");
        Some(setting(key, value, [a, b, c].iter().map(origin).collect()))
    }

    /// Whether a time is one that can be configured.
    fn fits(&mut self, value: &Value, seconds: u32, longest: Duration) -> bool {
        let longest = longest.as_secs();
        let fits = u64::from(seconds) <= longest;
        if !fits {
            let sentence = format!(
                "{} is {seconds}, more than the {longest} seconds that can be set; it is left out",
                value.name
            );
            self.warnings.add(&value.place, sentence);
        }
        fits
    }

    fn message_limit(&mut self) -> Option<Setting> {
        let documented = self.dword(POLL_MSG_LIMIT);
        let other = self.dword(POL_MSG_LIMIT);
        if let (Some((wins, _)), Some((loses, value))) = (&documented, &other)
            && wins != loses
        {
            let sentence = format!(
                "{POL_MSG_LIMIT} is {}, but {POLL_MSG_LIMIT}, which overrides it, is {}",
                shown(*loses),
                shown(*wins)
            );
            self.warnings.add(&value.place, sentence);
        }
        documented.or(other).map(|(number, value)| limit("poll_msg_limit", number, &value))
    }

    fn kbyte_limit(&mut self) -> Option<Setting> {
        let (number, value) = self.dword(POLL_MSG_KBYTE_LIMIT)?;
        Some(limit("poll_msg_kbyte_limit", number, &value))
    }

    fn drop_life_time(&mut self) -> Option<Setting> {
        let (number, value) = self.dword(POLL_DROP_MSG_LIFE_TIME)?;
        self.fits(&value, number, LONGEST_LIFE_TIME)
            .then(|| setting("poll_drop_msg_life_time", number.to_string(), vec![origin(&value)]))
    }
}

fn limit(key: &'static str, number: u32, value: &Value) -> Setting {
    let text = if number == UNLIMITED { "\"unlimited\"".to_owned() } else { number.to_string() };
    setting(key, text, vec![origin(value)])
}

fn setting(key: &'static str, value: String, origins: Vec<String>) -> Setting {
    Setting { section: "polling", key, value, origins }
}

/// The registry values of the settings, all of them: what is not there has another default on the server.
pub(super) fn values(polling: &Polling) -> Vec<(&'static str, Data)> {
    let limits = &polling.limits;
    let kilobytes = match limits.bytes {
        Bound::AtMost(bytes) => Bound::AtMost(bytes / 1024),
        Bound::Disabled | Bound::Unlimited => limits.bytes,
    };
    let mut values = vec![(POLL_SUPPORT, Data::Dword(polling.poll_support.into()))];
    values.extend(POLL_LIFE_TIME.into_iter().zip(trio(polling.poll_life_time)));
    values.extend(POLL_MSG_LIFE_TIME.into_iter().zip(trio(limits.life_time)));
    values.extend([
        (POLL_MSG_LIMIT, bound(limits.messages)),
        (POLL_MSG_KBYTE_LIMIT, bound(kilobytes)),
        (POLL_DROP_MSG_LIFE_TIME, seconds(limits.drop_life_time)),
    ]);
    values
}

fn trio(times: LifeTimes) -> [Data; 3] {
    [times.default_value(), times.minimum(), times.maximum()].map(seconds)
}

/// No time that can be configured is longer than fits.
fn seconds(time: Duration) -> Data {
    Data::Dword(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

fn bound(bound: Bound) -> Data {
    Data::Dword(match bound {
        Bound::Disabled => 0,
        // No limit that can be configured is larger than that.
        Bound::AtMost(limit) => u32::try_from(limit).unwrap_or(UNLIMITED - 1).min(UNLIMITED - 1),
        Bound::Unlimited => UNLIMITED,
    })
}
