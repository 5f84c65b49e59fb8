//! The servers that hold polls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call, connect};

use super::client::{Client, PATIENCE};
use super::nginx::Nginx;
use super::process::{Gateway, Server};
use super::upstream::Upstream;

/// How long it may take until the server has taken in all polls.
const TAKEN_IN: Duration = Duration::from_secs(60);

/// A server that holds polls, running.
pub enum Poller {
    Pollgate(Gateway, Arc<Upstream>),
    Nchan(Nginx),
}

impl Poller {
    /// A gateway with an upstream of its own, on as many worker threads as it chooses or as are given.
    pub fn pollgate(threads: Option<usize>) -> Self {
        let (upstream, address) = Upstream::start();
        Self::Pollgate(Gateway::with_threads(address, threads), upstream)
    }

    pub async fn nchan() -> Self {
        Self::Nchan(Nginx::with_nchan().await)
    }

    pub fn process(&self) -> &Server {
        match self {
            Self::Pollgate(gateway, _) => gateway.process(),
            Self::Nchan(nginx) => nginx.process(),
        }
    }

    /// A new client, ready to poll.
    pub async fn client(&self, n: usize) -> Client {
        match self {
            Self::Pollgate(gateway, upstream) => Client::of_pollgate(gateway.public, upstream, n).await,
            Self::Nchan(nginx) => Client::of_nchan(nginx.address, n).await,
        }
    }

    /// Waits until it says itself that it holds as many polls.
    pub async fn holds(&self, polls: usize) {
        let began = Instant::now();
        loop {
            let held = self.held().await;
            if held == polls {
                return;
            }
            assert!(began.elapsed() < TAKEN_IN, "{held} polls are held, not {polls}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn held(&self) -> usize {
        let (address, path, name) = match self {
            Self::Pollgate(gateway, _) => (gateway.admin, "/metrics", "pollgate_held_polls "),
            Self::Nchan(nginx) => (nginx.address, "/status", "subscribers: "),
        };
        let mut connection = connect(&address.to_string(), PATIENCE).await.unwrap();
        let request = Call::new("GET", path).with("Host", address);
        let answer = call(&mut connection, request, b"", 1 << 20, PATIENCE).await.unwrap();
        let text = str::from_utf8(&answer.body).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}
