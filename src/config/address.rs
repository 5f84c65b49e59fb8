//! Addresses, hosts, networks and URLs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use super::upstream::HTTPS;
use super::value::{Reading, Value};

/// Where to listen: an IP address and a port; port 0 means any free one.
pub(super) fn listener(value: &Value) -> Reading<SocketAddr> {
    value
        .text()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("must be IP:PORT, such as \"0.0.0.0:80\" or \"[::1]:80\", not {value}"))
}

/// Where to connect to: a name or an IP address, and a port; with `https://` before it within TLS. A scheme
/// has its usual port, and `http://` means nothing more than that.
pub(super) fn upstream(value: &Value) -> Reading<String> {
    let address = value.text().and_then(|text| {
        let (scheme, usual_port, rest) = match (strip_scheme(text, HTTPS), strip_scheme(text, "http://")) {
            (Some(rest), _) => (HTTPS, Some(443), rest),
            (None, Some(rest)) => ("", Some(80), rest),
            (None, None) => ("", None, text),
        };
        let rest = if usual_port.is_some() { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
        let with_port = || Some(format!("{rest}:{}", usual_port?));
        let is_whole = |text: &String| split_host_and_port(text).is_some();
        let authority = Some(rest.to_owned()).filter(is_whole).or_else(|| with_port().filter(is_whole))?;
        Some(format!("{scheme}{authority}"))
    });
    address.ok_or_else(|| {
        format!(
            "must be HOST:PORT, such as \"127.0.0.1:8000\" or \"im.example.com:80\", with a port from 1 to 65535 \
             and no path, or \"https://im.example.com\" for TLS, not {value}"
        )
    })
}

/// What stands behind the scheme, whose case does not matter.
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let start = text.get(..scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

/// The host, lower-cased and as it stands in a URL, and the port.
pub(super) fn split_host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // `u16::from_str` would let a plus sign pass.
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    (port != 0 && !bare_ipv6).then_some((normal_host(host)?, port))
}

/// One of the server's own names: a host without a port, in lower case.
pub(super) fn server_name(value: &Value) -> Reading<String> {
    value.text().and_then(normal_host).ok_or_else(|| {
        format!(
            "must be a host name or an IP address, such as \"im.example.com\", without scheme or port, not {value}"
        )
    })
}

/// A host in the form it has in a URL: lower case, IPv6 in brackets.
fn normal_host(text: &str) -> Option<String> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = unbracketed.unwrap_or(text).parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let is_host = text.parse::<IpAddr>().is_ok() || is_name(text);
    is_host.then(|| text.to_ascii_lowercase())
}

/// A host name (RFC 1123, with the underscores that Windows names may have). A last label of digits
/// alone belongs to a misspelt IP address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !last_is_number
}

/// A network, or a single address.
pub(super) fn network(value: &Value) -> Reading<IpNet> {
    let parse = |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    value.text().and_then(parse).map(|network| network.trunc()).ok_or_else(|| {
        format!("must be an IP address or a network, such as \"10.1.2.3\" or \"10.0.0.0/8\", not {value}")
    })
}

/// Where a listener is reached from its own machine: one that listens everywhere, on the loopback address.
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// The URL that callbacks are sent to: `http`, a host that can be connected to, perhaps a path.
pub(super) fn callback_url(value: &Value) -> Reading<String> {
    const EXAMPLE: &str = "such as \"http://10.0.0.5:8081\"";
    let Some(url) = value.text().and_then(|text| Url::parse(text).ok()) else {
        return Err(format!("must be a URL, {EXAMPLE}, not {value}"));
    };
    // Before any sentence that repeats the URL: it may hold a password.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "must not have a user name or a password; write only scheme, host and port, {EXAMPLE}"
        ));
    }
    if url.scheme() != "http" {
        return Err(format!(
            "must be an http URL, {EXAMPLE} (callback servers speak plain HTTP), not {value}"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must have neither query nor fragment, {EXAMPLE}, not {value}"));
    }
    let nowhere = match url.host() {
        Some(Host::Ipv4(address)) => address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_unspecified(),
        Some(Host::Domain(_)) | None => false,
    };
    if nowhere || url.port() == Some(0) {
        return Err(format!("must be what the upstream can connect to, {EXAMPLE}, not {value}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `read` makes of a text, or nothing.
    fn read<T: ToString>(read: fn(&Value) -> Reading<T>, text: &str) -> Option<String> {
        read(&Value::Text(text.to_owned())).ok().map(|value| value.to_string())
    }

    #[track_caller]
    fn check<T: ToString>(reading: fn(&Value) -> Reading<T>, cases: &[(&str, Option<&str>)]) {
        for (text, expected) in cases {
            assert_eq!(read(reading, text).as_deref(), *expected, "{text}");
        }
        for value in [Value::Integer(80), Value::Boolean(true), Value::List(vec![])] {
            assert!(reading(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn listeners() {
        check(
            listener,
            &[
                ("0.0.0.0:80", Some("0.0.0.0:80")),
                ("[::]:0", Some("[::]:0")),
                (" 127.0.0.1:80 ", Some("127.0.0.1:80")),
                ("localhost:80", None),
                (":80", None),
                ("80", None),
                ("0.0.0.0:65536", None),
            ],
        );
    }

    #[test]
    fn upstream_addresses() {
        let long = format!("{}.example:80", "a".repeat(64));
        check(
            upstream,
            &[
                ("127.0.0.1:8000", Some("127.0.0.1:8000")),
                ("IM.Example.com:80", Some("IM.Example.com:80")),
                ("exchange_01:80", Some("exchange_01:80")),
                ("[::1]:8000", Some("[::1]:8000")),
                ("::1:8000", None),
                ("[::1]", None),
                ("[im.example.com]:80", None),
                ("127.0.0.1", None),
                ("127.0.0.1:0", None),
                ("127.0.0.1:+80", None),
                ("127.0.0.1:", None),
                ("127.0.0.1:65536", None),
                ("127.0.0.256:80", None),
                ("http://127.0.0.1:80", Some("127.0.0.1:80")),
                ("http://im.example.com/", Some("im.example.com:80")),
                ("HTTPS://im.example.com", Some("https://im.example.com:443")),
                ("https://im.example.com:8443", Some("https://im.example.com:8443")),
                ("https://[::1]", Some("https://[::1]:443")),
                ("https://", None),
                ("https://im.example.com/path", None),
                ("https://user@im.example.com", None),
                ("ftp://im.example.com:80", None),
                ("im.example.com:80/path", None),
                ("im.example.com:80/", None),
                ("im..example.com:80", None),
                ("-im.example.com:80", None),
                ("bücher.example:80", None),
                (":80", None),
                (&long, None),
            ],
        );
    }

    #[test]
    fn server_names() {
        check(
            server_name,
            &[
                ("IM.Example.COM", Some("im.example.com")),
                ("10.1.2.3", Some("10.1.2.3")),
                ("::1", Some("[::1]")),
                ("[2001:DB8::1]", Some("[2001:db8::1]")),
                ("im.example.com:80", None),
                ("http://im.example.com", None),
                ("", None),
                ("a b", None),
            ],
        );
    }

    #[test]
    fn networks() {
        check(
            network,
            &[
                ("127.0.0.0/8", Some("127.0.0.0/8")),
                ("10.1.2.3/8", Some("10.0.0.0/8")),
                ("10.1.2.3", Some("10.1.2.3/32")),
                ("::1", Some("::1/128")),
                ("10.0.0.0/33", None),
                ("localhost", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn callback_urls() {
        check(
            callback_url,
            &[
                ("http://127.0.0.1:8081", Some("http://127.0.0.1:8081")),
                ("http://127.0.0.1:8081/", Some("http://127.0.0.1:8081")),
                ("HTTP://Gate.Example:80/cb//", Some("http://gate.example/cb")),
                ("http://[::1]:8081", Some("http://[::1]:8081")),
                ("https://127.0.0.1", None),
                ("ftp://127.0.0.1", None),
                ("127.0.0.1:8081", None),
                ("http://0.0.0.0:8081", None),
                ("http://[::]:8081", None),
                ("http://127.0.0.1:0", None),
                ("http://127.0.0.1/?a=b", None),
                ("http://127.0.0.1/#a", None),
                ("http://user@127.0.0.1", None),
                ("http://", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in ["http://user:hunter2@10.0.0.5:8081", "https://:hunter2@10.0.0.5/?x"] {
            let sentence = callback_url(&Value::Text(text.to_owned())).unwrap_err();
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
    }
}
