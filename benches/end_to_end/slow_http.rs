//! A client that means well, while slowhttptest does not: the time that its requests and polls take, in quiet
//! and during each of the four attacks.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call};
use pollgate::http1::{Connection, Headers};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

use super::client::PATIENCE;
use super::process::Gateway;
use super::upstream::{LARGE, Upstream};

const CONNECTIONS: u32 = 1_000;
/// How many of them slowhttptest makes in a second.
const RATE: u32 = 500;
const ROUNDS: usize = 3;
/// How long the healthy client is measured in quiet, and as long during each attack.
const SPAN: Duration = Duration::from_secs(8);
/// Between two requests of the healthy client, each followed by a poll.
const PACE: Duration = Duration::from_millis(5);
/// How many times as long it may take it.
const MOST: f64 = 3.0;

/// The attacks, and slowhttptest's arguments for each.
const ATTACKS: [(&str, &[&str]); 4] = [
    ("slow headers", &["-H", "-i", "2", "-x", "24"]),
    ("slow body", &["-B", "-i", "2", "-s", "8192", "-x", "10"]),
    ("ranges", &["-R", "-t", "HEAD", "-a", "10", "-b", "3000"]),
    ("slow read", &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"]),
];

/// What a span showed: 99th percentiles in milliseconds, and how many connections there were at most.
#[derive(Clone, Copy, Default)]
struct Seen {
    request: f64,
    poll: f64,
    connections: u64,
}

pub async fn run() -> ExitCode {
    let (upstream, address) = Upstream::start();
    let gateway = Gateway::start(address);
    let mut healthy = Healthy::subscribe(gateway.public).await;
    drop(upstream);
    println!("slow-http: {CONNECTIONS} connections of slowhttptest, {ROUNDS} rounds of {} s", SPAN.as_secs());
    // Whatever is done for the first time is not measured.
    healthy.measure(&gateway, Duration::from_secs(1)).await;
    let mut seen: [Vec<[Seen; 2]>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, arguments), seen) in ATTACKS.iter().zip(&mut seen) {
            let quiet = healthy.measure(&gateway, SPAN).await;
            let attack = Attack::begin(gateway.public, arguments);
            let attacked = healthy.measure(&gateway, SPAN).await;
            drop(attack);
            seen.push([quiet, attacked]);
            gateway.process().settled().await;
        }
    }
    table(&seen)
}

/// Medians over the rounds, and whether all of it holds.
fn table(seen: &[Vec<[Seen; 2]>; 4]) -> ExitCode {
    println!(
        "\n| attack | connections | request p99, quiet | attacked | ratio | poll p99, quiet | attacked | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut holds = true;
    for ((name, _), rounds) in ATTACKS.iter().zip(seen) {
        let of = |which: usize, figure: fn(&Seen) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(|round| figure(&round[which])).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let connections = rounds.iter().map(|round| round[1].connections).min().unwrap_or(0);
        let [request, poll] = [|seen: &Seen| seen.request, |seen: &Seen| seen.poll]
            .map(|figure: fn(&Seen) -> f64| (of(0, figure), of(1, figure)));
        let ratios = [request.1 / request.0, poll.1 / poll.0];
        holds &= ratios.iter().all(|ratio| *ratio < MOST);
        println!(
            "| {name} | {connections} | {:.2} ms | {:.2} ms | {:.2} | {:.2} ms | {:.2} ms | {:.2} |",
            request.0, request.1, ratios[0], poll.0, poll.1, ratios[1]
        );
    }
    println!("\nmust be under {MOST}: {}", if holds { "yes" } else { "no" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// slowhttptest at work; killed when dropped.
struct Attack(Child);

impl Attack {
    fn begin(target: SocketAddr, arguments: &[&str]) -> Self {
        let (connections, rate) = (CONNECTIONS.to_string(), RATE.to_string());
        // It would end before its time if it found the gateway to be down: it never should.
        let seconds = (SPAN.as_secs() + 5).to_string();
        let child = Command::new("slowhttptest")
            .args(["-c", &connections, "-r", &rate, "-l", &seconds, "-p", "3", "-v", "0"])
            .args(arguments)
            .args(["-u", &format!("http://{target}{LARGE}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("slowhttptest"))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that asks and polls, at another address than the attacker's.
struct Healthy {
    gateway: SocketAddr,
    polls: Connection<TcpStream>,
    path: String,
    /// How many spans it was measured for: each has an address of its own, and so enough ports.
    spans: u8,
}

impl Healthy {
    async fn subscribe(gateway: SocketAddr) -> Self {
        let mut polls = connect(gateway, 0).await;
        let request = Call::new("SUBSCRIBE", "/instmsg/aliases/kari")
            .with("Host", "im.example")
            .with("Call-Back", "http://127.0.0.1:9")
            .with("Content-Length", 0);
        let answer = call(&mut polls, request, b"", 1024, PATIENCE).await.unwrap();
        let location = answer.head.fields.text("content-location").unwrap();
        let path = location.strip_prefix("http://im.example").unwrap().to_owned();
        Self { gateway, polls, path, spans: 0 }
    }

    /// Requests on connections of their own, and polls on one that stays.
    async fn measure(&mut self, gateway: &Gateway, span: Duration) -> Seen {
        self.spans += 1;
        let (mut requests, mut polls, mut connections) = (Vec::new(), Vec::new(), 0);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        while began.elapsed() < span {
            pace.tick().await;
            requests.push(self.request().await);
            polls.push(self.poll().await);
            if requests.len().is_multiple_of(50) {
                connections = connections.max(count(gateway.admin).await);
            }
        }
        Seen { request: p99(&mut requests), poll: p99(&mut polls), connections }
    }

    async fn request(&self) -> Duration {
        let began = Instant::now();
        let mut connection = connect(self.gateway, self.spans).await;
        let request = Call::new("GET", "/").with("Host", "im.example").with("Connection", "close");
        let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 200);
        began.elapsed()
    }

    async fn poll(&mut self) -> Duration {
        let began = Instant::now();
        let request = Call::new("POLL", &self.path)
            .with("Host", "im.example")
            .with("Prefer", "wait=0")
            .with("Content-Length", 0);
        let answer = call(&mut self.polls, request, b"", 1024, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 204);
        began.elapsed()
    }
}

/// From a loopback address of the healthy client's.
async fn connect(to: SocketAddr, number: u8) -> Connection<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 2, number, 1), 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Connection::new(stream)
}

/// How many clients are connected.
async fn count(admin: SocketAddr) -> u64 {
    let mut connection = connect(admin, 0).await;
    let request = Call::new("GET", "/metrics").with("Host", "localhost").with("Connection", "close");
    let answer = call(&mut connection, request, b"", 1 << 20, PATIENCE).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    text.lines().find_map(|line| line.strip_prefix("pollgate_connections ")).unwrap().parse().unwrap()
}

/// In milliseconds.
fn p99(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100].as_secs_f64() * 1000.0
}
