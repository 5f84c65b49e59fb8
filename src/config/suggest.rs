//! Which known name somebody probably meant.

/// The known name nearest to `written`, if one is near enough to be a slip. Case and underscores do
/// not count, so that the registry's `PollMsgLimit` finds `poll_msg_limit`.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let written = plain(written);
    // A longer name has room for more slips; in a very short one a single slip makes another word.
    let slips = (written.chars().count() / 4).min(3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &plain(name)), name))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        let known = ["public", "callback", "admin", "poll_msg_limit", "poll_msg_kbyte_limit", "url"];
        for (written, expected) in [
            ("publc", Some("public")),
            ("call_back", Some("callback")),
            ("pol_msg_limit", Some("poll_msg_limit")),
            ("PollMsgKByteLimit", Some("poll_msg_kbyte_limit")),
            ("URL", Some("url")),
            ("uri", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }
}
