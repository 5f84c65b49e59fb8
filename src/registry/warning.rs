//! What is not as the files say, and where they say it.

use std::fmt;

use super::hive::{Key, Place, Value};
use super::parse::Data;
use crate::config::nearest;

/// Something that the configuration does not have as the files have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the files say it.
    pub place: Place,
    /// What it is and what became of it, as a sentence; a single line.
    pub sentence: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.sentence)
    }
}

/// Warnings as they come up.
#[derive(Debug, Default)]
pub(super) struct Warnings(pub(super) Vec<Warning>);

impl Warnings {
    pub(super) fn add(&mut self, place: &Place, sentence: String) {
        self.0.push(Warning { place: place.clone(), sentence });
    }

    /// The number that a value holds. What is of another type is there for nobody: that is how programs
    /// read the registry.
    pub(super) fn number(&mut self, value: Value) -> Option<(u32, Value)> {
        if let Data::Dword(number) = value.data {
            return Some((number, value));
        }
        let sentence = format!("{} must be a REG_DWORD (dword:), and is left out", one_line(&value.name));
        self.add(&value.place, sentence);
        None
    }

    /// What is left of a key of which all documented values were taken.
    pub(super) fn unknown(&mut self, key: Key, documented: &[&str]) {
        for Value { name, place, .. } in key.rest() {
            let shown = if name.is_empty() { "the default value".to_owned() } else { one_line(&name) };
            // The paper's tables list defaults under such names; the values have none of them.
            let base = name.to_lowercase().strip_suffix("default").map(str::to_owned);
            let meant = documented
                .iter()
                .copied()
                .find(|known| base.as_deref() == Some(known.to_lowercase().as_str()))
                .or_else(|| nearest(&name, documented.iter().copied()));
            let hint = meant.map_or_else(String::new, |known| format!("; did you mean {known}?"));
            self.add(&place, format!("{shown} is not a documented value, and is left out{hint}"));
        }
    }

    /// Keys that have nothing to do with it.
    pub(super) fn other_keys(&mut self, keys: impl Iterator<Item = Key>) {
        const NAMED: usize = 5;
        let with_values = keys.filter_map(|key| {
            let shown = format!("[{}]", one_line(&key.path));
            key.rest().next().map(|value| (shown, value.place))
        });
        let with_values: Vec<(String, Place)> = with_values.collect();
        let Some((_, place)) = with_values.first() else { return };
        let named: Vec<&str> = with_values.iter().take(NAMED).map(|(shown, _)| shown.as_str()).collect();
        let more = match with_values.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.add(place, format!("what is in other keys is left out: {}{more}", named.join(", ")));
    }
}

/// A name from a file as part of a line: it may hold anything.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line_and_short() {
        assert_eq!(one_line("a\r\n\u{1b}[2J"), "a\u{fffd}\u{fffd}\u{fffd}[2J");
        assert_eq!(one_line(&"é".repeat(10_000)).chars().count(), 201);
    }
}
