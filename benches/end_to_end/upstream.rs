//! The legacy server: it grants every subscription and remembers where to call back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use pollgate::http1::{
    Connection, HeadLimits, Headers, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::PATIENCE;

/// The path of something that takes a while to read.
pub const LARGE: &str = "/large";

#[derive(Default)]
pub struct Upstream {
    subscriptions: AtomicU64,
    /// By node.
    callbacks: Mutex<HashMap<String, String>>,
    /// What is at [`LARGE`].
    large: String,
}

impl Service for Upstream {
    async fn call(&self, request: Request) -> Response {
        if matches!(request.head.method(), "GET" | "HEAD" | "POST") {
            let large = request.head.path() == LARGE;
            return Response::text(200, if large { &*self.large } else { "hello" });
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
        let upstream = Arc::new(Self { large: "x".repeat(256 * 1024), ..Self::default() });
        let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let service = upstream.clone();
        let times = Times { idle: PATIENCE, ..Times::CLIENT };
        let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times };
        let stop = CancellationToken::new();
        let handle = move |stream, peer| {
            let service = service.clone();
            async move {
                serve(Connection::new(stream), peer, &*service, || limits, CancellationToken::new()).await
            }
        };
        tokio::spawn(accept::accept(listener, stop, TaskTracker::new(), handle, || ()));
        (upstream, address)
    }

    /// In a process of its own: it says where it listens, and serves until it is ended.
    pub fn serve() -> ExitCode {
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_upstream, address) = Self::start();
            println!("{address}");
            std::future::pending().await
        })
    }

    /// Where the upstream calls back for this node: address and path.
    pub fn callback(&self, node: &str) -> (String, String) {
        let url = self.callbacks.lock().unwrap()[node].clone();
        let rest = url.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_once('/').unwrap();
        (address.to_owned(), format!("/{path}"))
    }
}
