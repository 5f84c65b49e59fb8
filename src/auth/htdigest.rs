//! The file of users, in the format of Apache's `htdigest`: a line `user:realm:secret` each.
//!
//! The [secret](super::digest::secret()) is of MD5 (32 hexadecimal digits), or of SHA-256 (64) on a line of
//! its own beside it. The line of MD5 comes first, so that Apache, which looks no further, can use the file
//! too. Empty lines and those with a `#` in front are for people, there as here.

use std::collections::HashMap;
use std::fmt;

use super::digest::{Algorithm, secret};

/// The users of one realm. `Debug` tells how many they are, and nothing of them.
#[derive(Default)]
pub struct Users(HashMap<Box<str>, Secrets>);

#[derive(Default)]
struct Secrets {
    md5: Option<Box<str>>,
    sha256: Option<Box<str>>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

impl Users {
    /// Reads the lines of a file as far as they are of this realm, and the numbers of those that are none. Of
    /// several lines of the same user and algorithm the first counts, as it does for Apache.
    pub fn read(text: &[u8], realm: &str) -> (Self, Vec<usize>) {
        let mut users = Self::default();
        let malformed = each_line(text, |line| {
            let entry = Entry::read(line)?;
            if entry.realm == realm {
                let secret = users.0.entry(entry.user.into()).or_default().of(entry.algorithm);
                secret.get_or_insert_with(|| entry.secret.to_ascii_lowercase().into());
            }
            Some(())
        });
        (users, malformed)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret of a user.
    pub fn secret(&self, user: &str, algorithm: Algorithm) -> Option<&str> {
        self.0.get(user)?.has(algorithm)
    }

    /// Which of these algorithms to offer: those for which every user has a secret. A client answers the
    /// strongest that is offered, and nothing tells beforehand whose client it is. If no algorithm suits
    /// all, all are offered.
    pub fn offer(&self, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let suits = |algorithm: &Algorithm| self.0.values().all(|user| user.has(*algorithm).is_some());
        let suitable: Vec<_> = algorithms.iter().copied().filter(suits).collect();
        if suitable.is_empty() { algorithms.to_vec() } else { suitable }
    }

    /// Every user and the algorithms that there are secrets for, by name.
    pub fn list(&self) -> Vec<(&str, Vec<Algorithm>)> {
        let algorithms =
            |user: &Secrets| Algorithm::ALL.into_iter().filter(|a| user.has(*a).is_some()).collect();
        let mut all: Vec<_> = self.0.iter().map(|(name, user)| (&**name, algorithms(user))).collect();
        all.sort();
        all
    }
}

impl Secrets {
    fn of(&mut self, algorithm: Algorithm) -> &mut Option<Box<str>> {
        match algorithm {
            Algorithm::Md5 => &mut self.md5,
            Algorithm::Sha256 => &mut self.sha256,
        }
    }

    fn has(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }
}

/// One line.
struct Entry<'a> {
    user: &'a str,
    realm: &'a str,
    algorithm: Algorithm,
    secret: &'a str,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut parts = line.split(':');
        let (user, realm, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.digits() == secret.len())?;
        let valid =
            parts.next().is_none() && !user.is_empty() && secret.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then_some(Self { user, realm, algorithm, secret })
    }
}

/// Hands over each line that is not for people; returns the numbers of those that were not taken.
pub(super) fn each_line(text: &[u8], mut take: impl FnMut(&str) -> Option<()>) -> Vec<usize> {
    let mut malformed = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        if std::str::from_utf8(line).ok().and_then(&mut take).is_none() {
            malformed.push(index + 1);
        }
    }
    malformed
}

/// The file with this user's lines in it, both algorithms, in the place of those that were there; and whether
/// there were any. All else stays as it is.
pub fn with_user(text: &[u8], user: &str, realm: &str, password: &str) -> (Vec<u8>, bool) {
    let line = |algorithm| format!("{user}:{realm}:{}\n", secret(algorithm, user, realm, password));
    let lines = Algorithm::ALL.map(line).concat();
    let (mut before, after, found) = split_at_user(text, user, realm);
    if !(before.is_empty() || before.ends_with(b"\n")) {
        before.push(b'\n');
    }
    ([&before[..], lines.as_bytes(), &after[..]].concat(), found)
}

/// The file without this user's lines; `None` if there are none.
pub fn without_user(text: &[u8], user: &str, realm: &str) -> Option<Vec<u8>> {
    let (before, after, found) = split_at_user(text, user, realm);
    found.then(|| [before, after].concat())
}

/// What stands before the first line of a user, what behind it, without any line of theirs, and whether there
/// was one. Lines that are malformed but begin so are theirs too.
fn split_at_user(text: &[u8], user: &str, realm: &str) -> (Vec<u8>, Vec<u8>, bool) {
    let start = format!("{user}:{realm}:");
    let (mut before, mut after, mut found) = (Vec::new(), Vec::new(), false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(start.as_bytes()) {
            found = true;
        } else if found {
            after.extend_from_slice(line);
        } else {
            before.extend_from_slice(line);
        }
    }
    (before, after, found)
}

/// Why a name cannot stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// What separates the parts of a line, or ends it.
    #[error("it must have no colon and no control character")]
    Character,
    /// What makes a line a comment.
    #[error("it must not begin with #")]
    Comment,
}

/// Whether this can be a user's name.
pub fn check_user(name: &str) -> Result<(), BadName> {
    match name {
        "" => Err(BadName::Empty),
        name if name.starts_with('#') => Err(BadName::Comment),
        name if name.contains(|c: char| c == ':' || c.is_control()) => Err(BadName::Character),
        _ => Ok(()),
    }
}

/// Whether this can be a realm: plain ASCII, and nothing that clients of the field escape in different ways.
pub fn is_realm(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b':' | b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kari:r:secret`, by md5sum and sha256sum.
    const KARI_MD5: &str = "e670e99b0bbb9c301befec668ba2ab05";
    const KARI_SHA256: &str = "a65def363b1cb855dcd6eb15bfaabaec79b495f4d451d34bc73808450f99fe51";

    fn file(lines: &[&str]) -> String {
        lines.concat().replace("MD5", KARI_MD5).replace("SHA", KARI_SHA256)
    }

    #[test]
    fn lines_are_read() {
        let text = file(&[
            "# users\n\n",
            "kari:r:MD5\n",
            "kari:r:SHA\r\n",
            "alan:r:MD5\n",
            "alan:r:00000000000000000000000000000000\n",
            "nina:other:MD5\n",
            "DOMAIN\\olav:r:SHA\n",
            "jörg:r:MD5",
        ]);
        let capitals = text.replace(KARI_MD5, &KARI_MD5.to_uppercase());
        assert_eq!(Users::read(capitals.as_bytes(), "r").0.secret("kari", Algorithm::Md5), Some(KARI_MD5));
        let (users, malformed) = Users::read(text.as_bytes(), "r");
        assert_eq!((users.len(), &malformed[..]), (4, &[][..]));
        for (user, md5, sha256) in [
            ("kari", Some(KARI_MD5), Some(KARI_SHA256)),
            ("alan", Some(KARI_MD5), None),
            ("nina", None, None),
            ("DOMAIN\\olav", None, Some(KARI_SHA256)),
            ("jörg", Some(KARI_MD5), None),
            ("Kari", None, None),
        ] {
            assert_eq!(users.secret(user, Algorithm::Md5), md5, "{user}");
            assert_eq!(users.secret(user, Algorithm::Sha256), sha256, "{user}");
        }
        let listed = users.list();
        assert_eq!(listed[1], ("alan", vec![Algorithm::Md5]));
        assert_eq!(listed[3], ("kari", Algorithm::ALL.to_vec()));
        assert_eq!(format!("{users:?}"), "Users(4)");
    }

    #[test]
    fn lines_that_are_none_are_named() {
        let valid = file(&["kari:r:MD5\n"]);
        for line in [
            "kari",
            "kari:r",
            "kari:r:",
            ":r:MD5",
            "kari:r:MD5:",
            "kari:r:MD5x",
            " kari:r:zMD5",
            "kari:r:\u{e9}",
        ] {
            let text = file(&["\n", line, "\n"]) + &valid;
            let (users, malformed) = Users::read(text.as_bytes(), "r");
            assert_eq!((users.len(), &malformed[..]), (1, &[2][..]), "{line}");
        }
        assert_eq!(Users::read(b"\xff:r:00000000000000000000000000000000\n", "r").1, [1]);
    }

    #[test]
    fn what_every_user_can_answer_is_offered() {
        use Algorithm::{Md5, Sha256};
        for (lines, configured, offered) in [
            (&[][..], &[Sha256, Md5][..], &[Sha256, Md5][..]),
            (&["kari:r:MD5\nkari:r:SHA\n"], &[Sha256, Md5], &[Sha256, Md5]),
            (&["kari:r:MD5\nkari:r:SHA\n"], &[Md5], &[Md5]),
            (&["kari:r:MD5\nkari:r:SHA\n", "alan:r:MD5\n"], &[Sha256, Md5], &[Md5]),
            (&["kari:r:MD5\nkari:r:SHA\n", "alan:r:SHA\n"], &[Sha256, Md5], &[Sha256]),
            (&["kari:r:SHA\n", "alan:r:MD5\n"], &[Sha256, Md5], &[Sha256, Md5]),
            (&["kari:r:MD5\n"], &[Sha256], &[Sha256]),
        ] {
            let (users, _) = Users::read(file(lines).as_bytes(), "r");
            assert_eq!(users.offer(configured), offered, "{lines:?}");
        }
    }

    #[test]
    fn users_are_put_in_and_taken_out() {
        let kari = file(&["kari:r:MD5\nkari:r:SHA\n"]);
        for (before, after, replaced) in [
            ("", "KARI", false),
            ("# c\nalan:r:x\n", "# c\nalan:r:x\nKARI", false),
            ("alan:r:x", "alan:r:x\nKARI", false),
            ("kari:r:old\nalan:r:x\n", "KARIalan:r:x\n", true),
            ("a:r:x\nkari:r:old\r\nb:r:x\nkari:r:older", "a:r:x\nKARIb:r:x\n", true),
            ("kari:other:x\nkarin:r:x\n", "kari:other:x\nkarin:r:x\nKARI", false),
        ] {
            let (text, found) = with_user(before.as_bytes(), "kari", "r", "secret");
            assert_eq!(
                (String::from_utf8(text.clone()).unwrap(), found),
                (after.replace("KARI", &kari), replaced),
                "{before:?}"
            );
            let gone = without_user(&text, "kari", "r").unwrap();
            assert_eq!(String::from_utf8(gone).unwrap(), after.replace("KARI", ""));
        }
        assert_eq!(without_user(b"alan:r:x\n", "kari", "r"), None);
    }

    #[test]
    fn names_and_realms() {
        for (name, expected) in [
            ("kari", Ok(())),
            (r"DOMAIN\kari", Ok(())),
            ("jörg @ home", Ok(())),
            ("", Err(BadName::Empty)),
            ("#kari", Err(BadName::Comment)),
            ("a:b", Err(BadName::Character)),
            ("a\nb", Err(BadName::Character)),
            ("a\u{85}b", Err(BadName::Character)),
        ] {
            assert_eq!(check_user(name), expected, "{name}");
        }
        for (realm, is) in [
            ("pollgate", true),
            ("Instant Messaging", true),
            ("", false),
            ("a:b", false),
            ("a\"", false),
            ("ö", false),
        ] {
            assert_eq!(is_realm(realm), is, "{realm}");
        }
    }
}
