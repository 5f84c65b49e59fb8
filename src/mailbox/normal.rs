//! The normal form of a path: two paths that mean the same are the same text in it (RFC 3986 §6.2.2).

/// The path of a URL in its normal form: without query and fragment, without dot segments and repeated slashes, with
/// every unreserved character as itself, and all others that are percent-encoded in upper case.
pub fn normal_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    let ends_in_slash = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    let mut normal = String::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_in_slash || segments.is_empty() {
        normal.push('/');
    }
    normal
}

/// Text without case. No letter becomes one of ASCII that was none: the Kelvin sign is no k, whoever reads it.
pub fn fold_case(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii() || c.to_lowercase().any(|lower| lower.is_ascii()) {
            true => folded.push(c.to_ascii_lowercase()),
            false => folded.extend(c.to_lowercase()),
        }
    }
    folded
}

fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.push_str(before);
        let hex = behind.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte.into())
            }
            Some(byte) => decoded.push_str(&format!("%{byte:02X}")),
            None => decoded.push('%'),
        }
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::{fold_case, normal_path};

    #[test]
    fn case_is_folded_and_nothing_becomes_ascii() {
        for (text, folded) in
            [("KARI", "kari"), ("JÖRG", "jörg"), ("\u{212a}ari", "\u{212a}ari"), ("\u{130}", "\u{130}")]
        {
            assert_eq!(fold_case(text), folded);
        }
    }

    #[test]
    fn paths_that_mean_the_same_are_the_same() {
        for (path, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/%2e%2E/%61", "/a"),
            ("/k%61ri?x#y", "/kari"),
            ("/%2epollgate/%41", "/.pollgate/A"),
            ("/a%2fb%c3%a5", "/a%2Fb%C3%A5"),
            ("/%", "/%"),
            ("/%zz%4", "/%zz%4"),
            ("/%+1", "/%+1"),
        ] {
            assert_eq!(normal_path(path), normal, "{path}");
            assert_eq!(normal_path(&normal_path(path)), normal, "{path}");
        }
    }
}
