//! Where in a JSON text a value stands (RFC 8259), by a pointer (RFC 6901).
//!
//! The text is read as a whole first, by a parser that bounds its depth; what follows only counts brackets in what
//! is known to be JSON.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::Unreadable;

/// What a pointer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A value, with everything of it.
    Value(Range<usize>),
    /// No value, but the object that could hold it: the place behind its opening bracket, and whether it is empty.
    Room(usize, bool),
    /// Neither.
    Nothing,
}

/// The tokens of a pointer; none if it is not one.
pub(super) fn pointer(text: &str) -> Option<Vec<String>> {
    const MOST_TOKENS: usize = 32;
    let tokens: Vec<String> = match text.strip_prefix('/') {
        Some(rest) => rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
        None => return None,
    };
    (tokens.len() <= MOST_TOKENS).then_some(tokens)
}

/// What the pointer leads to.
pub(super) fn find(text: &[u8], tokens: &[String]) -> Result<Found, Unreadable> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|_| Unreadable::Json)?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.white_space();
    scanner.follow(tokens)
}

/// What a value is as text: a string's content, a number or a word as it is written.
pub(super) fn as_text(value: &[u8]) -> Option<String> {
    match value.first()? {
        b'"' => serde_json::from_slice(value).ok(),
        b'{' | b'[' | b'n' => None,
        _ => std::str::from_utf8(value).ok().map(str::to_owned),
    }
}

/// A string as it is written.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// What the tokens lead to from the value here on.
    fn follow(&mut self, tokens: &[String]) -> Result<Found, Unreadable> {
        let Some((token, rest)) = tokens.split_first() else {
            let start = self.at;
            self.skip()?;
            return Ok(Found::Value(start..self.at));
        };
        match self.peek()? {
            b'{' => self.member(token, rest),
            b'[' => self.item(token, rest),
            _ => Ok(Found::Nothing),
        }
    }

    fn member(&mut self, token: &str, rest: &[String]) -> Result<Found, Unreadable> {
        self.at += 1;
        let inside = self.at;
        self.white_space();
        let is_empty = self.peek()? == b'}';
        let mut found = None;
        while self.peek()? != b'}' {
            let start = self.at;
            self.skip()?;
            let name: String =
                serde_json::from_slice(&self.text[start..self.at]).map_err(|_| Unreadable::Json)?;
            self.white_space();
            // A colon.
            self.at += 1;
            self.white_space();
            let value = self.at;
            if name == token {
                if found.is_some() {
                    return Err(Unreadable::Twice);
                }
                found = Some(self.follow(rest)?);
                self.at = value;
            }
            self.skip()?;
            self.next_one()?;
        }
        let room = if rest.is_empty() { Found::Room(inside, is_empty) } else { Found::Nothing };
        Ok(found.unwrap_or(room))
    }

    fn item(&mut self, token: &str, rest: &[String]) -> Result<Found, Unreadable> {
        let plain = token == "0" || !token.starts_with(['0', '+']);
        let Some(index) = token.parse::<usize>().ok().filter(|_| plain) else { return Ok(Found::Nothing) };
        self.at += 1;
        self.white_space();
        let mut passed = 0;
        while self.peek()? != b']' {
            if passed == index {
                return self.follow(rest);
            }
            self.skip()?;
            self.next_one()?;
            passed += 1;
        }
        Ok(Found::Nothing)
    }

    /// Goes on to the next member or item, or to the closing bracket.
    fn next_one(&mut self) -> Result<(), Unreadable> {
        self.white_space();
        if self.peek()? == b',' {
            self.at += 1;
            self.white_space();
        }
        Ok(())
    }

    /// Passes over the value here.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Unreadable::Json)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                _ => {
                    let more = self.text[self.at..].iter();
                    self.at += more.take_while(|b| !b", \t\r\n]}:".contains(b)).count();
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), Unreadable> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn white_space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default().iter();
        self.at += rest.take_while(|b| b" \t\r\n".contains(b)).count();
    }

    fn peek(&self) -> Result<u8, Unreadable> {
        self.text.get(self.at).copied().ok_or(Unreadable::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, path: &str) -> Result<Option<String>, Unreadable> {
        match find(text.as_bytes(), &pointer(path).unwrap())? {
            Found::Value(range) => Ok(Some(text[range].to_owned())),
            _ => Ok(None),
        }
    }

    #[test]
    fn a_pointer_leads_to_a_value() {
        let text = r#" { "a/b" : [ 1 , {"m~n":"x\"]}" , "":[]} ], "config":{"url" : "http:\/\/a", "n":-1.5e3, "t":true}, "config2":null} "#;
        for (path, value) in [
            ("/a~1b/0", Some("1")),
            ("/a~1b/1/m~0n", Some(r#""x\"]}""#)),
            ("/a~1b/1/", Some("[]")),
            ("/a~1b/01", None),
            ("/a~1b/2", None),
            ("/config/url", Some(r#""http:\/\/a""#)),
            ("/config/n", Some("-1.5e3")),
            ("/config/t", Some("true")),
            ("/config2", Some("null")),
            ("/config2/x", None),
            ("/nothing", None),
        ] {
            assert_eq!(look(text, path).unwrap().as_deref(), value, "{path}");
        }
        assert_eq!(as_text(br#""http:\/\/a""#).as_deref(), Some("http://a"));
        assert_eq!(as_text(b"12").as_deref(), Some("12"));
        assert_eq!((as_text(b"null"), as_text(b"{}")), (None, None));
    }

    #[test]
    fn there_may_be_room_for_a_value() {
        let find = |text: &str, path| find(text.as_bytes(), &pointer(path).unwrap()).unwrap();
        assert_eq!(find(r#"{"a":1}"#, "/b"), Found::Room(1, false));
        assert_eq!(find(r#"{"a":{ }}"#, "/a/b"), Found::Room(6, true));
        assert_eq!(find(r#"{"a":1}"#, "/a/b"), Found::Nothing);
        assert_eq!(find(r#"{"a":1}"#, "/b/c"), Found::Nothing);
        assert_eq!(find(r#"[1]"#, "/1"), Found::Nothing);
    }

    #[test]
    fn what_is_not_json_or_says_two_things_is_unreadable() {
        for text in ["", "{", r#"{"a":1,}"#, r#"{"a":1}x"#, "\u{feff}{}", &"[".repeat(100_000)] {
            assert_eq!(look(text, "/a"), Err(Unreadable::Json));
        }
        assert_eq!(look(r#"{"a":1,"\u0061":2}"#, "/a"), Err(Unreadable::Twice));
        assert_eq!(look(r#"{"b":{},"b":{"a":1}}"#, "/b/a"), Err(Unreadable::Twice));
    }
}
