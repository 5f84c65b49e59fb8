//! For whom a request comes, where proxies stand in between, and what the upstream is told of it.
//!
//! Whom a proxy speaks for stands at the end of `X-Forwarded-For` or `Forwarded` (RFC 7239): each adds the address
//! that it was connected from. So they are read from the end, and believed as far as those are trusted who wrote
//! them; what stands before may be anybody's invention.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::{Config, Forwarded};
use crate::http1::{HeadError, HeadLimits, Headers, RequestHead};

const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED: &str = "Forwarded";

/// What servers that hand fields on as variables (RFC 3875 §4.1.18) cannot tell from `X-Forwarded-For`.
const LOOK_ALIKES: [&str; 3] = ["X_Forwarded_For", "X-Forwarded_For", "X_Forwarded-For"];

/// More than the longest that is added to a head.
const ADDED: usize = 128;

/// Whether this address is a proxy's that is believed.
pub fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The address that a request comes from: the peer's, or if that is trusted, the last in what it says that is not.
/// What cannot be read ends the search: then it is the last that could.
pub fn client(head: &RequestHead, peer: IpAddr, config: &Config) -> IpAddr {
    let trusted = &config.limits.trusted_proxies[..];
    let mut client = peer;
    if !is_trusted(trusted, peer) {
        return client;
    }
    // Only what the proxies are known to write: the other may come from anybody.
    // One for all upstreams: that was seen to when the settings were read.
    let told = config.upstreams.iter().find_map(|upstream| upstream.forwarded);
    let by = told.unwrap_or(Forwarded::XForwardedFor);
    let values: Vec<&str> =
        head.fields.values(name(by)).map(|value| std::str::from_utf8(value).unwrap_or_default()).collect();
    for element in values.iter().rev().flat_map(|value| from_the_end(value)) {
        let Some(address) = address(by, element) else { break };
        client = address;
        if !is_trusted(trusted, client) {
            break;
        }
    }
    client
}

/// The head as the upstream gets it: with `upstream.forwarded`, the peer is added to what a trusted one says, and
/// stands alone otherwise; the other field goes, since nobody vouches for it. Without, the head is left as it is.
pub fn announce(
    head: RequestHead,
    peer: IpAddr,
    by: Option<Forwarded>,
    trusted: &[IpNet],
    limits: HeadLimits,
) -> Result<RequestHead, HeadError> {
    let Some(by) = by else { return Ok(head) };
    let mut value = Vec::new();
    if is_trusted(trusted, peer) {
        for line in head.fields.values(name(by)).filter(|line| !line.is_empty()) {
            value.extend_from_slice(line);
            value.extend_from_slice(b", ");
        }
    }
    value.extend_from_slice(written(by, peer).as_bytes());
    let mut unvouched = vec![X_FORWARDED_FOR, FORWARDED];
    unvouched.extend(LOOK_ALIKES);
    let bytes = head.with_the_only(&unvouched, name(by), &value);
    let limits = HeadLimits { bytes: limits.bytes + ADDED, fields: limits.fields + 1 };
    let parsed = RequestHead::parse(&bytes, limits)?;
    Ok(parsed.map_or(head, |(head, _)| head))
}

fn name(by: Forwarded) -> &'static str {
    match by {
        Forwarded::XForwardedFor => X_FORWARDED_FOR,
        Forwarded::Forwarded => FORWARDED,
    }
}

/// RFC 7239 §6: an address of IPv6 stands in brackets, and since a colon is in no token, in quotes.
fn written(by: Forwarded, address: IpAddr) -> String {
    match (by, address) {
        (Forwarded::XForwardedFor, address) => address.to_string(),
        (Forwarded::Forwarded, IpAddr::V4(address)) => format!("for={address}"),
        (Forwarded::Forwarded, IpAddr::V6(address)) => format!("for=\"[{address}]\""),
    }
}

/// The elements of a list, the last first. A comma in quotes separates nothing; and since quotes are paired from the
/// end, an odd one at the front spoils nothing that was added behind it.
fn from_the_end(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.rsplit(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(str::trim)
    .filter(|element| !element.is_empty())
}

/// The address that an element tells of, if it tells of one.
fn address(by: Forwarded, element: &str) -> Option<IpAddr> {
    let node = match by {
        Forwarded::XForwardedFor => element,
        Forwarded::Forwarded => {
            let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
            let mut of = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
            of.next()?.1.trim_matches('"')
        }
    };
    let bare = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: IpAddr = node.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(forwarded: Option<Forwarded>) -> Config {
        let mut config = Config::default();
        config.upstreams[0].forwarded = forwarded;
        config.limits.trusted_proxies =
            ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap()).into();
        config
    }

    fn head(fields: &str) -> RequestHead {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap().unwrap().0
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_nobody_behind_whom_is_not() {
        let x = Some(Forwarded::XForwardedFor);
        let f = Some(Forwarded::Forwarded);
        for (by, peer, fields, expected) in [
            (x, "192.0.2.1", "X-Forwarded-For: 198.51.100.1", "192.0.2.1"),
            (x, "10.0.0.1", "", "10.0.0.1"),
            (x, "10.0.0.1", "X-Forwarded-For: 198.51.100.1", "198.51.100.1"),
            (None, "10.0.0.1", "x-forwarded-for: 198.51.100.1", "198.51.100.1"),
            (None, "10.0.0.1", "Forwarded: for=198.51.100.1", "10.0.0.1"),
            (x, "10.0.0.1", "X-Forwarded-For: 1.2.3.4, 198.51.100.1, 10.0.0.9", "198.51.100.1"),
            (x, "10.0.0.1", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 198.51.100.1", "198.51.100.1"),
            (x, "10.0.0.1", "X-Forwarded-For: 10.0.0.8,10.0.0.9", "10.0.0.8"),
            (x, "10.0.0.1", "X-Forwarded-For: 198.51.100.1, nonsense, 10.0.0.9", "10.0.0.9"),
            (x, "10.0.0.1", "X-Forwarded-For: 198.51.100.1:4711", "198.51.100.1"),
            (x, "10.0.0.1", "X-Forwarded-For: 2001:db9::1", "2001:db9::1"),
            (x, "10.0.0.1", "X-Forwarded-For: [2001:db9::1]:80", "2001:db9::1"),
            (x, "10.0.0.1", "X-Forwarded-For: ::ffff:198.51.100.1", "198.51.100.1"),
            (f, "2001:db8::1", "Forwarded: for=198.51.100.1;proto=http", "198.51.100.1"),
            (f, "10.0.0.1", "Forwarded: proto=http; For=\"[2001:db9::1]:4711\"", "2001:db9::1"),
            (f, "10.0.0.1", "Forwarded: for=1.2.3.4, for=\"198.51.100.1:80\"", "198.51.100.1"),
            // A quote of the client's own does not swallow what the proxy added.
            (f, "10.0.0.1", "Forwarded: for=\"1.2.3.4, for=198.51.100.1", "198.51.100.1"),
            (f, "10.0.0.1", "Forwarded: for=_hidden", "10.0.0.1"),
            (f, "10.0.0.1", "Forwarded: for=unknown, for=10.0.0.9", "10.0.0.9"),
            (f, "10.0.0.1", "X-Forwarded-For: 198.51.100.1", "10.0.0.1"),
        ] {
            let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
            let client = client(&head(&fields), peer.parse().unwrap(), &config(by));
            assert_eq!(client.to_string(), expected, "{by:?} {peer} {fields}");
        }
    }

    #[test]
    fn what_is_added_fits_however_full_the_head_was() {
        let fields = "A: 1\r\n".repeat(99);
        let limits = HeadLimits { bytes: 4096, fields: 100 };
        let peer = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        for by in [Forwarded::XForwardedFor, Forwarded::Forwarded] {
            let head = announce(head(&fields), peer, Some(by), &[], limits).unwrap();
            assert!(head.fields.contains(name(by)), "{by:?}");
        }
    }
}
