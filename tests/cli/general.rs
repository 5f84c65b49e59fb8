//! What has no file of its own here: help, usage, configuration, health, the demo, the log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use super::support::{Serving, code, exchange, pollgate, text};

fn run(arguments: &[&str]) -> Output {
    // Nothing stays on the machine.
    pollgate(arguments).env("POLLGATE_STORE_KIND", "memory").output().unwrap()
}

fn serve(upstream: &str, arguments: &[&str]) -> Serving {
    let mut command = pollgate(&["serve", "--upstream", upstream, "--log-format", "json"]);
    command.args(["--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    Serving::start(command.args(arguments).env("POLLGATE_STORE_KIND", "memory"))
}

#[test]
fn help_reads_well() {
    let mut all = String::new();
    for command in [
        "",
        "serve",
        "agent",
        "demo",
        "poll",
        "mailbox",
        "mailbox list",
        "mailbox show",
        "mailbox peek",
        "mailbox replay",
        "mailbox purge",
        "mailbox rotate-key",
        "client",
        "client list",
        "client show",
        "client set",
        "client unset",
        "trace",
        "check-config",
        "doctor",
        "default-config",
        "healthcheck",
        "user",
        "user add",
        "user list",
        "user remove",
        "completion",
        "man",
        "version",
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = run(&arguments);
        assert_eq!(code(&output), 0, "{command}");
        all.push_str(&format!("$ pollgate {}\n{}\n", arguments.join(" "), text(&output.stdout)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn bad_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["serve", "--no-such-flag"],
        &["serve", "--upstream", "not an address"],
        &["serve", "--log-level", "loud"],
        &["serve", "-c", "/no/such/file.toml"],
        &["check-config", "-c", "/no/such/file.toml"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_listener_that_cannot_bind_ends_with_1_and_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in ["public", "callback", "admin"] {
        let mut arguments = vec!["serve".to_owned()];
        for name in ["public", "callback", "admin"] {
            let at = if name == listener { &address } else { "127.0.0.1:0" };
            arguments.extend([format!("--{name}"), at.to_owned()]);
        }
        let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 1, "{said}");
        assert!(said.contains(&format!("cannot listen on {address} (listen.{listener})")), "{said}");
        assert!(said.contains("in use"), "{said}");
    }
}

#[test]
fn check_config_says_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pollgate.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[polling]\npoll_msg_limit = 5\n").unwrap();
    let output = run(&["check-config", "-c", path]);
    assert_eq!((code(&output), text(&output.stdout)), (0, format!("{path}: the configuration is valid\n")));

    std::fs::write(&file, "[polling]\npoll_msg_limt = 5\n[listen]\nadmin = 9\n").unwrap();
    let output = run(&["check-config", "-c", path]);
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2);
    assert!(said.contains(":2:") && said.contains("poll_msg_limt") && said.contains(":4:"), "{said}");

    let output = run(&["check-config", "--json", "-c", path]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["valid"].as_bool(), json["problems"].as_array().unwrap().len()), (Some(false), 2));
}

#[test]
fn the_default_configuration_is_the_sample() {
    let output = run(&["default-config"]);
    assert_eq!(text(&output.stdout), include_str!("../../conf/pollgate.toml"));
}

#[test]
fn versions_and_completions() {
    let version = env!("CARGO_PKG_VERSION");
    for flag in ["--version", "version"] {
        assert_eq!(text(&run(&[flag]).stdout), format!("pollgate {version}\n"));
    }
    let json: serde_json::Value = serde_json::from_slice(&run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json["version"], version);
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert!(code(&output) == 0 && text(&output.stdout).contains("check-config"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(code(&run(&["man", pages.to_str().unwrap()])), 0);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).expect(name);
    assert!(page("pollgate.1").contains("check\\-config"));
    assert!(page("pollgate-serve.1").contains("\\-\\-upstream"));
    assert!(page("pollgate-mailbox-rotate-key.1").contains("another poll key"));
    let file = pages.join("pollgate.1");
    assert_eq!(code(&run(&["man", file.to_str().unwrap()])), 1, "a file is no directory");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["default-config"][..], &["completion", "bash"], &["demo"], &["version"]] {
        let mut process = pollgate(arguments).spawn().unwrap();
        drop(process.stdout.take());
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = process.wait().unwrap();
        assert!(status.success() && said.is_empty(), "{arguments:?}: {status}, {said}");
    }
}

#[test]
fn the_demo_ends_well() {
    let output = run(&["demo"]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    for line in [
        "First act",
        "Connection refused",
        "0 of  1 messages reached kari",
        "Second act",
        "alan is away",
        "\"The usual place.\", \"I am buying.\", \"Are you there?\"",
        "12 of 12 messages reached kari",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours where there is no terminal");

    let output = run(&["demo", "--json"]);
    let events: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["as_it_should_be"], true);
}

#[test]
fn a_gateway_is_asked_for_its_health_and_stops_when_told() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = serve(&upstream.local_addr().unwrap().to_string(), &[]);
    let admin = gateway.address("admin").to_owned();
    for (arguments, said, expected) in [
        (&["healthcheck"][..], "ok", 0),
        (&["healthcheck", "--ready"], "ok      upstream", 0),
        (&["healthcheck", "--ready", "--json"], "\"well\":true", 0),
    ] {
        let output = run(&[arguments, &["--admin", &admin]].concat());
        assert_eq!(code(&output), expected, "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(said), "{arguments:?}");
    }
    drop(upstream);
    let output = run(&["healthcheck", "--ready", "--admin", &admin]);
    assert!(code(&output) == 1 && text(&output.stdout).contains("failed  upstream"));

    gateway.stop();
    let output = run(&["healthcheck", "--admin", &admin]);
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("cannot connect"), "{}", text(&output.stderr));
}

#[test]
fn the_callback_address_that_the_upstream_is_given_is_the_listeners() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = serve(&upstream.local_addr().unwrap().to_string(), &[]);
    let mut client = TcpStream::connect(gateway.address("public")).unwrap();
    client.write_all(b"SUBSCRIBE /n HTTP/1.1\r\nHost: h\r\nCall-Back: http://10.1.2.3:4\r\n\r\n").unwrap();
    let (server, _) = upstream.accept().unwrap();
    let callback = BufReader::new(server)
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("Call-Back: ").map(str::to_owned))
        .unwrap();
    assert!(callback.starts_with(&format!("http://{}/", gateway.address("callback"))), "{callback}");
}

fn field<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

#[test]
fn the_log_follows_a_callback_and_tells_no_secret() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let gateway = serve(&address, &["--log-level", "trace"]);
    let granted = std::thread::spawn(move || {
        let (mut server, _) = upstream.accept().unwrap();
        let mut request = [0; 2048];
        let length = server.read(&mut request).unwrap();
        let answer = "HTTP/1.1 200 OK\r\nSubscription-Id: id-98210\r\nContent-Length: 0\r\n\r\n";
        server.write_all(answer.as_bytes()).unwrap();
        field(std::str::from_utf8(&request[..length]).unwrap(), "Call-Back").to_owned()
    });
    let subscribe = "SUBSCRIBE /people/kari HTTP/1.1\r\nHost: h\r\nCall-Back: http://10.1.2.3:4\r\n\
                     Authorization: Basic c2VjcmV0\r\nConnection: close\r\n\r\n";
    let answer = exchange(gateway.address("public"), subscribe);
    let poll_path = field(&answer, "Content-Location").strip_prefix("http://h").unwrap();
    let callback = granted.join().unwrap();
    let token = callback.rsplit('/').next().unwrap();
    let body = "confidential words";
    let notify = format!(
        "NOTIFY /{token} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(exchange(gateway.address("callback"), &notify).starts_with("HTTP/1.1 200 Successful\r\n"));
    let poll = |more: &str| {
        let request = format!(
            "GET {poll_path} HTTP/1.1\r\nHost: h\r\nPrefer: wait=0\r\nConnection: close\r\n{more}\r\n"
        );
        exchange(gateway.address("public"), &request)
    };
    let answer = poll("");
    assert!(answer.contains(body));
    let event = field(&answer, "Last-Event-ID").to_owned();
    poll(&format!("Last-Event-ID: {event}\r\n"));
    // Refusals are logged too.
    exchange(gateway.address("callback"), &notify.replace(token, "0123456789abcdef0123456789abcdef"));
    exchange(gateway.address("public"), &subscribe.replace("http://10", "ftp://user:hunter2@10"));
    let secrets = [token.to_owned(), poll_path.rsplit('/').next().unwrap().to_owned()];

    let log = gateway.stop();
    let said = |message: &str| {
        let found = log.iter().find(|line| line.contains(message));
        found.unwrap_or_else(|| panic!("{message}: {log:#?}"))
    };
    for message in ["callback buffered", "message handed out", "messages acknowledged"] {
        assert!(said(message).contains(&event), "{}", said(message));
    }
    said("callback refused");
    said("subscription refused");
    for secret in
        secrets.iter().map(String::as_str).chain(["confidential", "c2VjcmV0", "id-98210", "hunter2"])
    {
        assert!(!log.iter().any(|line| line.contains(secret)), "{secret}: {log:#?}");
    }
}

#[test]
fn the_log_tells_nothing_of_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let (config, users) = (folder.path().join("pollgate.toml"), folder.path().join("users"));
    let auth = format!("[auth]\nmode = 'digest'\nrealm = 'r'\nusers_file = '{}'\n", users.display());
    std::fs::write(&config, auth).unwrap();
    let secret = "0123456789abcdef0123456789abcdef";
    std::fs::write(&users, format!("kari:r:{secret}\nhunter2\n")).unwrap();
    let arguments = ["--log-level", "trace", "-c", config.to_str().unwrap()];
    let gateway = serve("127.0.0.1:9", &arguments);
    let key = "fedcba9876543210fedcba9876543210";
    let nonce = "bm9uY2U";
    for authorization in [
        "",
        "Authorization: Basic a2FyaTpzZWNyZXQ=\r\n",
        "Authorization: Digest username=\"correct horse\", nonsense\r\n",
        &format!(
            "Authorization: Digest username=\"correct horse\", realm=\"r\", nonce=\"{nonce}\", uri=\"/.pollgate/{key}\", \
             qop=auth, nc=00000001, cnonce=\"c1c1c1\", response=\"{secret}\"\r\n"
        ),
    ] {
        let poll =
            format!("POLL /.pollgate/{key} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{authorization}\r\n");
        let answer = exchange(gateway.address("public"), &poll);
        assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    }
    let log = gateway.stop().join("\n");
    for said in ["\"denied\"", "\"malformed\"", "\"missing\""] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for secret in [secret, key, nonce, "correct horse", "kari", "a2FyaTpzZWNyZXQ", "c1c1c1", "hunter2"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
