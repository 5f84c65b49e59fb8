//! Every setting of an upstream: its name, what it may be, and its default.

use super::super::duration::{health_interval, timeout};
use super::super::policy::Pattern;
use super::super::reader::Section;
use super::super::resolve::optional_path;
use super::super::value::{Reading, Value, choice, count};
use super::super::{Forwarded, HealthCheck, HostMode, Server, Upstream, address};
use super::host_of;
use crate::dialect;

/// Reads `[upstream]`, or one of several.
pub(in super::super) fn read(section: &mut Section<'_, '_>) -> Upstream {
    let preset = Upstream::default();
    let name = section.read("name", String::new(), name);
    let address = section.read("address", None, |value| address::upstream(value).map(Some));
    let servers = section.tables("servers", server);
    if address.is_some() && !servers.is_empty() {
        let sentence = "has an address and servers: set one of them";
        section.problem(&["address", "servers"], sentence.to_owned());
    }
    let first = || servers.first().map(|server| server.address.clone());
    let address = address.or_else(first).unwrap_or(preset.address);
    Upstream {
        name: if name.is_empty() { address.clone() } else { name },
        address,
        servers,
        hosts: section.list("hosts", preset.hosts, host_pattern),
        path_prefix: section.read("path_prefix", preset.path_prefix, path),
        listen_port: section.read("listen_port", preset.listen_port, port),
        ca_file: section.read("ca_file", preset.ca_file, optional_path),
        server_names: section.list("server_names", preset.server_names, address::server_name),
        dialect: section.read("dialect", preset.dialect, dialect),
        host: section.read("host", preset.host, |value| choice(value, &HostMode::ALL, HostMode::as_str)),
        connect_timeout: section.read("connect_timeout", preset.connect_timeout, timeout),
        read_timeout: section.read("read_timeout", preset.read_timeout, timeout),
        idle_timeout: section.read("idle_timeout", preset.idle_timeout, timeout),
        forwarded: section
            .read("forwarded", preset.forwarded, |value| choice(value, &Forwarded::ALL, Forwarded::as_str)),
        health_check: section.section("health_check", "{ interval = \"5s\" }", health_check),
    }
}

fn server(section: &mut Section<'_, '_>) -> Server {
    let address = section.read("address", None, |value| address::upstream(value).map(Some));
    if address.is_none() {
        section.problem(&["address"], "needs an address".to_owned());
    }
    Server {
        address: address.unwrap_or_default(),
        weight: section.read("weight", 1, |value| count(value, 1..=100)),
    }
}

fn health_check(section: &mut Section<'_, '_>) -> HealthCheck {
    let preset = HealthCheck::default();
    HealthCheck {
        interval: section.read("interval", preset.interval, health_interval),
        path: section.read("path", preset.path, path),
        failures: section.read("failures", preset.failures, |value| count(value, 1..=100)),
    }
}

fn dialect(value: &Value) -> Reading<dialect::Choice> {
    choice(value, &dialect::Choice::ALL, dialect::Choice::as_str)
}

/// A label in metrics and a word in log lines.
fn name(value: &Value) -> Reading<String> {
    let fits = |text: &&str| text.len() <= 100 && text.bytes().all(|b| b.is_ascii_graphic());
    value.text().filter(fits).map(str::to_owned).ok_or_else(|| {
        format!("must be a name without spaces of at most 100 characters, such as \"exchange\", not {value}")
    })
}

fn host_pattern(value: &Value) -> Reading<Pattern> {
    let is_host = |text: &&str| {
        let of_a_host = |b: u8| b.is_ascii_alphanumeric() || b"-._*?[]:".contains(&b);
        let has_port = host_of(text) != *text;
        !text.is_empty() && !has_port && text.bytes().all(of_a_host)
    };
    value.text().filter(is_host).map(Pattern::whole).ok_or_else(|| {
        format!(
            "must be a host, such as \"im.example.com\" or \"*.example.com\", with * and ? as wildcards and \
             without scheme or port, not {value}"
        )
    })
}

/// The path of a URL, or nothing.
fn path(value: &Value) -> Reading<String> {
    let is_path = |text: &&str| {
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
        text.is_empty() || (text.starts_with('/') && is_plain)
    };
    value
        .text()
        .filter(is_path)
        .map(str::to_owned)
        .ok_or_else(|| format!("must be a path, such as \"/instmsg\", not {value}"))
}

fn port(value: &Value) -> Reading<Option<u16>> {
    let port = u16::try_from(count(value, 0..=65535)?).map_err(|error| error.to_string())?;
    Ok((port != 0).then_some(port))
}
