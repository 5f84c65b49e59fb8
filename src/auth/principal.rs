//! Which principal a user is.
//!
//! A principal's URL ends with its name (`http://im.example.com/instmsg/aliases/kari`). A user is the
//! principal of the same name, in any case, after `DOMAIN\` before it and `@realm` behind it were taken
//! away; or whichever the map file says.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use crate::mailbox::fold_case;

/// Who is which principal against the rule: a line `user: name` each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Map(HashMap<Box<str>, Vec<Box<str>>>);

impl Map {
    /// Reads the lines of a map file, and the numbers of those that are none. A user may have several; a
    /// principal may be written as its whole URL. Empty lines and those with a `#` in front are for people.
    pub(super) fn read(text: &[u8]) -> (Self, Vec<usize>) {
        let mut map = Self::default();
        let malformed = super::htdigest::each_line(text, |line| {
            let (user, principal) = line.split_once(':')?;
            let user = Some(user.trim()).filter(|user| !user.is_empty())?;
            let name = name(principal.trim())?;
            map.0.entry(user.into()).or_default().push(name.into());
            Some(())
        });
        (map, malformed)
    }

    /// The names of the principals that this user is.
    pub(super) fn principals(&self, user: &str) -> Box<[Box<str>]> {
        if let Some(mapped) = self.0.get(user) {
            return mapped.as_slice().into();
        }
        let reduced = user.rsplit('\\').next().unwrap_or_default();
        let reduced = reduced.split_once('@').map_or(reduced, |(user, _)| user);
        // A principal may be called by the whole, as `kari@example.com` is.
        let all = [reduced, user].map(fold_case);
        all.into_iter().filter(|name| !name.is_empty()).map(Into::into).collect()
    }
}

/// The name at the end of a principal's URL, without [case](fold_case).
pub(super) fn name(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let name = percent_decode_str(path.rsplit('/').next().unwrap_or_default());
    Some(fold_case(&name.decode_utf8().ok()?)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(map: &Map, user: &str, principal: &str) -> bool {
        name(principal).is_some_and(|name| map.principals(user).iter().any(|own| **own == *name))
    }

    #[test]
    fn a_user_is_the_principal_of_the_same_name() {
        for (user, principal, is) in [
            ("kari", "http://im.example.com/instmsg/aliases/kari", true),
            ("Kari", "http://im.example.com:8080/instmsg/aliases/KARI/", true),
            (r"DOMAIN\kari", "http://im.example.com/instmsg/aliases/kari", true),
            (r"DOMAIN\Kari@x", "http://im.example.com/instmsg/aliases/kari", true),
            ("kari@example.com", "http://im.example.com/instmsg/aliases/kari", true),
            ("\u{212a}ari", "http://im.example.com/instmsg/aliases/kari", false),
            ("kari", "http://im.example.com/instmsg/aliases/%E2%84%AAari", false),
            ("kari@example.com", "http://im.example.com/instmsg/aliases/Kari%40example.com", true),
            ("jörg", "http://im.example.com/instmsg/aliases/J%C3%96RG?x", true),
            ("kari", "kari", true),
            ("kari", "http://im.example.com/instmsg/aliases/karin", false),
            ("kari", "http://im.example.com/kari/aliases/alan", false),
            ("kari", "http://kari", false),
            ("kari", "http://kari/", false),
            ("kari", "", false),
            ("kari", "/instmsg/aliases/%ff", false),
            ("", "http://im.example.com/", false),
            (r"DOMAIN\", "http://im.example.com/", false),
            ("@x", "http://im.example.com/", false),
            ("kari", "http://im.example.com/instmsg/aliases/kari@example.com", false),
        ] {
            assert_eq!(check(&Map::default(), user, principal), is, "{user} {principal}");
        }
    }

    #[test]
    fn the_map_says_otherwise() {
        let text = "# who: which\n\n  EXAMPLE\\k.olsen : kari\r\nboss: http://im.example.com/instmsg/aliases/Alan\n\
                    boss:kari\nnonsense\n:kari\nkari:\nkari: http://host\n";
        let (map, malformed) = Map::read(text.as_bytes());
        assert_eq!(malformed, [6, 7, 8, 9]);
        for (user, principal, is) in [
            (r"EXAMPLE\k.olsen", "http://h/kari", true),
            (r"EXAMPLE\k.olsen", "http://h/k.olsen", false),
            ("k.olsen", "http://h/kari", false),
            ("boss", "http://h/alan", true),
            ("boss", "http://h/kari", true),
            ("boss", "http://h/boss", false),
            ("kari", "http://h/kari", true),
        ] {
            assert_eq!(check(&map, user, principal), is, "{user} {principal}");
        }
    }
}
