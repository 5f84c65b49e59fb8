//! What upstreams must be to each other, and to the listeners.

use std::net::{IpAddr, SocketAddr};

use super::super::address::split_host_and_port;
use super::super::reader::Reader;
use super::super::{Config, Forwarded, Upstream};

/// Reports every contradiction to the reader.
pub(super) fn check(config: &Config, listeners: &[(String, SocketAddr)], reader: &mut Reader<'_>) {
    let keys = Keys { are_items: reader.is_list("upstream") };
    for (at, upstream) in config.upstreams.iter().enumerate() {
        authorities_nobody_asks(upstream, at, &keys, reader);
        some_within_tls_and_some_not(upstream, at, &keys, reader);
        it_is_us(upstream, at, &keys, listeners, reader);
        listener_is_missing(upstream, at, &keys, listeners, reader);
    }
    a_name_twice(&config.upstreams, &keys, reader);
    nothing_is_left_for_it(&config.upstreams, &keys, reader);
    told_in_two_ways(&config.upstreams, &keys, reader);
}

/// How the keys of an upstream are written.
struct Keys {
    /// Whether the file has a list of them.
    are_items: bool,
}

impl Keys {
    fn of(&self, at: usize, name: &str) -> String {
        match self.are_items {
            true => format!("upstream[{at}].{name}"),
            false => format!("upstream.{name}"),
        }
    }

    fn whole(&self, at: usize) -> String {
        match self.are_items {
            true => format!("upstream[{at}]"),
            false => "upstream".to_owned(),
        }
    }
}

/// Whoever names authorities believes that the server's certificate is looked at.
fn authorities_nobody_asks(upstream: &Upstream, at: usize, keys: &Keys, reader: &mut Reader<'_>) {
    if upstream.ca_file.is_some() && !upstream.is_tls() {
        let (file, address) = (keys.of(at, "ca_file"), keys.of(at, "address"));
        let sentence = format!(
            "{file} is set, but {address} is {}, without TLS; TLS begins with https://",
            upstream.address
        );
        reader.contradiction(&[&file, &address], sentence);
    }
}

/// What is said within TLS should not be said without, just since another server has the turn.
fn some_within_tls_and_some_not(upstream: &Upstream, at: usize, keys: &Keys, reader: &mut Reader<'_>) {
    let other = upstream.servers.iter().position(|server| server.is_tls() != upstream.is_tls());
    if let Some(other) = other {
        let key = keys.of(at, &format!("servers[{other}].address"));
        let sentence = format!(
            "all servers of an upstream must be within TLS, or none, but one is {} and one is {}",
            upstream.address, upstream.servers[other].address
        );
        reader.contradiction(&[&key], sentence);
    }
}

/// A request that goes upstream must not arrive here again.
fn it_is_us(
    upstream: &Upstream,
    at: usize,
    keys: &Keys,
    listeners: &[(String, SocketAddr)],
    reader: &mut Reader<'_>,
) {
    for (number, server) in upstream.all_servers().iter().enumerate() {
        let Some((host, port)) = split_host_and_port(server.authority()) else { continue };
        let address = match upstream.servers.is_empty() {
            true => keys.of(at, "address"),
            false => keys.of(at, &format!("servers[{number}].address")),
        };
        for (key, listener) in listeners {
            if listener.port() == port && reaches(&host, listener.ip()) {
                let sentence = format!(
                    "{address} must be the legacy server's, but it is {}, and the gateway itself listens there \
                     ({key} is {listener})",
                    server.address
                );
                reader.contradiction(&[key, &address], sentence);
            }
        }
    }
}

/// Whether a connection to `host` certainly ends at a listener on `address`.
fn reaches(host: &str, address: IpAddr) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(host) if host.is_ipv4() != address.is_ipv4() => false,
        Ok(host) if host.is_unspecified() => address.is_unspecified() || address.is_loopback(),
        Ok(host) => host == address || (host.is_loopback() && address.is_unspecified()),
        Err(_) => host == "localhost" && (address.is_loopback() || address.is_unspecified()),
    }
}

/// Nothing ever comes in at a port where nobody listens. Port 0 may be any.
fn listener_is_missing(
    upstream: &Upstream,
    at: usize,
    keys: &Keys,
    listeners: &[(String, SocketAddr)],
    reader: &mut Reader<'_>,
) {
    let Some(port) = upstream.listen_port else { return };
    let is_public = |key: &str| key.starts_with("listen.public") || key.starts_with("listen.tls.public");
    let public = || listeners.iter().filter(|(key, _)| is_public(key));
    if !public().any(|(_, address)| address.port() == port || address.port() == 0) {
        let ports: Vec<String> = public().map(|(_, address)| address.port().to_string()).collect();
        let sentence = format!(
            "must be the port of a public listener ({}), but is {port}: add it to listen.public",
            ports.join(", ")
        );
        reader.contradiction(&[&keys.of(at, "listen_port"), "listen.public"], sentence);
    }
}

fn a_name_twice(upstreams: &[Upstream], keys: &Keys, reader: &mut Reader<'_>) {
    for (at, upstream) in upstreams.iter().enumerate() {
        if let Some(earlier) = upstreams[..at].iter().position(|other| other.name == upstream.name) {
            let sentence = format!(
                "each upstream needs a name of its own, but {} and {} are both {:?}: set name",
                keys.whole(earlier),
                keys.whole(at),
                upstream.name
            );
            reader.contradiction(&[&keys.whole(at)], sentence);
        }
    }
}

/// The first that takes a request gets it.
fn nothing_is_left_for_it(upstreams: &[Upstream], keys: &Keys, reader: &mut Reader<'_>) {
    let Some(all) = upstreams.iter().position(Upstream::takes_all) else { return };
    if all + 1 < upstreams.len() {
        let sentence = format!(
            "never gets a request: {} before it takes them all; give that one hosts, or move it to the end",
            keys.whole(all)
        );
        // A condition that cannot be read is none for the time being.
        let [hosts, path, port] = ["hosts", "path_prefix", "listen_port"].map(|key| keys.of(all, key));
        reader.contradiction(&[&keys.whole(all + 1), &hosts, &path, &port], sentence);
    }
}

/// For whom a request comes is read from the one field that the proxies before the gateway write. To take the
/// other along would be to vouch for what nobody looked at.
fn told_in_two_ways(upstreams: &[Upstream], keys: &Keys, reader: &mut Reader<'_>) {
    let mut told = upstreams.iter().enumerate().filter_map(|(at, upstream)| Some((at, upstream.forwarded?)));
    let Some((first, by)) = told.next() else { return };
    if let Some((other, other_by)) = told.find(|(_, other)| *other != by) {
        let (first, other) = (keys.of(first, "forwarded"), keys.of(other, "forwarded"));
        let sentence = format!(
            "upstreams that are told for whom a request comes must be told in the same way, but {first} is {:?} and \
             {other} is {:?}",
            Forwarded::as_str(Some(by)),
            Forwarded::as_str(Some(other_by))
        );
        reader.contradiction(&[&first, &other], sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_us() {
        for (host, listener, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "0.0.0.0", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("[::1]", "::", true),
            ("[::1]", "0.0.0.0", false),
            ("localhost", "127.0.0.1", true),
            ("localhost", "10.0.0.1", false),
            ("im.example.com", "0.0.0.0", false),
        ] {
            assert_eq!(reaches(host, listener.parse().unwrap()), expected, "{host} {listener}");
        }
    }
}
