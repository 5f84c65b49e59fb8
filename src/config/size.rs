//! Sizes: a number of bytes, or a string with a unit such as `"1MiB"`.

use bytesize::ByteSize;

use super::value::{Reading, Value};

/// The largest size that means anything; a larger one is a slip in the unit.
const LARGEST: u64 = bytesize::PIB;

/// A number of bytes, at least one.
pub(super) fn size(value: &Value) -> Reading<u64> {
    bytes(value).filter(|bytes| (1..=LARGEST).contains(bytes)).ok_or_else(|| {
        format!(
            "must be a number of bytes, or a string such as \"512KiB\" or \"1MiB\", from 1 byte to 1 PiB, not {value}"
        )
    })
}

/// The same, where nothing may be meant: 0.
pub(super) fn size_or_none(value: &Value) -> Reading<u64> {
    if bytes(value) == Some(0) { Ok(0) } else { size(value) }
}

fn bytes(value: &Value) -> Option<u64> {
    if let Some(number) = value.integer() {
        return u64::try_from(number).ok();
    }
    value.text()?.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, expected) in [
            (Value::Integer(1), Some(1)),
            (Value::Untyped("1048576".to_owned()), Some(1_048_576)),
            (Value::Untyped("1MiB".to_owned()), Some(1_048_576)),
            (text("1MiB"), Some(1_048_576)),
            (text("1.5 KiB"), Some(1536)),
            (text("1MB"), Some(1_000_000)),
            (text("1PiB"), Some(LARGEST)),
            (text("2PiB"), None),
            (text("99999999999999999999EiB"), None),
            (Value::Integer(0), None),
            (text("0MiB"), None),
            (Value::Integer(-1), None),
            (text("much"), None),
            (text("-1MiB"), None),
            (Value::Other("1.5".to_owned()), None),
            (Value::Boolean(true), None),
        ] {
            assert_eq!(size(&value).ok(), expected, "{value:?}");
            let nothing = matches!(value, Value::Integer(0)) || value == text("0MiB");
            assert_eq!(size_or_none(&value).ok(), expected.or(nothing.then_some(0)), "{value:?}");
        }
    }
}
