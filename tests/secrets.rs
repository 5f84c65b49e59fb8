//! No secret is echoed: a whole run of the binary with everything logged that can be, and all that it prints, held
//! against every secret that went through it.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "disk/gateway.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod gateway;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use gateway::{connect, field, read_message, status, upstream};
use pollgate::auth::digest::{Challenge, Credentials, Request};
use pollgate::auth::htdigest::with_user;

const PASSWORD: &str = "Circle-of-Life";
const ADMIN_TOKEN: &str = "operators-0nly-7b1d";
const UPSTREAM_CREDENTIALS: &str = "Basic a2FyaTpvdGhlci1wYXNz";
const WRONG_KEY: &str = "feedfacefeedfacefeedfacefeedface";
const BODY: &str = "words-for-kari-alone";
const CNONCE: &str = "cnonce-Qzzp8461";

/// The binary at work, with all that it logs.
struct Gateway {
    process: Child,
    serving: serde_json::Value,
    log: Option<JoinHandle<Vec<String>>>,
}

impl Gateway {
    fn start(config: &Path, upstream: &str) -> Self {
        let any = ["--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut process = pollgate()
            .args(["serve", "--log-level", "trace", "--log-format", "json", "--upstream", upstream, "-c"])
            .arg(config)
            .args(any)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut first = Vec::new();
        let serving = loop {
            let line = lines.next().expect("a gateway that serves");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            first.push(line);
            if parsed["public"].is_string() {
                break parsed;
            }
        };
        let log = Some(std::thread::spawn(move || first.into_iter().chain(lines).collect()));
        Self { process, serving, log }
    }

    /// One request at this listener: head and body of the answer.
    fn ask(&self, listener: &str, head: &str, body: &str) -> (String, String) {
        let mut stream = connect(self.serving[listener].as_str().unwrap()).unwrap();
        let length = body.len();
        write!(stream, "{}\r\nContent-Length: {length}\r\n\r\n{body}", head.replace('\n', "\r\n")).unwrap();
        let (head, body) = read_message(&mut stream).unwrap();
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    fn operate(&self, method: &str, target: &str, token: &str) -> (String, String) {
        let head = format!("{method} {target} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {token}");
        self.ask("admin", &head, "")
    }

    fn poll(&self, path: &str, fields: &str) -> (String, String) {
        self.ask("public", &format!("POLL {path} HTTP/1.1\nHost: h\nPrefer: wait=0{fields}"), "")
    }

    /// Stops it as an operator would: the log.
    fn stop(mut self) -> String {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap().join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollgate"));
    command.env_clear().env("POLLGATE_CONFIG", "").stdin(Stdio::null());
    command
}

/// A client's subscription: the path that it polls, and the token that the upstream was given.
fn subscribe(gateway: &Gateway, tokens: &Receiver<String>, callback: &str) -> (String, String) {
    let head = format!(
        "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nHost: h\nNotification-Type: pragma/notify\n\
         Authorization: {UPSTREAM_CREDENTIALS}\nCall-Back: {callback}"
    );
    let (head, _) = gateway.ask("public", &head, "");
    assert_eq!(status(&head), 200, "{head}");
    let path = field(&head, "content-location").unwrap().strip_prefix("http://h").unwrap().to_owned();
    (path, tokens.recv_timeout(std::time::Duration::from_secs(20)).unwrap())
}

/// The value of `Authorization` for a poll that was refused with this head.
fn credentials(refused: &str, path: &str, password: &str) -> String {
    let fields = refused.lines().filter_map(|line| line.split_once(": "));
    let challenges = fields.filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    let challenge = Challenge::strongest(challenges.map(|(_, value)| value.as_bytes())).expect("a challenge");
    let credentials = Credentials { user: "kari".into(), password: password.into() };
    challenge.authorization(&credentials, Request { method: "POLL", uri: path, cnonce: CNONCE, count: 1 })
}

/// What stands behind `response=` in credentials.
fn response(authorization: &str) -> String {
    authorization.split("response=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// A configuration with all secrets that it may have, and the lines of the users' file.
fn configure(folder: &Path) -> (std::path::PathBuf, Vec<String>) {
    let users = with_user(&[], "kari", "pollgate", PASSWORD).0;
    std::fs::write(folder.join("users"), &users).unwrap();
    std::fs::write(folder.join("token"), ADMIN_TOKEN).unwrap();
    let file = folder.join("pollgate.toml");
    let settings = format!(
        "[store]\nkind = \"disk\"\npath = {:?}\n[auth]\nmode = \"digest\"\nusers_file = {:?}\n\
         [admin]\ntoken_file = {:?}\n[delivery]\nmode = \"default\"\nallow = [\"127.0.0.0/8\"]\n",
        folder.join("state"),
        folder.join("users"),
        folder.join("token"),
    );
    std::fs::write(&file, settings).unwrap();
    let users = String::from_utf8(users).unwrap();
    (file, users.lines().map(|line| line.rsplit(':').next().unwrap().to_owned()).collect())
}

/// Fails if any of this text has a secret in it.
fn assert_silent(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "{what} says {secret}: {}", line.unwrap_or_default());
    }
}

#[test]
fn no_secret_is_echoed_by_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let (config, hashes) = configure(folder.path());
    let (server, tokens) = upstream();
    let gateway = Gateway::start(&config, &server);
    let client = std::net::TcpListener::bind("127.0.0.1:0").unwrap();

    // One who polls with a password, after a wrong one, and one who is called.
    let (path, token) = subscribe(&gateway, &tokens, "http://10.1.2.3:1234");
    let (called_path, called_token) =
        subscribe(&gateway, &tokens, &format!("http://{}", client.local_addr().unwrap()));
    let notify = |token: &str| format!("NOTIFY /{token} HTTP/1.1\nHost: h\nContent-Type: text/xml");
    for token in [&token, &called_token] {
        assert_eq!(status(&gateway.ask("callback", &notify(token), BODY).0), 200);
    }
    let (mut delivery, _) = client.accept().unwrap();
    let (head, body) = read_message(&mut delivery).unwrap();
    assert!(head.starts_with("NOTIFY / ") && body == BODY.as_bytes(), "{head}");
    delivery.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(status(&gateway.ask("callback", &notify(WRONG_KEY), BODY).0), 412);
    assert_eq!(status(&gateway.ask("callback", &notify(&token).replace("NOTIFY", "PUT"), BODY).0), 405);

    let wrong = format!("/.pollgate/{WRONG_KEY}");
    let (refused, _) = gateway.poll(&path, "");
    assert_eq!(status(&refused), 401);
    let mut authorizations = Vec::new();
    for (password, path, expected) in
        [("not-the-password", &path, 401), (PASSWORD, &path, 200), (PASSWORD, &wrong, 404)]
    {
        let (refused, _) = gateway.poll(path, "");
        let authorization = credentials(&refused, path, password);
        let (head, body) = gateway.poll(path, &format!("\nAuthorization: {authorization}"));
        assert_eq!((status(&head), body.contains(BODY)), (expected, expected == 200), "{head}");
        authorizations.push(response(&authorization));
    }
    // What the parser refuses is logged in words, and not in bytes.
    let (head, _) = gateway.ask("public", &format!("POLL {path} HTTP/1.1\nHost: h\nHost: {WRONG_KEY}"), BODY);
    assert_eq!(status(&head), 400);

    let secrets: Vec<String> =
        [PASSWORD, "not-the-password", ADMIN_TOKEN, UPSTREAM_CREDENTIALS, WRONG_KEY, BODY]
            .map(str::to_owned)
            .into_iter()
            .chain([CNONCE.to_owned(), token, called_token])
            .chain([path, called_path].map(|path| path.trim_start_matches("/.pollgate/").to_owned()))
            .chain(hashes)
            .chain(authorizations)
            .collect();
    assert!(secrets.iter().all(|secret| secret.len() > 8), "{secrets:?}");

    for target in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/mailboxes",
        "/api/v1/mailboxes/1",
        "/api/v1/mailboxes/1/messages",
        "/api/v1/mailboxes/1/dropped",
        "/api/v1/mailboxes/2",
        "/api/v1/clients",
        "/api/v1/openapi.json",
        "/api/v1/no-such-thing",
    ] {
        let (head, body) = gateway.operate("GET", target, ADMIN_TOKEN);
        assert!([200, 404, 503].contains(&status(&head)), "{target}: {head}");
        assert_silent(target, &format!("{head}{body}"), &secrets);
        let (head, body) = gateway.operate("GET", target, WRONG_KEY);
        assert_silent(target, &format!("{head}{body}"), &secrets);
    }
    let (head, body) = gateway.operate("POST", "/-/reload", ADMIN_TOKEN);
    assert_silent("a reload", &format!("{head}{body}"), &secrets);

    let log = gateway.stop();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "{log}");
    assert_silent("the log", &log, &secrets);
}

#[test]
fn check_config_repeats_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (config, hashes) = configure(folder.path());
    let secrets: Vec<String> = hashes.into_iter().chain([ADMIN_TOKEN.to_owned()]).collect();
    let check = |what: &str, expected: i32| {
        for form in [&["check-config", "-c"][..], &["check-config", "--json", "-c"]] {
            let output = pollgate().args(form).arg(&config).output().unwrap();
            assert_eq!(output.status.code(), Some(expected), "{what}: {output:?}");
            let said = [output.stdout, output.stderr].concat();
            assert_silent(what, &String::from_utf8(said).unwrap(), &secrets);
        }
    };
    check("a valid configuration", 0);
    std::fs::write(folder.path().join("token"), format!("{ADMIN_TOKEN} {ADMIN_TOKEN}\n")).unwrap();
    check("a token that is none", 2);
    // A file of users in the place of the token.
    std::fs::copy(folder.path().join("users"), folder.path().join("token")).unwrap();
    check("another file in its place", 2);
}
