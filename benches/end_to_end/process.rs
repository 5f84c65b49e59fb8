//! A server's process: started, watched, stopped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A gateway in a process of its own; stopped when dropped.
pub struct Gateway {
    process: Server,
    pub public: SocketAddr,
}

/// A server in a process of its own; stopped when dropped.
pub struct Server(pub Child);

impl Gateway {
    pub fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, &[])
    }

    /// With these settings, by the names of their variables.
    pub fn with(upstream: SocketAddr, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pollgate"))
            .args(["serve", "--upstream", &upstream.to_string(), "--public", "127.0.0.1:0"])
            .args(["--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"])
            .env("POLLGATE_STORE_KIND", "memory")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let public = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(&line).ok()?;
            Some(entry["public"].as_str()?.parse().unwrap())
        });
        // Whatever it has to say later is read and thrown away, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process: Server(child), public: public.expect("a gateway that serves") }
    }

    pub fn process(&self) -> &Server {
        &self.process
    }
}

impl Server {
    /// CPU time used so far, in user and kernel mode (proc(5): fields 14 and 15 of `stat`, in ticks of which
    /// Linux tells programs that a second has 100).
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [fields[11], fields[12]].iter().map(|f| f.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Memory of its own in KiB (proc(5): `Pss` of `smaps_rollup`).
    pub fn memory_kib(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
