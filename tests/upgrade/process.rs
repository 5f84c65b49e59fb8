//! Gateways in processes of their own, and what they log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pollgate::http1::client::{Call, call, connect};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway; the process that it starts logs to the same pipe.
pub struct Gateway {
    pub process: Child,
    log: UnboundedReceiver<String>,
    pub public: String,
    pub callback: String,
    admin: String,
}

impl Gateway {
    /// It serves when this returns.
    pub async fn start(state: &Path, upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::spawn(state, upstream, &[], settings).serves().await
    }

    /// It is not waited for.
    pub fn spawn(state: &Path, upstream: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pollgate"))
            .args(["serve", "--upstream", upstream, "--log-format", "json", "--state-dir"])
            .arg(state)
            .args(["--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .env("POLLGATE_CONFIG", "")
            .env("POLLGATE_SHUTDOWN_DRAIN", "500ms")
            // All clients are one address here.
            .env("POLLGATE_LIMITS_REQUESTS_PER_SECOND_PER_ADDRESS", "1000000")
            .env("POLLGATE_LIMITS_REQUEST_BURST_PER_ADDRESS", "1000000")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (tell, log) = unbounded_channel();
        // All the time: who is not listened to waits.
        tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                let _ = tell.send(line);
            }
        });
        let nowhere = String::new;
        Self { process, log, public: nowhere(), callback: nowhere(), admin: nowhere() }
    }

    /// Waits until it serves.
    pub async fn serves(mut self) -> Self {
        let serving = self.line(|line| line["public"].is_string()).await;
        let address = |name: &str| serving[name].as_str().unwrap().to_owned();
        (self.public, self.callback, self.admin) = (address("public"), address("callback"), address("admin"));
        self
    }

    /// The next line with this message; those before it are passed over.
    pub async fn says(&mut self, text: &str) -> Value {
        self.line(|line| line["message"].as_str().is_some_and(|message| message.contains(text))).await
    }

    async fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = async {
            while let Some(line) = self.log.recv().await {
                // What is wrong with a configuration is no log line.
                let Ok(line) = serde_json::from_str(&line) else { continue };
                if wanted(&line) {
                    return line;
                }
            }
            panic!("it ended without saying so");
        };
        timeout(PATIENCE, find).await.expect("a line in time")
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.process.id().unwrap());
    }

    /// What operators see of the mailboxes.
    pub async fn mailboxes(&self) -> String {
        self.operate("/api/v1/mailboxes").await
    }

    async fn operate(&self, path: &str) -> String {
        let mut stream = connect(&self.admin, PATIENCE).await.unwrap();
        let request = Call::new("GET", path).with("Host", "localhost");
        let answer = call(&mut stream, request, b"", 1 << 20, PATIENCE).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The value of a metric.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.operate("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

/// A process that another one started; killed when dropped, if it still runs.
pub struct Successor {
    pub process: u32,
}

impl Successor {
    pub async fn started_by(gateway: &mut Gateway) -> Self {
        let started = gateway.says("started the next process").await;
        Self { process: started["process"].as_u64().unwrap().try_into().unwrap() }
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.process);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended already.
        let process = self.process.to_string();
        let _ = std::process::Command::new("kill").args(["-KILL", &process]).stderr(Stdio::null()).status();
    }
}

fn send(signal: &str, process: u32) {
    let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}
