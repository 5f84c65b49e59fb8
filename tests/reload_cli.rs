//! `pollgate serve` follows its file: on SIGHUP, on request, and by itself.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway in a process of its own, with a file; killed when dropped.
struct Serving {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    admin: String,
    file: PathBuf,
    folder: tempfile::TempDir,
}

const BASE: &str = "[listen]\npublic = [\"127.0.0.1:0\"]\ncallback = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                    [store]\nkind = \"memory\"\n[log]\nformat = \"json\"\n";

impl Serving {
    /// It reads `pollgate.toml` in this folder.
    fn start(folder: tempfile::TempDir) -> Self {
        let file = folder.path().join("pollgate.toml");
        let mut process = Command::new(env!("CARGO_BIN_EXE_pollgate"))
            .args(["serve", "--config", file.to_str().unwrap()])
            .env_clear()
            // Whatever holds up one of them is seen at once.
            .env("TOKIO_WORKER_THREADS", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let serving = line(&mut log, |line| line["public"].is_string());
        let admin = serving["admin"].as_str().unwrap().to_owned();
        Self { process, log, admin, file, folder }
    }

    fn write(&self, more: &str) {
        std::fs::write(&self.file, format!("{BASE}{more}")).unwrap();
    }

    /// The next line that says so; those before it are passed over.
    fn says(&mut self, message: &str) -> Value {
        line(&mut self.log, |line| line["message"].as_str().is_some_and(|text| text.contains(message)))
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The head and the body of the answer.
    fn ask(&self, method: &str, path: &str) -> (String, String) {
        ask(&self.admin, method, path)
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, metrics) = self.ask("GET", "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The head and the body of the answer, which must not be long in coming.
fn ask(admin: &str, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn line(log: &mut Lines<BufReader<ChildStderr>>, wanted: impl Fn(&Value) -> bool) -> Value {
    log.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).find(|line| wanted(line)).expect("a line")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pollgate.toml"), BASE).unwrap();
    folder
}

#[test]
fn a_request_reloads_and_says_what_came_of_it() {
    let serving = Serving::start(folder());
    let started = serving.metric("pollgate_config_reload_success_timestamp_seconds");
    assert!(started > 1_700_000_000.0);

    serving.write("level = \"debug\"\n[polling]\npoll_msg_limit = 5\n[admin]\ntoken_file = \"\"\n");
    let (head, body) = serving.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let report: Value = serde_json::from_str(&body).unwrap();
    // Unless the file's change was noticed before.
    let changed = report["changed"].as_array().unwrap().len();
    assert!(changed == 2 || changed == 0, "{report}");

    serving.write("level = \"loud\"\n[polling]\npoll_msg_limit = 6\nnonsense = 1\n");
    let (head, body) = serving.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 422") && head.contains("application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("pollgate.toml:9: log.level: must be"), "{detail}");
    assert!(detail.contains("pollgate.toml:12: polling.nonsense: is not a key of"), "{detail}");
    assert_eq!(serving.metric("pollgate_config_reload_success"), 0.0);
    assert!(serving.metric("pollgate_config_reload_success_timestamp_seconds") >= started);

    assert!(serving.ask("GET", "/-/reload").0.starts_with("HTTP/1.1 405"));
    serving.write("[listen.nonsense]\n");
    serving.write("");
    assert!(serving.ask("POST", "/-/reload").0.starts_with("HTTP/1.1 200"));
    assert_eq!(serving.metric("pollgate_config_reload_success"), 1.0);
}

#[test]
fn sighup_reloads_and_the_level_of_the_log_follows() {
    let mut serving = Serving::start(folder());
    serving.signal("-HUP");
    let again = serving.says("configuration read again");
    assert_eq!((&again["by"], &again["changed"]), (&"SIGHUP".into(), &"".into()));

    std::fs::write(&serving.file, BASE.replace("[store]", "[store]\nmax_mailboxes = 3")).unwrap();
    serving.signal("-HUP");
    assert_eq!(serving.says("wait for a restart")["settings"], "store");
    serving.write("level = \"nonsense\"\n");
    serving.signal("-HUP");
    let problem = serving.says("log.level: must be");
    assert_eq!(problem["level"], "ERROR");
    serving.says("the running one stays");
    serving.write("level = \"error\"\n");
    let (head, _) = serving.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // It is silent from now on, to its end.
    serving.signal("-TERM");
    let rest: Vec<String> = serving.log.by_ref().map(Result::unwrap).collect();
    assert!(!rest.iter().any(|line| line.contains("stopped")), "{rest:?}");
}

#[test]
fn a_change_of_the_file_is_noticed() {
    let mut serving = Serving::start(folder());
    serving.write("level = \"debug\"\n");
    let noticed = serving.says("configuration read again");
    assert_eq!((&noticed["by"], &noticed["changed"]), (&"a change of the file".into(), &"log".into()));

    // As editors do it: another file in its place.
    let next = serving.folder.path().join("next");
    std::fs::write(&next, format!("{BASE}[polling]\npoll_msg_limit = 7\n")).unwrap();
    std::fs::rename(&next, &serving.file).unwrap();
    assert_eq!(serving.says("configuration read again")["changed"], "polling, log");

    serving.write("nonsense\n");
    serving.says("is not TOML");
    serving.write("");
    serving.says("configuration read again");
}

#[test]
fn nobody_waits_while_a_large_page_is_cleared() {
    let serving = Serving::start(folder());
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.process.id())).unwrap();
    // Older kernels do not say.
    let enabled = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(enabled.unwrap_or("0").trim(), "0");
}

#[test]
fn nobody_waits_while_a_file_is_slow_to_read() {
    let serving = Serving::start(folder());
    let users = serving.folder.path().join("users");
    // Who opens it to read waits until somebody opens it to write, and then for what is written.
    rustix::fs::mkfifoat(rustix::fs::CWD, &users, rustix::fs::Mode::RWXU).unwrap();
    serving.write(&format!("[auth]\nmode = \"digest\"\nusers_file = '{}'\n", users.display()));
    let admin = serving.admin.clone();
    let reload = std::thread::spawn(move || ask(&admin, "POST", "/-/reload"));
    let mut slow = std::fs::File::options().write(true).open(&users).unwrap();
    // It is being read now.
    assert!(serving.ask("GET", "/healthz").0.starts_with("HTTP/1.1 200"));
    assert!(!reload.is_finished());
    slow.write_all(b"\n").unwrap();
    drop(slow);
    // It is read more than once: by who asked, and by who saw the file change. Whoever has read enough closes it
    // at any moment, which is no reason to leave the next one waiting.
    let answered = Arc::new(AtomicBool::new(false));
    let done = answered.clone();
    std::thread::spawn(move || {
        while !done.load(Relaxed) {
            let _ = std::fs::write(&users, "\n");
        }
    });
    let (head, body) = reload.join().unwrap();
    answered.store(true, Relaxed);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
}

#[test]
fn a_link_that_leads_elsewhere_is_noticed() {
    // As Kubernetes does it: the file is a link into a folder that is a link, and that one is replaced.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let publish = |version: &str, text: &str| {
        std::fs::create_dir(path.join(version)).unwrap();
        std::fs::write(path.join(version).join("pollgate.toml"), text).unwrap();
        link(version, &path.join("..data_tmp"));
        std::fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    publish("..1", BASE);
    link("..data/pollgate.toml", &path.join("pollgate.toml"));
    let mut serving = Serving::start(folder);
    publish("..2", &format!("{BASE}[polling]\npoll_msg_limit = 7\n"));
    assert_eq!(serving.says("configuration read again")["changed"], "polling");
}

fn link(target: impl AsRef<Path>, at: &Path) {
    std::os::unix::fs::symlink(target, at).unwrap();
}

#[test]
fn the_rules_of_a_webhook_are_followed_like_the_file_that_names_them() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rules = elsewhere.path().join("rules.toml");
    let write = |path: &str| {
        std::fs::write(&rules, format!("[registration]\npath = '{path}'\ncallback = ['json:/url']\n"))
            .unwrap();
    };
    write("/hooks");
    let upstream = format!("[upstream]\ndialect = 'webhook'\nwebhook = '{}'\n", rules.display());
    std::fs::write(folder.path().join("pollgate.toml"), format!("{BASE}{upstream}")).unwrap();
    let mut serving = Serving::start(folder);
    write("/other");
    assert_eq!(serving.says("configuration read again")["changed"], "upstream");
    write("hooks");
    let problem = serving.says("rules.toml:2: registration.path: must be a path");
    assert_eq!(problem["level"], "ERROR");
    serving.says("the running one stays");
}
