//! The client's settings: from their registry values to `[delivery]`, and back.
//!
//! There is one `[delivery]` for all clients, and there may be many profiles: the first that has a
//! value gives it, the policy in the profiles' own key before all of them, and a profile that differs is
//! warned of.

use super::document::{Setting, origin};
use super::hive::{Key, Value};
use super::names::{CLIENT_VALUES, POLLING_FLAG, POLLING_PERIOD, PORTS};
use super::parse::Data;
use super::warning::{Warnings, one_line};
use crate::config::Delivery;
use crate::mailbox::{DeliveryMode, PollingPeriod, Ports};

/// The settings that the profiles' key and the profiles below it make, in the order of their paths, each
/// valid; what makes none is warned of.
pub(super) fn read(profiles: impl Iterator<Item = Key>, warnings: &mut Warnings) -> Vec<Setting> {
    let mut profiles: Vec<Key> = profiles.collect();
    let [flag, period, ports] =
        [POLLING_FLAG, POLLING_PERIOD, PORTS].map(|name| first(&mut profiles, name, warnings));
    for profile in profiles {
        warnings.unknown(profile, CLIENT_VALUES);
    }
    let ports = ports.and_then(|value| read_ports(value, warnings));
    let mode = flag.and_then(|value| read_mode(value, ports.is_some(), warnings));
    let period = period.and_then(|value| read_period(value, warnings));
    [mode, period, ports].into_iter().flatten().collect()
}

/// The value of the first profile that has it.
fn first(profiles: &mut [Key], name: &str, warnings: &mut Warnings) -> Option<Value> {
    let mut found: Option<(String, Value)> = None;
    for profile in profiles {
        let Some(value) = profile.take(name) else { continue };
        let path = one_line(&profile.path);
        match &found {
            None => found = Some((path, value)),
            Some((_, first)) if first.data == value.data => {}
            Some((first, _)) => {
                let sentence = format!(
                    "{name} of [{path}] is not that of [{first}], and is left out: all clients have the same"
                );
                warnings.add(&value.place, sentence);
            }
        }
    }
    found.map(|(_, value)| value)
}

fn read_mode(value: Value, has_ports: bool, warnings: &mut Warnings) -> Option<Setting> {
    let (flag, value) = warnings.number(value)?;
    let Some(mode) = DeliveryMode::from_flag(flag) else {
        let sentence = format!("{POLLING_FLAG} must be 0, 1 or 2, not {flag}; it is left out");
        warnings.add(&value.place, sentence);
        return None;
    };
    let mode = if mode == DeliveryMode::FixedPorts && !has_ports {
        let sentence =
            format!("{POLLING_FLAG} is 2, but there are no {PORTS}: random port selection takes their place");
        warnings.add(&value.place, sentence);
        DeliveryMode::Default
    } else {
        mode
    };
    Some(setting("mode", format!("\"{}\"", mode.as_str()), &value))
}

fn read_period(value: Value, warnings: &mut Warnings) -> Option<Setting> {
    let (minutes, value) = warnings.number(value)?;
    match PollingPeriod::from_minutes(minutes.into()) {
        Ok(period) => Some(setting("polling_period", format!("\"{}m\"", period.minutes()), &value)),
        Err(error) => {
            let sentence = format!("{POLLING_PERIOD} is {minutes}, and is left out: {error}");
            warnings.add(&value.place, sentence);
            None
        }
    }
}

fn read_ports(value: Value, warnings: &mut Warnings) -> Option<Setting> {
    let Data::Text(text) = &value.data else {
        warnings.add(&value.place, format!("{PORTS} must be a REG_SZ (a string), and is left out"));
        return None;
    };
    if text.trim().is_empty() {
        return None;
    }
    match Ports::parse(text) {
        Ok(ports) => {
            if let Some(sentence) = ports.warning() {
                warnings.add(&value.place, format!("{PORTS} {sentence}"));
            }
            Some(setting("ports", format!("\"{ports}\""), &value))
        }
        Err(error) => {
            let sentence = format!("{PORTS} is \"{}\", and is left out: {error}", one_line(text));
            warnings.add(&value.place, sentence);
            None
        }
    }
}

fn setting(key: &'static str, value: String, from: &Value) -> Setting {
    Setting { section: "delivery", key, value, origins: vec![origin(from)] }
}

/// The registry values of the settings. Without ports there is no value for them.
pub(super) fn values(delivery: &Delivery) -> Vec<(&'static str, Data)> {
    let ports = delivery.ports.map(|ports| (PORTS, Data::Text(ports.to_string())));
    [
        (POLLING_FLAG, Data::Dword(delivery.mode.flag())),
        (POLLING_PERIOD, Data::Dword(delivery.polling_period.minutes().into())),
    ]
    .into_iter()
    .chain(ports)
    .collect()
}
