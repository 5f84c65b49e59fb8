//! Where clients find what a server sends them to.
//!
//! An RVP server answers for users of other home servers with a redirect to those. Where that is another upstream of
//! the gateway, under a name or an address that clients may not even reach, the client is told the name under
//! which it finds that upstream here. Pure.

use crate::config::{Asked, Upstream};

/// How a client knows the gateway, and what it asked for.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The scheme.
    pub scheme: &'static str,
    /// The authority, as the client wrote it.
    pub authority: &'a str,
    /// The port of the listener that it came in at.
    pub port: u16,
    /// The path and the query that it asked for.
    pub target: &'a str,
}

/// A `Location` as a client can follow it, if it leads to one of these and is not like that already.
///
/// One that would lead back to what was asked for stays as it is: the client would go in circles.
pub(super) fn rewrite(location: &str, all: &[&Upstream], known: &Known<'_>) -> Option<String> {
    let (scheme, rest) = location.split_once("://")?;
    let is_tls = scheme.eq_ignore_ascii_case("https");
    if (!is_tls && !scheme.eq_ignore_ascii_case("http")) || known.authority.is_empty() {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return None;
    }
    let authority = if authority.eq_ignore_ascii_case(known.authority) {
        // A server that does not know of the TLS before it says http.
        (!is_tls).then(|| authority.to_owned())?
    } else {
        let target = leads_to(authority, is_tls, all, known)?;
        found_under(authority, path, target, all, known)?
    };
    let rewritten = format!("{}://{authority}{path}", known.scheme);
    let asked = format!("{}://{}{}", known.scheme, known.authority, known.target);
    (rewritten != location && rewritten != asked).then_some(rewritten)
}

/// The upstream that this is one of the names of.
fn leads_to<'a>(
    authority: &str,
    is_tls: bool,
    all: &[&'a Upstream],
    known: &Known<'_>,
) -> Option<&'a Upstream> {
    let (host, port) = split(authority);
    let usual = if is_tls { 443 } else { 80 };
    let port = port.unwrap_or(usual);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = all.iter().find(|upstream| {
        let servers = upstream.all_servers();
        let at_port = |wanted: u16| servers.iter().any(|server| server.port() == Some(wanted));
        let is_server = servers
            .iter()
            .any(|server| server.host().eq_ignore_ascii_case(bare) && server.port() == Some(port));
        let is_name = upstream.server_names.iter().any(|name| name.eq_ignore_ascii_case(host))
            || upstream.is_called(authority);
        let is_port = port == usual || split(known.authority).1 == Some(port) || at_port(port);
        is_server || (is_name && is_port)
    })?;
    // Who is sent from plain HTTP to TLS would be sent in circles if the gateway led back to plain HTTP.
    (!is_tls || found.is_tls() || known.scheme == "https").then_some(found)
}

/// The authority under which a client gets to this upstream: its own for the gateway if that does, else one that the
/// upstream is called.
fn found_under(
    authority: &str,
    path: &str,
    target: &Upstream,
    all: &[&Upstream],
    known: &Known<'_>,
) -> Option<String> {
    let (own_host, _) = split(known.authority);
    let own_port = &known.authority[own_host.len()..];
    let named = |host: &str| (format!("{host}{own_port}"), known.port);
    let literal = target.hosts.iter().filter_map(|pattern| pattern.literal());
    let mut ways = vec![(known.authority.to_owned(), known.port)];
    if target.is_called(authority) {
        ways.push(named(split(authority).0));
    }
    ways.extend(literal.map(|host| named(&host)));
    ways.extend(target.listen_port.map(|port| (format!("{own_host}:{port}"), port)));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = if path.is_empty() { "/" } else { path };
    let found = ways.into_iter().find(|(authority, port)| {
        let asked = Asked { authority, path, port: *port };
        all.iter().find(|upstream| upstream.takes(&asked)).is_some_and(|found| found.name == target.name)
    });
    found.map(|(authority, _)| authority)
}

/// The host, and the port if there is one.
fn split(authority: &str) -> (&str, Option<u16>) {
    let split = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match split {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pattern;

    const KNOWN: Known<'_> =
        Known { scheme: "http", authority: "gate.example:8080", port: 8080, target: "/a?b" };

    fn upstream(name: &str, address: &str) -> Upstream {
        Upstream { name: name.to_owned(), address: address.to_owned(), ..Upstream::default() }
    }

    #[test]
    fn with_a_single_upstream_what_leads_to_it_leads_here() {
        let only = Upstream { server_names: vec!["im.example".to_owned()], ..upstream("a", "10.0.0.1:80") };
        for (location, expected) in [
            ("http://10.0.0.1/x?y#z", Some("http://gate.example:8080/x?y#z")),
            ("HTTP://10.0.0.1:80", Some("http://gate.example:8080")),
            ("http://IM.example/x", Some("http://gate.example:8080/x")),
            ("http://im.example:8080/x", Some("http://gate.example:8080/x")),
            // Another service of the same machine.
            ("http://10.0.0.1:8443/x", None),
            ("http://im.example:8443/x", None),
            ("https://10.0.0.1:80/x", None),
            ("https://im.example/x", None),
            ("http://other.example/x", None),
            ("http://user@10.0.0.1/x", None),
            ("ftp://10.0.0.1/x", None),
            ("/x", None),
            ("//10.0.0.1/x", None),
            ("http://gate.example:8080/x", None),
            // In circles.
            ("http://10.0.0.1/a?b", None),
        ] {
            assert_eq!(rewrite(location, &[&only], &KNOWN).as_deref(), expected, "{location}");
        }
        let nameless = Known { authority: "", ..KNOWN };
        assert_eq!(rewrite("http://10.0.0.1/x", &[&only], &nameless), None);
    }

    #[test]
    fn within_tls_the_client_stays_there() {
        let only = upstream("a", "https://[2001:db8::1]:443");
        let known = Known { scheme: "https", authority: "gate.example", ..KNOWN };
        for (location, expected) in [
            ("https://[2001:db8::1]/x", Some("https://gate.example/x")),
            ("http://gate.example/x", Some("https://gate.example/x")),
            ("https://gate.example/x", None),
        ] {
            assert_eq!(rewrite(location, &[&only], &known).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn another_upstream_is_named_so_that_it_is_found() {
        let pattern = |text: &str| vec![Pattern::whole(text)];
        let all = [
            Upstream { listen_port: Some(8200), ..upstream("device", "10.0.0.4:8200") },
            Upstream { hosts: pattern("gate.example"), ..upstream("router", "10.0.0.1:80") },
            Upstream { hosts: pattern("home2.example"), ..upstream("home2", "10.0.0.2:80") },
            Upstream { hosts: pattern("*.homes.example"), ..upstream("homes", "10.0.0.3:80") },
            Upstream { hosts: pattern("unknown-?"), ..upstream("nameless", "10.0.0.5:80") },
        ];
        let all: Vec<&Upstream> = all.iter().collect();
        for (location, expected) in [
            ("http://10.0.0.1/x", Some("http://gate.example:8080/x")),
            ("http://10.0.0.2/x", Some("http://home2.example:8080/x")),
            ("http://home2.example/x", Some("http://home2.example:8080/x")),
            ("http://kari.homes.example/x", Some("http://kari.homes.example:8080/x")),
            ("http://10.0.0.4:8200/x", Some("http://gate.example:8200/x")),
            // There is no name for it.
            ("http://10.0.0.3/x", None),
            ("http://10.0.0.5/x", None),
        ] {
            assert_eq!(rewrite(location, &all, &KNOWN).as_deref(), expected, "{location}");
        }
    }
}
