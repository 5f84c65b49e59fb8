//! `pollgate poll`, the binary, against a gateway in this process and the demo's server behind it.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pollgate::app::{self, Listeners, Running};
use pollgate::config::{Config, Listen, StoreKind};
use pollgate::demo::bodies;
use pollgate::demo::rvp_server::RvpServer;
use pollgate::http1::client::{Answer, Call, call, connect};
use pollgate::http1::{Headers, accept};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(20);
const KARI: &str = "http://h/instmsg/aliases/kari";
const ALAN: &str = "http://h/instmsg/aliases/alan";

struct Stage {
    running: Running,
    server: RvpServer,
    /// The mailbox's URL.
    url: String,
}

impl Stage {
    async fn new() -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let server =
            RvpServer::start(accept::bind(any).unwrap(), &["kari", "alan"], Arc::new(|_| ())).unwrap();
        let mut config = Config {
            listen: Listen { public: vec![any], callback: any, admin: any, ..Listen::default() },
            ..Config::default()
        };
        config.upstreams[0].address = server.address().to_string();
        config.callback.url = "http://127.0.0.1:0".to_owned();
        config.store.kind = StoreKind::Memory;
        let listeners = Listeners::bind(&config.listen).unwrap();
        let running = app::start(config, listeners).unwrap();
        let gateway = running.public_address().to_string();
        let request = Call::new("SUBSCRIBE", "/instmsg/aliases/kari")
            .with("Notification-Type", "pragma/notify")
            .with("Call-Back", "http://10.1.2.3:4");
        let answer = ask(&gateway, request, "").await;
        let location = answer.head.fields.text("content-location").unwrap();
        let url = location.replace("http://h/", &format!("http://{gateway}/"));
        Self { running, server, url }
    }

    async fn says(&self, text: &str) {
        let request = Call::new("NOTIFY", "/instmsg/aliases/kari").with("RVP-From-Principal", ALAN);
        let body = bodies::instant_message(ALAN, KARI, text);
        let answer = ask(&self.server.address().to_string(), request, &body).await;
        assert_eq!(answer.head.status, 200);
    }

    fn poll(&self, arguments: &[&str]) -> Child {
        poll(&self.url, arguments)
    }

    fn buffered(&self) -> u64 {
        self.running.gateway().store.totals().messages
    }

    async fn until_a_poll_is_held(&self) {
        while self.running.gateway().metrics.held_polls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn poll(url: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollgate"));
    command.arg("poll").arg(url).args(arguments).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ask(address: &str, request: Call, body: &str) -> Answer {
    let mut connection = connect(address, PATIENCE).await.unwrap();
    let request = request.with("Host", "h").with("Content-Length", body.len());
    call(&mut connection, request, body.as_bytes(), 1 << 20, PATIENCE).await.unwrap()
}

/// Exit code, stdout, stderr.
async fn ended(child: Child) -> (i32, String, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_printed_and_acknowledged() {
    let stage = Stage::new().await;
    stage.says("Lunch?").await;
    stage.says("Now \u{1b}[31m!").await;
    let (code, out, err) = ended(stage.poll(&[])).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.matches("  message  NOTIFY http://10.1.2.3:4  #").count(), 2, "{out}");
    assert!(out.contains("RVP-From-Principal: http://h/instmsg/aliases/alan"), "{out}");
    assert!(out.contains("Lunch?") && out.contains("Now \\u{1b}[31m!"), "{out}");
    assert_eq!(stage.buffered(), 0, "acknowledged");
    let (code, out, _) = ended(stage.poll(&["--wait", "0"])).await;
    assert_eq!((code, out.as_str()), (0, ""), "nothing came, and that is fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_prints_what_arrives_as_json() {
    let stage = Stage::new().await;
    let child = stage.poll(&["--json", "--wait", "5m"]);
    stage.until_a_poll_is_held().await;
    stage.says("Lunch?").await;
    let (code, out, err) = ended(child).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let message: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
    assert_eq!(message["class"], "message");
    assert!(message["body"].as_str().unwrap().contains("Lunch?"));
    assert_eq!(stage.buffered(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_until_it_is_told_to_stop() {
    let stage = Stage::new().await;
    let mut child = stage.poll(&["--json", "--follow"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["one", "two", "three"] {
        stage.until_a_poll_is_held().await;
        stage.says(text).await;
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(text), "{line}");
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(ended(child).await.0, 0);
    assert_eq!(stage.buffered(), 0, "the last one was acknowledged too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it() {
    let stage = Stage::new().await;
    stage.says("one").await;
    let mut child = stage.poll(&["--follow"]);
    drop(child.stdout.take());
    let (code, _, err) = ended(child).await;
    assert_eq!((code, err.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_mailbox_is_said() {
    let stage = Stage::new().await;
    let mut child = stage.poll(&["--follow"]);
    stage.until_a_poll_is_held().await;
    let request = Call::new("UNSUBSCRIBE", "/instmsg/aliases/kari").with("Subscription-Id", 1);
    let answer = ask(&stage.running.public_address().to_string(), request, "").await;
    assert_eq!(answer.head.status, 200);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!(ended(child).await.0, 1);
    assert!(err.contains("no such mailbox, or it has ended"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there() {
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/.pollgate/0a", nobody.local_addr().unwrap());
    let (code, out, err) = ended(poll(&url, &[])).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("Connection refused"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage() {
    for (url, arguments, says) in [
        ("ftp://h/a", &[][..], "only http and https"),
        ("http://h/", &[], "no path"),
        ("nonsense", &[], "not a URL"),
        ("http://u:p@h/a", &[], "--user"),
        ("http://h/a", &["--wait", "soon"], "--wait"),
        ("http://h/a", &["--wait", "2d"], "longer than a day"),
    ] {
        let (code, _, err) = ended(poll(url, arguments)).await;
        assert_eq!(code, 2, "{url} {arguments:?}");
        assert!(err.contains(says), "{err}");
    }
}
