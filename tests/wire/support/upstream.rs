//! A legacy server that keeps to a script, and remembers every byte it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{Message, Pair, Socket, text, until, within};

/// What the upstream does in answer to a request.
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits until the test says so.
    Wait(Arc<Notify>),
    /// Closes the connection.
    Close,
}

type Script = Box<dyn Fn(&Message) -> Vec<Step> + Send + Sync>;

pub struct Upstream {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    seen: Mutex<Vec<Message>>,
    script: Mutex<Arc<Script>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    subscriptions: AtomicUsize,
}

/// An answer of the upstream, with a length.
pub fn answer(head: &str, body: &str) -> Vec<Step> {
    vec![Step::Send(text(&format!("{head}\nContent-Length: {}", body.len()), body))]
}

/// A server whose every byte the test itself sends.
pub struct ByHand(TcpListener);

impl ByHand {
    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    pub async fn accept(&mut self) -> Socket {
        let (stream, _) = within("a connection", self.0.accept()).await.expect("a connection");
        Socket::driven(stream)
    }
}

impl Upstream {
    pub async fn by_hand() -> ByHand {
        ByHand(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// A server that grants every subscription what it asks for, and answers 200 to all else.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// The same at this socket. Must be called within a runtime.
    pub fn on(listener: TcpListener) -> Self {
        Self::behind(listener, None)
    }

    /// The same within TLS.
    pub async fn secure(pair: &Pair) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::behind(listener, Some(pair.acceptor()))
    }

    fn behind(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            script: Mutex::new(Arc::new(Box::new(|_| Vec::new()))),
            connections: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
        });
        let upstream = Self { address, inner: inner.clone() };
        upstream.grants();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                inner.connections.fetch_add(1, SeqCst);
                let (acceptor, inner) = (acceptor.clone(), inner.clone());
                tokio::spawn(async move {
                    let socket = match acceptor {
                        None => Some(Socket::accepted(stream)),
                        // A client that does not believe it goes away.
                        Some(acceptor) => {
                            let stream = acceptor.accept(stream).await.ok();
                            stream.map(|stream| Socket::accepted(TlsStream::from(stream)))
                        }
                    };
                    if let Some(socket) = socket {
                        serve(socket, &inner).await;
                    }
                    inner.ended.fetch_add(1, SeqCst);
                });
            }
        });
        upstream
    }

    /// From now on it answers so.
    pub fn script(&self, script: impl Fn(&Message) -> Vec<Step> + Send + Sync + 'static) {
        *self.inner.script.lock().unwrap() = Arc::new(Box::new(script));
    }

    /// From now on it answers every request with these bytes.
    pub fn answers(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.script(move |_| vec![Step::Send(bytes.clone())]);
    }

    /// From now on it grants what is asked, with ids from 98210 on.
    pub fn grants(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.script(move |request| {
            let version = request.field("rvp-notifications-version").unwrap_or("1.0".into());
            if request.method() != "SUBSCRIBE" {
                return answer(&format!("HTTP/1.1 200 OK\nRVP-Notifications-Version: {version}"), "upstream");
            }
            let id = request.field("subscription-id").unwrap_or_else(|| {
                let inner = inner.upgrade().expect("the upstream is there");
                (98210 + inner.subscriptions.fetch_add(1, SeqCst)).to_string()
            });
            let lease = request.field("subscription-lifetime").unwrap_or("14400".into());
            let head = format!(
                "HTTP/1.1 200 Successful\nRVP-Notifications-Version: {version}\nSubscription-Id: {id}\n\
                 Subscription-Lifetime: {lease}"
            );
            answer(&head, "")
        });
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Vec<Message> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// The latest request.
    pub fn last(&self) -> Message {
        self.inner.seen.lock().unwrap().last().expect("a request").clone()
    }

    /// Waits until so many requests came.
    pub async fn saw(&self, requests: usize) {
        until("the upstream's requests", || self.inner.seen.lock().unwrap().len() >= requests).await;
    }

    /// Waits until so many of its connections have ended.
    pub async fn ended(&self, connections: usize) {
        until("ends of connections", || self.inner.ended.load(SeqCst) == connections).await;
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.inner.connections.load(SeqCst)
    }
}

async fn serve(mut socket: Socket, inner: &Inner) {
    while let Some(request) = socket.request().await {
        let script = inner.script.lock().unwrap().clone();
        let steps = script(&request);
        inner.seen.lock().unwrap().push(request);
        for step in steps {
            match step {
                Step::Send(bytes) => socket.try_send(bytes).await,
                Step::Wait(told) => told.notified().await,
                Step::Close => return,
            }
        }
    }
}
