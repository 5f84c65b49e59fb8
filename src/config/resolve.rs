//! Every setting there is: its name, what it may be, and its default.
//!
//! To add a setting: a field in `settings`, a line here, a line in `conf/pollgate.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::digest::Algorithm;
use crate::auth::htdigest;
use crate::dialect::webhook::Rules;
use crate::mailbox::{BatchLimits, DeliveryMode, Limits, Overflow};

use super::duration::{
    LONGEST_HOLD, LONGEST_LIFE_TIME, lease, poll_interval, polling_period, timeout, whole_seconds,
};
use super::policy::{ClientPolicy, Pattern};
use super::reader::{Reader, Section};
use super::settings::{
    Admin, Auth, AuthMode, Callback, Config, DeepAck, Delivery, EdgeLimits, Listen, ListenTls, Log,
    LogFormat, LogLevel, Polling, Shutdown, Store, StoreKind,
};
use super::size::{size, size_or_none};
use super::value::{Reading, Table, Value, choice, count, kilobyte_limit, limit, ports, quoted, switch};
use super::{LoadError, Overrides, Token, TokenError, address, checks, files, trio, upstream, webhook};

/// For whom a configuration is read.
#[derive(Clone, Copy)]
pub(super) enum For {
    /// A gateway, which needs the files that settings name.
    Gateway(Files),
    /// Somebody who only wants to know what is set, such as where the gateway is to be asked.
    Asking,
}

/// How files are read that settings name.
#[derive(Clone, Copy)]
pub(super) struct Files {
    /// Reads the operators' token.
    pub(super) token: fn(&Path) -> Result<Token, TokenError>,
    /// Sees whether a file can be read that is read later.
    pub(super) look: fn(&Path) -> std::io::Result<()>,
    /// Says what is wrong with a certificate and its key.
    pub(super) pair: fn(&Path, &Path) -> Result<(), String>,
    /// Says what is wrong with a file of certificate authorities.
    pub(super) authorities: fn(&Path) -> Result<(), String>,
    /// Reads the rules of a webhook.
    pub(super) rules: fn(&Path) -> Result<Rules, LoadError>,
}

/// The configuration that the layers make, or everything that is wrong with them.
pub(super) fn resolve(
    path: &Path,
    file: Table,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
    whom: For,
) -> Result<Config, LoadError> {
    let mut reader = Reader::new(path, environment, overrides);
    let mut config = reader.root(file, config);
    checks::check(&config, &mut reader);
    if let For::Gateway(files) = whom {
        checks::admin_is_exposed(&config, &mut reader);
        read_secrets(&mut config.admin, files.token, &mut reader);
        for upstream in &mut config.upstreams {
            webhook::read_rules(upstream, files.rules, &mut reader);
        }
        files::check(&config, files, &mut reader);
    }
    reader.finish()?;
    Ok(config)
}

/// Reads what is not in the configuration itself but in files of its own.
fn read_secrets(
    admin: &mut Admin,
    read_token: fn(&Path) -> Result<Token, TokenError>,
    reader: &mut Reader<'_>,
) {
    let Some(file) = &admin.token_file else { return };
    match read_token(file) {
        Ok(token) => admin.token = Some(token),
        Err(error) => {
            let sentence = format!("the file {} {error}", quoted(&file.to_string_lossy()));
            reader.contradiction(&["admin.token_file"], sentence);
        }
    }
}

/// Asks for every setting; the keys are listed here and nowhere else.
pub(super) fn config(root: &mut Section<'_, '_>) -> Config {
    let listen = root.section("listen", "[listen]", listen);
    Config {
        upstreams: root.one_or_more("upstream", "[upstream]", upstream::read),
        callback: root.section("callback", "[callback]", |section| callback(section, listen.callback)),
        listen,
        polling: root.section("polling", "[polling]", polling),
        limits: root.section("limits", "[limits]", limits),
        store: root.section("store", "[store]", store),
        auth: root.section("auth", "[auth]", auth),
        delivery: root.section("delivery", "[delivery]", delivery),
        client_policy: root.tables("client_policy", client_policy),
        admin: root.section("admin", "[admin]", admin),
        shutdown: root.section("shutdown", "[shutdown]", shutdown),
        log: root.section("log", "[log]", log),
    }
}

fn listen(section: &mut Section<'_, '_>) -> Listen {
    let preset = Listen::default();
    Listen {
        public: section.list("public", preset.public, address::listener),
        callback: section.read("callback", preset.callback, address::listener),
        callback_udp: section.read("callback_udp", preset.callback_udp, optional_listener),
        admin: section.read("admin", preset.admin, address::listener),
        tls: section.section("tls", "[listen.tls]", listen_tls),
    }
}

/// A listener; empty if there is none.
fn optional_listener(value: &Value) -> Reading<Option<SocketAddr>> {
    match value.text() {
        Some("") => Ok(None),
        _ => address::listener(value).map(Some),
    }
}

fn listen_tls(section: &mut Section<'_, '_>) -> ListenTls {
    let preset = ListenTls::default();
    ListenTls {
        public: section.list("public", preset.public, address::listener),
        certificate: section.read("certificate", preset.certificate, optional_path),
        key: section.read("key", preset.key, optional_path),
    }
}

fn callback(section: &mut Section<'_, '_>, listener: SocketAddr) -> Callback {
    let url = format!("http://{}", address::reachable(listener));
    let preset = Callback { url, ..Callback::default() };
    let deep_ack = |value: &Value| choice(value, &DeepAck::ALL, DeepAck::as_str);
    Callback {
        url: section.read("url", preset.url, address::callback_url),
        allow: section.list_of_some("allow", preset.allow, address::network),
        deep_ack: section.read("deep_ack", preset.deep_ack, deep_ack),
        deep_ack_timeout: section.read("deep_ack_timeout", preset.deep_ack_timeout, timeout),
        max_body_bytes: section.read("max_body_bytes", preset.max_body_bytes, size),
    }
}

fn polling(section: &mut Section<'_, '_>) -> Polling {
    let preset = Polling::default();
    let life_time = |value: &Value| whole_seconds(value, LONGEST_LIFE_TIME);
    Polling {
        poll_support: section.read("poll_support", preset.poll_support, switch),
        poll_life_time: trio::life_times(section, "poll_life_time", preset.poll_life_time, LONGEST_HOLD),
        limits: Limits {
            life_time: trio::life_times(
                section,
                "poll_msg_life_time",
                preset.limits.life_time,
                LONGEST_LIFE_TIME,
            ),
            messages: section.read("poll_msg_limit", preset.limits.messages, limit),
            bytes: section.read("poll_msg_kbyte_limit", preset.limits.bytes, kilobyte_limit),
            drop_life_time: section.read("poll_drop_msg_life_time", preset.limits.drop_life_time, life_time),
            overflow: section.read("overflow", preset.limits.overflow, overflow),
            coalesce: section.read("coalesce", preset.limits.coalesce, switch),
        },
        batch: BatchLimits {
            messages: section.read("poll_batch_messages", preset.batch.messages, batch_messages),
            bytes: section.read("poll_batch_bytes", preset.batch.bytes, size),
        },
        // A held poll takes a descriptor; no machine has more of them.
        max_held_polls: section
            .read("max_held_polls", preset.max_held_polls, |value| count(value, 1..=1_000_000_000)),
        min_poll_interval: section.read("min_poll_interval", preset.min_poll_interval, poll_interval),
    }
}

fn limits(section: &mut Section<'_, '_>) -> EdgeLimits {
    let preset = EdgeLimits::default();
    // Each is a descriptor; no machine has more of them.
    let descriptors = |value: &Value| count(value, 1..=1_000_000_000);
    EdgeLimits {
        header_bytes: section.read("header_bytes", preset.header_bytes, header_bytes),
        header_fields: section.read("header_fields", preset.header_fields, header_fields),
        body_bytes: section.read("body_bytes", preset.body_bytes, size),
        header_timeout: section.read("header_timeout", preset.header_timeout, timeout),
        body_timeout: section.read("body_timeout", preset.body_timeout, timeout),
        write_timeout: section.read("write_timeout", preset.write_timeout, timeout),
        idle_timeout: section.read("idle_timeout", preset.idle_timeout, timeout),
        connections: section.read("connections", preset.connections, descriptors),
        connections_per_address: section.read(
            "connections_per_address",
            preset.connections_per_address,
            descriptors,
        ),
        held_polls_per_address: section.read(
            "held_polls_per_address",
            preset.held_polls_per_address,
            descriptors,
        ),
        requests_per_second_per_address: section.read(
            "requests_per_second_per_address",
            preset.requests_per_second_per_address,
            requests,
        ),
        request_burst_per_address: section.read(
            "request_burst_per_address",
            preset.request_burst_per_address,
            requests,
        ),
        mailboxes_per_principal: section.read(
            "mailboxes_per_principal",
            preset.mailboxes_per_principal,
            mailboxes,
        ),
        mailboxes_per_address: section.read("mailboxes_per_address", preset.mailboxes_per_address, mailboxes),
        max_lease: section.read("max_lease", preset.max_lease, |value| lease(value, LONGEST_LIFE_TIME)),
        body_bytes_in_flight: section.read("body_bytes_in_flight", preset.body_bytes_in_flight, size),
        trusted_proxies: section.list("trusted_proxies", preset.trusted_proxies, address::network),
    }
}

/// A million a second is more than is ever answered: so many is no bound.
fn requests(value: &Value) -> Reading<u64> {
    count(value, 1..=1_000_000)
}

/// A mailbox takes some memory even when it is empty; more than this is a slip.
fn mailboxes(value: &Value) -> Reading<u64> {
    count(value, 1..=1_000_000_000)
}

/// A head is held in memory as a whole, for each connection.
fn header_bytes(value: &Value) -> Reading<usize> {
    const RANGE: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;
    match size(value)? {
        bytes if RANGE.contains(&bytes) => usize::try_from(bytes).map_err(|error| error.to_string()),
        _ => Err(format!("must be from 1KiB to 1MiB, not {value}")),
    }
}

/// The parser's table has an end.
fn header_fields(value: &Value) -> Reading<usize> {
    usize::try_from(count(value, 1..=128)?).map_err(|error| error.to_string())
}

fn store(section: &mut Section<'_, '_>) -> Store {
    let preset = Store::default();
    let kind = |value: &Value| {
        choice(value, &StoreKind::ALL, StoreKind::as_str)
            .map_err(|sentence| format!("{sentence}: no other kind of store exists"))
    };
    Store {
        kind: section.read("kind", preset.kind, kind),
        path: section.read("path", preset.path, directory),
        max_mailboxes: section.read("max_mailboxes", preset.max_mailboxes, mailboxes),
        max_clients: section.read("max_clients", preset.max_clients, |value| count(value, 1..=1_000_000_000)),
        max_buffered_bytes: section.read("max_buffered_bytes", preset.max_buffered_bytes, size),
        cache_bytes: section.read("cache_bytes", preset.cache_bytes, size_or_none),
        min_free_bytes: section.read("min_free_bytes", preset.min_free_bytes, size_or_none),
    }
}

fn directory(value: &Value) -> Reading<PathBuf> {
    let path = value.text().filter(|text| !text.is_empty()).map(PathBuf::from);
    path.ok_or_else(|| format!("must be a directory, such as \"/var/lib/pollgate\", not {value}"))
}

fn auth(section: &mut Section<'_, '_>) -> Auth {
    let preset = Auth::default();
    let mode = |value: &Value| choice(value, &AuthMode::ALL, AuthMode::as_str);
    let algorithm = |value: &Value| choice(value, &Algorithm::ALL, Algorithm::name);
    Auth {
        mode: section.read("mode", preset.mode, mode),
        realm: section.read("realm", preset.realm, realm),
        algorithms: section.list_of_some("algorithms", preset.algorithms, algorithm),
        users_file: section.read("users_file", preset.users_file, optional_path),
        map_file: section.read("map_file", preset.map_file, optional_path),
        nonce_life_time: section.read("nonce_life_time", preset.nonce_life_time, timeout),
    }
}

fn delivery(section: &mut Section<'_, '_>) -> Delivery {
    let preset = Delivery::default();
    Delivery {
        mode: section.read("mode", preset.mode, mode),
        polling_period: section.read("polling_period", preset.polling_period, polling_period),
        ports: section.read("ports", preset.ports, ports),
        allow: section.list("allow", preset.allow, address::network),
        connect_timeout: section.read("connect_timeout", preset.connect_timeout, timeout),
        answer_timeout: section.read("answer_timeout", preset.answer_timeout, timeout),
        max_retry_delay: section.read("max_retry_delay", preset.max_retry_delay, timeout),
        max_concurrent: section
            .read("max_concurrent", preset.max_concurrent, |value| count(value, 1..=100_000)),
    }
}

fn client_policy(section: &mut Section<'_, '_>) -> ClientPolicy {
    let principal = |value: &Value| pattern(value, Pattern::whole, "\"http://im.example.com/*\"");
    let user_agent = |value: &Value| pattern(value, Pattern::part, "\"MSMSGS\"");
    ClientPolicy {
        principal: section.read("principal", None, principal),
        source: section.list_of_some("source", Vec::new(), address::network),
        user_agent: section.read("user_agent", None, user_agent),
        mode: section.read("mode", None, |value| mode(value).map(Some)),
        polling_period: section.read("polling_period", None, |value| polling_period(value).map(Some)),
        ports: section.read("ports", None, ports),
    }
}

fn mode(value: &Value) -> Reading<DeliveryMode> {
    choice(value, &DeliveryMode::ALL, DeliveryMode::as_str)
}

/// An empty one would match nobody, or everybody.
fn pattern(value: &Value, read: fn(&str) -> Pattern, example: &str) -> Reading<Option<Pattern>> {
    match value.text() {
        Some(text) if !text.is_empty() => Ok(Some(read(text))),
        _ => Err(format!("must be text, such as {example}, with * and ? as wildcards, not {value}")),
    }
}

fn admin(section: &mut Section<'_, '_>) -> Admin {
    let file = |value: &Value| match value.text() {
        Some("") => Ok(None),
        Some(path) => Ok(Some(PathBuf::from(path))),
        None => Err(format!("must be a path, such as \"/etc/pollgate/admin.token\", not {value}")),
    };
    Admin { token_file: section.read("token_file", None, file), token: None }
}

fn shutdown(section: &mut Section<'_, '_>) -> Shutdown {
    let preset = Shutdown::default();
    Shutdown {
        drain: section.read("drain", preset.drain, timeout),
        deadline: section.read("deadline", preset.deadline, timeout),
    }
}

fn log(section: &mut Section<'_, '_>) -> Log {
    let preset = Log::default();
    Log {
        level: section.read("level", preset.level, |value| choice(value, &LogLevel::ALL, LogLevel::as_str)),
        format: section
            .read("format", preset.format, |value| choice(value, &LogFormat::ALL, LogFormat::as_str)),
    }
}

fn overflow(value: &Value) -> Reading<Overflow> {
    let name = |overflow| match overflow {
        Overflow::Reject => "reject",
        Overflow::DropOldest => "drop-oldest",
    };
    choice(value, &[Overflow::Reject, Overflow::DropOldest], name)
}

fn realm(value: &Value) -> Reading<String> {
    let realm = value.text().filter(|text| htdigest::is_realm(text));
    let must = || format!("must be ASCII text without a colon, a quote or a backslash, not {value}");
    realm.map(str::to_owned).ok_or_else(must)
}

/// The path of a file; empty if there is none.
pub(super) fn optional_path(value: &Value) -> Reading<Option<PathBuf>> {
    let path = value.text().ok_or_else(|| format!("must be the path of a file, not {value}"))?;
    Ok(Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()))
}

/// One answer is built in memory as a whole, so there is an end to how many messages it carries.
fn batch_messages(value: &Value) -> Reading<usize> {
    const MOST: u32 = 100_000;
    let messages = count(value, 1..=MOST.into())?;
    usize::try_from(messages).map_err(|error| error.to_string())
}
