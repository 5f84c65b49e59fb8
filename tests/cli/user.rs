//! `pollgate user`, the binary; and real clients against the file that it writes, as far as they are there.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pollgate::app::{self, Listeners, Running};
use pollgate::auth::digest::Algorithm;
use pollgate::config::{AuthMode, Config, StoreKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{code, pollgate, text};

const PASSWORD: &str = "Circle of Life";

/// Runs it with this on stdin.
fn run(command: &mut Command, stdin: &str) -> Output {
    let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    let _ = process.stdin.take().unwrap().write_all(stdin.as_bytes());
    process.wait_with_output().unwrap()
}

/// A folder with a file of users.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    fn user(&self, arguments: &[&str], stdin: &str) -> Output {
        let file = self.file();
        let file = ["--file", file.to_str().unwrap()];
        run(&mut pollgate(&[&["user"], arguments, &file].concat()), stdin)
    }

    fn add(&self, user: &str) {
        let output = self.user(&["add", user], &format!("{PASSWORD}\n"));
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    }
}

#[test]
fn users_come_and_go() {
    let folder = Folder::new();
    for (arguments, stdin, expected, says) in [
        (&["list"][..], "", 1, "No such file"),
        (&["remove", "kari"], "", 1, "there is no user kari of realm pollgate"),
        (&["add", "kari"], "secret\n", 0, "kari: added\n"),
        (&["add", r"DOMAIN\alan"], "secret", 0, "DOMAIN\\alan: added\n"),
        (&["list"], "", 0, "DOMAIN\\alan  MD5, SHA-256\nkari  MD5, SHA-256\n"),
        (&["add", "kari", "--json"], "another\r\n", 0, "\"done\":\"password changed\""),
        (&["add", "kari", "--realm", "other"], "third\n", 0, "kari: added\n"),
        (
            &["list", "--json"],
            "",
            0,
            "\"users\":[{\"algorithms\":[\"MD5\",\"SHA-256\"],\"name\":\"DOMAIN\\\\alan\"}",
        ),
        (&["remove", r"DOMAIN\alan"], "", 0, "DOMAIN\\alan: removed\n"),
        (&["remove", r"DOMAIN\alan"], "", 1, "there is no user"),
        (&["list"], "", 0, "kari  MD5, SHA-256\n"),
        (&["list", "--realm", "other"], "", 0, "kari  MD5, SHA-256\n"),
        (&["add", "kari"], "", 1, "an empty password is no password"),
        (&["add", "kari"], "\n", 1, "an empty password is no password"),
        (&["add", "kari"], "a\tb\n", 1, "no control characters"),
        (&["add", "a:b"], "secret\n", 2, "no colon"),
        (&["add", "a\nb"], "secret\n", 2, "no control character"),
        (&["add", "#a"], "secret\n", 2, "must not begin with #"),
        (&["add", ""], "secret\n", 2, "it is empty"),
        (&["add", "a", "--realm", "a:b"], "secret\n", 2, "without a colon"),
        (&["add"], "secret\n", 2, "NAME"),
        (&[], "", 2, "Usage"),
    ] {
        let output = folder.user(arguments, stdin);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(code(&output), expected, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        for secret in ["secret", "another", "third"] {
            assert!(!said.contains(secret), "{arguments:?}: {said}");
        }
    }
    // Of md5sum and sha256sum of `kari:pollgate:another` and `kari:other:third`.
    assert_eq!(
        folder.text(),
        "kari:pollgate:7a37f1d3aecc24d0c3da53b0d7607d66\nkari:pollgate:2a84508e45981c843ed740976c8b2f3cc3f58928cdce464ed8df8d0c23bfc16e\nkari:other:664ea57e2c6cd07f957ecfd37eefbc9e\nkari:other:ccbc379fd4d30a8df12982570c2658e5d82782a3ae5b8bc8476420282bd4fea7\n"
    );
    let files = std::fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(files, 1, "nothing else is left");
}

#[test]
fn the_configuration_names_file_and_realm() {
    let folder = Folder::new();
    let config = folder.0.path().join("pollgate.toml");
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    let user = |arguments: &[&str]| {
        run(&mut pollgate(&[&["-c", config.to_str().unwrap(), "user"], arguments].concat()), "secret\n")
    };
    write("");
    let output = user(&["add", "kari"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("Set auth.users_file in the configuration, or give --file"));

    let auth = format!("[auth]\nmode = 'digest'\nrealm = 'im'\nusers_file = '{}'\n", folder.file().display());
    write(&auth);
    // The file is not there yet, which is an error for everybody else.
    let check = run(&mut pollgate(&["-c", config.to_str().unwrap(), "check-config"]), "");
    assert_eq!(code(&check), 2);
    assert!(text(&check.stderr).contains("pollgate.toml:4: auth.users_file: "), "{}", text(&check.stderr));
    let serve = run(&mut pollgate(&["-c", config.to_str().unwrap(), "serve"]), "");
    assert_eq!(code(&serve), 2, "{}", text(&serve.stderr));

    let output = user(&["add", "kari"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(folder.text().starts_with("kari:im:"));
    assert_eq!(code(&run(&mut pollgate(&["-c", config.to_str().unwrap(), "check-config"]), "")), 0);

    write("[auth]\nmode = 'loud'\n");
    assert_eq!(code(&user(&["list"])), 2);
}

#[test]
fn malformed_lines_are_named() {
    let folder = Folder::new();
    folder.add("kari");
    std::fs::write(folder.file(), format!("# users\n{}nonsense\n", folder.text())).unwrap();
    let output = folder.user(&["list"], "");
    assert_eq!((code(&output), text(&output.stdout)), (0, "kari  MD5, SHA-256\n".into()));
    assert!(text(&output.stderr).ends_with("users:4: this line is malformed\n"), "{}", text(&output.stderr));
}

/// A gateway that asks for the credentials of this file, and a mailbox.
struct Stage {
    running: Running,
    /// The path of the mailbox.
    path: String,
}

impl Stage {
    async fn new(users: &Path, algorithms: &[Algorithm], principal: &str) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::default();
        config.listen.public = vec![any];
        (config.listen.callback, config.listen.admin) = (any, any);
        config.upstreams[0].address = upstream.local_addr().unwrap().to_string();
        config.callback.url = "http://127.0.0.1:0".to_owned();
        config.store.kind = StoreKind::Memory;
        config.auth.mode = AuthMode::DigestAndCapability;
        config.auth.users_file = Some(users.to_owned());
        config.auth.algorithms = algorithms.to_vec();
        let listeners = Listeners::bind(&config.listen).unwrap();
        let running = app::start(config, listeners).unwrap();
        let mut client = TcpStream::connect(running.public_address()).await.unwrap();
        let subscribe = format!(
            "SUBSCRIBE /instmsg/aliases/{principal} HTTP/1.1\r\nHost: h\r\nCall-Back: http://10.1.2.3:4\r\n\
             Connection: close\r\n\r\n"
        );
        client.write_all(subscribe.as_bytes()).await.unwrap();
        let (mut server, _) = upstream.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = server.read(&mut request).await.unwrap();
        server
            .write_all(b"HTTP/1.1 200 OK\r\nSubscription-Id: 1\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Content-Location: http://h"));
        let path = location.unwrap_or_else(|| panic!("{answer}")).to_owned();
        Self { running, path }
    }

    fn url(&self) -> String {
        format!("http://{}{}", self.running.public_address(), self.path)
    }

    /// What the program says, and how it ends; `None`, and why, if it is not there.
    async fn client(&self, program: &str, arguments: Vec<String>) -> Option<(String, bool)> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await {
            Ok(Ok(output)) => {
                // Programs of others write what they like.
                let said = [output.stdout, output.stderr].concat();
                Some((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
            }
            Ok(Err(error)) => {
                eprintln!("skipped: {program}: {error}");
                None
            }
            Err(_) => panic!("{program} does not end"),
        }
    }
}

/// Name in the file, and the principal that it is.
const USERS: [(&str, &str); 3] = [("kari", "kari"), (r"DOMAIN\alan", "Alan"), ("jörg", "j%C3%B6rg")];

const BOTH: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

fn users() -> Folder {
    let folder = Folder::new();
    for (user, _) in USERS {
        folder.add(user);
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    let folder = users();
    for algorithms in [&BOTH[..], &BOTH[..1], &BOTH[1..]] {
        for (user, principal) in USERS {
            let stage = Stage::new(&folder.file(), algorithms, principal).await;
            for (password, status) in [(PASSWORD, "204"), ("wrong", "401")] {
                let credentials = format!("{user}:{password}");
                let url = stage.url();
                let arguments = [
                    "-svo",
                    "/dev/null",
                    "-w",
                    "%{http_code}\n",
                    "--digest",
                    "-u",
                    &credentials,
                    "-X",
                    "POLL",
                ];
                let arguments =
                    arguments.into_iter().chain(["-H", "Prefer: wait=0", &url]).map(str::to_owned);
                let Some((said, _)) = stage.client("curl", arguments.collect()).await else { return };
                assert!(said.starts_with(&format!("{status}\n")), "{user} {algorithms:?}: {said}");
                if status == "204" {
                    assert!(said.contains(&format!("algorithm={}", algorithms[0].name())), "{said}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_requests() {
    let script = r#"
import sys
try:
    import requests
except ImportError as error:
    sys.exit("skipped: " + str(error))
from requests.auth import HTTPDigestAuth
url, user, password, status = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.auth = HTTPDigestAuth(user.encode() if not user.isascii() else user, password)
for _ in range(2):
    answer = session.request("POLL", url, headers={"Prefer": "wait=0"}, timeout=20)
    assert answer.status_code == int(status), (answer.status_code, answer.headers, answer.request.headers)
print("done")
"#;
    let folder = users();
    for algorithms in [&BOTH[..], &BOTH[..1], &BOTH[1..]] {
        for (user, principal) in USERS.into_iter().filter(|(user, _)| user.is_ascii()) {
            let stage = Stage::new(&folder.file(), algorithms, principal).await;
            for (password, status) in [(PASSWORD, "204"), ("wrong", "401")] {
                let arguments = ["-c", script, &stage.url(), user, password, status].map(str::to_owned);
                let Some((said, _)) = stage.client("python3", arguments.into()).await else { return };
                if said.contains("skipped: ") {
                    return eprintln!("{said}");
                }
                assert_eq!(said.trim_end(), "done", "{user} {algorithms:?}");
            }
        }
    }
}

/// Knows only MD5, and takes it from whatever is offered.
#[tokio::test(flavor = "multi_thread")]
async fn wget() {
    let folder = users();
    for ((user, principal), algorithms) in USERS.into_iter().zip([&BOTH[..], &BOTH[1..], &BOTH[..]]) {
        let stage = Stage::new(&folder.file(), algorithms, principal).await;
        for (password, well) in [(PASSWORD, true), ("wrong", false)] {
            let arguments = [
                "-S",
                "-O",
                "-",
                "-t",
                "1",
                "--no-proxy",
                "--header=Prefer: wait=0",
                &format!("--user={user}"),
                &format!("--password={password}"),
                &stage.url(),
            ];
            let Some((said, _)) = stage.client("wget", arguments.map(str::to_owned).into()).await else {
                return;
            };
            assert_eq!(said.contains("HTTP/1.1 204 No Content"), well, "{user}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client() {
    let folder = users();
    for (user, principal) in USERS {
        let stage = Stage::new(&folder.file(), &BOTH, principal).await;
        for (password, expected) in [(PASSWORD, 0), ("wrong", 1)] {
            let mut command = pollgate(&["poll", "--wait", "0", "--user", user, &stage.url()]);
            command.env("POLLGATE_PASSWORD", password);
            let output = tokio::task::spawn_blocking(move || run(&mut command, "")).await.unwrap();
            assert_eq!(code(&output), expected, "{user}: {}", text(&output.stderr));
        }
    }
}

/// The password is asked for twice where there is a terminal, and is not seen on it.
#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    let folder = Folder::new();
    let (file, program) = (folder.file(), env!("CARGO_BIN_EXE_pollgate"));
    let terminal = folder.0.path().join("terminal");
    for (second, says) in [(PASSWORD, "kari: added"), ("something else", "that was not the same")] {
        let ask =
            format!("tty > {}; exec {program} user add kari --file {}", terminal.display(), file.display());
        // From util-linux: gives a program a terminal.
        let process = Command::new("script")
            .args(["-qec", &ask, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) => return eprintln!("skipped: script: {error}"),
        };
        let mut stdin = process.stdin.take().unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let mut said = String::new();
        for (prompt, answer) in [("New password of kari: ", PASSWORD), ("Again: ", second)] {
            let mut byte = [0];
            while !said.ends_with(prompt) && stdout.read(&mut byte).unwrap() > 0 {
                said.push(char::from(byte[0]));
            }
            wait_until_silent(std::fs::read_to_string(&terminal).unwrap().trim());
            stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        stdout.read_to_string(&mut said).unwrap();
        process.wait().unwrap();
        assert!(said.contains(says), "{said}");
        assert!(!said.contains(PASSWORD) && !said.contains(second), "{said}");
    }
}

/// Until the terminal shows nothing of what is typed.
fn wait_until_silent(terminal: &str) {
    for _ in 0..2000 {
        let settings = Command::new("stty").args(["-F", terminal, "-a"]).output().unwrap();
        if text(&settings.stdout).contains(" -echo ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{terminal} still shows what is typed");
}
