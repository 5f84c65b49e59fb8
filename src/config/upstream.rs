//! `[upstream]`, or several `[[upstream]]`: the legacy servers, and which of them a request is for.
//!
//! The first upstream whose conditions hold gets the request: the host that it is for, the path, the port of
//! the listener that it came in at. An upstream is one server, or several of which each could answer.

mod read;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::read::read;

use super::Config;
use super::policy::Pattern;
use crate::dialect;

/// What stands before the address of a server that is spoken to within TLS.
pub(super) const HTTPS: &str = "https://";

/// `[upstream]`: every time-out is longer than zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What it is called in metrics, logs and the store. Never empty.
    pub name: String,
    /// `HOST:PORT` as written, with `https://` before it if the server is spoken to within TLS; the host is
    /// a name or an address (IPv6 in brackets), the port is not 0. Of several servers, the first.
    pub address: String,
    /// All servers, if there are several: all of them within TLS, or none.
    pub servers: Vec<Server>,
    /// What the host is like that a request is for, of one of these; empty: any.
    pub hosts: Vec<Pattern>,
    /// How the path begins that a request is for, whole segments; empty: any.
    pub path_prefix: String,
    /// The port of the public listener that a request comes in at; `None`: any.
    pub listen_port: Option<u16>,
    /// The file of the authorities (PEM) of which one must have signed the server's certificate; without it
    /// the system's are believed.
    pub ca_file: Option<PathBuf>,
    /// The server's own names in logical URLs, in lower case, as they stand in a URL (IPv6 in brackets).
    pub server_names: Vec<String>,
    /// How it writes subscriptions and callbacks.
    pub dialect: dialect::Choice,
    /// The file that says how its webhooks are registered.
    pub webhook: Option<PathBuf>,
    /// What that file says.
    pub rules: Option<Arc<dialect::webhook::Rules>>,
    /// What `Host` says to the server.
    pub host: HostMode,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the server may be silent while its answer is awaited.
    pub read_timeout: Duration,
    /// How long an idle connection is kept for the next request.
    pub idle_timeout: Duration,
    /// How it is told for whom a request comes, if it is.
    pub forwarded: Option<Forwarded>,
    /// Whether its own address in XML answers becomes the one under which the client knows the gateway.
    pub rewrite_descriptions: bool,
    /// How it is seen which servers are up.
    pub health_check: HealthCheck,
}

/// One of the servers of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As the address of the upstream.
    pub address: String,
    /// How much of the work is for it, beside the others; at least 1.
    pub weight: u64,
}

/// `[upstream.health_check]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How long after a look the next one follows; zero: nobody looks.
    pub interval: Duration,
    /// What is asked for, which must be answered with 2xx or 3xx; empty: that a connection is made is enough.
    pub path: String,
    /// After how many looks in a row that went wrong a server counts as down; at least 1.
    pub failures: u64,
}

/// What `Host` says to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMode {
    /// What the client wrote.
    AsSent,
    /// The server's own address.
    Upstream,
}

/// The fields in which a proxy tells for whom a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// `X-Forwarded-For`, as everybody does it.
    XForwardedFor,
    /// `Forwarded`, as RFC 7239 has it.
    Forwarded,
}

/// What an upstream is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The authority that the request is for, as it was written; may be empty.
    pub authority: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// The port of the listener that it came in at.
    pub port: u16,
}

impl Default for Upstream {
    fn default() -> Self {
        let address = "127.0.0.1:8000".to_owned();
        Self {
            name: address.clone(),
            address,
            servers: Vec::new(),
            hosts: Vec::new(),
            path_prefix: String::new(),
            listen_port: None,
            ca_file: None,
            server_names: Vec::new(),
            dialect: dialect::Choice::Auto,
            webhook: None,
            rules: None,
            host: HostMode::AsSent,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            forwarded: None,
            rewrite_descriptions: false,
            health_check: HealthCheck::default(),
        }
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { interval: Duration::ZERO, path: String::new(), failures: 2 }
    }
}

impl HostMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AsSent, Self::Upstream];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsSent => "as-sent",
            Self::Upstream => "upstream",
        }
    }
}

impl Forwarded {
    /// All of them, and none.
    pub const ALL: [Option<Self>; 3] = [None, Some(Self::XForwardedFor), Some(Self::Forwarded)];

    /// Its name in the file.
    pub fn as_str(forwarded: Option<Self>) -> &'static str {
        match forwarded {
            None => "off",
            Some(Self::XForwardedFor) => "x-forwarded-for",
            Some(Self::Forwarded) => "forwarded",
        }
    }
}

impl Server {
    /// Whether it is spoken to within TLS.
    pub fn is_tls(&self) -> bool {
        is_tls(&self.address)
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> &str {
        authority_of(&self.address)
    }

    /// The host alone, IPv6 without brackets.
    pub fn host(&self) -> &str {
        plain_host_of(&self.address)
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.authority().rsplit_once(':')?.1.parse().ok()
    }
}

impl Upstream {
    /// Every server there is, at least one.
    pub fn all_servers(&self) -> Vec<Server> {
        match self.servers[..] {
            [] => vec![Server { address: self.address.clone(), weight: 1 }],
            _ => self.servers.clone(),
        }
    }

    /// Whether it is spoken to within TLS.
    pub fn is_tls(&self) -> bool {
        is_tls(&self.address)
    }

    /// `HOST:PORT` of the first server.
    pub fn authority(&self) -> &str {
        authority_of(&self.address)
    }

    /// The host of the first server alone, IPv6 without brackets.
    pub fn host(&self) -> &str {
        plain_host_of(&self.address)
    }

    /// Whether it takes whatever comes.
    pub fn takes_all(&self) -> bool {
        self.hosts.is_empty() && self.path_prefix.is_empty() && self.listen_port.is_none()
    }

    /// Whether it takes this request.
    pub fn takes(&self, asked: &Asked<'_>) -> bool {
        self.listen_port.is_none_or(|port| port == asked.port)
            && (self.hosts.is_empty() || self.is_called(asked.authority))
            && begins_with(asked.path, &self.path_prefix)
    }

    /// Whether clients reach it under this host, whatever the port behind it.
    pub fn is_called(&self, authority: &str) -> bool {
        let host = host_of(authority);
        // A name may be written with a dot at its end (RFC 3986 §3.2.2).
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl Config {
    /// The upstream that a request is for, if there is one: its place in the list.
    pub fn upstream_for(&self, asked: &Asked<'_>) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream.takes(asked))
    }
}

fn is_tls(address: &str) -> bool {
    address.starts_with(HTTPS)
}

fn authority_of(address: &str) -> &str {
    address.strip_prefix(HTTPS).unwrap_or(address)
}

fn plain_host_of(address: &str) -> &str {
    host_of(authority_of(address)).trim_start_matches('[').trim_end_matches(']')
}

/// An authority without its port; IPv6 stays in brackets.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !is_open(host) => host,
        _ => authority,
    }
}

/// Whether a bracket of an IPv6 address is still open.
fn is_open(text: &str) -> bool {
    text.starts_with('[') && !text.ends_with(']')
}

/// Whether the path has these segments at its front; a prefix that ends with a slash must be there as it is.
fn begins_with(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| {
        prefix.is_empty() || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn chosen(config: &Config, authority: &str, path: &str, port: u16) -> Option<String> {
        let asked = Asked { authority, path, port };
        config.upstream_for(&asked).map(|at| config.upstreams[at].name.clone())
    }

    #[test]
    fn the_first_that_takes_a_request_gets_it() {
        let config = config(
            "[listen]\npublic = ['0.0.0.0:80', '0.0.0.0:8200']\n\
             [[upstream]]\nname = 'dlna'\naddress = '10.0.0.3:8200'\nlisten_port = 8200\n\
             [[upstream]]\nname = 'im'\naddress = '10.0.0.1:80'\nhosts = ['im.example.com', '[2001:db8::1]']\n\
             [[upstream]]\nname = 'dav'\naddress = '10.0.0.2:80'\nhosts = ['*.example.com']\n\
             path_prefix = '/public'\n",
        );
        for (authority, path, port, expected) in [
            ("im.example.com", "/", 80, Some("im")),
            ("IM.Example.com:80", "/public/x", 80, Some("im")),
            ("im.example.com.", "/", 80, Some("im")),
            ("[2001:db8::1]:8080", "/", 80, Some("im")),
            ("[2001:db8::1]", "/", 80, Some("im")),
            ("[2001:db8::2]", "/", 80, None),
            ("mail.example.com", "/public", 80, Some("dav")),
            ("mail.example.com", "/public/x", 80, Some("dav")),
            ("mail.example.com", "/publican", 80, None),
            ("mail.example.com", "/", 80, None),
            ("mail.example.com", "*", 80, None),
            ("example.com", "/public", 80, None),
            ("im.example.com", "/", 8200, Some("dlna")),
            ("", "/", 80, None),
            ("", "/", 8200, Some("dlna")),
        ] {
            assert_eq!(
                chosen(&config, authority, path, port).as_deref(),
                expected,
                "{authority} {path} {port}"
            );
        }
    }

    #[test]
    fn a_single_one_takes_everything() {
        let config = config("[upstream]\naddress = '10.0.0.1:80'");
        assert_eq!(chosen(&config, "", "*", 1).as_deref(), Some("10.0.0.1:80"));
        assert!(config.upstreams[0].takes_all());
    }

    #[test]
    fn one_in_a_list_is_the_same_as_one_alone() {
        let keys = "address = 'https://im.example'\nserver_names = ['im']\nread_timeout = 7\n";
        assert_eq!(config(&format!("[upstream]\n{keys}")), config(&format!("[[upstream]]\n{keys}")));
    }

    #[test]
    fn several_servers_have_weights_and_the_first_of_them_is_what_it_is_called() {
        let config = config(
            "[upstream]\nservers = [{ address = '10.0.0.1:80' }, { address = '10.0.0.2:80', weight = 3 }]\n\
             health_check = { interval = '2s', path = '/health', failures = 1 }\n",
        );
        let upstream = &config.upstreams[0];
        assert_eq!((&upstream.name[..], &upstream.address[..]), ("10.0.0.1:80", "10.0.0.1:80"));
        let weights: Vec<_> = upstream.all_servers().iter().map(|server| server.weight).collect();
        assert_eq!(weights, [1, 3]);
        assert_eq!(
            upstream.health_check,
            HealthCheck { interval: Duration::from_secs(2), path: "/health".to_owned(), failures: 1 }
        );
    }

    #[test]
    fn the_parts_of_a_servers_address() {
        for (address, host, port, is_tls) in [
            ("10.0.0.1:80", "10.0.0.1", 80, false),
            ("https://im.example:443", "im.example", 443, true),
            ("[::1]:8000", "::1", 8000, false),
        ] {
            let server = Server { address: address.to_owned(), weight: 1 };
            assert_eq!((server.host(), server.port(), server.is_tls()), (host, Some(port), is_tls));
        }
    }
}
