//! Numbers as people say them.

use bytesize::ByteSize;

/// How long ago, in the largest unit that fits.
pub(super) fn ago(seconds: f64) -> String {
    if seconds < 1.0 { "now".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// A span of time, in the largest unit that fits.
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(86_400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s")];
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= *length);
    let (length, unit) = unit.unwrap_or((1.0, "s"));
    format!("{}{unit}", (seconds / length).floor())
}

/// An amount of bytes.
pub(super) fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}

/// So many of something.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (seconds, said) in [
            (0.0, "now"),
            (0.999, "now"),
            (1.0, "1s ago"),
            (59.9, "59s ago"),
            (60.0, "1m ago"),
            (3599.0, "59m ago"),
            (7200.0, "2h ago"),
            (86_399.0, "23h ago"),
            (86_400.0, "1d ago"),
            (8_640_000.0, "100d ago"),
        ] {
            assert_eq!(ago(seconds), said, "{seconds}");
        }
        assert_eq!((span(0.2), span(90.0)), ("0s".to_owned(), "1m".to_owned()));
    }

    #[test]
    fn amounts() {
        for (number, said) in [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB")] {
            assert_eq!(bytes(number), said);
        }
        assert_eq!(count(1, "message", "messages"), "1 message");
        assert_eq!(count(0, "message", "messages"), "0 messages");
    }
}
