//! A client that polls, and where messages for it go: the same code whatever the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use pollgate::http1::client::{Answer, Call, call};
use pollgate::http1::{Connection, Headers};
use tokio::net::{TcpSocket, TcpStream};

use super::upstream::Upstream;

/// Far more than anything here should take.
pub const PATIENCE: Duration = Duration::from_secs(700);

/// A client with a connection of its own.
pub struct Client {
    connection: Connection<TcpStream>,
    mailbox: Mailbox,
}

/// What a client has without a connection.
pub struct Mailbox {
    server: SocketAddr,
    wire: Wire,
    inbox: Inbox,
}

/// Where messages for a client are sent.
#[derive(Clone)]
pub struct Inbox {
    pub method: &'static str,
    pub address: String,
    pub path: String,
}

/// How a client polls, and what it knows of the latest message that it has.
enum Wire {
    Pollgate { path: String, last: Option<String> },
    Nchan { path: String, last: Option<(String, String)> },
}

impl Client {
    /// Subscribes through a gateway.
    pub async fn of_pollgate(gateway: SocketAddr, upstream: &Upstream, n: usize) -> Self {
        let node = format!("/instmsg/aliases/u{n}");
        let mut connection = connect(gateway).await;
        let request = Call::new("SUBSCRIBE", &node)
            .with("Host", "im.example")
            .with("Call-Back", "http://127.0.0.1:9")
            .with("Subscription-Lifetime", 14_400)
            .with("RVP-From-Principal", format_args!("http://im.example{node}"))
            .with("Content-Length", 0);
        let answer = call(&mut connection, request, b"", 1024, PATIENCE).await.unwrap();
        let location = answer.head.fields.text("content-location").unwrap();
        let path = location.strip_prefix("http://im.example").unwrap().to_owned();
        let (address, callback) = upstream.callback(&node);
        let inbox = Inbox { method: "NOTIFY", address, path: callback };
        let wire = Wire::Pollgate { path, last: None };
        Self { connection, mailbox: Mailbox { server: gateway, wire, inbox } }
    }

    /// A client of nchan needs no subscription.
    pub async fn of_nchan(server: SocketAddr, n: usize) -> Self {
        let connection = connect(server).await;
        let wire = Wire::Nchan { path: format!("/sub/u{n}"), last: None };
        let inbox = Inbox { method: "POST", address: server.to_string(), path: format!("/pub/u{n}") };
        Self { connection, mailbox: Mailbox { server, wire, inbox } }
    }

    /// Where it polls.
    pub fn path(&self) -> &str {
        match &self.mailbox.wire {
            Wire::Pollgate { path, .. } | Wire::Nchan { path, .. } => path,
        }
    }

    /// Where messages for it are sent.
    pub fn inbox(&self) -> &Inbox {
        &self.mailbox.inbox
    }

    /// Polls once; acknowledges what the poll before brought.
    pub async fn poll(&mut self) -> Answer {
        let request = match &self.mailbox.wire {
            Wire::Pollgate { path, last } => {
                let request = Call::new("POLL", path)
                    .with("Host", "im.example")
                    .with("Prefer", "wait=600")
                    .with("Content-Length", 0);
                last.iter().fold(request, |request, last| request.with("Last-Event-ID", last))
            }
            Wire::Nchan { path, last } => {
                let request = Call::new("GET", path).with("Host", "im.example");
                last.iter().fold(request, |request, (modified, tag)| {
                    request.with("If-Modified-Since", modified).with("If-None-Match", tag)
                })
            }
        };
        let answer = call(&mut self.connection, request, b"", 1 << 24, PATIENCE).await.unwrap();
        let field = |name| answer.head.fields.text(name).map(str::to_owned);
        match &mut self.mailbox.wire {
            Wire::Pollgate { last, .. } => *last = field("last-event-id").or(last.take()),
            Wire::Nchan { last, .. } => *last = field("last-modified").zip(field("etag")).or(last.take()),
        }
        answer
    }

    /// Closes its connection.
    pub fn disconnect(self) -> Mailbox {
        self.mailbox
    }
}

impl Mailbox {
    /// The client again, on a new connection.
    pub async fn connect(self) -> Client {
        Client { connection: connect(self.server).await, mailbox: self }
    }
}

/// Connects from one of the machine's many loopback addresses: each has ports of its own, and those of
/// connections that were closed are not free at once.
async fn connect(to: SocketAddr) -> Connection<TcpStream> {
    const SHARE_AN_ADDRESS: u32 = 10_000;
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = (CONNECTIONS.fetch_add(1, Relaxed) / SHARE_AN_ADDRESS).to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 1 + high, low, 1), 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Connection::new(stream)
}
