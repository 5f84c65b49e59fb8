//! Where the gateway may connect to. A client's callback address is a wish, and nothing else: whoever can
//! subscribe must not be able to make the gateway knock at doors that only it can reach (the class of
//! CVE-2020-12695).
//!
//! Pure: an address, and the rules. Names are resolved elsewhere, and what is decided upon here is what is
//! connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::mailbox::PortRange;

/// What an address is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// `delivery.allow`.
    pub(super) allow: &'a [IpNet],
    /// Where the subscription came from.
    pub(super) subscriber: Option<IpAddr>,
    /// The gateway's own listeners.
    pub(super) listeners: &'a [SocketAddr],
}

/// Why an address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    #[error("the port is below 1025")]
    Port,
    #[error("it is the gateway itself")]
    Gateway,
    #[error("it is no address of another host, and not in delivery.allow")]
    Special,
    #[error("it is neither the subscriber's own address nor in delivery.allow")]
    Unlisted,
}

/// Whether a connection to `address` may be made; `here` if it is an address of this machine.
///
/// The gateway's own listeners are forbidden even where `allow` holds their address: a network that is
/// listed means the clients in it.
pub(super) fn may_connect(address: SocketAddr, here: bool, rules: &Rules<'_>) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    if !PortRange::PERMISSIBLE.contains(&address.port()) {
        return Err(Forbidden::Port);
    }
    let is_ours = |listener: &SocketAddr| {
        let own = listener.ip().to_canonical();
        let everywhere = own.is_unspecified() && (here || ip.is_loopback() || ip.is_unspecified());
        let is_carried_on_to = |ip| embedded(ip).is_some_and(|ip| own == ip || own.is_unspecified());
        let reaches = own == ip || everywhere || matches!(ip, IpAddr::V6(ip) if is_carried_on_to(ip));
        listener.port() == address.port() && reaches
    };
    if rules.listeners.iter().any(is_ours) {
        return Err(Forbidden::Gateway);
    }
    if is_nobody(ip) {
        return Err(Forbidden::Special);
    }
    if rules.allow.iter().any(|net| net.contains(&ip)) {
        return Ok(());
    }
    if is_special(ip) {
        return Err(Forbidden::Special);
    }
    if rules.subscriber.is_some_and(|subscriber| subscriber.to_canonical() == ip) {
        return Ok(());
    }
    Err(Forbidden::Unlisted)
}

/// Whether it is no host's address, in any way to write that: to connect to it is to connect to this machine. Nothing
/// that is listed changes that.
fn is_nobody(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0,
        IpAddr::V6(ip) => {
            ip.is_unspecified() || embedded(ip).is_some_and(|ip| ip.octets()[0] == 0 && !is_v6_loopback(ip))
        }
    }
}

/// `::1` has the shape of an IPv4-compatible address, and is none.
fn is_v6_loopback(compatible: Ipv4Addr) -> bool {
    compatible == Ipv4Addr::new(0, 0, 0, 1)
}

/// Whether an address means something else than one other host of a network that is routed (RFC 6890).
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_special_v4(ip),
        IpAddr::V6(ip) => {
            let [first, ..] = ip.segments();
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                // fe80::/10 link-local and fec0::/10 site-local (RFC 4291 §2.5.6, §2.5.7).
                || first & 0xff80 == 0xfe80
                // fc00::/7 unique local (RFC 4193).
                || first & 0xfe00 == 0xfc00
                || embedded(ip).is_some_and(is_special_v4)
        }
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    // 0.0.0.0/8 this network, 240.0.0.0/4 reserved, with the broadcast address.
    first == 0 || first >= 240 || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
}

/// The IPv4 address to which a translator or a tunnel would carry on what is sent to this one.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        // IPv4-mapped and -compatible (RFC 4291 §2.5.5), and NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        // A network's own NAT64 prefix (RFC 8215): most often of this shape.
        [0x64, 0xff9b, 1, ..] => Some(v4(g, h)),
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "10.1.2.3";

    fn check(address: &str, allow: &[&str], subscriber: &str, here: bool) -> Result<(), Forbidden> {
        let allow: Vec<IpNet> = allow.iter().map(|net| net.parse().unwrap()).collect();
        let listeners: Vec<SocketAddr> = ["127.0.0.1:8081", "10.0.0.1:9180", "0.0.0.0:8080", "[::]:8088"]
            .map(|l| l.parse().unwrap())
            .into();
        let subscriber = subscriber.parse().ok();
        may_connect(
            address.parse().unwrap(),
            here,
            &Rules { allow: &allow, subscriber, listeners: &listeners },
        )
    }

    #[test]
    fn no_address_at_all_is_never_connected_to_whatever_is_listed() {
        let all = &["0.0.0.0/0", "::/0"];
        for address in
            ["0.0.0.0", "0.1.2.3", "[::]", "[::ffff:0.0.0.0]", "[::0.1.2.3]", "[64:ff9b::]", "[2002::]"]
        {
            for port in [8080, 1234] {
                let address = format!("{address}:{port}");
                assert!(check(&address, all, CLIENT, false).is_err(), "{address}");
            }
        }
        // What is carried on to a listener's own address is the listener.
        for address in ["[64:ff9b::10.0.0.1]:9180", "[::ffff:10.0.0.1]:9180", "[::1]:8080"] {
            assert_eq!(check(address, all, CLIENT, false), Err(Forbidden::Gateway), "{address}");
        }
        for written in
            ["http://0:1234/", "http://0x0:1234/", "http://00.0.0.0:1234/", "http://[::ffff:0:0]:1234/"]
        {
            let url = url::Url::parse(written).unwrap();
            let address = url.socket_addrs(|| None).unwrap()[0];
            assert_eq!(check(&address.to_string(), all, CLIENT, false), Err(Forbidden::Special), "{written}");
        }
    }

    #[test]
    fn only_the_subscribers_own_address_unless_more_is_listed() {
        for (address, allow, expected) in [
            ("10.1.2.3:1234", &[][..], Ok(())),
            ("[::ffff:10.1.2.3]:1234", &[], Ok(())),
            ("10.1.2.4:1234", &[], Err(Forbidden::Unlisted)),
            ("10.1.2.4:1234", &["10.1.0.0/16"], Ok(())),
            ("[::ffff:10.1.2.4]:1234", &["10.1.0.0/16"], Ok(())),
            ("10.2.0.1:1234", &["10.1.0.0/16"], Err(Forbidden::Unlisted)),
            ("10.1.2.3:1234", &["10.9.0.0/16"], Ok(())),
            ("[2001:db8::1]:1234", &[], Err(Forbidden::Unlisted)),
            ("[2001:db8::1]:1234", &["2001:db8::/32"], Ok(())),
        ] {
            assert_eq!(check(address, allow, CLIENT, false), expected, "{address} {allow:?}");
        }
        assert_eq!(
            check("10.1.2.3:1234", &[], "", false),
            Err(Forbidden::Unlisted),
            "nobody knows whose it is"
        );
        assert_eq!(check("[2001:db8::1]:1234", &[], "2001:db8::1", false), Ok(()));
        assert_eq!(check("10.1.2.3:1234", &[], "::ffff:10.1.2.3", false), Ok(()));
    }

    #[test]
    fn ports_below_1025_never() {
        for (port, allowed) in
            [(0, false), (22, false), (80, false), (1024, false), (1025, true), (65535, true)]
        {
            for allow in [&[][..], &["10.0.0.0/8"]] {
                let allowed_now = check(&format!("10.1.2.3:{port}"), allow, CLIENT, false);
                assert_eq!(allowed_now, if allowed { Ok(()) } else { Err(Forbidden::Port) }, "{port}");
            }
        }
    }

    #[test]
    fn special_addresses_only_if_they_are_listed() {
        for (ip, net) in [
            ("127.0.0.1", "127.0.0.0/8"),
            ("127.9.9.9", "127.0.0.0/8"),
            ("[::1]", "::1/128"),
            ("[::ffff:127.0.0.1]", "127.0.0.0/8"),
            ("[::127.0.0.1]", "::/96"),
            ("[64:ff9b::127.0.0.1]", "64:ff9b::/96"),
            ("[64:ff9b::169.254.169.254]", "64:ff9b::/96"),
            ("[64:ff9b:1::127.0.0.1]", "64:ff9b:1::/48"),
            ("[2002:7f00:1::]", "2002::/16"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("[::ffff:169.254.169.254]", "169.254.0.0/16"),
            ("[fe80::1]", "fe80::/10"),
            ("[fec0::1]", "fec0::/10"),
            ("[fd00:ec2::254]", "fd00::/8"),
            ("[fc00::1]", "fc00::/7"),
            ("224.0.0.1", "224.0.0.0/4"),
            ("[ff02::1]", "ff00::/8"),
            ("255.255.255.255", "255.255.255.255/32"),
            ("240.0.0.1", "240.0.0.0/4"),
        ] {
            let address = format!("{ip}:4000");
            // Not even to whoever subscribes from there.
            let own = ip.trim_matches(['[', ']']);
            assert_eq!(check(&address, &[], own, false), Err(Forbidden::Special), "{ip}");
            assert_eq!(check(&address, &["10.0.0.0/8"], own, false), Err(Forbidden::Special), "{ip}");
            assert_eq!(check(&address, &[net], CLIENT, false), Ok(()), "{ip} in {net}");
        }
        // What such a prefix carries on to an ordinary host is that of an ordinary host.
        assert_eq!(check("[64:ff9b::10.1.2.3]:4000", &[], "64:ff9b::10.1.2.3", false), Ok(()));
        assert_eq!(check("[64:ff9b::10.1.2.3]:4000", &[], CLIENT, false), Err(Forbidden::Unlisted));
    }

    #[test]
    fn the_gateways_own_listeners_never() {
        let everything = &["0.0.0.0/0", "::/0"][..];
        for (address, here, expected) in [
            ("127.0.0.1:8081", true, Err(Forbidden::Gateway)),
            ("[::ffff:127.0.0.1]:8081", true, Err(Forbidden::Gateway)),
            ("127.0.0.1:8082", true, Ok(())),
            ("10.0.0.1:9180", true, Err(Forbidden::Gateway)),
            ("10.0.0.2:9180", true, Ok(())),
            // A listener on every address is on every address of this machine, and on no other one's.
            ("127.0.0.1:8080", false, Err(Forbidden::Gateway)),
            ("0.0.0.0:8080", false, Err(Forbidden::Gateway)),
            ("10.0.0.1:8080", true, Err(Forbidden::Gateway)),
            ("10.1.2.3:8080", false, Ok(())),
            ("[2001:db8::1]:8088", true, Err(Forbidden::Gateway)),
            ("[2001:db8::1]:8088", false, Ok(())),
        ] {
            assert_eq!(check(address, everything, CLIENT, here), expected, "{address}");
        }
    }
}
