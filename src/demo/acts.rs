//! The two acts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use super::bodies;
use super::client::{Client, Mailbox, Message, principal};
use super::rvp_server::{self, RvpServer};
use super::trace::Trace;
use crate::app::{self, Listeners, Running};
use crate::config::{Config, Listen, StoreKind};
use crate::http1::accept;

const KARI: &str = "kari";
const ALAN: &str = "alan";

/// An act that takes longer than this has gone wrong.
const LONGEST_ACT: Duration = Duration::from_secs(10);

/// What came of an act.
pub(super) struct Act {
    pub(super) sent: usize,
    pub(super) arrived: usize,
}

/// The white paper's Figure 1: a client behind a firewall can send, and never receives.
pub(super) async fn without_the_gateway(trace: &Arc<Trace>) -> anyhow::Result<Act> {
    trace.act(
        "First act: a server that calls back, and a client behind a firewall",
        "(The white paper's Figure 1.) kari signs in and says where to call her back. Her firewall lets nobody in.",
    );
    let server = start_server(trace, "firewall")?;
    let closed = ClosedPort::reserve()?;
    let (kari, alan) = (client(KARI, &server), client(ALAN, &server));

    let callback = closed.url();
    trace.said(KARI, "server", &format!("SUBSCRIBE, Call-Back: {callback}"));
    kari.sign_in(&callback).await?;
    trace.said("server", KARI, "200 Successful: you will be called back there");

    trace.said(ALAN, "server", "NOTIFY kari: \"Lunch at twelve?\"");
    let message = bodies::instant_message(&principal(ALAN), &principal(KARI), "Lunch at twelve?");
    let answer = alan.ask("NOTIFY", KARI, &[], &message).await?;
    let arrived = usize::from(answer.head.status == 200);
    if arrived == 0 {
        trace.bad("server", ALAN, &format!("{}: {}", answer.head.status, text(&answer.body)));
        trace.said("", "", "kari can send, and is never told anything.");
    }
    Ok(Act { sent: 1, arrived })
}

/// The same client through the gateway, by polling.
pub(super) async fn with_the_gateway(trace: &Arc<Trace>) -> anyhow::Result<Act> {
    trace.act(
        "Second act: the same server and the same client, with Pollgate between them",
        "The gateway gives the server an address of its own, keeps what comes there, and lets kari poll.",
    );
    let server = start_server(trace, "gateway")?;
    let running = start_gateway(server.address())?;
    let mut stage = Stage {
        trace: trace.clone(),
        kari: Client { user: KARI, to: running.public_address() },
        alan: client(ALAN, &server),
        running,
        expected: Vec::new(),
        received: Vec::new(),
    };
    let played = timeout(LONGEST_ACT, stage.play()).await;
    stage.running.stop().await;
    played.context("the second act took too long")??;
    let in_order = stage.expected.iter().zip(&stage.received).take_while(|(a, b)| a == b).count();
    let as_sent = in_order == stage.received.len();
    if !as_sent {
        trace.bad("", "", "what kari received is not what was sent, or not in its order");
    }
    Ok(Act { sent: stage.expected.len(), arrived: in_order })
}

/// Something that alan does, of which kari is to be told.
#[derive(Clone, PartialEq, Eq)]
enum Deed {
    Says(String),
    Types,
    Is(&'static str),
}

struct Stage {
    trace: Arc<Trace>,
    kari: Client,
    alan: Client,
    running: Running,
    /// The bodies that kari should receive, in order.
    expected: Vec<String>,
    received: Vec<String>,
}

impl Stage {
    async fn play(&mut self) -> anyhow::Result<()> {
        let mut mailbox = self.sign_in().await?;

        self.trace.said("", "", "— She polls, and the poll is held until there is news.");
        self.held_while(&mut mailbox, &[Deed::Is("away")]).await?;
        self.held_while(&mut mailbox, &[Deed::Types]).await?;
        self.held_while(&mut mailbox, &[Deed::Says("Lunch at twelve?".into())]).await?;

        self.trace.said("", "", "— While she does not poll, the gateway keeps what comes.");
        for text in ["The usual place.", "I am buying.", "Are you there?"] {
            self.does(Deed::Says(text.into())).await?;
        }
        self.poll_until_all_is_there(&mut mailbox).await?;

        self.trace.said("", "", "— A burst: one poll carries what came in the meantime, in order.");
        let burst: Vec<Deed> = (1..=6).map(|n| Deed::Says(format!("{n}"))).collect();
        self.held_while(&mut mailbox, &burst).await?;

        self.sign_out(&mut mailbox).await
    }

    async fn sign_in(&mut self) -> anyhow::Result<Mailbox> {
        let callback = "http://10.1.2.3:1234";
        self.trace.said(KARI, "gateway", &format!("SUBSCRIBE, Call-Back: {callback}"));
        let mailbox = self.kari.sign_in(callback).await?.context("no Content-Location in the answer")?;
        self.trace.said("gateway", "server", "SUBSCRIBE, Call-Back: the gateway's own address");
        self.trace.said("gateway", KARI, "200 Successful, Content-Location: where you can poll");
        let me = principal(KARI);
        let watch = [("Notification-Type", "update/propchange"), ("Call-Back", me.as_str())];
        self.trace.said(KARI, "gateway", "SUBSCRIBE to alan's presence");
        let answer = self.kari.ask("SUBSCRIBE", ALAN, &watch, "").await?;
        ensure!(answer.head.status == 200, "SUBSCRIBE to presence was answered {}", answer.head.status);
        self.trace.said("gateway", KARI, "200 Successful: the server's answer, as it is");
        Ok(mailbox)
    }

    /// A poll is held; then alan does these things; kari polls until she knows of all of them.
    async fn held_while(&mut self, mailbox: &mut Mailbox, deeds: &[Deed]) -> anyhow::Result<()> {
        self.trace.said(KARI, "gateway", "POLL, Prefer: wait=60");
        let kari = Client { user: KARI, to: self.kari.to };
        let (first, done) = tokio::join!(kari.poll(mailbox, true), async {
            self.until_a_poll_is_held().await;
            for deed in deeds {
                self.does(deed.clone()).await?;
            }
            anyhow::Ok(())
        });
        self.received(first?);
        done?;
        self.poll_until_all_is_there(mailbox).await
    }

    async fn poll_until_all_is_there(&mut self, mailbox: &mut Mailbox) -> anyhow::Result<()> {
        while self.received.len() < self.expected.len() {
            self.trace.said(KARI, "gateway", "POLL, Prefer: wait=60, Last-Event-ID: the last one she has");
            let messages = self.kari.poll(mailbox, true).await?;
            self.received(messages);
        }
        Ok(())
    }

    async fn until_a_poll_is_held(&self) {
        while self.running.gateway().metrics.held_polls() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn does(&mut self, deed: Deed) -> anyhow::Result<()> {
        let (from, to) = (principal(ALAN), principal(KARI));
        let (said, method, user, body, told) = match &deed {
            Deed::Says(text) => {
                let body = bodies::instant_message(&from, &to, text);
                (format!("NOTIFY kari: \"{text}\""), "NOTIFY", KARI, body.clone(), body)
            }
            Deed::Types => {
                let body = bodies::typing(&from, &to);
                ("NOTIFY kari: alan is typing".to_owned(), "NOTIFY", KARI, body.clone(), body)
            }
            Deed::Is(state) => {
                let told = bodies::presence(&from, &to, state);
                (format!("PROPPATCH: I am {state}"), "PROPPATCH", ALAN, bodies::property_update(state), told)
            }
        };
        self.trace.said(ALAN, "server", &said);
        self.expected.push(told);
        let answer = self.alan.ask(method, user, &[], &body).await?;
        ensure!((200..300).contains(&answer.head.status), "{method} was answered {}", answer.head.status);
        Ok(())
    }

    fn received(&mut self, messages: Vec<Message>) {
        let words: Vec<String> = messages.iter().map(in_words).collect();
        if !words.is_empty() {
            self.trace.good("gateway", KARI, &format!("200 OK: {}", words.join(", ")));
        }
        self.received.extend(messages.into_iter().map(|message| message.body));
    }

    async fn sign_out(&mut self, mailbox: &mut Mailbox) -> anyhow::Result<()> {
        let rest = self.kari.poll(mailbox, false).await?;
        ensure!(rest.is_empty(), "{} messages came twice", rest.len());
        self.trace.said(KARI, "gateway", "POLL, Prefer: wait=0: nothing more, and all of it acknowledged");
        let id = [("Subscription-Id", mailbox.subscription_id.as_str())];
        let answer = self.kari.ask("UNSUBSCRIBE", KARI, &id, "").await?;
        ensure!(answer.head.status == 200, "UNSUBSCRIBE was answered {}", answer.head.status);
        self.trace.said(KARI, "gateway", "UNSUBSCRIBE: she signs out, and the mailbox is gone");
        Ok(())
    }
}

/// A message in a few words.
fn in_words(message: &Message) -> String {
    match message.class.as_str() {
        "presence" => {
            format!("alan is {}", bodies::state_of(message.body.as_bytes()).unwrap_or_default())
        }
        "typing" => "alan is typing".to_owned(),
        _ => {
            let text = message.body.split("\r\n\r\n").nth(1).and_then(|rest| rest.split("]]>").next());
            format!("\"{}\"", text.unwrap_or_default())
        }
    }
}

fn start_server(trace: &Arc<Trace>, whom_it_calls: &'static str) -> anyhow::Result<RvpServer> {
    let trace = trace.clone();
    let report = move |callback: rvp_server::Callback| {
        let called = format!("NOTIFY http://{}/…", callback.address);
        match &callback.outcome {
            Ok(status @ 200..300) => {
                trace.said("server", whom_it_calls, &format!("{called}: {status}, kept for her"));
            }
            Ok(status) => trace.bad("server", whom_it_calls, &format!("{called}: {status}")),
            Err(error) => trace.bad("server", whom_it_calls, &format!("{called}: {error}")),
        }
    };
    Ok(RvpServer::start(accept::bind(loopback())?, &[KARI, ALAN], Arc::new(report))?)
}

fn start_gateway(upstream: SocketAddr) -> anyhow::Result<Running> {
    let mut config = Config {
        listen: Listen {
            public: vec![loopback()],
            callback: loopback(),
            admin: loopback(),
            ..Listen::default()
        },
        ..Config::default()
    };
    config.upstreams[0].address = upstream.to_string();
    config.callback.url = format!("http://{}", loopback());
    // Nothing of it stays on this machine.
    config.store.kind = StoreKind::Memory;
    let listeners = Listeners::bind(&config.listen)?;
    app::start(config, listeners)
}

fn client(user: &'static str, server: &RvpServer) -> Client {
    Client { user, to: server.address() }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim_end().to_owned()
}

/// Any free port of this machine.
fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A port that is taken, and at which nobody listens: connections are refused, as long as this lives.
struct ClosedPort(TcpSocket);

impl ClosedPort {
    fn reserve() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(loopback())?;
        Ok(Self(socket))
    }

    fn url(&self) -> String {
        self.0.local_addr().map(|address| format!("http://{address}")).unwrap_or_default()
    }
}
