//! Values as a source gives them, and the plain readings of them: switch, number, name.
//!
//! A reading takes a [`Value`] and returns what it means, or a sentence without a subject (`must be …`);
//! the reader puts the key before it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use crate::mailbox::{Bound, Ports};

/// What a value was read as, or what it must be.
pub(super) type Reading<T> = Result<T, String>;

/// A value before anyone has said what it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Boolean(bool),
    Integer(i128),
    Text(String),
    List(Vec<Item>),
    Table(Table),
    /// A TOML value that no setting takes (a fraction, a date), as written.
    Other(String),
    /// Text from the environment or a flag: it has no type of its own, the setting decides.
    Untyped(String),
}

/// A table of the file, by key.
pub(super) type Table = BTreeMap<String, Item>;

/// A value and the line of the file that it stands on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) line: usize,
    pub(super) value: Value,
}

impl Value {
    /// The text of it, if it can be text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Untyped(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The number it is, if it can be a number. Untyped text may be hexadecimal, as in a `.reg` file.
    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => {
                let text = text.trim();
                match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    Some(digits) => i128::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                }
            }
            _ => None,
        }
    }
}

/// For the end of a sentence: `must be …, not {value}`. Always on one line, and never long.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            Value::Text(text) | Value::Untyped(text) => f.write_str(&quoted(text)),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
            Value::Other(written) => f.write_str(&clipped(written)),
        }
    }
}

/// Text in quotes, escaped, and cut where it becomes long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", clipped(text))
}

fn clipped(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `true` or `false`; the paper's 1 and 0 too.
pub(super) fn switch(value: &Value) -> Reading<bool> {
    match (value, value.integer(), value.text()) {
        (Value::Boolean(switch), _, _) => Ok(*switch),
        (_, Some(1), _) | (Value::Untyped(_), _, Some("true")) => Ok(true),
        (_, Some(0), _) | (Value::Untyped(_), _, Some("false")) => Ok(false),
        _ => Err(format!("must be true or false (or 1 or 0), not {value}")),
    }
}

/// A whole number within `range`.
pub(super) fn count(value: &Value, range: RangeInclusive<u64>) -> Reading<u64> {
    value
        .integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!("must be a whole number from {} to {}, not {value}", range.start(), range.end())
        })
}

/// The paper's way to say that there is no limit.
const UNLIMITED: u64 = 0xFFFF_FFFF;

/// A limit in the paper's form: a number, 0 to disable, `"unlimited"` or 0xFFFFFFFF for none.
///
/// Larger numbers are refused: they do not fit the registry's values, and would be a *smaller* limit
/// than the number before them.
pub(super) fn limit(value: &Value) -> Reading<Bound> {
    if value.text() == Some("unlimited") {
        return Ok(Bound::Unlimited);
    }
    match value.integer().map(u64::try_from) {
        Some(Ok(UNLIMITED)) => Ok(Bound::Unlimited),
        Some(Ok(number)) if number < UNLIMITED => Ok(Bound::new(number)),
        _ => Err(format!(
            "must be a whole number up to {}, 0 to disable buffering, or \"unlimited\", not {value}",
            UNLIMITED - 1
        )),
    }
}

/// A limit in kilobytes of 1,024 bytes; the bound is in bytes.
pub(super) fn kilobyte_limit(value: &Value) -> Reading<Bound> {
    limit(value).map(|bound| match bound {
        Bound::AtMost(kilobytes) => Bound::AtMost(kilobytes * 1024),
        Bound::Disabled | Bound::Unlimited => bound,
    })
}

/// Ports of a client: `"1050"`, `"1050-1060"`, or nothing.
pub(super) fn ports(value: &Value) -> Reading<Option<Ports>> {
    let number = value.integer().map(|number| number.to_string());
    match number.as_deref().or_else(|| value.text()) {
        Some("") => Ok(None),
        Some(text) => Ports::parse(text).map(Some).map_err(|error| format!("{error}, not {value}")),
        None => Err(format!("must be text, such as \"1050\" or \"1050-1060\", not {value}")),
    }
}

/// One of `all`, by name.
pub(super) fn choice<T: Copy>(value: &Value, all: &[T], name: fn(T) -> &'static str) -> Reading<T> {
    all.iter().copied().find(|one| value.text() == Some(name(*one))).ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|one| quoted(name(*one))).collect();
        format!("must be {}, not {value}", names.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn untyped(text: &str) -> Value {
        Value::Untyped(text.to_owned())
    }

    #[test]
    fn switches() {
        for (value, expected) in [
            (Value::Boolean(true), Some(true)),
            (Value::Boolean(false), Some(false)),
            (Value::Integer(1), Some(true)),
            (Value::Integer(0), Some(false)),
            (untyped("true"), Some(true)),
            (untyped(" 0 "), Some(false)),
            (Value::Integer(2), None),
            (text("true"), None),
            (untyped("yes"), None),
            (Value::List(vec![]), None),
        ] {
            assert_eq!(switch(&value).ok(), expected, "{value:?}");
        }
    }

    #[test]
    fn limits() {
        for (value, expected) in [
            (Value::Integer(0), Some(Bound::Disabled)),
            (Value::Integer(1), Some(Bound::AtMost(1))),
            (Value::Integer(0xFFFF_FFFE), Some(Bound::AtMost(0xFFFF_FFFE))),
            (Value::Integer(0xFFFF_FFFF), Some(Bound::Unlimited)),
            (text("unlimited"), Some(Bound::Unlimited)),
            (untyped("unlimited"), Some(Bound::Unlimited)),
            (untyped("0xFFFFFFFF"), Some(Bound::Unlimited)),
            (untyped("7"), Some(Bound::AtMost(7))),
            (Value::Integer(0x1_0000_0000), None),
            (Value::Integer(i128::MAX), None),
            (Value::Integer(-1), None),
            (text("100"), None),
            (text("Unlimited"), None),
            (Value::Boolean(true), None),
            (Value::Other("1.5".to_owned()), None),
        ] {
            assert_eq!(limit(&value).ok(), expected, "{value:?}");
        }
        assert_eq!(kilobyte_limit(&Value::Integer(100)), Ok(Bound::AtMost(102_400)));
        assert_eq!(kilobyte_limit(&Value::Integer(0)), Ok(Bound::Disabled));
        assert_eq!(kilobyte_limit(&text("unlimited")), Ok(Bound::Unlimited));
        assert_eq!(kilobyte_limit(&Value::Integer(0xFFFF_FFFE)), Ok(Bound::AtMost(0xFFFF_FFFE * 1024)));
    }

    #[test]
    fn ports_of_clients() {
        let written = |value: &Value| ports(value).map(|ports| ports.map(|ports| ports.to_string()));
        assert_eq!(written(&text("")), Ok(None));
        for (value, expected) in [
            (text("1050 - 1060"), Some("1050-1060")),
            (text("80"), Some("80")),
            (untyped("1050"), Some("1050")),
            (Value::Integer(1050), Some("1050")),
            (Value::Integer(65_536), None),
            (Value::Integer(-1), None),
            (text("random"), None),
            (Value::Boolean(true), None),
        ] {
            assert_eq!(written(&value).ok().flatten().as_deref(), expected, "{value:?}");
        }
        assert_eq!(
            written(&text("65536")).unwrap_err(),
            "enter a value in the permissible range: ports can range from 1025 to 65535, not \"65536\""
        );
    }

    #[test]
    fn counts_keep_to_their_range() {
        assert_eq!(count(&Value::Integer(1), 1..=9), Ok(1));
        assert_eq!(count(&untyped("9"), 1..=9), Ok(9));
        for value in [Value::Integer(0), Value::Integer(10), Value::Integer(-1), text("1"), untyped("")] {
            let sentence = count(&value, 1..=9).unwrap_err();
            assert!(sentence.starts_with("must be a whole number from 1 to 9, not "), "{sentence}");
        }
    }

    #[test]
    fn what_is_quoted_stays_short_and_on_one_line() {
        assert_eq!(text("a\nb\u{1b}[2J").to_string(), r#""a\nb\u{1b}[2J""#);
        assert!(text(&"é".repeat(10_000)).to_string().chars().count() < 100);
    }
}
