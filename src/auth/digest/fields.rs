//! The grammar of `WWW-Authenticate` and `Authorization` (RFC 9110 §11): tokens, values, parameters.

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Token(&'a str),
    /// What stands between the quotes, escapes and all.
    Quoted(&'a str),
}

impl<'a> Value<'a> {
    /// What it says.
    pub(super) fn text(self) -> String {
        let Value::Quoted(inner) = self else { return self.literal().to_owned() };
        let mut text = String::with_capacity(inner.len());
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            // The end of the value is never escaped.
            text.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
        text
    }

    /// What it says to somebody who knows nothing of escapes.
    pub(super) fn literal(self) -> &'a str {
        match self {
            Value::Token(text) | Value::Quoted(text) => text,
        }
    }
}

/// Text in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A token, perhaps an empty one, and what stands behind it.
pub(super) fn split_token(text: &str) -> (&str, &str) {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    text.split_at(text.bytes().position(|b| !is_token(b)).unwrap_or(text.len()))
}

/// A token or a quoted string, and what stands behind it; `None` if the quotes do not end.
pub(super) fn split_value(text: &str) -> Option<(Value<'_>, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let (token, rest) = split_token(text);
        return Some((Value::Token(token), rest));
    };
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Value::Quoted(&inner[..at]), &inner[at + 1..])),
            b'\\' => _ = bytes.next()?,
            _ => {}
        }
    }
    None
}

/// Behind what separates the elements of a list; empty elements count for nothing (RFC 9110 §5.6.1).
pub(super) fn next_element(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

/// Behind optional white space.
pub(super) fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, expected) in [
            ("a,b", Some(("a", "a", ",b"))),
            ("", Some(("", "", ""))),
            ("\"\" x", Some(("", "", " x"))),
            (r#""a\"b\\",c"#, Some((r#"a"b\"#, r#"a\"b\\"#, ",c"))),
            (r#""DOMAIN\kari""#, Some(("DOMAINkari", r"DOMAIN\kari", ""))),
            ("\"jörg\\ö\"", Some(("jörgö", "jörg\\ö", ""))),
            ("\"open", None),
            ("\"open\\\"", None),
        ] {
            let split = split_value(text);
            let split = split.map(|(value, rest)| (value.text(), value.literal(), rest));
            let split = split.as_ref().map(|(text, literal, rest)| (text.as_str(), *literal, *rest));
            assert_eq!(split, expected, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_reads_back() {
        for text in ["", "a", r"DOMAIN\kari", r#"a"b"#, "ö\\\"\\\\"] {
            let quoted = quoted(text);
            let (value, rest) = split_value(&quoted).unwrap();
            assert_eq!((value.text().as_str(), rest), (text, ""));
        }
    }
}
