//! Clients that poll, and a server that calls them back, all the time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollgate::http1::client::{Answer, Call, CallError, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Headers, ReadHeadError, Request, Response, ServeLimits, Service, Times, accept,
    serve,
};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::process::{Gateway, PATIENCE};

/// Who bring callbacks.
const PUBLISHERS: usize = 4;

/// Grants every subscription, and remembers where each node is to be called.
pub struct Upstream {
    pub address: String,
    server: Arc<Server>,
}

#[derive(Default)]
struct Server(Mutex<HashMap<String, String>>);

impl Service for Server {
    async fn call(&self, request: Request) -> Response {
        let address = request.head.fields.text("call-back").unwrap();
        let path = address.splitn(4, '/').nth(3).unwrap();
        self.0.lock().unwrap().insert(request.head.path().to_owned(), format!("/{path}"));
        Response::new(200).with("Subscription-Id", "1").with("Subscription-Lifetime", "14400")
    }
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Arc::new(Server::default());
        let serving = server.clone();
        let handle = move |stream, peer| {
            let server = serving.clone();
            let limits = || ServeLimits { head: HeadLimits::default(), body: 0, times: Times::CLIENT };
            async move { serve(Connection::new(stream), peer, &*server, limits, CancellationToken::new()).await }
        };
        tokio::spawn(accept::accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()));
        Self { address, server }
    }

    fn path(&self, node: &str) -> String {
        self.server.0.lock().unwrap()[node].clone()
    }
}

/// Clients and publishers at work.
pub struct Load {
    clients: Vec<JoinHandle<usize>>,
    publishers: Vec<JoinHandle<usize>>,
    /// Messages that clients have.
    received: Arc<AtomicUsize>,
    /// Set when nothing more is to be sent.
    enough: Arc<AtomicBool>,
    /// Set when the clients have everything.
    over: CancellationToken,
}

impl Load {
    /// Subscribes so many clients, and begins when all hold a poll.
    pub async fn start(gateway: &Gateway, upstream: &Upstream, clients: usize) -> Self {
        let load = Self {
            clients: Vec::new(),
            publishers: Vec::new(),
            received: Arc::default(),
            enough: Arc::default(),
            over: CancellationToken::new(),
        };
        let mut polling = Vec::new();
        let mut inboxes = vec![Vec::new(); PUBLISHERS];
        for n in 0..clients {
            let client = Client::subscribe(&gateway.public, n).await;
            inboxes[n % PUBLISHERS].push(upstream.path(&client.node));
            polling.push(tokio::spawn(client.poll(load.received.clone(), load.over.clone())));
        }
        let all = async {
            while gateway.metric("pollgate_held_polls").await < clients as f64 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("polls that are held");
        let publish = |inboxes| tokio::spawn(publish(gateway.callback.clone(), inboxes, load.enough.clone()));
        let publishers = inboxes.into_iter().map(publish).collect();
        Self { clients: polling, publishers, ..load }
    }

    pub fn so_far(&self) -> usize {
        self.received.load(SeqCst)
    }

    /// Waits until the clients have so many messages.
    pub async fn received(&self, messages: usize) {
        let all = async {
            while self.so_far() < messages {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("messages that arrive");
    }

    /// Stops sending, and waits until everything has arrived: how many empty answers each client got.
    pub async fn finish(mut self) -> Vec<usize> {
        self.enough.store(true, SeqCst);
        let mut sent = 0;
        for publisher in std::mem::take(&mut self.publishers) {
            sent += publisher.await.unwrap();
        }
        self.received(sent).await;
        self.over.cancel();
        let mut empty = Vec::new();
        for client in self.clients {
            empty.push(client.await.unwrap());
        }
        assert_eq!(self.received.load(SeqCst), sent, "nothing more than was sent");
        empty
    }
}

struct Client {
    connection: Connection<TcpStream>,
    gateway: String,
    node: String,
    /// Where it polls.
    path: String,
}

impl Client {
    async fn subscribe(gateway: &str, n: usize) -> Self {
        let node = format!("/instmsg/aliases/u{n}");
        let mut connection = connect(gateway, PATIENCE).await.unwrap();
        let request = Call::new("SUBSCRIBE", &node)
            .with("Host", "im.example")
            .with("Call-Back", "http://10.1.2.3:1234")
            .with("Subscription-Lifetime", 14_400)
            .with("Content-Length", 0);
        let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
        let location = answer.head.fields.text("content-location").unwrap();
        let path = location.strip_prefix("http://im.example").unwrap().to_owned();
        Self { connection, gateway: gateway.to_owned(), node, path }
    }

    /// Polls until it is over; every message must be the next one. How many answers had none.
    async fn poll(mut self, received: Arc<AtomicUsize>, over: CancellationToken) -> usize {
        let (mut last, mut next, mut empty) = (0, 0, 0);
        // It subscribed on it.
        let mut reused = true;
        loop {
            let request = Call::new("POLL", &self.path)
                .with("Host", "im.example")
                .with("Accept", "application/json")
                .with("Prefer", "wait=600")
                .with("Last-Event-ID", last)
                .with("Content-Length", 0);
            let answer = call(&mut self.connection, request, b"", 1 << 20, PATIENCE);
            let Some(answer) = over.run_until_cancelled(answer).await else { return empty };
            let answer = match answer {
                // A connection that was closed before the request came: as every client of HTTP does.
                Err(error) if reused && is_closed(&error) => {
                    (self.connection, reused) = (self.reconnect().await, false);
                    continue;
                }
                answer => answer.expect("an answer to a poll"),
            };
            reused = answer.keep_alive;
            match answer.head.status {
                200 => last = read(&answer, last, &mut next, &received),
                204 => empty += 1,
                status => panic!("{status}"),
            }
            if !answer.keep_alive {
                self.connection = self.reconnect().await;
            }
        }
    }

    async fn reconnect(&self) -> Connection<TcpStream> {
        connect(&self.gateway, PATIENCE).await.expect("nobody is refused")
    }
}

/// Whether the other side closed the connection, before any byte of an answer.
fn is_closed(error: &CallError) -> bool {
    matches!(error, CallError::Io(_) | CallError::Head(ReadHeadError::Closed | ReadHeadError::Io(_)))
}

/// Reads the messages of an answer; the id of the last one.
fn read(answer: &Answer, mut last: u64, next: &mut usize, received: &AtomicUsize) -> u64 {
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["dropped"], 0);
    for message in answer["messages"].as_array().unwrap() {
        let id = message["id"].as_u64().unwrap();
        assert!(id > last, "{id} was acknowledged, or is out of order: {last} came before");
        assert_eq!(message["body"].as_str().unwrap(), next.to_string(), "in order, and none is missing");
        last = id;
        *next += 1;
        received.fetch_add(1, SeqCst);
    }
    last
}

/// Sends to each of these in turn until it is enough: how many messages.
async fn publish(gateway: String, inboxes: Vec<String>, enough: Arc<AtomicBool>) -> usize {
    let mut connection = connect(&gateway, PATIENCE).await.unwrap();
    let mut sent = 0;
    for round in 0.. {
        for path in &inboxes {
            if enough.load(SeqCst) {
                return sent;
            }
            let body = round.to_string();
            let notify = || {
                Call::new("NOTIFY", path)
                    .with("Host", "gateway.example")
                    .with("RVP-Notifications-Version", "0.2")
                    .with("Content-Type", "text/plain")
                    .with("Content-Length", body.len())
            };
            let answer = match call(&mut connection, notify(), body.as_bytes(), 1024, PATIENCE).await {
                // As above.
                Err(error) if is_closed(&error) => {
                    connection = connect(&gateway, PATIENCE).await.expect("nobody is refused");
                    call(&mut connection, notify(), body.as_bytes(), 1024, PATIENCE).await.unwrap()
                }
                answer => answer.unwrap(),
            };
            // Whoever is late for the store of the old process is told to come again, and comes to the new one.
            let answer = if answer.head.status == 503 && !answer.keep_alive {
                connection = connect(&gateway, PATIENCE).await.expect("nobody is refused");
                call(&mut connection, notify(), body.as_bytes(), 1024, PATIENCE).await.unwrap()
            } else {
                answer
            };
            assert_eq!(answer.head.status, 200);
            sent += 1;
            if !answer.keep_alive {
                connection = connect(&gateway, PATIENCE).await.expect("nobody is refused");
            }
        }
    }
    sent
}

/// A request that is passed on.
pub async fn get(gateway: String) -> Result<Answer, CallError> {
    let mut connection = connect(&gateway, PATIENCE).await?;
    call(&mut connection, Call::new("GET", "/").with("Host", "im.example"), b"", 1024, PATIENCE).await
}
