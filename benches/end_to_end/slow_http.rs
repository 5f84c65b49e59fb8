//! A client that means well, while slowhttptest does not: the time that its requests and polls take, in quiet
//! and during each of the four attacks.
//!
//! Gateway, server and attacker are processes of their own. All share the machine with the client that is
//! measured, and slowhttptest keeps a processor busy just by looking at its connections: it runs only when nobody else
//! wants to (sched(7): `SCHED_IDLE`), since a real attacker takes no processor of the gateway's. What it costs those
//! that it attacks is theirs, and printed.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call};
use pollgate::http1::{Connection, Headers};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

use super::client::PATIENCE;
use super::process::{Gateway, Server, own_cpu};
use super::upstream::LARGE;

const CONNECTIONS: u32 = 1_000;
/// How many of them slowhttptest makes in a second: twice as many as it does unless it is told. Many more would be a
/// flood of requests, and not slow ones.
const RATE: u32 = 100;
const ROUNDS: usize = 3;
/// How long the healthy client is measured in quiet.
const QUIET: Duration = Duration::from_secs(8);
/// How long it is measured during each attack.
const SPAN: Duration = Duration::from_secs(20);
/// By then all connections of an attack are made, and what they cost at first is done.
const SETTLED: Duration = Duration::from_secs(12);
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

/// 99th percentiles in milliseconds.
#[derive(Clone, Copy, Default)]
struct Times {
    request: f64,
    poll: f64,
}

/// What a span showed.
#[derive(Clone, Copy, Default)]
struct Seen {
    all: Times,
    /// In the part of it from [`SETTLED`] on.
    settled: Times,
    /// How many connections there were at most.
    connections: u64,
    /// Seconds of CPU time: the gateway's, the server's, the attacker's, the healthy client's.
    cpu: [f64; 4],
}

/// A round: the quiet span before an attack, and the attack.
type Round = [Seen; 2];

/// Measures all attacks, or those that are named.
pub async fn run(words: &[&str]) -> ExitCode {
    let chosen = |name: &str| words.is_empty() || words.contains(&&*name.replace(' ', "-"));
    let (upstream, address) = Server::start_self(&["upstream"]);
    let gateway = Gateway::start(address);
    let mut healthy = Healthy::subscribe(gateway.public).await;
    println!("slow-http: {CONNECTIONS} connections of slowhttptest, {ROUNDS} rounds of {} s", SPAN.as_secs());
    // Whatever is done for the first time is not measured.
    healthy.measure(&gateway, Duration::from_secs(1)).await;
    let mut seen: Vec<(&str, Vec<Round>)> =
        ATTACKS.iter().filter(|(name, _)| chosen(name)).map(|(name, _)| (*name, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (name, rounds) in &mut seen {
            let quiet = healthy.measure(&gateway, QUIET).await;
            let attack = begin_attack(name, gateway.public);
            let used = || [gateway.process(), &upstream, &attack].map(Server::cpu);
            let (before, own_before) = (used(), own_cpu());
            let mut attacked = healthy.measure(&gateway, SPAN).await;
            let seconds = |now: Duration, before: Duration| (now - before).as_secs_f64();
            let [[of_gateway, of_upstream, of_attack], before] = [used(), before];
            attacked.cpu = [
                seconds(of_gateway, before[0]),
                seconds(of_upstream, before[1]),
                seconds(of_attack, before[2]),
                seconds(own_cpu(), own_before),
            ];
            drop(attack);
            rounds.push([quiet, attacked]);
            gateway.process().settled().await;
        }
    }
    match seen.is_empty() {
        true => {
            println!("there is no such attack");
            ExitCode::FAILURE
        }
        false => tables(&seen),
    }
}

/// slowhttptest at work; it ends when dropped.
fn begin_attack(name: &str, target: SocketAddr) -> Server {
    let (connections, rate) = (CONNECTIONS.to_string(), RATE.to_string());
    // It would end before its time if it found the gateway to be down: it never should.
    let seconds = (SPAN.as_secs() + 5).to_string();
    let target = format!("http://{target}{LARGE}");
    let mut arguments = vec!["--idle", "0", "slowhttptest", "-c", &connections, "-r", &rate];
    arguments.extend(["-l", &seconds, "-p", "3", "-v", "0", "-u", &target]);
    arguments.extend(ATTACKS.iter().filter(|attack| attack.0 == name).flat_map(|attack| attack.1));
    Server::start("chrt", &arguments)
}

/// The median of a figure over the rounds.
fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Medians over the rounds, and whether all of it holds.
fn tables(seen: &[(&str, Vec<Round>)]) -> ExitCode {
    println!(
        "\n| attack | connections | request p99, quiet | attacked | ratio | poll p99, quiet | attacked | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut holds = true;
    for (name, rounds) in seen {
        let connections = rounds.iter().map(|[_, attacked]| attacked.connections).min().unwrap_or(0);
        let [request, poll] =
            [|times: &Times| times.request, |times: &Times| times.poll].map(|figure: fn(&Times) -> f64| {
                [0, 1].map(|which| median(rounds, |round| figure(&round[which].all)))
            });
        let ratios = [request, poll].map(|[quiet, attacked]| attacked / quiet);
        holds &= ratios.iter().all(|ratio| *ratio < MOST);
        println!(
            "| {name} | {connections} | {:.2} ms | {:.2} ms | {:.2} | {:.2} ms | {:.2} ms | {:.2} |",
            request[0], request[1], ratios[0], poll[0], poll[1], ratios[1]
        );
    }
    println!("\nmust be under {MOST}: {}", if holds { "yes" } else { "no" });
    println!(
        "\nThe same attacks from {} s on, and the CPU time that {} s of them took:",
        SETTLED.as_secs(),
        SPAN.as_secs()
    );
    println!(
        "\n| attack | request p99 | poll p99 | CPU of the gateway | server | slowhttptest | healthy client |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, rounds) in seen {
        let cpu = [0, 1, 2, 3].map(|which| median(rounds, |round| round[1].cpu[which]));
        println!(
            "| {name} | {:.2} ms | {:.2} ms | {:.2} s | {:.2} s | {:.2} s | {:.2} s |",
            median(rounds, |round| round[1].settled.request),
            median(rounds, |round| round[1].settled.poll),
            cpu[0],
            cpu[1],
            cpu[2],
            cpu[3]
        );
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
        let (mut requests, mut polls, mut connections, mut unsettled) = (Vec::new(), Vec::new(), 0, 0);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        while began.elapsed() < span {
            pace.tick().await;
            if began.elapsed() < SETTLED {
                unsettled = requests.len() + 1;
            }
            requests.push(self.request().await);
            polls.push(self.poll().await);
            if requests.len().is_multiple_of(50) {
                connections = connections.max(count(gateway.admin).await);
            }
        }
        let times = |from: usize| Times { request: p99(&requests[from..]), poll: p99(&polls[from..]) };
        let settled = if unsettled < requests.len() { times(unsettled) } else { Times::default() };
        Seen { all: times(0), settled, connections, ..Seen::default() }
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
fn p99(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100].as_secs_f64() * 1000.0
}
