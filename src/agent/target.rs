//! What is polled.

use url::Url;

/// A mailbox's URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether it is polled within TLS.
    pub tls: bool,
    /// What to connect to: a host and a port.
    pub address: String,
    /// The value of `Host`.
    pub host: String,
    /// The path, with the query if there is one.
    pub path: String,
}

/// Why a URL cannot be polled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It is not a URL.
    #[error("this is not a URL: {0}")]
    NotAUrl(url::ParseError),
    /// Another scheme than `http` and `https`.
    #[error("only http and https URLs can be polled")]
    Scheme,
    /// A user name or a password in it.
    #[error("a user name or a password does not belong in the URL; see --user")]
    UserInformation,
    /// No path: the root is no mailbox.
    #[error("the URL has no path; poll the Content-Location that the subscription was answered with")]
    NoPath,
}

impl Target {
    /// Takes a URL apart.
    pub fn parse(url: &str) -> Result<Self, BadTarget> {
        let url = Url::parse(url).map_err(BadTarget::NotAUrl)?;
        // Before the scheme, since a sentence about it might be logged with the URL.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadTarget::UserInformation);
        }
        let tls = url.scheme() == "https";
        let Some(host) = url.host_str().filter(|_| tls || url.scheme() == "http") else {
            return Err(BadTarget::Scheme);
        };
        if url.path() == "/" {
            return Err(BadTarget::NoPath);
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            tls,
            address: format!("{host}:{}", url.port().unwrap_or(if tls { 443 } else { 80 })),
            host: url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")),
            path: format!("{}{query}", url.path()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, address, host, path) in [
            ("http://im.example/.pollgate/0a", "im.example:80", "im.example", "/.pollgate/0a"),
            ("HTTP://IM.example:80/a?b#c", "im.example:80", "im.example", "/a?b"),
            ("http://10.0.0.1:8080/a", "10.0.0.1:8080", "10.0.0.1:8080", "/a"),
            ("http://[::1]:8080/a", "[::1]:8080", "[::1]:8080", "/a"),
            ("http://[::1]/a", "[::1]:80", "[::1]", "/a"),
            ("https://im.example/a", "im.example:443", "im.example", "/a"),
            ("https://im.example:80/a", "im.example:80", "im.example:80", "/a"),
        ] {
            let tls = url.starts_with("https");
            let expected = Target { tls, address: address.into(), host: host.into(), path: path.into() };
            assert_eq!(Target::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_polled() {
        for (url, problem) in [
            ("ftp://h/a", BadTarget::Scheme),
            ("mailto:a", BadTarget::Scheme),
            ("http://u:p@h/a", BadTarget::UserInformation),
            ("https://u@h/a", BadTarget::UserInformation),
            ("http://h", BadTarget::NoPath),
            ("http://h/", BadTarget::NoPath),
        ] {
            assert_eq!(Target::parse(url), Err(problem), "{url}");
        }
        for url in ["", "im.example/a", "http://", "http://h:99999/a"] {
            assert!(matches!(Target::parse(url), Err(BadTarget::NotAUrl(_))), "{url}");
        }
    }
}
