//! Whether a callback really comes: a short subscription to a node that is named for it.
//!
//! Where no gateway runs, this listens in its place at `listen.callback` for as long as the trial takes; where one
//! runs it is its client, and polls. Some upstreams call back for every new subscription; others have to be
//! given something to tell, and [`Dialect::provoke`] says what. Whatever happens, the subscription is ended
//! again: a signal during the wait ends the wait, and not the process.

mod judgement;
mod listener;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use url::Url;

use self::listener::Awaited;
use super::{Finding, upstream};
use crate::clock;
use crate::config::{Config, Upstream, reachable};
use crate::dialect::{Dialect, Grant};
use crate::http1::client::{Answer, Call, call, dial};
use crate::http1::{Connection, Headers};
use crate::mailbox::Subscription;
use crate::tls::Stream;

/// How much longer than the wait the lease is: time to end it.
const SLACK: Duration = Duration::from_secs(30);

/// How long each request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Before each try to end the subscription: whoever is busy now may not be so in a second.
const END_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(1)];

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// What is tried, and with whom.
pub(super) struct Trial<'a> {
    pub(super) config: &'a Config,
    pub(super) upstream: &'a Upstream,
    /// What software the upstream says it is; may be empty.
    pub(super) server: &'a str,
    /// How long a callback is waited for.
    pub(super) wait: Duration,
    /// Whether a gateway runs.
    pub(super) running: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// A callback, so long after the subscription; from whom, where that is seen, and whether it may deliver.
    Came { after: Duration, from: Option<(IpAddr, bool)> },
    /// None, in spite of what the upstream was given to tell; how it answered that.
    Silent { provoked: Option<Result<u16, String>> },
    /// The subscription was answered with this status.
    Refused(u16),
    /// It was not tried, or not to its end.
    NotTried(String),
}

/// What became of the subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lease {
    /// There was none, or it was ended.
    Over,
    /// It may last for as long as it was asked for.
    Left(String),
}

/// A request without an answer.
struct Unanswered {
    /// Whether it may have been understood all the same.
    sent: bool,
    why: String,
}

/// Where requests go.
#[derive(Clone, Copy)]
enum Door {
    /// To the upstream itself.
    Upstream,
    /// To the running gateway, as a client of its.
    Gateway(SocketAddr),
}

/// Where the callback shows.
enum Place {
    /// At our own listener.
    Listener(Awaited),
    /// In the mailbox that is polled here.
    Mailbox(String),
}

impl Trial<'_> {
    /// What is to be said of callbacks to `node`; without one, that nothing was tried.
    pub(super) async fn findings(&self, node: Option<&str>) -> Vec<Finding> {
        let Some(node) = node else { return vec![judgement::not_asked_for()] };
        let (outcome, lease) = self.run(node).await;
        judgement::judge(node, self, &outcome, &lease)
    }

    fn lease(&self) -> Duration {
        self.wait + SLACK
    }

    async fn run(&self, node: &str) -> (Outcome, Lease) {
        let not_tried = |why: String| (Outcome::NotTried(why), Lease::Over);
        let door = match self.door() {
            Ok(door) => door,
            Err(why) => return not_tried(why),
        };
        let dialect = Dialect::of_server(self.upstream.dialect, self.upstream.rules.as_ref(), self.server);
        let awaited = match door {
            Door::Gateway(_) => None,
            Door::Upstream => match Awaited::bind(self.config, dialect.clone()) {
                Ok(awaited) => Some(awaited),
                Err(error) => {
                    let address = self.config.listen.callback;
                    return not_tried(format!("listen.callback {address} cannot be listened at: {error}"));
                }
            },
        };
        // From here on a signal ends no more than the wait.
        let Ok(mut interrupts) = Interrupts::catch() else {
            return not_tried("signals cannot be waited for, and a lease might be left".to_owned());
        };
        let host = upstream::host(self.upstream);
        let subscription = Subscription {
            node: node.into(),
            principal: Some(format!("http://{host}{node}").into()),
            callback: awaited.as_ref().map(|awaited| awaited.url().into()),
            host: host.into(),
            ..Subscription::default()
        };
        let Some(request) = dialect.trial(&subscription, self.lease()) else {
            return not_tried(format!("with the dialect {} it cannot be tried", dialect.name()));
        };
        let began = clock::instant();
        let answer = match self.ask(door, request, "").await {
            Ok(answer) if (200..300).contains(&answer.head.status) => answer,
            Ok(answer) => return (Outcome::Refused(answer.head.status), Lease::Over),
            Err(Unanswered { sent: false, why }) => return not_tried(why),
            // It may have been granted all the same, and nobody knows under which id.
            Err(Unanswered { why, .. }) => {
                let left = Lease::Left("nobody knows whether it was granted".to_owned());
                return (Outcome::NotTried(why), left);
            }
        };
        let grant = dialect.read_grant(&answer.head.fields);
        let place = match awaited {
            Some(awaited) => Some(Place::Listener(awaited)),
            None => mailbox(&answer).map(Place::Mailbox),
        };
        let outcome = match place {
            None => Outcome::NotTried("the running gateway made no mailbox for it".to_owned()),
            Some(place) => tokio::select! {
                biased;
                () = interrupts.recv() => Outcome::NotTried("it was interrupted".to_owned()),
                outcome = self.wait_for(place, door, &dialect, &subscription, began) => outcome,
            },
        };
        (outcome, self.end(door, &dialect, &subscription, &grant).await)
    }

    /// A running gateway has the callback listener: whoever wants a callback must be its client.
    fn door(&self) -> Result<Door, String> {
        if !self.running {
            return Ok(Door::Upstream);
        }
        if self.config.auth.mode.asks_for_credentials() {
            return Err("the running gateway wants a password for each poll".to_owned());
        }
        let public = self.config.listen.public.iter().find(|address| address.port() != 0);
        public.map(|address| Door::Gateway(reachable(*address))).ok_or_else(|| {
            "the running gateway serves clients within TLS only, or at a port that is not known".to_owned()
        })
    }

    async fn ask(&self, door: Door, request: Call, body: &str) -> Result<Answer, Unanswered> {
        self.ask_within(door, request, body, PATIENCE).await
    }

    async fn ask_within(
        &self,
        door: Door,
        request: Call,
        body: &str,
        within: Duration,
    ) -> Result<Answer, Unanswered> {
        let connection = self.connect(door).await;
        let mut connection = connection.map_err(|why| Unanswered { sent: false, why })?;
        let request = request.with("Connection", "close");
        let answer = call(&mut connection, request, body.as_bytes(), LARGEST_ANSWER, within).await;
        answer.map_err(|error| Unanswered { sent: true, why: error.to_string() })
    }

    async fn connect(&self, door: Door) -> Result<Connection<Stream>, String> {
        match door {
            Door::Upstream => upstream::connect(self.upstream).await.map_err(|error| error.to_string()),
            Door::Gateway(address) => {
                let stream = dial(&address.to_string(), PATIENCE).await.map_err(|error| error.to_string())?;
                Ok(Connection::new(Stream::Plain(stream)))
            }
        }
    }

    async fn wait_for(
        &self,
        place: Place,
        door: Door,
        dialect: &Dialect,
        subscription: &Subscription,
        began: std::time::Instant,
    ) -> Outcome {
        let provoke = async {
            let (request, body) = dialect.provoke(subscription)?;
            // Its sender need not be known to the gateway, and may be known to the upstream alone.
            Some(
                self.ask_within(Door::Upstream, request, &body, self.wait)
                    .await
                    .map(|answer| answer.head.status)
                    .map_err(|unanswered| unanswered.why),
            )
        };
        let arrival = async {
            let from = match place {
                Place::Listener(mut awaited) => awaited.arrival().await.map(Some),
                Place::Mailbox(path) => self.poll(door, subscription, &path).await.map(|()| None),
            };
            from.map(|from| (from, began.elapsed()))
        };
        let (arrived, provoked) = tokio::join!(timeout(self.wait, arrival), provoke);
        match arrived {
            Ok(Ok((from, after))) => Outcome::Came { after, from },
            Ok(Err(why)) => Outcome::NotTried(why),
            Err(_) => Outcome::Silent { provoked },
        }
    }

    /// Polls until something came, and acknowledges it, so that nobody counts it as lost.
    async fn poll(&self, door: Door, subscription: &Subscription, path: &str) -> Result<(), String> {
        let unanswered = |unanswered: Unanswered| unanswered.why;
        loop {
            let wait = self.wait.as_secs();
            let answer = self.ask_within(door, poll(subscription, path, wait, None), "", self.lease()).await;
            let answer = answer.map_err(unanswered)?;
            match answer.head.status {
                200 => {
                    let news: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    let id = news["messages"].as_array().and_then(|all| all.last()?["id"].as_u64());
                    self.ask(door, poll(subscription, path, 0, id), "").await.map_err(unanswered)?;
                    return Ok(());
                }
                204 => {}
                status => return Err(format!("the running gateway answered the poll with {status}")),
            }
        }
    }

    async fn end(&self, door: Door, dialect: &Dialect, subscription: &Subscription, grant: &Grant) -> Lease {
        let Some(id) = &grant.subscription_id else {
            return Lease::Left("the upstream gave it no id".to_owned());
        };
        let Some(request) = dialect.unsubscribe(subscription, id) else {
            return Lease::Left("only its client could end it".to_owned());
        };
        let mut left = String::new();
        for pause in END_AFTER {
            sleep(pause).await;
            left = match self.ask(door, request.clone(), "").await {
                Ok(answer) if (200..300).contains(&answer.head.status) => return Lease::Over,
                Ok(answer) => format!("UNSUBSCRIBE was answered {}", answer.head.status),
                Err(Unanswered { why, .. }) => format!("UNSUBSCRIBE was not answered: {why}"),
            };
        }
        Lease::Left(left)
    }
}

fn poll(subscription: &Subscription, path: &str, wait: u64, acknowledged: Option<u64>) -> Call {
    let request = Call::new("POLL", path)
        .with("Host", &subscription.host)
        .with("Prefer", format_args!("wait={wait}"))
        .with("Accept", "application/json")
        .with("Content-Length", 0);
    match acknowledged {
        Some(id) => request.with("Last-Event-ID", id),
        None => request,
    }
}

/// Where the gateway says that its new mailbox is polled.
fn mailbox(answer: &Answer) -> Option<String> {
    let location = Url::parse(answer.head.fields.text("content-location")?).ok()?;
    Some(location.path().to_owned())
}

/// The signals that would end the process.
struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupts {
    fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
