//! `pollgate poll`, the binary, against a gateway in this process and the demo's server behind it.

use std::time::Duration;

use pollgate::http1::client::Call;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;

use super::support::{PATIENCE, Stage, ask, awaited, ended as ended_with, signal};

/// A gateway, and kari's mailbox there.
struct Polled {
    stage: Stage,
    url: String,
}

impl Polled {
    async fn new() -> Self {
        let stage = Stage::new();
        let url = stage.subscribes("kari").await;
        Self { stage, url }
    }

    async fn says(&self, text: &str) {
        self.stage.says(text).await;
    }

    fn poll(&self, arguments: &[&str]) -> Child {
        poll(&self.url, arguments)
    }

    fn buffered(&self) -> u64 {
        self.stage.running.gateway().store.totals().messages
    }

    async fn until_a_poll_is_held(&self) {
        while self.stage.running.gateway().metrics.held_polls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn poll(url: &str, arguments: &[&str]) -> Child {
    awaited(&[&["poll", url], arguments].concat()).spawn().unwrap()
}

/// Exit code, stdout, stderr.
async fn ended(child: Child) -> (i32, String, String) {
    ended_with(&tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_printed_and_acknowledged() {
    let polled = Polled::new().await;
    polled.says("Lunch?").await;
    polled.says("Now \u{1b}[31m!").await;
    let (code, out, err) = ended(polled.poll(&[])).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.matches("  message  NOTIFY http://10.1.2.3:4  #").count(), 2, "{out}");
    assert!(out.contains("RVP-From-Principal: http://h/instmsg/aliases/alan"), "{out}");
    assert!(out.contains("Lunch?") && out.contains("Now \\u{1b}[31m!"), "{out}");
    assert_eq!(polled.buffered(), 0, "acknowledged");
    let (code, out, _) = ended(polled.poll(&["--wait", "0"])).await;
    assert_eq!((code, out.as_str()), (0, ""), "nothing came, and that is fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_prints_what_arrives_as_json() {
    let polled = Polled::new().await;
    let child = polled.poll(&["--json", "--wait", "5m"]);
    polled.until_a_poll_is_held().await;
    polled.says("Lunch?").await;
    let (code, out, err) = ended(child).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let message: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
    assert_eq!(message["class"], "message");
    assert!(message["body"].as_str().unwrap().contains("Lunch?"));
    assert_eq!(polled.buffered(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_until_it_is_told_to_stop() {
    let polled = Polled::new().await;
    let mut child = polled.poll(&["--json", "--follow"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["one", "two", "three"] {
        polled.until_a_poll_is_held().await;
        polled.says(text).await;
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(text), "{line}");
    }
    signal(child.id().unwrap(), "-TERM");
    assert_eq!(ended(child).await.0, 0);
    assert_eq!(polled.buffered(), 0, "the last one was acknowledged too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it() {
    let polled = Polled::new().await;
    polled.says("one").await;
    let mut child = polled.poll(&["--follow"]);
    drop(child.stdout.take());
    let (code, _, err) = ended(child).await;
    assert_eq!((code, err.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_mailbox_is_said() {
    let polled = Polled::new().await;
    let mut child = polled.poll(&["--follow"]);
    polled.until_a_poll_is_held().await;
    let request = Call::new("UNSUBSCRIBE", "/instmsg/aliases/kari").with("Subscription-Id", 1);
    let answer = ask(&polled.stage.running.public_address().to_string(), request, "").await;
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
