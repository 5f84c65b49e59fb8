//! The layers and the settings together; what belongs to one file is tested there.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::reader::Reader;
use super::resolve::{Files, For};
use super::value::{Table, Value};
use super::{
    Config, DeepAck, LoadError, LogFormat, LogLevel, Overrides, SAMPLE, Token, TokenError, file, resolve,
};
use crate::mailbox::{Bound, LifeTimes, Overflow};

fn resolved(text: &str, env: &[(&str, &str)], overrides: &Overrides) -> Result<Config, LoadError> {
    let path = Path::new("p.toml");
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let read_token = |path: &Path| match path.to_str() {
        Some("empty") => Err(TokenError::Empty),
        _ => Token::parse(b"s3cret"),
    };
    resolve::resolve(
        path,
        file::parse(path, text)?,
        env,
        overrides,
        For::Gateway(Files {
            token: read_token,
            look: |_| Ok(()),
            pair: |_, _| Ok(()),
            authorities: |_| Ok(()),
            rules: |_| Ok(Default::default()),
        }),
    )
}

pub(super) fn config(text: &str) -> Config {
    resolved(text, &[], &Overrides::default()).unwrap()
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Config {
    resolved(text, env, &Overrides::default()).unwrap()
}

/// Every problem, a line each; nothing if there is none.
fn problems(text: &str, env: &[(&str, &str)]) -> String {
    resolved(text, env, &Overrides::default()).map_or_else(|error| error.to_string(), |_| String::new())
}

/// Every key that the reader asks for.
fn known_keys() -> Vec<String> {
    let mut reader = Reader::new(Path::new("p.toml"), [], &Overrides::default());
    reader.root(Table::new(), resolve::config);
    reader.known().map(str::to_owned).collect()
}

fn life_times(default: u64, minimum: u64, maximum: u64) -> LifeTimes {
    let [default, minimum, maximum] = [default, minimum, maximum].map(Duration::from_secs);
    LifeTimes::new(default, minimum, maximum).unwrap()
}

#[test]
fn nothing_set_is_the_documented_defaults() {
    let config = config("");
    assert_eq!(config, Config::default());
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        listen: Listen {
            public: [
                0.0.0.0:80,
            ],
            callback: 127.0.0.1:8081,
            callback_udp: None,
            admin: 127.0.0.1:9180,
            tls: ListenTls {
                public: [],
                certificate: None,
                key: None,
            },
        },
        upstreams: [
            Upstream {
                name: "127.0.0.1:8000",
                address: "127.0.0.1:8000",
                servers: [],
                hosts: [],
                path_prefix: "",
                listen_port: None,
                ca_file: None,
                server_names: [],
                dialect: Auto,
                webhook: None,
                rules: None,
                host: AsSent,
                connect_timeout: 5s,
                read_timeout: 60s,
                idle_timeout: 30s,
                forwarded: None,
                rewrite_descriptions: false,
                health_check: HealthCheck {
                    interval: 0ns,
                    path: "",
                    failures: 2,
                },
            },
        ],
        callback: Callback {
            url: "http://127.0.0.1:8081",
            allow: [
                127.0.0.0/8,
                ::1/128,
            ],
            deep_ack: Buffered,
            deep_ack_timeout: 60s,
            max_body_bytes: 1048576,
        },
        polling: Polling {
            poll_support: true,
            poll_life_time: LifeTimes {
                default: 300s,
                minimum: 60s,
                maximum: 600s,
            },
            limits: Limits {
                messages: AtMost(
                    100,
                ),
                bytes: AtMost(
                    102400,
                ),
                life_time: LifeTimes {
                    default: 1800s,
                    minimum: 0ns,
                    maximum: 3600s,
                },
                drop_life_time: 57600s,
                overflow: Reject,
                coalesce: true,
            },
            batch: BatchLimits {
                messages: 100,
                bytes: 1048576,
            },
            max_held_polls: 50000,
            min_poll_interval: 1s,
        },
        limits: EdgeLimits {
            header_bytes: 32768,
            header_fields: 100,
            body_bytes: 67108864,
            header_timeout: 15s,
            body_timeout: 30s,
            write_timeout: 30s,
            idle_timeout: 75s,
            connections: 60000,
            connections_per_address: 20000,
            held_polls_per_address: 20000,
            requests_per_second_per_address: 200,
            request_burst_per_address: 1000,
            mailboxes_per_principal: 1000,
            mailboxes_per_address: 20000,
            max_lease: 2592000s,
            body_bytes_in_flight: 268435456,
            trusted_proxies: [],
        },
        store: Store {
            kind: Disk,
            path: "/var/lib/pollgate",
            max_mailboxes: 100000,
            max_clients: 100000,
            max_buffered_bytes: 1073741824,
            cache_bytes: 67108864,
            min_free_bytes: 67108864,
        },
        auth: Auth {
            mode: Capability,
            realm: "pollgate",
            algorithms: [
                Sha256,
                Md5,
            ],
            users_file: None,
            map_file: None,
            nonce_life_time: 300s,
        },
        delivery: Delivery {
            mode: Polling,
            polling_period: PollingPeriod(
                10,
            ),
            ports: None,
            allow: [],
            connect_timeout: 5s,
            answer_timeout: 10s,
            max_retry_delay: 300s,
            max_concurrent: 4096,
        },
        client_policy: [],
        admin: Admin {
            token_file: None,
            token: None,
        },
        shutdown: Shutdown {
            drain: 2s,
            deadline: 10s,
        },
        log: Log {
            level: Info,
            format: Text,
        },
    }
    "#);
}

#[test]
fn the_sample_is_the_defaults() {
    assert_eq!(config(SAMPLE), Config::default());
}

#[test]
fn the_sample_holds_every_key() {
    let sample = file::parse(Path::new("sample"), SAMPLE).unwrap();
    let holds = |key: &str| {
        let mut table = &sample;
        let mut words = key.split('.').peekable();
        while let Some(word) = words.next() {
            match table.get(word).map(|item| &item.value) {
                Some(Value::Table(inner)) if words.peek().is_some() => table = inner,
                found => return found.is_some() && words.peek().is_none(),
            }
        }
        false
    };
    let known = known_keys();
    assert!(known.len() > 30, "{known:?}");
    for key in known {
        assert!(holds(&key), "{key} is missing in the sample");
    }
    assert!(!holds("polling.nonsense") && !holds("nonsense"));
}

#[test]
fn every_variable_sets_one_key() {
    let mut variables: Vec<String> = known_keys().iter().map(|key| super::env::variable(key)).collect();
    let count = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), count);
}

#[test]
fn every_key_can_be_set() {
    let config = config(
        r#"
        [listen]
        public = ["127.0.0.1:8080", "[::1]:8080"]
        callback = "10.0.0.5:81"
        callback_udp = "10.0.0.5:82"
        admin = "192.0.2.1:0"
        [listen.tls]
        public = ["127.0.0.1:8443"]
        certificate = "/etc/pollgate/tls.pem"
        key = "tls.key"
        [upstream]
        name = "im"
        address = "https://exchange"
        hosts = ["*.example.com"]
        path_prefix = "/instmsg"
        listen_port = 8443
        host = "upstream"
        health_check = { interval = "5s", path = "/health", failures = 3 }
        ca_file = "ca.pem"
        server_names = ["IM.Example.com", "im"]
        dialect = "rvp"
        connect_timeout = 1
        read_timeout = "2m"
        idle_timeout = "1500ms"
        forwarded = "forwarded"
        rewrite_descriptions = true
        [callback]
        url = "http://10.0.0.5:81/cb/"
        allow = ["10.0.0.0/8"]
        deep_ack = "delivered"
        deep_ack_timeout = 7
        max_body_bytes = "64KiB"
        [polling]
        poll_support = 0
        poll_life_time = { default = 57600, minimum = 57600, maximum = "16h" }
        poll_msg_limit = 0xFFFFFFFF
        poll_msg_kbyte_limit = "unlimited"
        poll_drop_msg_life_time = "10days"
        overflow = "drop-oldest"
        coalesce = false
        poll_batch_messages = 1
        poll_batch_bytes = 2
        max_held_polls = 4
        min_poll_interval = "250ms"
        [polling.poll_msg_life_time]
        default = 0
        minimum = 0
        maximum = 864_000
        [limits]
        header_bytes = "1KiB"
        header_fields = 5
        body_bytes = 6
        header_timeout = 1
        body_timeout = 2
        write_timeout = 3
        idle_timeout = 4
        connections = 7
        connections_per_address = 8
        held_polls_per_address = 9
        requests_per_second_per_address = 10
        request_burst_per_address = 11
        mailboxes_per_principal = 12
        mailboxes_per_address = 13
        max_lease = "14d"
        body_bytes_in_flight = "2MiB"
        trusted_proxies = ["10.0.0.0/8"]
        [store]
        kind = "memory"
        path = "state"
        max_mailboxes = 3
        max_clients = 5
        max_buffered_bytes = "64KiB"
        cache_bytes = 0
        min_free_bytes = "1GiB"
        [auth]
        mode = "digest+capability"
        realm = "Instant Messaging"
        algorithms = ["MD5"]
        users_file = "/etc/pollgate/users"
        map_file = "principals"
        nonce_life_time = 30
        [delivery]
        mode = "fixed-ports"
        polling_period = "1m"
        ports = "1050-1060"
        allow = ["10.1.0.0/16"]
        connect_timeout = "500ms"
        answer_timeout = 2
        max_retry_delay = "1m"
        max_concurrent = 9
        [[client_policy]]
        principal = "http://im.example.com/*"
        source = ["10.0.0.0/8", "::1"]
        user_agent = "MSMSGS"
        mode = "polling"
        polling_period = "15m"
        ports = "80"
        [[client_policy]]
        [admin]
        token_file = "token"
        [shutdown]
        drain = 1
        deadline = "20s"
        [log]
        level = "trace"
        format = "json"
        "#,
    );
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        listen: Listen {
            public: [
                127.0.0.1:8080,
                [::1]:8080,
            ],
            callback: 10.0.0.5:81,
            callback_udp: Some(
                10.0.0.5:82,
            ),
            admin: 192.0.2.1:0,
            tls: ListenTls {
                public: [
                    127.0.0.1:8443,
                ],
                certificate: Some(
                    "/etc/pollgate/tls.pem",
                ),
                key: Some(
                    "tls.key",
                ),
            },
        },
        upstreams: [
            Upstream {
                name: "im",
                address: "https://exchange:443",
                servers: [],
                hosts: [
                    "*.example.com",
                ],
                path_prefix: "/instmsg",
                listen_port: Some(
                    8443,
                ),
                ca_file: Some(
                    "ca.pem",
                ),
                server_names: [
                    "im.example.com",
                    "im",
                ],
                dialect: Rvp,
                webhook: None,
                rules: None,
                host: Upstream,
                connect_timeout: 1s,
                read_timeout: 120s,
                idle_timeout: 1.5s,
                forwarded: Some(
                    Forwarded,
                ),
                rewrite_descriptions: true,
                health_check: HealthCheck {
                    interval: 5s,
                    path: "/health",
                    failures: 3,
                },
            },
        ],
        callback: Callback {
            url: "http://10.0.0.5:81/cb",
            allow: [
                10.0.0.0/8,
            ],
            deep_ack: Delivered,
            deep_ack_timeout: 7s,
            max_body_bytes: 65536,
        },
        polling: Polling {
            poll_support: false,
            poll_life_time: LifeTimes {
                default: 57600s,
                minimum: 57600s,
                maximum: 57600s,
            },
            limits: Limits {
                messages: Unlimited,
                bytes: Unlimited,
                life_time: LifeTimes {
                    default: 0ns,
                    minimum: 0ns,
                    maximum: 864000s,
                },
                drop_life_time: 864000s,
                overflow: DropOldest,
                coalesce: false,
            },
            batch: BatchLimits {
                messages: 1,
                bytes: 2,
            },
            max_held_polls: 4,
            min_poll_interval: 250ms,
        },
        limits: EdgeLimits {
            header_bytes: 1024,
            header_fields: 5,
            body_bytes: 6,
            header_timeout: 1s,
            body_timeout: 2s,
            write_timeout: 3s,
            idle_timeout: 4s,
            connections: 7,
            connections_per_address: 8,
            held_polls_per_address: 9,
            requests_per_second_per_address: 10,
            request_burst_per_address: 11,
            mailboxes_per_principal: 12,
            mailboxes_per_address: 13,
            max_lease: 1209600s,
            body_bytes_in_flight: 2097152,
            trusted_proxies: [
                10.0.0.0/8,
            ],
        },
        store: Store {
            kind: Memory,
            path: "state",
            max_mailboxes: 3,
            max_clients: 5,
            max_buffered_bytes: 65536,
            cache_bytes: 0,
            min_free_bytes: 1073741824,
        },
        auth: Auth {
            mode: DigestAndCapability,
            realm: "Instant Messaging",
            algorithms: [
                Md5,
            ],
            users_file: Some(
                "/etc/pollgate/users",
            ),
            map_file: Some(
                "principals",
            ),
            nonce_life_time: 30s,
        },
        delivery: Delivery {
            mode: FixedPorts,
            polling_period: PollingPeriod(
                1,
            ),
            ports: Some(
                Permissible(
                    PortRange {
                        first: 1050,
                        last: 1060,
                    },
                ),
            ),
            allow: [
                10.1.0.0/16,
            ],
            connect_timeout: 500ms,
            answer_timeout: 2s,
            max_retry_delay: 60s,
            max_concurrent: 9,
        },
        client_policy: [
            ClientPolicy {
                principal: Some(
                    "http://im.example.com/*",
                ),
                source: [
                    10.0.0.0/8,
                    ::1/128,
                ],
                user_agent: Some(
                    "*MSMSGS*",
                ),
                mode: Some(
                    Polling,
                ),
                polling_period: Some(
                    PollingPeriod(
                        15,
                    ),
                ),
                ports: Some(
                    TooLow(
                        LowPorts {
                            first: 80,
                            last: 80,
                        },
                    ),
                ),
            },
            ClientPolicy {
                principal: None,
                source: [],
                user_agent: None,
                mode: None,
                polling_period: None,
                ports: None,
            },
        ],
        admin: Admin {
            token_file: Some(
                "token",
            ),
            token: Some(
                Token(…),
            ),
        },
        shutdown: Shutdown {
            drain: 1s,
            deadline: 20s,
        },
        log: Log {
            level: Trace,
            format: Json,
        },
    }
    "#);
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_their_lines() {
    let text = r#"poll_msg_limit = 5
[listen]
public = "0.0.0.0:80"
callback = 8081
admn = "127.0.0.1:9180"

[upstream]
address = "http://127.0.0.1/path"
server_names = [
  "im.example.com",
  "im.example.com:80",
  7,
]
read_timeout = 0

[callback]
url = "https://10.0.0.5"
allow = []
deep_ack = "maybe"

[polling]
poll_support = "yes"
poll_life_time = { default = 300 }
poll_msg_life_time = 1800
PollMsgLimit = 7
poll_msg_kbyte_limit = -1
poll_drop_msg_life_time = 1.5
"a.b" = 1

[store]
kind = "redis"
path = ""
max_mailboxes = 0
max_buffered_bytes = "much"

[[log]]
level = "loud"

[nonsense]
mode = "digest"
"#;
    let env = [
        ("POLLGATE_LOG_FORMAT", "xml"),
        ("POLLGATE_UPSTREAM_ADRESS", "x"),
        ("POLLGATE_POLLING_POLL_MSG_LIFE_TIME", "5"),
        ("POLLGATE_FOO", "1"),
    ];
    insta::assert_snapshot!(problems(text, &env), @r#"
    p.toml:1: poll_msg_limit: stands outside of the sections; there are listen, upstream, callback, polling, limits, store, auth, delivery, client_policy, admin, shutdown, log
    p.toml:3: listen.public: must be a list: ["0.0.0.0:80"], not "0.0.0.0:80"
    p.toml:4: listen.callback: must be IP:PORT, such as "0.0.0.0:80" or "[::1]:80", not 8081
    p.toml:5: listen.admn: is not a key of [listen]; did you mean admin?
    p.toml:8: upstream.address: must be HOST:PORT, such as "127.0.0.1:8000" or "im.example.com:80", with a port from 1 to 65535 and no path, or "https://im.example.com" for TLS, not "http://127.0.0.1/path"
    p.toml:11: upstream.server_names[1]: must be a host name or an IP address, such as "im.example.com", without scheme or port, not "im.example.com:80"
    p.toml:12: upstream.server_names[2]: must be a host name or an IP address, such as "im.example.com", without scheme or port, not 7
    p.toml:14: upstream.read_timeout: must be a number of seconds, or a string such as "5s" or "500ms", longer than 0 and at most 86400 seconds, not 0
    p.toml:17: callback.url: must be an http URL, such as "http://10.0.0.5:8081" (callback servers speak plain HTTP), not "https://10.0.0.5"
    p.toml:18: callback.allow: must have at least one item
    p.toml:19: callback.deep_ack: must be "buffered" or "delivered", not "maybe"
    p.toml:22: polling.poll_support: must be true or false (or 1 or 0), not "yes"
    p.toml:23: polling.poll_life_time: needs all of default, minimum and maximum; minimum and maximum are missing
    p.toml:24: polling.poll_msg_life_time: must be a table, such as { default = 300, minimum = 60, maximum = 600 }, not 1800
    p.toml:25: polling.PollMsgLimit: is not a key of [polling]; did you mean poll_msg_limit?
    p.toml:26: polling.poll_msg_kbyte_limit: must be a whole number up to 4294967294, 0 to disable buffering, or "unlimited", not -1
    p.toml:27: polling.poll_drop_msg_life_time: must be a number of whole seconds, or a string such as "5m", of at most 31536000 seconds, not 1.5
    p.toml:28: polling."a.b": is not a key of [polling]; there are poll_support, poll_life_time, poll_msg_life_time, poll_msg_limit, poll_msg_kbyte_limit, poll_drop_msg_life_time, overflow, coalesce, poll_batch_messages, poll_batch_bytes, max_held_polls, min_poll_interval
    p.toml:31: store.kind: must be "disk" or "memory", not "redis": no other kind of store exists
    p.toml:32: store.path: must be a directory, such as "/var/lib/pollgate", not ""
    p.toml:33: store.max_mailboxes: must be a whole number from 1 to 1000000000, not 0
    p.toml:34: store.max_buffered_bytes: must be a number of bytes, or a string such as "512KiB" or "1MiB", from 1 byte to 1 PiB, not "much"
    p.toml:36: log: must be a table, [log], not a list
    p.toml:39: nonsense: is not a section; there are listen, upstream, callback, polling, limits, store, auth, delivery, client_policy, admin, shutdown, log
    environment POLLGATE_FOO: is not a setting; settings are named POLLGATE_SECTION_KEY after the file's sections and keys
    environment POLLGATE_LOG_FORMAT: log.format: must be "text" or "json", not "xml"
    environment POLLGATE_POLLING_POLL_MSG_LIFE_TIME: is not a setting; did you mean POLLGATE_POLLING_POLL_MSG_LIFE_TIME_DEFAULT?
    environment POLLGATE_UPSTREAM_ADRESS: is not a setting; did you mean POLLGATE_UPSTREAM_ADDRESS?
    "#);
}

#[test]
fn flag_over_environment_over_file() {
    let text = "[upstream]\naddress = 'file:1'\n[log]\nlevel = 'warn'\nformat = 'json'";
    let env = [("POLLGATE_UPSTREAM_ADDRESS", "env:2"), ("POLLGATE_LOG_LEVEL", "debug")];
    let flags = Overrides { upstream: Some("flag:3".to_owned()), ..Overrides::default() };
    let config = resolved(text, &env, &flags).unwrap();
    assert_eq!(config.upstreams[0].address, "flag:3");
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn every_flag_sets_its_key() {
    let some = |text: &str| Some(text.to_owned());
    let flags = Overrides {
        upstream: some("exchange:80"),
        public: Some(vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()]),
        callback: some("127.0.0.1:1"),
        admin: some("127.0.0.1:2"),
        callback_url: some("http://gate:1"),
        state_dir: some("state"),
        log_level: some("error"),
        log_format: some("json"),
    };
    let mut expected = Config::default();
    expected.upstreams[0].address = "exchange:80".to_owned();
    expected.upstreams[0].name = "exchange:80".to_owned();
    expected.listen.public = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    expected.listen.callback = "127.0.0.1:1".parse().unwrap();
    expected.listen.admin = "127.0.0.1:2".parse().unwrap();
    expected.callback.url = "http://gate:1".to_owned();
    expected.store.path = "state".into();
    expected.log.level = LogLevel::Error;
    expected.log.format = LogFormat::Json;
    assert_eq!(resolved("", &[], &flags), Ok(expected));
}

#[test]
fn flags_are_checked_like_the_rest() {
    let flags = Overrides {
        upstream: Some("exchange".to_owned()),
        public: Some(vec!["0.0.0.0:80".to_owned(), "80".to_owned()]),
        callback: Some("127.0.0.1:9180".to_owned()),
        ..Overrides::default()
    };
    insta::assert_snapshot!(resolved("", &[], &flags).unwrap_err(), @r#"
    command line: listen.public[1]: must be IP:PORT, such as "0.0.0.0:80" or "[::1]:80", not "80"
    command line: upstream.address: must be HOST:PORT, such as "127.0.0.1:8000" or "im.example.com:80", with a port from 1 to 65535 and no path, or "https://im.example.com" for TLS, not "exchange"
    command line: listen.callback: each listener needs an address of its own, but listen.callback is 127.0.0.1:9180 and listen.admin is 127.0.0.1:9180
    "#);
}

#[test]
fn the_environment_sets_every_type() {
    let config = with_env(
        "[listen]\npublic = ['0.0.0.0:8080']",
        &[
            ("POLLGATE_LISTEN_PUBLIC", "127.0.0.1:80, [::1]:80"),
            ("POLLGATE_UPSTREAM_SERVER_NAMES", ""),
            ("POLLGATE_UPSTREAM_CONNECT_TIMEOUT", "500ms"),
            ("POLLGATE_CALLBACK_DEEP_ACK", "delivered"),
            ("POLLGATE_CALLBACK_MAX_BODY_BYTES", "2MiB"),
            ("POLLGATE_POLLING_POLL_SUPPORT", "0"),
            ("POLLGATE_POLLING_POLL_MSG_LIMIT", "0"),
            ("POLLGATE_POLLING_POLL_MSG_KBYTE_LIMIT", "0xFFFFFFFF"),
            ("POLLGATE_POLLING_POLL_DROP_MSG_LIFE_TIME", "3600"),
            ("POLLGATE_POLLING_OVERFLOW", "drop-oldest"),
            ("POLLGATE_POLLING_COALESCE", "false"),
            ("POLLGATE_CONFIG", "names the file, sets nothing"),
            ("HOME", "/root"),
        ],
    );
    let mut expected = Config::default();
    expected.listen.public = vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()];
    expected.upstreams[0].connect_timeout = Duration::from_millis(500);
    expected.callback.deep_ack = DeepAck::Delivered;
    expected.callback.max_body_bytes = 2 * 1024 * 1024;
    expected.polling.poll_support = false;
    expected.polling.limits.messages = Bound::Disabled;
    expected.polling.limits.bytes = Bound::Unlimited;
    expected.polling.limits.drop_life_time = Duration::from_secs(3600);
    expected.polling.limits.overflow = Overflow::DropOldest;
    expected.polling.limits.coalesce = false;
    assert_eq!(config, expected);
}

#[test]
fn a_trio_may_come_from_several_layers() {
    let text = "[polling]\npoll_life_time = { default = 300, minimum = 60, maximum = 600 }";
    let config = with_env(text, &[("POLLGATE_POLLING_POLL_LIFE_TIME_MAXIMUM", "15m")]);
    assert_eq!(config.polling.poll_life_time, life_times(300, 60, 900));
}

#[test]
fn trios_are_whole_and_ordered() {
    for (text, env, expected) in [
        ("poll_life_time = { default = 1, minimum = 1, maximum = 1 }", None, ""),
        (
            "poll_life_time = { default = 1, maximum = 1 }",
            None,
            "p.toml:2: polling.poll_life_time: needs all of default, minimum and maximum; minimum is missing",
        ),
        (
            "poll_life_time = {}",
            None,
            "p.toml:2: polling.poll_life_time: needs all of default, minimum and maximum; \
             default and minimum and maximum are missing",
        ),
        (
            "poll_msg_life_time.minimum = 0",
            None,
            "p.toml:2: polling.poll_msg_life_time: needs all of default, minimum and maximum; \
             default and maximum are missing",
        ),
        (
            "",
            Some(("POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT", "100")),
            "environment POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT: polling.poll_life_time: \
             needs all of default, minimum and maximum; minimum and maximum are missing",
        ),
        (
            "poll_life_time = { default = 1, minimum = 2, maximum = 3 }",
            None,
            "p.toml:2: polling.poll_life_time: must have minimum ≤ default ≤ maximum, \
             but the default is smaller than the minimum: default 1, minimum 2, maximum 3 seconds",
        ),
        (
            "poll_life_time = { default = 2, minimum = 1, maximum = 3 }",
            Some(("POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT", "4")),
            "environment POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT: polling.poll_life_time: \
             must have minimum ≤ default ≤ maximum, \
             but the default is larger than the maximum: default 4, minimum 1, maximum 3 seconds",
        ),
        (
            // What is wrong by itself is not compared, and not called missing.
            "poll_life_time = { default = 5, minimum = 'soon', maximum = 3 }",
            None,
            "p.toml:2: polling.poll_life_time.minimum: must be a number of whole seconds, \
             or a string such as \"5m\", of at most 86400 seconds, not \"soon\"",
        ),
        (
            "poll_life_time = { default = 1, minimum = 1, maximum = 1, maximun = 1 }",
            None,
            "p.toml:2: polling.poll_life_time.maximun: is not a key of [polling.poll_life_time]; did you mean maximum?",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        assert_eq!(problems(&format!("[polling]\n{text}"), &env), expected, "{text} {env:?}");
    }
}

#[test]
fn settings_that_contradict_each_other() {
    for (text, env, expected) in [
        ("[listen]\npublic = ['127.0.0.1:0']\ncallback = '127.0.0.1:0'\nadmin = '127.0.0.1:0'", None, ""),
        (
            "[listen]\nadmin = '127.0.0.1:8081'",
            None,
            "p.toml:2: listen.admin: each listener needs an address of its own, \
             but listen.callback is 127.0.0.1:8081 and listen.admin is 127.0.0.1:8081",
        ),
        (
            "[listen]\npublic = ['0.0.0.0:8000', '127.0.0.1:81']\ncallback = '0.0.0.0:81'",
            None,
            "p.toml:2: listen.public[0]: upstream.address must be the legacy server's, but it is 127.0.0.1:8000, \
             and the gateway itself listens there (listen.public[0] is 0.0.0.0:8000)\n\
             p.toml:3: listen.callback: each listener needs an address of its own, \
             but listen.public[1] is 127.0.0.1:81 and listen.callback is 0.0.0.0:81",
        ),
        (
            "[callback]\nmax_body_bytes = '2MiB'",
            Some(("POLLGATE_STORE_MAX_BUFFERED_BYTES", "1MiB")),
            "environment POLLGATE_STORE_MAX_BUFFERED_BYTES: store.max_buffered_bytes: one callback must fit \
             the store, but callback.max_body_bytes is 2097152 and store.max_buffered_bytes is 1048576",
        ),
        (
            // The callback listener's default is not what the operator wrote: nothing to compare.
            "[listen]\ncallback = 'x'\nadmin = '127.0.0.1:8081'",
            None,
            "p.toml:2: listen.callback: must be IP:PORT, such as \"0.0.0.0:80\" or \"[::1]:80\", not \"x\"",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        assert_eq!(problems(text, &env), expected, "{text} {env:?}");
    }
}

#[test]
fn problems_of_client_policies_have_their_lines() {
    let text = r#"
[delivery]
mode = "fixed-ports"
[[client_policy]]
mode = "fixed"
ports = "1060-1050"
polling_period = 10
prts = 1
[[client_policy]]
source = ["10.0.0.0/8",
          "x"]
principal = ""
user_agent = 5
ports = "0"
"#;
    let env = [("POLLGATE_CLIENT_POLICY[0]_MODE", "polling"), ("POLLGATE_CLIENT_POLICY", "x")];
    insta::assert_snapshot!(problems(text, &env), @r#"
    p.toml:3: delivery.mode: "fixed-ports" needs ports, such as ports = "1050-1060"
    p.toml:5: client_policy[0].mode: must be "default" or "polling" or "fixed-ports", not "fixed"
    p.toml:6: client_policy[0].ports: enter a range whose first port is not larger than its last, such as 1050-1060, not "1060-1050"
    p.toml:7: client_policy[0].polling_period: must be whole minutes between 1 and 15, such as "10m", not 10
    p.toml:8: client_policy[0].prts: is not a key of client_policy[0]; did you mean ports?
    p.toml:11: client_policy[1].source[1]: must be an IP address or a network, such as "10.1.2.3" or "10.0.0.0/8", not "x"
    p.toml:12: client_policy[1].principal: must be text, such as "http://im.example.com/*", with * and ? as wildcards, not ""
    p.toml:13: client_policy[1].user_agent: must be text, such as "MSMSGS", with * and ? as wildcards, not 5
    p.toml:14: client_policy[1].ports: enter a value in the permissible range: ports can range from 1025 to 65535, not "0"
    environment POLLGATE_CLIENT_POLICY: is not a setting; settings are named POLLGATE_SECTION_KEY after the file's sections and keys
    environment POLLGATE_CLIENT_POLICY[0]_MODE: is not a setting; settings are named POLLGATE_SECTION_KEY after the file's sections and keys
    "#);
    for (text, expected) in [
        ("client_policy = [5, {}]", "p.toml:1: client_policy[0]: must be a table, [[client_policy]], not 5"),
        (
            "[client_policy]",
            "p.toml:1: client_policy: must be a list of tables, [[client_policy]], not a table",
        ),
        (
            "[[client_policy]]\nports = '1050'\n[[client_policy]]\nmode = 'fixed-ports'",
            "p.toml:4: client_policy[1].mode: \"fixed-ports\" needs ports, such as ports = \"1050-1060\"",
        ),
        ("[[client_policy]]\nmode = 'fixed-ports'\nports = '80'", ""),
        ("[delivery]\nports = '1050'\n[[client_policy]]\nmode = 'fixed-ports'", ""),
        (
            "[delivery]\nports = ''\nmode = 'fixed-ports'\n[[client_policy]]\nsource = ['::1']",
            "p.toml:3: delivery.mode: \"fixed-ports\" needs ports, such as ports = \"1050-1060\"",
        ),
        ("[[client_policy]]\nsource = []", "p.toml:2: client_policy[0].source: must have at least one item"),
    ] {
        assert_eq!(problems(text, &[]), expected, "{text}");
    }
}

#[test]
fn no_key_takes_every_type() {
    let values = [
        "'\\u0007 nonsense'",
        "''",
        "-1",
        "1.5",
        "nan",
        "true",
        "1979-05-27",
        "[]",
        "[1]",
        "[[]]",
        "{}",
        "{ a = 1 }",
        "9223372036854775808",
        "99999999999999999999999999999999999999999999",
    ];
    for key in known_keys() {
        let refused = values.iter().filter(|value| {
            let problems = problems(&format!("{key} = {value}"), &[]);
            problems.lines().any(|line| line.starts_with(&format!("p.toml:1: {key}")))
        });
        // One or two of them are right for a switch, a number, or a list that may be empty.
        assert!(refused.count() >= values.len() - 2, "{key}");
    }
}

#[test]
fn a_dotted_key_in_quotes_is_not_a_path() {
    assert_eq!(
        problems("'listen.admin' = '127.0.0.1:1'", &[]),
        "p.toml:1: \"listen.admin\": stands outside of the sections; \
         there are listen, upstream, callback, polling, limits, store, auth, delivery, client_policy, admin, shutdown, log"
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}|[\\[\\]{}=\"'.,#\\n a-z0-9_-]{0,200}") {
        let _ = resolved(&text, &[], &Overrides::default());
    }

    #[test]
    fn arbitrary_values_never_panic(
        index in any::<prop::sample::Index>(),
        value in "\\PC{0,30}|-?[0-9]{0,25}|[0-9]{1,25}\\.?[0-9]{0,9} ?[a-zA-Z]{0,4}|[0-9a-f:.\\[\\]/%]{0,40}|http://\\PC{0,30}",
    ) {
        let keys = known_keys();
        let key = index.get(&keys);
        let mut outcomes = vec![
            resolved(&format!("{key} = {value}"), &[], &Overrides::default()),
            resolved(&format!("{key} = {value:?}"), &[], &Overrides::default()),
            resolved("", &[(&super::env::variable(key), &value)], &Overrides::default()),
        ];
        for error in outcomes.drain(..).filter_map(Result::err) {
            prop_assert_eq!(error.to_string().lines().count(), error.problems().len());
        }
    }
}

#[test]
fn the_callback_url_follows_the_callback_listener() {
    for (listener, url) in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:81", "http://127.0.0.1:81"),
        ("[::]:81", "http://[::1]:81"),
        ("10.0.0.5:81", "http://10.0.0.5:81"),
        ("127.0.0.1:0", "http://127.0.0.1:0"),
    ] {
        let file = format!("[listen]\ncallback = \"{listener}\"\n");
        let config = resolved(&file, &[], &Overrides::default()).unwrap();
        assert_eq!(config.callback.url, url, "{listener}");
    }
}

#[test]
fn who_may_poll_is_without_contradiction() {
    let users = "users_file = 'u'";
    for (text, env, expected) in [
        ("", "", ""),
        ("mode = 'digest'\nusers_file = 'u'", "", ""),
        ("mode = 'digest+capability'\nusers_file = 'u'\nmap_file = 'm'", "", ""),
        ("mode = 'digest'", "u", ""),
        (
            "mode = 'digest'",
            "",
            "p.toml:2: auth.mode: auth.mode = \"digest\" needs users, but auth.users_file is not set",
        ),
        (
            "users_file = ''\nmode = 'digest+capability'",
            "",
            "p.toml:3: auth.mode: auth.mode = \"digest+capability\" needs users, but auth.users_file is not set",
        ),
        (
            users,
            "",
            "p.toml:2: auth.users_file: auth.users_file is set, but auth.mode = \"capability\" asks for no \
             credentials; set it to \"digest\" or \"digest+capability\"",
        ),
        (
            "",
            "u",
            "environment POLLGATE_AUTH_USERS_FILE: auth.users_file: auth.users_file is set, but auth.mode = \
             \"capability\" asks for no credentials; set it to \"digest\" or \"digest+capability\"",
        ),
        ("algorithms = ['MD5', 'SHA-256', 'MD5']", "", "p.toml:2: auth.algorithms: MD5 is there twice"),
        ("algorithms = []", "", "p.toml:2: auth.algorithms: must have at least one item"),
        (
            "mode = 'basic'\nusers_file = 'u'",
            "",
            "p.toml:2: auth.mode: must be \"capability\" or \"digest\" or \"digest+capability\", not \"basic\"",
        ),
        (
            "realm = 'a:b'",
            "",
            "p.toml:2: auth.realm: must be ASCII text without a colon, a quote or a backslash, not \"a:b\"",
        ),
    ] {
        let env = [("POLLGATE_AUTH_USERS_FILE", env)];
        let env = if env[0].1.is_empty() { &[][..] } else { &env[..] };
        assert_eq!(problems(&format!("[auth]\n{text}"), env), expected, "{text}");
    }
}

#[test]
fn tls_is_whole_or_not_there() {
    let wrong = |text: &str| problems(text, &[]);
    let lone = "[listen.tls]\npublic = ['127.0.0.1:443']\n";
    assert_eq!(
        wrong(lone),
        "p.toml:2: listen.tls.public: TLS needs a certificate and its key, but listen.tls.certificate is not set"
    );
    assert_eq!(
        wrong(&format!("{lone}certificate = 'a'\n")),
        "p.toml:3: listen.tls.certificate: TLS needs a certificate and its key, but listen.tls.key is not set"
    );
    assert_eq!(
        wrong("[listen.tls]\ncertificate = 'a'\nkey = 'b'\n"),
        "p.toml:3: listen.tls.key: there is a certificate or a key, but listen.tls.public has no address to show \
         it at, such as \"0.0.0.0:443\""
    );
    let whole = format!("[listen]\npublic = []\n{lone}certificate = 'a'\nkey = 'b'\n");
    assert_eq!(wrong(&whole), "");
    assert_eq!(
        wrong("[listen]\npublic = []"),
        "p.toml:2: listen.public: must have at least one item, unless listen.tls.public has"
    );
    assert_eq!(
        wrong("[upstream]\naddress = 'h:1'\nca_file = 'a'\n"),
        "p.toml:3: upstream.ca_file: upstream.ca_file is set, but upstream.address is h:1, without TLS; TLS begins \
         with https://"
    );
    assert_eq!(
        wrong(
            "[listen]\npublic = ['0.0.0.0:443']\n[listen.tls]\npublic = ['127.0.0.1:443']\ncertificate = 'a'\nkey = 'b'"
        ),
        "p.toml:4: listen.tls.public[0]: each listener needs an address of its own, but listen.public[0] is \
         0.0.0.0:443 and listen.tls.public[0] is 127.0.0.1:443"
    );
}

#[test]
fn without_a_token_only_this_machine_may_ask() {
    let sentence = "without a token only this machine may ask, but listen.admin is";
    for (listener, refused) in [
        ("127.0.0.1:9180", false),
        ("127.9.9.9:0", false),
        ("[::1]:9180", false),
        ("[::ffff:127.0.0.1]:9180", false),
        ("0.0.0.0:9180", true),
        ("[::]:9180", true),
        ("10.0.0.5:9180", true),
    ] {
        let text = format!("[listen]\nadmin = \"{listener}\"\n");
        let said = problems(&text, &[]);
        assert_eq!(said.contains(sentence), refused, "{listener}: {said}");
        let with_token = problems(&text, &[("POLLGATE_ADMIN_TOKEN_FILE", "token")]);
        assert_eq!(with_token, "", "{listener}");
    }
    let env = [("POLLGATE_LISTEN_ADMIN", "0.0.0.0:9180")];
    assert_eq!(
        problems("", &env),
        format!(
            "environment POLLGATE_LISTEN_ADMIN: listen.admin: {sentence} 0.0.0.0:9180: set admin.token_file, or \
             listen.admin to a loopback address"
        )
    );
}

#[test]
fn a_token_file_without_a_token_is_named_with_its_key() {
    for (value, said) in [
        ("'empty'", TokenError::Empty.to_string()),
        ("7", "must be a path, such as \"/etc/pollgate/admin.token\", not 7".to_owned()),
    ] {
        let problems = problems(&format!("[admin]\ntoken_file = {value}\n"), &[]);
        assert!(
            problems.starts_with("p.toml:2: admin.token_file: ") && problems.ends_with(&said),
            "{problems}"
        );
    }
    assert!(with_env("", &[("POLLGATE_ADMIN_TOKEN_FILE", "token")]).admin.token.unwrap().is("s3cret"));
}

#[test]
fn who_only_asks_needs_no_token_to_know_where() {
    let text = "[listen]\nadmin = '10.0.0.5:9180'\n[admin]\ntoken_file = 'empty'\n";
    let table = |text| file::parse(Path::new("p.toml"), text).unwrap();
    let asking = |text| {
        resolve::resolve(Path::new("p.toml"), table(text), [], &Overrides::default(), For::Asking).unwrap()
    };
    let config = asking(text);
    assert_eq!(config.listen.admin.to_string(), "10.0.0.5:9180");
    assert!(config.admin.token_file.is_some() && config.admin.token.is_none());
    assert_eq!(asking("[listen]\nadmin = '10.0.0.5:9180'\n").admin.token_file, None);
}

#[test]
fn upstreams_and_what_they_are_to_each_other() {
    let two = |first: &str, second: &str| {
        problems(
            &format!("[[upstream]]\naddress = 'a:1'\n{first}\n[[upstream]]\naddress = 'b:1'\n{second}"),
            &[],
        )
    };
    for (problems, expected) in [
        (two("hosts = ['a']", ""), ""),
        (
            two("", "hosts = ['b']"),
            "p.toml:4: upstream[1]: never gets a request: upstream[0] before it takes them all; give that one \
             hosts, or move it to the end",
        ),
        (
            two("hosts = ['a']\nname = 'x'", "name = 'x'"),
            "p.toml:5: upstream[1]: each upstream needs a name of its own, but upstream[0] and upstream[1] are \
             both \"x\": set name",
        ),
        (
            two("listen_port = 7", "ca_file = 'c'"),
            "p.toml:3: upstream[0].listen_port: must be the port of a public listener (80), but is 7: add it to \
             listen.public\np.toml:6: upstream[1].ca_file: upstream[1].ca_file is set, but upstream[1].address is \
             b:1, without TLS; TLS begins with https://",
        ),
        (
            two("hosts = ['a']\nforwarded = 'forwarded'", "forwarded = 'x-forwarded-for'"),
            "p.toml:7: upstream[1].forwarded: upstreams that are told for whom a request comes must be told in the \
             same way, but upstream[0].forwarded is \"forwarded\" and upstream[1].forwarded is \"x-forwarded-for\"",
        ),
        (
            two("hosts = ['http://a', '']", "path_prefix = 'x'"),
            "p.toml:3: upstream[0].hosts[0]: must be a host, such as \"im.example.com\" or \"*.example.com\", with * \
             and ? as wildcards and without scheme or port, not \"http://a\"\n\
             p.toml:3: upstream[0].hosts[1]: must be a host, such as \"im.example.com\" or \"*.example.com\", with * \
             and ? as wildcards and without scheme or port, not \"\"\n\
             p.toml:6: upstream[1].path_prefix: must be a path, such as \"/instmsg\", not \"x\"",
        ),
        (
            two("hosts = ['a']\nhealth_check = { every = 5 }", "nane = 'b'"),
            "p.toml:4: upstream[0].health_check.every: is not a key of upstream[0].health_check; there are \
             interval, path, failures\np.toml:7: upstream[1].nane: is not a key of upstream[1]; did you mean name?",
        ),
        (problems("upstream = []", &[]), "p.toml:1: upstream: must have at least one item"),
        (
            problems("[upstream]\naddress = 'a:1'\nservers = [{ address = 'b:1' }]", &[]),
            "p.toml:1: upstream: has an address and servers: set one of them",
        ),
        (
            problems("[upstream]\nservers = [{ weight = 1 }]", &[]),
            "p.toml:2: upstream.servers[0]: needs an address",
        ),
        (
            problems("[upstream]\nservers = [{ address = 'a:1' }, { address = 'https://b:1' }]", &[]),
            "p.toml:2: upstream.servers[1].address: all servers of an upstream must be within TLS, or none, but one \
             is a:1 and one is https://b:1",
        ),
        (
            problems("[[upstream]]\naddress = 'a:1'", &[("POLLGATE_UPSTREAM_ADDRESS", "b:1")]),
            "environment POLLGATE_UPSTREAM_ADDRESS: upstream: the file has several, [[upstream]]: set it there",
        ),
    ] {
        assert_eq!(problems, expected);
    }
    let flags = Overrides { upstream: Some("b:1".to_owned()), ..Overrides::default() };
    assert_eq!(
        resolved("[[upstream]]\naddress = 'a:1'", &[], &flags).unwrap_err().to_string(),
        "command line: upstream.address: the file has several, [[upstream]]: set it there"
    );
}

#[test]
fn a_webhook_has_rules_and_rules_are_for_a_webhook() {
    let set = &config("[upstream]\ndialect = 'webhook'\nwebhook = 'rules.toml'\n").upstreams[0];
    assert_eq!((set.dialect, set.rules.is_some()), (crate::dialect::Choice::Webhook, true));
    insta::assert_snapshot!(problems("[upstream]\ndialect = 'webhook'\n", &[]), @r#"
    p.toml:2: upstream.dialect: the dialect webhook needs a file of rules: set upstream.webhook, such as to "/usr/share/pollgate/dialects/websub.toml"
    "#);
    insta::assert_snapshot!(problems("[upstream]\nwebhook = 'rules.toml'\n", &[]), @r#"
    p.toml:2: upstream.webhook: the rules in rules.toml count only with the dialect webhook, but upstream.dialect is auto
    "#);
}
