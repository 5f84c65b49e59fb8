//! Pairs of names and values, as queries and forms have them (WHATWG URL §5).

use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::Unreadable;

/// Where the value of this name stands.
pub(super) fn find(text: &str, name: &str) -> Result<Option<Range<usize>>, Unreadable> {
    let mut found = None;
    let mut at = 0;
    for pair in text.split('&') {
        let (written, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(written) == name {
            if found.is_some() {
                return Err(Unreadable::Twice);
            }
            let end = at + pair.len();
            found = Some(end - value.len()..end);
        }
        at += pair.len() + 1;
    }
    Ok(found)
}

/// What is written there.
pub(super) fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// How a value is written.
pub(super) fn encode(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_name_however_that_is_written() {
        let text = "hub.mode=subscribe&hub%2Ecallback=http%3A%2F%2Fa%2Fb+c&empty=&bare&x=1&x=2";
        let value = |name| find(text, name).unwrap().map(|range| decode(&text[range]));
        assert_eq!(value("hub.callback").as_deref(), Some("http://a/b c"));
        assert_eq!(value("hub.mode").as_deref(), Some("subscribe"));
        assert_eq!(value("empty").as_deref(), Some(""));
        assert_eq!(value("bare").as_deref(), Some(""));
        assert_eq!(value("hub"), None);
        assert_eq!(find(text, "x"), Err(Unreadable::Twice));
        assert_eq!(encode("http://a/b c"), "http%3A%2F%2Fa%2Fb+c");
    }
}
