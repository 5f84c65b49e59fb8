//! The legacy server: it grants every subscription and remembers where to call back; and its clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollgate::http1::client::{Answer, Call, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Headers, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Far more than anything here should take.
pub const PATIENCE: Duration = Duration::from_secs(700);

#[derive(Default)]
pub struct Upstream {
    subscriptions: AtomicU64,
    /// By node.
    callbacks: Mutex<HashMap<String, String>>,
}

impl Service for Upstream {
    async fn call(&self, request: Request) -> Response {
        if request.head.method == "GET" {
            return Response::text(200, "hello");
        }
        let id = self.subscriptions.fetch_add(1, Relaxed);
        if let Some(callback) = request.head.fields.text("call-back") {
            let node = request.head.path().to_owned();
            self.callbacks.lock().unwrap().insert(node, callback.to_owned());
        }
        Response::new(200)
            .reason("Successful")
            .with("Subscription-Id", id)
            .with("Subscription-Lifetime", 14_400)
    }
}

impl Upstream {
    pub fn start() -> (Arc<Self>, SocketAddr) {
        let upstream = Arc::new(Self::default());
        let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let service = upstream.clone();
        let times = Times { idle: PATIENCE, ..Times::CLIENT };
        let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times };
        let stop = CancellationToken::new();
        let handle = move |stream, peer| {
            let service = service.clone();
            async move { serve(Connection::new(stream), peer, &*service, limits, CancellationToken::new()).await }
        };
        tokio::spawn(accept::accept(listener, stop, TaskTracker::new(), handle));
        (upstream, address)
    }

    /// Where the upstream calls back for this node: address and path.
    pub fn callback(&self, node: &str) -> (String, String) {
        let url = self.callbacks.lock().unwrap()[node].clone();
        let rest = url.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_once('/').unwrap();
        (address.to_owned(), format!("/{path}"))
    }
}

/// A client with a connection of its own and a mailbox.
pub struct Client {
    pub connection: Connection<TcpStream>,
    pub node: String,
    path: String,
    last: Option<String>,
}

impl Client {
    pub async fn subscribe(gateway: SocketAddr, n: usize) -> Self {
        Self::subscribe_at(gateway, n, "http://127.0.0.1:9").await
    }

    /// With this address to be called at.
    pub async fn subscribe_at(gateway: SocketAddr, n: usize, callback: &str) -> Self {
        let node = format!("/instmsg/aliases/u{n}");
        let mut connection = connect(&gateway.to_string(), PATIENCE).await.unwrap();
        let request = Call::new("SUBSCRIBE", &node)
            .with("Host", "im.example")
            .with("Call-Back", callback)
            .with("Subscription-Lifetime", 14_400)
            .with("RVP-From-Principal", format_args!("http://im.example{node}"))
            .with("Content-Length", 0);
        let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
        let location = answer.head.fields.text("content-location").unwrap();
        let path = location.strip_prefix("http://im.example").unwrap().to_owned();
        Self { connection, node, path, last: None }
    }

    pub async fn poll(&mut self, wait: u32) -> Answer {
        let mut request = Call::new("POLL", &self.path)
            .with("Host", "im.example")
            .with("Prefer", format_args!("wait={wait}"))
            .with("Content-Length", 0);
        if let Some(last) = &self.last {
            request = request.with("Last-Event-ID", last);
        }
        let answer = call(&mut self.connection, request, b"", 1 << 24, PATIENCE).await.unwrap();
        self.last = answer.head.fields.text("last-event-id").map(str::to_owned).or(self.last.take());
        answer
    }
}
