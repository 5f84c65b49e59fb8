//! What settings must be to each other. Each by itself is fine when this is asked.

mod upstreams;

use std::net::SocketAddr;

use super::reader::Reader;
use super::{ClientPolicy, Config, Shutdown};
use crate::mailbox::DeliveryMode;

/// Reports every contradiction to the reader.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let listeners = listeners(config);
    somebody_is_served(config, reader);
    certificate_and_addresses(config, reader);
    listeners_overlap(&listeners, reader);
    upstreams::check(config, &listeners, reader);
    body_outgrows_store(config, reader);
    drain_outlasts_deadline(config, reader);
    credentials_without_users(config, reader);
    users_whom_nobody_asks(config, reader);
    an_algorithm_twice(config, reader);
    fixed_ports_have_ports(config, reader);
}

/// Without a token, whoever reaches the admin listener may read and remove every message.
pub(super) fn admin_is_exposed(config: &Config, reader: &mut Reader<'_>) {
    let listener = config.listen.admin;
    if config.admin.token_file.is_none() && !listener.ip().to_canonical().is_loopback() {
        let sentence = format!(
            "without a token only this machine may ask, but listen.admin is {listener}: set admin.token_file, or \
             listen.admin to a loopback address"
        );
        reader.contradiction(&["listen.admin", "admin.token_file"], sentence);
    }
}

/// Every listener with its key.
fn listeners(config: &Config) -> Vec<(String, SocketAddr)> {
    fn named(key: &str, list: &[SocketAddr]) -> impl Iterator<Item = (String, SocketAddr)> {
        list.iter().enumerate().map(move |(index, address)| (format!("{key}[{index}]"), *address))
    }
    let tls = named("listen.tls.public", &config.listen.tls.public);
    let public = named("listen.public", &config.listen.public).chain(tls);
    let others = [("listen.callback", config.listen.callback), ("listen.admin", config.listen.admin)];
    public.chain(others.map(|(key, address)| (key.to_owned(), address))).collect()
}

fn somebody_is_served(config: &Config, reader: &mut Reader<'_>) {
    if config.listen.public.is_empty() && config.listen.tls.public.is_empty() {
        let sentence = "must have at least one item, unless listen.tls.public has".to_owned();
        reader.contradiction(&["listen.public"], sentence);
    }
}

/// Without a certificate there is no TLS, and whoever names one believes that there is.
fn certificate_and_addresses(config: &Config, reader: &mut Reader<'_>) {
    let tls = &config.listen.tls;
    let files = [("listen.tls.certificate", &tls.certificate), ("listen.tls.key", &tls.key)];
    let keys = ["listen.tls.public", "listen.tls.certificate", "listen.tls.key"];
    for (key, file) in files {
        if file.is_none() && !tls.public.is_empty() {
            reader.contradiction(&keys, format!("TLS needs a certificate and its key, but {key} is not set"));
        }
    }
    if tls.public.is_empty() && files.iter().any(|(_, file)| file.is_some()) {
        let sentence = "there is a certificate or a key, but listen.tls.public has no address to show it at, \
                        such as \"0.0.0.0:443\"";
        reader.contradiction(&keys, sentence.to_owned());
    }
}

fn listeners_overlap(listeners: &[(String, SocketAddr)], reader: &mut Reader<'_>) {
    for (index, (later_key, later)) in listeners.iter().enumerate() {
        for (earlier_key, earlier) in &listeners[..index] {
            if overlap(*earlier, *later) {
                let sentence = format!(
                    "each listener needs an address of its own, but {earlier_key} is {earlier} and {later_key} is {later}"
                );
                reader.contradiction(&[earlier_key, later_key], sentence);
            }
        }
    }
}

/// Whether the second of the two could not be bound. Port 0 is a different port each time. (Whether
/// `[::]` takes the IPv4 port too is the system's choice, so it is left to the system.)
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    let address = a.ip() == b.ip() || (wildcard && a.is_ipv4() == b.is_ipv4());
    address && a.port() == b.port() && a.port() != 0
}

/// A body that the store could never hold should be refused for its own size, not read first.
fn body_outgrows_store(config: &Config, reader: &mut Reader<'_>) {
    let (body, store) = (config.callback.max_body_bytes, config.store.max_buffered_bytes);
    if body > store {
        let sentence = format!(
            "one callback must fit the store, but callback.max_body_bytes is {body} and store.max_buffered_bytes is {store}"
        );
        reader.contradiction(&["callback.max_body_bytes", "store.max_buffered_bytes"], sentence);
    }
}

fn drain_outlasts_deadline(config: &Config, reader: &mut Reader<'_>) {
    let Shutdown { drain, deadline } = config.shutdown;
    if drain >= deadline {
        let sentence = format!(
            "held polls must be answered before the end, but shutdown.drain is {drain:?} and shutdown.deadline is {deadline:?}"
        );
        reader.contradiction(&["shutdown.drain", "shutdown.deadline"], sentence);
    }
}

fn credentials_without_users(config: &Config, reader: &mut Reader<'_>) {
    let mode = config.auth.mode;
    if mode.asks_for_credentials() && config.auth.users_file.is_none() {
        let sentence = format!("auth.mode = {:?} needs users, but auth.users_file is not set", mode.as_str());
        reader.contradiction(&["auth.mode", "auth.users_file"], sentence);
    }
}

/// Whoever names users believes that passwords are asked for.
fn users_whom_nobody_asks(config: &Config, reader: &mut Reader<'_>) {
    let auth = &config.auth;
    for (key, file) in [("auth.users_file", &auth.users_file), ("auth.map_file", &auth.map_file)] {
        if file.is_some() && !auth.mode.asks_for_credentials() {
            let sentence = format!(
                "{key} is set, but auth.mode = {:?} asks for no credentials; set it to \"digest\" or \"digest+capability\"",
                auth.mode.as_str()
            );
            reader.contradiction(&[key, "auth.mode"], sentence);
        }
    }
}

fn an_algorithm_twice(config: &Config, reader: &mut Reader<'_>) {
    let algorithms = &config.auth.algorithms;
    for (index, algorithm) in algorithms.iter().enumerate() {
        if algorithms[..index].contains(algorithm) {
            reader.contradiction(&["auth.algorithms"], format!("{} is there twice", algorithm.name()));
        }
    }
}

/// A mode that needs ports, and none: nobody meant that.
fn fixed_ports_have_ports(config: &Config, reader: &mut Reader<'_>) {
    let lacks = |policy: &ClientPolicy| policy.mode_and_ports(config) == (DeliveryMode::FixedPorts, None);
    let sentence = "\"fixed-ports\" needs ports, such as ports = \"1050-1060\"";
    if lacks(&ClientPolicy::default()) {
        reader.contradiction(&["delivery.mode", "delivery.ports"], sentence.to_owned());
    }
    for (index, policy) in config.client_policy.iter().enumerate() {
        if lacks(policy) && policy.mode.is_some() {
            let key = |name| format!("client_policy[{index}].{name}");
            reader.contradiction(&[&key("mode"), &key("ports"), "delivery.ports"], sentence.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_listeners() {
        for (a, b, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "0.0.0.0:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(overlap(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }
}
