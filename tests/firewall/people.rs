//! Who is on the machines: kari's program at the client, the legacy server, and alan beside it.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollgate::demo::rvp_server::{Callback, RvpServer, USERS};
use pollgate::http1::client::{Answer, Call, CallError, call, connect};
use pollgate::http1::{
    Connection, HeadLimits, Headers, Request, Response, ServeLimits, Service, Times, accept, serve,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::network::{CLIENT, Host, PATIENCE, SERVER};

/// How long the legacy server tries to call back: it tries in vain once a test.
const SERVER_TRIES: Duration = Duration::from_secs(1);

/// The legacy server, which can only call back.
pub struct Server {
    _server: RvpServer,
    callbacks: Receiver<Callback>,
}

impl Server {
    pub fn start(host: &Host) -> Self {
        let (report, callbacks) = channel();
        let report = Arc::new(move |callback| _ = report.send(callback));
        let server = host.run(async move {
            let listener = accept::bind(format!("{SERVER}:80").parse().unwrap()).unwrap();
            RvpServer::start_with_patience(listener, &["kari", "alan"], report, SERVER_TRIES).unwrap()
        });
        Self { _server: server, callbacks }
    }

    /// alan, at the server's own machine, sends kari these words: the callback that the server made of it.
    pub fn tell_kari(&self, host: &Host, words: &'static str) -> Callback {
        host.run(async move {
            let request = request("NOTIFY", &format!("{USERS}kari"), words.len());
            ask(&format!("{SERVER}:80"), request, words, PATIENCE).await.unwrap();
        });
        self.callbacks.recv_timeout(PATIENCE).unwrap()
    }
}

/// kari's program: it subscribes, listens at some ports, and may poll.
pub struct Kari {
    calls: Arc<Calls>,
    stop: CancellationToken,
}

/// What it was called with: the host that was called, and the words.
#[derive(Default)]
struct Calls(Mutex<Vec<(String, String)>>);

impl Service for Calls {
    async fn call(&self, request: Request) -> Response {
        let host = request.head.fields.text("host").unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((host, String::from_utf8_lossy(&request.body).into_owned()));
        Response::new(200)
    }
}

impl Kari {
    /// It listens at these ports.
    pub fn listens(host: &Host, ports: impl IntoIterator<Item = u16>) -> Self {
        let kari = Self { calls: Arc::default(), stop: CancellationToken::new() };
        for port in ports {
            let (calls, stop) = (kari.calls.clone(), kari.stop.clone());
            host.run(async move {
                let listener = accept::bind(format!("{CLIENT}:{port}").parse().unwrap()).unwrap();
                let limits = ServeLimits { head: HeadLimits::default(), body: 1 << 20, times: Times::CLIENT };
                let until = stop.clone();
                let handle = move |stream, peer| {
                    let (calls, stop) = (calls.clone(), stop.clone());
                    async move { serve(Connection::new(stream), peer, &*calls, || limits, stop).await }
                };
                tokio::spawn(accept::accept(listener, until, TaskTracker::new(), handle, || ()));
            });
        }
        kari
    }

    /// What it was called with so far.
    pub fn called(&self) -> Vec<(String, String)> {
        self.calls.0.lock().unwrap().clone()
    }

    /// Waits until it was called so often.
    pub fn was_called(&self, times: usize) -> Vec<(String, String)> {
        let began = pollgate::clock::instant();
        while self.called().len() < times {
            assert!(began.elapsed() < PATIENCE, "only {:?} came", self.called());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.called()
    }

    /// Subscribes at `to`, to be called at this port: where to poll, if the answer says so.
    pub fn signs_in(host: &Host, to: &'static str, port: u16) -> Option<String> {
        host.run(async move {
            let request = request("SUBSCRIBE", &format!("{USERS}kari"), 0)
                .with("Notification-Type", "pragma/notify")
                .with("Subscription-Lifetime", 3600)
                .with("Call-Back", format_args!("http://{CLIENT}:{port}"));
            let answer = ask(&format!("{to}:80"), request, "", PATIENCE).await.unwrap();
            assert_eq!(answer.head.status, 200);
            let location = answer.head.fields.text("content-location")?;
            Some(location.strip_prefix("http://im.example").expect("it keeps the host").to_owned())
        })
    }
}

impl Drop for Kari {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Polls at `to`, for up to so many seconds: the words that came.
///
/// It acknowledges what it has by its id: on a connection of its own it may be there before the gateway knows that
/// the answer on another one was written to the end.
pub async fn poll(to: &str, path: String, wait: u32, has: Option<u64>) -> Vec<(u64, String)> {
    let request = request("POLL", &path, 0)
        .with("Prefer", format_args!("wait={wait}"))
        .with("Accept", "application/json");
    let request = match has {
        Some(id) => request.with("Last-Event-ID", id),
        None => request,
    };
    let answer = ask(&format!("{to}:80"), request, "", PATIENCE * 2).await.unwrap();
    if answer.head.status == 204 {
        return Vec::new();
    }
    assert_eq!(answer.head.status, 200);
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let messages = answer["messages"].as_array().unwrap();
    let read = |message: &serde_json::Value| {
        (message["id"].as_u64().unwrap(), message["body"].as_str().unwrap().to_owned())
    };
    messages.iter().map(read).collect()
}

/// What messages say.
pub fn bodies(messages: Vec<(u64, String)>) -> Vec<String> {
    messages.into_iter().map(|(_, body)| body).collect()
}

fn request(method: &str, path: &str, length: usize) -> Call {
    Call::new(method, path)
        .with("Host", "im.example")
        .with("RVP-Notifications-Version", "0.2")
        .with("RVP-From-Principal", format_args!("http://im.example{USERS}kari"))
        .with("Content-Length", length)
        .with("Connection", "close")
}

async fn ask(to: &str, request: Call, body: &str, within: Duration) -> Result<Answer, CallError> {
    let mut connection = connect(to, within).await?;
    call(&mut connection, request, body.as_bytes(), 1 << 20, within).await
}
