//! The operators' bearer token: read from a file of its own, so that the configuration can be shown around.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::watched;

/// What operators show to be let in (RFC 6750). `Debug` hides it, and no error repeats it.
#[derive(Clone)]
pub struct Token(Box<str>);

/// Why a file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// There is nothing in it.
    #[error("is empty; it should hold the token, such as what `openssl rand -hex 32` prints")]
    Empty,
    /// What is in it could not stand in an `Authorization` field.
    #[error(
        "holds no bearer token: one line of at most {LONGEST} letters, digits and -._~+/, with = at its end"
    )]
    NotAToken,
}

/// Longer than any token, and well below what a request may carry.
const LONGEST: usize = 4096;

impl Token {
    /// Reads the file: the token is its text, without the white space around it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        // Never more than needed: the file may be any, such as a device.
        let start = File::open(path).map(|file| file.take(LONGEST as u64 * 2));
        let text =
            start.and_then(|mut start| watched::read_from(&mut start)).map_err(TokenError::Unreadable)?;
        Self::parse(text.trim_ascii())
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        let token = std::str::from_utf8(text).map_err(|_| TokenError::NotAToken)?;
        let fits = token.len() <= LONGEST && is_b64token(token);
        if fits { Ok(Self(token.into())) } else { Err(TokenError::NotAToken) }
    }

    /// For tests: `s3cret`.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self("s3cret".into())
    }

    /// Whether it is this one. How long that takes tells nothing but the length.
    pub fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The value of the `Authorization` field that shows it.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_without_the_white_space_around_it() {
        let longest = "a".repeat(LONGEST);
        for (text, token) in [
            ("s3cret", Some("s3cret")),
            ("\n  aA0-._~+/==\r\n", Some("aA0-._~+/==")),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}a"), None),
            ("", None),
            (" \n", None),
            ("two words", None),
            ("two\nlines", None),
            ("=", None),
            ("a=b", None),
            ("grün", None),
        ] {
            let parsed = Token::parse(text.as_bytes().trim_ascii()).ok();
            assert_eq!(parsed.is_some_and(|parsed| token.is_some_and(|t| parsed.is(t))), token.is_some());
        }
        assert!(Token::parse(b"\xff").is_err());
    }

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::parse(b"s3cret").unwrap();
        for other in ["", "s3cre", "s3crett", "S3cret", "s3creT"] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(token.authorization(), "Bearer s3cret");
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::parse(b"s3cret").unwrap();
        assert!(!format!("{token:?}").contains("s3cret"));
        for text in ["s3cret s3cret", "s3cret!"] {
            assert!(!Token::parse(text.as_bytes()).unwrap_err().to_string().contains("s3cret"));
        }
    }

    #[test]
    fn any_file_can_be_named() {
        assert!(matches!(Token::read(Path::new("/dev/zero")), Err(TokenError::NotAToken)));
        assert!(matches!(Token::read(Path::new("/dev/null")), Err(TokenError::Empty)));
        assert!(matches!(Token::read(Path::new("/no/such/file")), Err(TokenError::Unreadable(_))));
    }
}
