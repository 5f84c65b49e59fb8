//! `pollgate doctor`, as an administrator runs it: what it says of a machine that is well, of some that are not, and
//! that it leaves nothing behind.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use pollgate::demo::rvp_server::{RvpServer, USERS};
use pollgate::http1::client::{Call, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Headers, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::support::{PATIENCE, Serving, pollgate, sample, signal};

/// A machine: its settings, and the store's directory.
struct Machine {
    state: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Machine {
    /// Whose upstream is here; all else is well.
    fn with_upstream(upstream: impl ToString) -> Self {
        let state = tempfile::tempdir().unwrap();
        let anywhere = || "127.0.0.1:0".to_owned();
        let settings = vec![
            ("POLLGATE_UPSTREAM_ADDRESS", upstream.to_string()),
            ("POLLGATE_LISTEN_PUBLIC", anywhere()),
            ("POLLGATE_LISTEN_CALLBACK", anywhere()),
            ("POLLGATE_LISTEN_ADMIN", anywhere()),
            ("POLLGATE_STORE_PATH", state.path().display().to_string()),
            // However full the disk is on which this runs, and however few descriptors there are.
            ("POLLGATE_STORE_MIN_FREE_BYTES", "0".to_owned()),
            ("POLLGATE_STORE_MAX_BUFFERED_BYTES", "1MiB".to_owned()),
            ("POLLGATE_LIMITS_CONNECTIONS", "16".to_owned()),
        ];
        Self { state, settings }
    }

    fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.retain(|(other, _)| *other != key);
        self.settings.push((key, value.to_string()));
        self
    }

    /// The upstream calls back where nobody listens.
    fn called_in_vain(self) -> Self {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        self.set("POLLGATE_CALLBACK_URL", format!("http://{nobody}"))
    }

    fn pollgate(&self, arguments: &[&str]) -> Command {
        let mut command = pollgate(arguments);
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    fn serve(&self) -> Serving {
        Serving::start(&mut self.pollgate(&["serve", "--log-format", "json"]))
    }

    fn doctor(&self, arguments: &[&str]) -> Report {
        let arguments = [&["doctor", "--json"], arguments].concat();
        Report::of(&self.pollgate(&arguments).output().unwrap())
    }
}

/// What `doctor --json` found.
struct Report {
    code: i32,
    findings: Vec<Value>,
}

impl Report {
    fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        let findings = report["findings"].as_array().unwrap().clone();
        let failed = findings.iter().filter(|finding| finding["level"] == "fail").count();
        assert_eq!(report["failed"], failed);
        Self { code: output.status.code().unwrap(), findings }
    }

    /// That this was found, and, unless it is well, what to do.
    fn has(&self, level: &str, area: &str, words: &str) {
        let found = self.findings.iter().find(|finding| {
            finding["level"] == level
                && finding["area"] == area
                && finding["seen"].as_str().unwrap().contains(words)
        });
        let found = found.unwrap_or_else(|| panic!("no {level} {area} {words:?} in {:#?}", self.findings));
        assert!(level == "ok" || found["advice"].is_string(), "{found}");
    }

    /// That nothing else failed than what is in these areas.
    fn failed_in(&self, areas: &[&str], code: i32) {
        let failed = self.findings.iter().filter(|finding| finding["level"] == "fail");
        let failed: Vec<&str> = failed.map(|finding| finding["area"].as_str().unwrap()).collect();
        assert_eq!((failed.as_slice(), self.code), (areas, code), "{:#?}", self.findings);
    }
}

/// The demo's legacy server, which knows kari.
fn legacy_server() -> RvpServer {
    let listener = accept::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    RvpServer::start(listener, &["kari"], Arc::new(|_| ())).unwrap()
}

fn kari() -> String {
    format!("{USERS}kari")
}

async fn ask(address: &str, request: Call) -> (u16, String) {
    let mut connection = connect(address, PATIENCE).await.unwrap();
    let request = request.with("Host", address).with("Connection", "close");
    let answer = call(&mut connection, request, b"", 1 << 20, PATIENCE).await.unwrap();
    (answer.head.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// The subscriptions that the legacy server has of kari.
async fn subscriptions(server: &RvpServer) -> usize {
    let (status, text) = ask(&server.address().to_string(), Call::new("SUBSCRIPTIONS", &kari())).await;
    assert_eq!(status, 200, "{text}");
    text.matches("<r:subscription-id>").count()
}

fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_well() {
    let server = legacy_server();
    let machine = Machine::with_upstream(server.address());
    let report = machine.doctor(&["--subscribe", &kari()]);
    report.failed_in(&[], 0);
    for (area, words) in [
        ("configuration", "is valid"),
        ("user", "looked as"),
        ("listeners", "listen.public 127.0.0.1:0 is free"),
        ("listeners", "listen.callback"),
        ("listeners", "listen.admin"),
        ("upstream", "answered OPTIONS * with 404"),
        ("clock", "agree to within"),
        ("callback", "lets the upstream deliver"),
        ("descriptors", "of limits.connections"),
        ("disk", "callbacks a second"),
        ("store", "the first start makes it"),
        ("subscription", "arrived at listen.callback, from 127.0.0.1"),
    ] {
        report.has("ok", area, words);
    }
    assert_eq!(subscriptions(&server).await, 0);
    assert_eq!(files_in(machine.state.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_what_was_seen_and_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = Machine::with_upstream(nobody).pollgate(&["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("fail")).unwrap();
    let start = format!("fail  upstream       {nobody}: cannot connect: Connection refused");
    assert!(line.starts_with(&start) && line.contains(". See whether the server runs"), "{line}");
    let skipped = text.lines().find(|line| line.starts_with("skip  subscription"));
    assert!(skipped.is_some_and(|line| line.contains("--subscribe PATH")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_program_has() {
    let server = legacy_server();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let machine = Machine::with_upstream(server.address()).set("POLLGATE_LISTEN_CALLBACK", address);
    let report = machine.doctor(&["--subscribe", &kari()]);
    report.failed_in(&["listeners"], 1);
    report.has("fail", "listeners", &format!("listen.callback {address} is held by another program"));
    report.has("skip", "subscription", "cannot be listened at");
    assert_eq!(subscriptions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_do_not_arrive() {
    let server = legacy_server();
    let machine = Machine::with_upstream(server.address()).called_in_vain();
    let report = machine.doctor(&["--wait", "1", "--subscribe", &kari()]);
    report.failed_in(&["subscription"], 1);
    report.has(
        "fail",
        "subscription",
        "within 1s; the message that it was to call back for was answered 502",
    );
    assert_eq!(subscriptions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_it_leaves_no_subscription() {
    let server = legacy_server();
    let machine = Machine::with_upstream(server.address()).called_in_vain();
    let doctor = machine.pollgate(&["doctor", "--json", "--wait", "600", "--subscribe", &kari()]);
    let mut doctor = tokio::process::Command::from(doctor);
    doctor.kill_on_drop(true);
    let doctor = doctor.spawn().unwrap();
    let start = pollgate::clock::instant();
    while subscriptions(&server).await == 0 {
        assert!(start.elapsed() < PATIENCE, "waited in vain for a subscription");
    }
    signal(doctor.id().unwrap(), "-INT");
    let report = Report::of(&timeout(PATIENCE, doctor.wait_with_output()).await.unwrap().unwrap());
    report.failed_in(&[], 0);
    report.has("skip", "subscription", "it was interrupted");
    assert_eq!(subscriptions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_are_not_let_in() {
    let server = legacy_server();
    let machine = Machine::with_upstream(server.address()).set("POLLGATE_CALLBACK_ALLOW", "::1");
    let report = machine.doctor(&["--subscribe", &kari()]);
    report.failed_in(&["callback", "subscription"], 1);
    report.has("fail", "callback", "callback.allow does not have 127.0.0.1");
    report.has("fail", "subscription", "came from 127.0.0.1, which callback.allow does not have");
    assert_eq!(subscriptions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_exist() {
    let server = legacy_server();
    let report = Machine::with_upstream(server.address()).doctor(&["--subscribe", "/nowhere"]);
    report.failed_in(&[], 0);
    report.has("warn", "subscription", "a subscription to /nowhere was answered 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written() {
    let server = legacy_server();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("state").display().to_string();
    let report = Machine::with_upstream(server.address()).set("POLLGATE_STORE_PATH", &path).doctor(&[]);
    assert_eq!(report.code, 1);
    report.has("fail", "disk", &format!("store.path {path} cannot be written"));
    report.has("fail", "store", &format!("cannot use the directory {path}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_files_that_settings_name() {
    let server = legacy_server();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let missing = folder.path().join("users");
    let machine = Machine::with_upstream(server.address())
        .set("POLLGATE_ADMIN_TOKEN_FILE", token.display())
        .set("POLLGATE_AUTH_MODE", "digest")
        .set("POLLGATE_AUTH_USERS_FILE", missing.display());
    let report = machine.doctor(&[]);
    // Not valid, and all else is looked at nevertheless.
    report.failed_in(&["configuration", "files"], 2);
    report.has("warn", "files", "can be read by everybody on this machine (mode 644)");
    report.has("ok", "upstream", "answered");
    std::fs::write(&missing, "").unwrap();
    let report = machine.doctor(&[]);
    report.failed_in(&[], 0);
    report.has("warn", "files", "has no user of the realm pollgate");
}

#[test]
fn a_configuration_that_is_none_ends_with_2() {
    let machine = Machine::with_upstream("127.0.0.1:1");
    let report = machine.doctor(&["-c", "/no/such/file.toml"]);
    report.failed_in(&["configuration"], 2);
    let output = machine.pollgate(&["doctor", "--subscribe", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("it must begin with /"));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_gateway() {
    let server = legacy_server();
    let machine = Machine::with_upstream(server.address());
    let gateway = machine.serve();
    let machine = machine
        .set("POLLGATE_LISTEN_PUBLIC", gateway.address("public"))
        .set("POLLGATE_LISTEN_CALLBACK", gateway.address("callback"))
        .set("POLLGATE_LISTEN_ADMIN", gateway.address("admin"));
    let report = machine.doctor(&["--subscribe", &kari()]);
    report.failed_in(&[], 0);
    for (area, words) in [
        ("listeners", "listen.callback 127.0.0.1:"),
        ("gateway", "it can do its work"),
        ("descriptors", "the running gateway's limit"),
        ("store", "in use by the running gateway"),
        ("subscription", "arrived through the running gateway"),
    ] {
        report.has("ok", area, words);
    }
    let held = report.findings.iter().filter(|finding| {
        finding["area"] == "listeners"
            && finding["seen"].as_str().unwrap().ends_with("held by the running gateway")
    });
    assert_eq!(held.count(), 3);
    // It was a client as any other, and left as one should.
    assert_eq!(subscriptions(&server).await, 0);
    let (_, metrics) = ask(gateway.address("admin"), Call::new("GET", "/metrics")).await;
    assert_eq!(sample(&metrics, "pollgate_mailboxes"), 0.0);
    assert_eq!(sample(&metrics, "pollgate_messages_acknowledged_total"), 1.0);
    // A gateway that listens elsewhere than it is set to now.
    let elsewhere = machine
        .set("POLLGATE_LISTEN_PUBLIC", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    elsewhere.doctor(&[]).has("warn", "listeners", "is free, while a gateway runs");
    drop(gateway);
    // Killed, it left a store that opens.
    elsewhere.doctor(&[]).has("ok", "store", "opens, in ");
}

/// A UPnP device that tells its first event at once, and remembers what it was asked.
struct Device {
    asked: Mutex<Vec<String>>,
}

impl Service for Device {
    async fn call(&self, request: Request) -> Response {
        let head = &request.head;
        self.asked.lock().unwrap().push(head.method().to_owned());
        let answer = Response::new(200).with("Server", "Linux/6 UPnP/1.0 Device/1");
        if head.method() != "SUBSCRIBE" {
            return answer;
        }
        let callback = head.fields.text("callback").unwrap().trim_matches(['<', '>']).to_owned();
        let (address, path) = callback.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let notify = Call::new("NOTIFY", &format!("/{path}")).with("SID", "uuid:7").with("Content-Length", 0);
        let (status, _) = ask(address, notify).await;
        assert_eq!(status, 200);
        answer.with("SID", "uuid:7").with("TIMEOUT", "Second-1800")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_calls_back_by_itself() {
    let device = Arc::new(Device { asked: Mutex::default() });
    let listener = accept::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (service, token) = (device.clone(), stop.clone());
    let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times: Times::CLIENT };
    let handle = move |stream, peer| {
        let (service, token) = (service.clone(), token.clone());
        async move { serve(Connection::new(stream), peer, &*service, || limits, token).await }
    };
    tokio::spawn(accept::accept(listener, stop.clone(), TaskTracker::new(), handle, || ()));
    let report = Machine::with_upstream(address).doctor(&["--subscribe", "/event"]);
    stop.cancel();
    report.failed_in(&[], 0);
    report.has("ok", "upstream", "(Linux/6 UPnP/1.0 Device/1)");
    report.has("ok", "subscription", "a callback for /event arrived");
    assert_eq!(*device.asked.lock().unwrap(), ["OPTIONS", "SUBSCRIBE", "UNSUBSCRIBE"]);
}
