//! The real process at the edge.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use pollgate::http1::client::{Call, call, connect};

use crate::network::{EDGE_INSIDE, Network, PATIENCE, SERVER};

/// Where the server calls back.
const CALLBACK: u16 = 8081;

/// A gateway at the edge; killed when dropped, or when the test's process ends.
pub struct Gateway {
    process: Child,
    admin: String,
}

impl Gateway {
    /// Before the server of this network, with these settings.
    pub fn start(network: &Network, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_pollgate"), "serve", "--log-format", "json"])
            .args(["--public", "0.0.0.0:80"])
            .args(["--callback", &format!("{EDGE_INSIDE}:{CALLBACK}"), "--admin", "127.0.0.1:0"])
            .env_clear()
            .env("POLLGATE_CONFIG", "")
            .env("POLLGATE_UPSTREAM_ADDRESS", format!("{SERVER}:80"))
            .env("POLLGATE_STORE_KIND", "memory")
            .env("POLLGATE_CALLBACK_ALLOW", SERVER)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = network.edge.run(async move { command.spawn() }).unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = String::new();
        let serving = lines.by_ref().find_map(|line| {
            said.push_str(&line);
            let line = serde_json::from_str::<serde_json::Value>(&line).ok()?;
            line["admin"].as_str().map(str::to_owned)
        });
        let admin = serving.unwrap_or_else(|| panic!("it does not serve: {said}"));
        // What it says later is not waited for.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, admin }
    }

    /// Waits until a metric has this value at least.
    pub fn reaches(&self, network: &Network, metric: &'static str, value: f64) {
        let admin = self.admin.clone();
        network.edge.run(async move {
            let began = pollgate::clock::instant();
            loop {
                let now = read(&admin, metric).await;
                if now >= value {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "{metric} is {now} still, and not {value}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
    }

    /// The value of a metric.
    pub fn metric(&self, network: &Network, metric: &'static str) -> f64 {
        let admin = self.admin.clone();
        network.edge.run(async move { read(&admin, metric).await })
    }
}

async fn read(admin: &str, metric: &str) -> f64 {
    let mut connection = connect(admin, PATIENCE).await.unwrap();
    let request = Call::new("GET", "/metrics").with("Host", "localhost").with("Connection", "close");
    let answer = call(&mut connection, request, b"", 1 << 20, PATIENCE).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {metric}")).parse().unwrap()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
