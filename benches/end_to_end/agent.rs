//! Callbacks that go through the gateway and an agent to a client that listens, beside calls made directly; and
//! what an agent uses that has nothing to do.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::PATIENCE;
use super::process::{Gateway, Server, free_address};
use super::spread::Spread;
use super::upstream::Upstream;

const ROUNDS: usize = 5;
/// Of each kind in a round: called directly, and through gateway and agent.
const MESSAGES: usize = 400;
const SUBSCRIPTIONS: usize = 10;
/// Before each message: so long the agent has to poll again. Callbacks that come closer wait for that poll.
const PACE: Duration = Duration::from_millis(5);
/// How long one message may take before the run has failed.
const ARRIVAL: Duration = Duration::from_secs(30);
/// For how long the agent is watched when it has nothing to do.
const IDLE: Duration = Duration::from_secs(10);

/// What gateway and agent may add together, at the median, in milliseconds.
const MOST_ADDED: f64 = 5.0;
/// What an idle agent may use: one tick of the kernel's clock, the least that can be told from nothing.
const MOST_CPU: Duration = Duration::from_millis(10);
/// What it may hold in memory, in KiB.
const MOST_MEMORY: u64 = 20 * 1024;

/// A client's listener: it says how many microseconds after its sending a message came.
struct Listening {
    start: Instant,
    came: UnboundedSender<u64>,
}

impl Service for Listening {
    async fn call(&self, request: Request) -> Response {
        let now = self.start.elapsed().as_micros() as u64;
        let sent: u64 = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
        self.came.send(now - sent).unwrap();
        Response::new(200)
    }
}

/// Where the server calls, over a connection that it keeps.
struct Called {
    connection: Connection<TcpStream>,
    address: String,
    path: String,
}

impl Called {
    async fn at(address: String, path: String) -> Self {
        Self { connection: connect(&address, PATIENCE).await.unwrap(), address, path }
    }

    /// Sends a message, and waits until the client has it: how many milliseconds that took.
    async fn send(&mut self, start: Instant, came: &mut UnboundedReceiver<u64>) -> f64 {
        sleep(PACE).await;
        let body = start.elapsed().as_micros().to_string();
        let request =
            Call::new("NOTIFY", &self.path).with("Host", &self.address).with("Content-Length", body.len());
        let answer = call(&mut self.connection, request, body.as_bytes(), 1024, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 200);
        let delay = timeout(ARRIVAL, came.recv()).await.expect("a message that arrives").unwrap();
        delay as f64 / 1000.0
    }
}

pub async fn run() -> ExitCode {
    println!(
        "agent: {MESSAGES} messages directly and as many through gateway and agent, in turns, {ROUNDS} rounds; \
         {SUBSCRIPTIONS} subscriptions"
    );
    let start = Instant::now();
    let (sender, mut came) = unbounded_channel();
    let listener = listen(Listening { start, came: sender });
    let (upstream, address) = Upstream::start();
    let gateway = Gateway::start(address);
    let (agent, address) = start_agent(gateway.public).await;
    let mut through = Vec::new();
    for n in 0..SUBSCRIPTIONS {
        let (callback, path) = subscribe(address, listener, &upstream, n).await;
        through.push(Called::at(callback, path).await);
    }
    let mut direct = Called::at(listener.to_string(), "/".to_owned()).await;
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let (mut directly, mut by_agent) = (Vec::new(), Vec::new());
        // In turns: what else the machine does meets both.
        for n in 0..MESSAGES {
            directly.push(direct.send(start, &mut came).await);
            by_agent.push(through[n % SUBSCRIPTIONS].send(start, &mut came).await);
        }
        let [directly, by_agent] = [directly, by_agent].map(|delays| Spread::of(&delays).median);
        for (all, figure) in rounds.iter_mut().zip([directly, by_agent, by_agent - directly]) {
            all.push(figure);
        }
    }
    let [directly, by_agent, added] = rounds.map(|medians| Spread::of(&medians));
    println!("  callback to listener, medians: directly {directly:.2} ms, through both {by_agent:.2} ms");
    println!("  added at the median {added:.2} ms; at most {MOST_ADDED}");
    let idle = idle(&agent).await;
    assert!(came.try_recv().is_err(), "a message came twice");
    if added.median <= MOST_ADDED && idle { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether an agent that has nothing to do uses as little as it should.
async fn idle(agent: &Server) -> bool {
    agent.settled().await;
    let before = agent.cpu();
    sleep(IDLE).await;
    let (used, memory) = (agent.cpu() - before, agent.resident_kib());
    println!(
        "  idle with {SUBSCRIPTIONS} subscriptions: {} ms of CPU in {} s, at most {}; resident {:.1} MiB, at most {}",
        used.as_millis(),
        IDLE.as_secs(),
        MOST_CPU.as_millis(),
        memory as f64 / 1024.0,
        MOST_MEMORY / 1024
    );
    used <= MOST_CPU && memory <= MOST_MEMORY
}

/// An agent before this gateway, which keeps nothing for a next start.
async fn start_agent(gateway: SocketAddr) -> (Server, SocketAddr) {
    let address = free_address();
    let (gateway, listen) = (format!("http://{gateway}"), address.to_string());
    let arguments = ["agent", "--gateway", &gateway, "--listen", &listen, "--state", ""];
    let mut agent = Server::start(env!("CARGO_BIN_EXE_pollgate"), &arguments);
    assert!(agent.listens_on(address).await, "an agent that serves");
    (agent, address)
}

/// Subscribes through the agent, as a client that listens and knows nothing of it: where the server calls back.
async fn subscribe(
    agent: SocketAddr,
    listener: SocketAddr,
    upstream: &Upstream,
    n: usize,
) -> (String, String) {
    let node = format!("/instmsg/aliases/u{n}");
    let mut connection = connect(&agent.to_string(), PATIENCE).await.unwrap();
    let request = Call::new("SUBSCRIBE", &node)
        .with("Host", "im.example")
        .with("Call-Back", format_args!("http://{listener}"))
        .with("Notification-Type", "pragma/notify")
        .with("Subscription-Lifetime", 14_400)
        .with("RVP-From-Principal", format_args!("http://im.example{node}"))
        .with("Content-Length", 0);
    let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
    assert_eq!(answer.head.status, 200);
    upstream.callback(&node)
}

fn listen(service: Listening) -> SocketAddr {
    let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let times = Times { idle: PATIENCE, ..Times::CLIENT };
    let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times };
    let service = std::sync::Arc::new(service);
    let handle = move |stream, peer| {
        let service = service.clone();
        async move { serve(Connection::new(stream), peer, &*service, || limits, CancellationToken::new()).await }
    };
    tokio::spawn(accept::accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()));
    address
}
