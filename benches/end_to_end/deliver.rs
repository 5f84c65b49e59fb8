//! Callbacks in, deliveries out: what clients that cannot be reached cost those that can.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pollgate::http1::client::{Call, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::PATIENCE;
use super::process::Gateway;
use super::upstream::Upstream;

const ROUNDS: usize = 8;
/// Of each kind: those that can be reached, and those that cannot.
const CLIENTS: usize = 1_000;
/// To those that can be reached, in a round; as many go to the others.
const MESSAGES: usize = 2_000;
const PUBLISHERS: u32 = 8;
/// Between two messages of a publisher: a load that the gateway bears without queues.
const PACE: Duration = Duration::from_millis(20);
/// How many times as long it may take beside clients that cannot be reached.
const MOST: f64 = 2.0;

const SETTINGS: &[(&str, &str)] =
    &[("POLLGATE_DELIVERY_MODE", "default"), ("POLLGATE_DELIVERY_ALLOW", "127.0.0.0/8")];

/// Takes deliveries, and notes how long after their callback they came.
struct Listening {
    start: Instant,
    delays: Mutex<Vec<u64>>,
}

impl Service for Listening {
    async fn call(&self, request: Request) -> Response {
        let now = self.start.elapsed().as_micros() as u64;
        let sent: u64 = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
        self.delays.lock().unwrap().push(now - sent);
        Response::new(200)
    }
}

pub async fn run() -> ExitCode {
    println!(
        "deliver: {MESSAGES} messages to {CLIENTS} clients, alone and beside as many to {CLIENTS} that cannot be reached"
    );
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever comes first in a round may have it easier.
        for unreachable in if round % 2 == 0 { [false, true] } else { [true, false] } {
            let p99 = self::round(unreachable).await;
            if unreachable { beside.push(p99) } else { alone.push(p99) }
        }
    }
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0
    };
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    let ratio = beside / alone;
    println!("  median p99 alone {alone:.2} ms, beside {beside:.2} ms: ratio {ratio:.2}; at most {MOST}");
    if ratio <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The 99th percentile of the delays, in milliseconds.
async fn round(with_unreachable: bool) -> f64 {
    let start = Instant::now();
    let listening = Arc::new(Listening { start, delays: Mutex::default() });
    let port = listen(listening.clone());
    let (silent, _backlog) = silent().await;
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (upstream, address) = Upstream::start();
    let gateway = Gateway::with(address, SETTINGS);
    let mut subscribing = connect(&gateway.public.to_string(), PATIENCE).await.unwrap();
    let mut callbacks = [Vec::new(), Vec::new()];
    for n in 0..CLIENTS * 2 {
        let address = match n % 4 {
            0 | 2 => SocketAddr::new(own_address(n), port),
            1 => silent,
            _ => refusing,
        };
        let node = format!("/instmsg/aliases/u{n}");
        let request = Call::new("SUBSCRIBE", &node)
            .with("Host", "im.example")
            .with("Call-Back", format_args!("http://{address}"))
            .with("Content-Length", 0);
        let answer = call(&mut subscribing, request, b"", 1024, PATIENCE).await.unwrap();
        assert_eq!(answer.head.status, 200);
        callbacks[n % 2].push(upstream.callback(&node));
    }
    let callbacks = Arc::new(callbacks);
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(callbacks.clone(), publisher, with_unreachable, start));
    }
    publishers.join_all().await;
    let patience = Instant::now() + Duration::from_secs(60);
    while listening.delays.lock().unwrap().len() < MESSAGES {
        assert!(Instant::now() < patience, "messages to clients that listen do not come");
        sleep(Duration::from_millis(10)).await;
    }
    let mut delays = std::mem::take(&mut *listening.delays.lock().unwrap());
    delays.sort_unstable();
    let at = |share: f64| delays[(share * (delays.len() - 1) as f64) as usize] as f64 / 1000.0;
    let how = if with_unreachable { "beside" } else { "alone " };
    println!("  {how}: callback to delivery p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
    at(0.99)
}

/// Sends its share of the messages: of each two, one to a client of each kind.
async fn publish(
    callbacks: Arc<[Vec<(String, String)>; 2]>,
    publisher: u32,
    with_unreachable: bool,
    start: Instant,
) {
    let mut connection = connect(&callbacks[0][0].0, PATIENCE).await.unwrap();
    // One after the other, and not all at once: a burst would measure how the machine shares its processors.
    let mut pace = interval_at((Instant::now() + PACE / PUBLISHERS * publisher).into(), PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in (publisher as usize..MESSAGES).step_by(PUBLISHERS as usize) {
        pace.tick().await;
        for kind in callbacks.iter().take(1 + usize::from(with_unreachable)) {
            let (address, path) = &kind[n % CLIENTS];
            let body = start.elapsed().as_micros().to_string();
            let request = Call::new("NOTIFY", path).with("Host", address).with("Content-Length", body.len());
            let answer = call(&mut connection, request, body.as_bytes(), 1024, PATIENCE).await.unwrap();
            assert_eq!(answer.head.status, 200);
        }
    }
}

/// A client's own loopback address. Connections that ended hold their pair of address and port for a minute
/// (TIME_WAIT), and with one address for all clients they would soon be used up.
fn own_address(client: usize) -> IpAddr {
    let [high, low] = (client as u16).to_be_bytes();
    [127, 1, high, low].into()
}

/// Listens for all clients that can be reached, at a port of their addresses.
fn listen(service: Arc<Listening>) -> u16 {
    let listener = accept::bind(([0, 0, 0, 0], 0).into()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times: Times::CLIENT };
    let handle = move |stream, peer| {
        let service = service.clone();
        async move { serve(Connection::new(stream), peer, &*service, || limits, CancellationToken::new()).await }
    };
    tokio::spawn(accept::accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()));
    port
}

/// A port that answers nothing: whoever listens there takes no connection, and its backlog is full.
async fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let enough = Duration::from_millis(200);
    while let Ok(Ok(stream)) = tokio::time::timeout(enough, TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (address, (listener, waiting))
}
