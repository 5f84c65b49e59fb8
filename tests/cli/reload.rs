//! `pollgate serve` follows its file: on SIGHUP, on request, and by itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::Value;

use super::support::{Serving, exchange, pollgate, sample};

/// A gateway in a process of its own, with a file.
struct WithFile {
    serving: Serving,
    file: PathBuf,
    folder: tempfile::TempDir,
}

const BASE: &str = "[listen]\npublic = [\"127.0.0.1:0\"]\ncallback = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                    [store]\nkind = \"memory\"\n[log]\nformat = \"json\"\n";

impl WithFile {
    /// It reads `pollgate.toml` in this folder.
    fn start(folder: tempfile::TempDir) -> Self {
        let file = folder.path().join("pollgate.toml");
        let mut command = pollgate(&["serve", "--config", file.to_str().unwrap()]);
        // Whatever holds up one of them is seen at once.
        let serving = Serving::start(command.env("TOKIO_WORKER_THREADS", "1"));
        Self { serving, file, folder }
    }

    fn write(&self, more: &str) {
        std::fs::write(&self.file, format!("{BASE}{more}")).unwrap();
    }

    fn says(&mut self, message: &str) -> Value {
        self.serving.says(message)
    }

    /// The head and the body of the answer.
    fn ask(&self, method: &str, path: &str) -> (String, String) {
        ask(self.serving.address("admin"), method, path)
    }

    fn metric(&self, name: &str) -> f64 {
        sample(&self.ask("GET", "/metrics").1, name)
    }
}

/// The head and the body of the answer, which must not be long in coming.
fn ask(admin: &str, method: &str, path: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = exchange(admin, &request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pollgate.toml"), BASE).unwrap();
    folder
}

#[test]
fn a_request_reloads_and_says_what_came_of_it() {
    let gateway = WithFile::start(folder());
    let started = gateway.metric("pollgate_config_reload_success_timestamp_seconds");
    assert!(started > 1_700_000_000.0);

    gateway.write("level = \"debug\"\n[polling]\npoll_msg_limit = 5\n[admin]\ntoken_file = \"\"\n");
    let (head, body) = gateway.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let report: Value = serde_json::from_str(&body).unwrap();
    // Unless the file's change was noticed before.
    let changed = report["changed"].as_array().unwrap().len();
    assert!(changed == 2 || changed == 0, "{report}");

    gateway.write("level = \"loud\"\n[polling]\npoll_msg_limit = 6\nnonsense = 1\n");
    let (head, body) = gateway.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 422") && head.contains("application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("pollgate.toml:9: log.level: must be"), "{detail}");
    assert!(detail.contains("pollgate.toml:12: polling.nonsense: is not a key of"), "{detail}");
    assert_eq!(gateway.metric("pollgate_config_reload_success"), 0.0);
    assert!(gateway.metric("pollgate_config_reload_success_timestamp_seconds") >= started);

    assert!(gateway.ask("GET", "/-/reload").0.starts_with("HTTP/1.1 405"));
    gateway.write("[listen.nonsense]\n");
    gateway.write("");
    assert!(gateway.ask("POST", "/-/reload").0.starts_with("HTTP/1.1 200"));
    assert_eq!(gateway.metric("pollgate_config_reload_success"), 1.0);
}

#[test]
fn sighup_reloads_and_the_level_of_the_log_follows() {
    let mut gateway = WithFile::start(folder());
    gateway.serving.signal("-HUP");
    let again = gateway.says("configuration read again");
    assert_eq!((&again["by"], &again["changed"]), (&"SIGHUP".into(), &"".into()));

    std::fs::write(&gateway.file, BASE.replace("[store]", "[store]\nmax_mailboxes = 3")).unwrap();
    gateway.serving.signal("-HUP");
    assert_eq!(gateway.says("wait for a restart")["settings"], "store");
    gateway.write("level = \"nonsense\"\n");
    gateway.serving.signal("-HUP");
    let problem = gateway.says("log.level: must be");
    assert_eq!(problem["level"], "ERROR");
    gateway.says("the running one stays");
    gateway.write("level = \"error\"\n");
    let (head, _) = gateway.ask("POST", "/-/reload");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // It is silent from now on, to its end.
    let rest = gateway.serving.stop();
    assert!(!rest.iter().any(|line| line.contains("stopped")), "{rest:?}");
}

#[test]
fn a_change_of_the_file_is_noticed() {
    let mut gateway = WithFile::start(folder());
    gateway.write("level = \"debug\"\n");
    let noticed = gateway.says("configuration read again");
    assert_eq!((&noticed["by"], &noticed["changed"]), (&"a change of the file".into(), &"log".into()));

    // As editors do it: another file in its place.
    let next = gateway.folder.path().join("next");
    std::fs::write(&next, format!("{BASE}[polling]\npoll_msg_limit = 7\n")).unwrap();
    std::fs::rename(&next, &gateway.file).unwrap();
    assert_eq!(gateway.says("configuration read again")["changed"], "polling, log");

    gateway.write("nonsense\n");
    gateway.says("is not TOML");
    gateway.write("");
    gateway.says("configuration read again");
}

#[test]
fn nobody_waits_while_a_large_page_is_cleared() {
    let gateway = WithFile::start(folder());
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.serving.process.id())).unwrap();
    // Older kernels do not say.
    let enabled = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(enabled.unwrap_or("0").trim(), "0");
}

#[test]
fn nobody_waits_while_a_file_is_slow_to_read() {
    let gateway = WithFile::start(folder());
    let users = gateway.folder.path().join("users");
    // Who opens it to read waits until somebody opens it to write, and then for what is written.
    rustix::fs::mkfifoat(rustix::fs::CWD, &users, rustix::fs::Mode::RWXU).unwrap();
    gateway.write(&format!("[auth]\nmode = \"digest\"\nusers_file = '{}'\n", users.display()));
    let admin = gateway.serving.address("admin").to_owned();
    let reload = std::thread::spawn(move || ask(&admin, "POST", "/-/reload"));
    let mut slow = std::fs::File::options().write(true).open(&users).unwrap();
    // It is being read now.
    assert!(gateway.ask("GET", "/healthz").0.starts_with("HTTP/1.1 200"));
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
    let mut gateway = WithFile::start(folder);
    publish("..2", &format!("{BASE}[polling]\npoll_msg_limit = 7\n"));
    assert_eq!(gateway.says("configuration read again")["changed"], "polling");
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
    let mut gateway = WithFile::start(folder);
    write("/other");
    assert_eq!(gateway.says("configuration read again")["changed"], "upstream");
    write("hooks");
    let problem = gateway.says("rules.toml:2: registration.path: must be a path");
    assert_eq!(problem["level"], "ERROR");
    gateway.says("the running one stays");
}
