//! A client's requests on their way to the gateway, and the answers back.
//!
//! Each client's connection has a connection to the gateway of its own, for as long as both last: some servers
//! know a client by its connection (NTLM). Requests and answers pass as they come, but for their chunks, which are made
//! anew; a subscription loses its callback address on the way, so that the gateway waits for polls, and its answer loses
//! the place to poll.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::metrics::Metrics;
use super::reach::{Reach, is_this_machine};
use super::rewrite::{for_client, for_gateway, mend_line_ends, place_to_poll};
use super::state::Record;
use super::subscriptions::{Subscriptions, ends_in};
use crate::clock;
use crate::dialect::webhook::Rules;
use crate::dialect::{Choice, Dialect, Grant, Reading};
use crate::http1::client::CallError;
use crate::http1::{
    Allowance, Connection, Framing, HeadError, HeadLimits, Headers, Pace, PassError, Passing, ReadHeadError,
    RequestHead, Response, ResponseHead, ServeLimits, Times, Version, answer_to_bad_head, is_silent,
    read_body, refuse,
};
use crate::tls::Stream;

/// How long the gateway may take to answer: it waits for the server, and that may hold a request.
const ANSWER: Duration = Duration::from_secs(900);

/// What every connection of a client is served by.
pub(super) struct Relay {
    pub(super) reach: Reach,
    /// The name of the server, if clients know it by another.
    pub(super) host: Option<String>,
    pub(super) dialect: Choice,
    /// With [`Choice::Webhook`]: how its webhooks are registered.
    pub(super) rules: Option<Arc<Rules>>,
    /// Whether callback addresses stay in subscriptions: the gateway calls them itself.
    pub(super) called_by_gateway: bool,
    /// Who may be called, beside whoever subscribes.
    pub(super) allow: Vec<IpNet>,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// What the answer to a request will mean.
enum Intent {
    Nothing,
    Subscribe { dialect: Dialect, record: Box<Record>, lease: Option<Duration> },
    Renew { dialect: Dialect, ids: Vec<String>, node: String, lease: Option<Duration> },
    Unsubscribe { ids: Vec<String>, node: String },
}

/// Why a connection cannot go on.
enum Broken {
    /// The client gets this, and the connection ends.
    Told(Response),
    /// The client is gone, or has a part of an answer.
    Silent,
}

impl Relay {
    /// Serves one client's connection until either side is done with it.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let mut client = Connection::new(stream);
        let mut gateway = None;
        loop {
            let limits = HeadLimits::default();
            let head = match client.next_request_head(limits, Times::CLIENT, &self.stop).await {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(ReadHeadError::Head(HeadError::Malformed(_))) if mend_line_ends(client.input_mut()) => {
                    continue;
                }
                Err(error) => {
                    if let Some(answer) = answer_to_bad_head(&error) {
                        refuse(client, Version::Http11, answer, Times::CLIENT).await;
                    }
                    return;
                }
            };
            match self.pass(&mut client, &mut gateway, &head, peer).await {
                Ok(true) => {}
                Ok(false) => return drop(client.close().await),
                Err(Broken::Told(answer)) => {
                    return refuse(client, head.version, answer, Times::CLIENT).await;
                }
                Err(Broken::Silent) => return,
            }
        }
    }

    /// One request and its answer. Whether the client's connection can carry another.
    async fn pass(
        &self,
        client: &mut Connection<TcpStream>,
        gateway: &mut Option<Connection<Stream>>,
        head: &RequestHead,
        peer: SocketAddr,
    ) -> Result<bool, Broken> {
        let read = self.content(client, head).await?;
        let (head, content) = match &read {
            Some((head, content)) => (head, Some(content)),
            None => (head, None),
        };
        let (intent, field) = self.read(head, content.map(|content| &content[..]), peer)?;
        let request = for_gateway(head, self.host.as_deref(), field);
        let answered = self.ask(client, gateway, head, request, content).await;
        self.metrics.passed_on(answered.is_ok());
        let answer = answered?;
        let framing = match Framing::of_response(answer.status, &answer.fields, answer.version) {
            _ if head.method() == "HEAD" => Framing::Empty,
            Ok(framing) => framing,
            Err(error) => return Err(Broken::Told(bad_gateway(error))),
        };
        let granted = (200..300).contains(&answer.status).then(|| self.granted(&intent, &answer));
        // Who gave no callback address polls for itself.
        let is_called = matches!(intent, Intent::Subscribe { .. });
        let shown = if is_called { for_client(&answer) } else { answer.raw() };
        write(client, shown).await?;
        let Some(line) = gateway.as_mut() else { return Err(Broken::Silent) };
        let mut body = AnswerBody::new(&intent);
        let pace = Pace { read: Times::CLIENT.write, write: Times::CLIENT.write };
        let mut passing = Passing::new(framing, framing == Framing::Chunked, pace);
        let passed = passing.pass(line, client, |piece, _| {
            body.push(&piece);
            Some(piece)
        });
        let passed = passed.await;
        // The client has the answer: what it subscribed to may come now.
        if let Some(granted) = granted {
            let said = body.said(&intent, &answer);
            self.apply(intent, granted.and(said));
        }
        passed.map_err(|_| Broken::Silent)?;
        if !answer.keep_alive() || framing == Framing::UntilClose {
            *gateway = None;
        }
        // Whatever was said of keeping the connection was said by the gateway, and reached the client.
        Ok(gateway.is_some() && head.keep_alive())
    }

    /// The body of a request that cannot be understood without it, and the head that goes with it then.
    async fn content(
        &self,
        client: &mut Connection<TcpStream>,
        head: &RequestHead,
    ) -> Result<Option<(RequestHead, Bytes)>, Broken> {
        let dialect = Dialect::of_request(self.dialect, self.rules.as_ref(), head);
        let Some(most) = dialect.reads_content(head).filter(|_| !self.called_by_gateway) else {
            return Ok(None);
        };
        let limits = ServeLimits { head: HeadLimits::default(), body: most, times: Times::CLIENT };
        let mut room = Allowance::unlimited();
        let content = read_body(client, head, limits, &mut room).await.map_err(Broken::Told)?;
        // What was added may make it too large.
        let told = |error: HeadError| Broken::Told(Response::text(431, error));
        let whole = head.with_content(Some(&content));
        let parsed = RequestHead::parse(&whole, limits.head).map_err(told)?;
        Ok(parsed.map(|(head, _)| (head, content)))
    }

    /// What a request means, and which of its fields stays here.
    fn read(
        &self,
        head: &RequestHead,
        content: Option<&[u8]>,
        peer: SocketAddr,
    ) -> Result<(Intent, Option<&'static str>), Broken> {
        let nothing = Ok((Intent::Nothing, None));
        if self.called_by_gateway {
            return nothing;
        }
        let dialect = Dialect::of_request(self.dialect, self.rules.as_ref(), head);
        let node = dialect.node(head).to_owned();
        let own_name: Vec<String> = self.host.iter().cloned().collect();
        match dialect.read_request(head, content, &own_name, peer.ip().to_canonical()) {
            // What is wrong with it the gateway says.
            Reading::Other | Reading::Invalid { .. } => nothing,
            Reading::Renew { ids, .. } if self.subscriptions.was_lost(&ids, &node) => {
                tracing::info!(node, "a client has to subscribe anew");
                Err(Broken::Told(Response::text(412, "the subscription was lost: subscribe anew")))
            }
            Reading::Renew { ids, lease } => Ok((Intent::Renew { dialect, ids, node, lease }, None)),
            Reading::Unsubscribe { ids } => Ok((Intent::Unsubscribe { ids, node }, None)),
            Reading::Subscribe(subscribe) => {
                // Without an address the client polls, and needs no agent for that.
                let Some(callback) = subscribe.subscription.callback else { return nothing };
                if !self.may_be_called(&callback, peer) {
                    tracing::warn!(%peer, "a callback address of somebody else");
                    let what = "the callback address is not of this client: see --allow";
                    return Err(Broken::Told(Response::text(403, what)));
                }
                if callback.starts_with("https:") {
                    let what = "the agent calls no address within TLS";
                    return Err(Broken::Told(Response::text(403, what)));
                }
                let record = Record {
                    dialect: dialect.name().to_owned(),
                    callback: callback.into(),
                    poll: String::new(),
                    host: self.host.clone().unwrap_or_else(|| head.authority().to_owned()),
                    node,
                    // Where the answer says none, it is the request that identifies a subscription.
                    id: subscribe.renews.filter(|_| dialect.repeats_callback()),
                    lease_ends: 0,
                    last_event_id: None,
                };
                let field = dialect.callback_field();
                let intent = Intent::Subscribe { dialect, record: Box::new(record), lease: subscribe.lease };
                // Another than in a field stays: the gateway replaces it, and waits for polls all the same.
                Ok((intent, field))
            }
        }
    }

    /// The agent calls nobody on a stranger's word.
    fn may_be_called(&self, callback: &str, peer: SocketAddr) -> bool {
        let address: Option<IpAddr> = match Url::parse(callback).ok().as_ref().and_then(Url::host) {
            Some(Host::Ipv4(ip)) => Some(ip.into()),
            Some(Host::Ipv6(ip)) => Some(ip.to_canonical()),
            _ => None,
        };
        // To call nobody's address is to call this machine, whoever asked for it.
        if address.is_some_and(|address| address.is_unspecified()) {
            return false;
        }
        is_this_machine(peer)
            || address.is_some_and(|address| {
                address == peer.ip().to_canonical() || self.allow.iter().any(|net| net.contains(&address))
            })
    }

    /// Sends the request, and waits for the head of its answer.
    async fn ask(
        &self,
        client: &mut Connection<TcpStream>,
        gateway: &mut Option<Connection<Stream>>,
        head: &RequestHead,
        request: Bytes,
        content: Option<&Bytes>,
    ) -> Result<ResponseHead, Broken> {
        if let Some(line) = gateway
            && !(line.input_mut().is_empty() && is_silent(line.stream_mut()).await)
        {
            *gateway = None;
        }
        let line = match gateway {
            Some(line) => line,
            None => gateway.insert(self.reach.connect().await.map_err(|error| self.unreachable(&error))?),
        };
        if head.fields.list("expect").any(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            write(client, Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n")).await?;
        }
        let sent = async {
            let body = content.cloned().unwrap_or_default();
            line.write(request, body, Times::CLIENT.write).await.map_err(CallError::Io)?;
            let framing = if content.is_some() { Framing::Empty } else { head.framing };
            let pace = Pace { read: Times::CLIENT.body, write: Times::CLIENT.body };
            let mut passing = Passing::new(framing, framing == Framing::Chunked, pace);
            passing.pass(client, line, |piece, _| Some(piece)).await.map_err(|error| match error {
                PassError::Read(error) => CallError::Body(error),
                PassError::Write(error) => CallError::Io(error),
            })
        };
        sent.await.map_err(|error| Broken::Told(bad_gateway(error)))?;
        loop {
            let answer = tokio::select! {
                answer = line.read_response_head(HeadLimits::default(), ANSWER) => answer,
                // Whoever is gone needs no answer, and the server need not go on.
                _ = client.closed_by(clock::in_time(ANSWER)) => return Err(Broken::Silent),
            };
            let answer = answer.map_err(|error| Broken::Told(bad_gateway(error)))?;
            if answer.status >= 200 {
                return Ok(answer);
            }
            if head.version == Version::Http11 {
                write(client, answer.raw()).await?;
            }
        }
    }

    fn unreachable(&self, error: &CallError) -> Broken {
        tracing::warn!(gateway = self.reach.address(), %error, "the gateway takes no connection");
        Broken::Told(bad_gateway("the gateway takes no connection"))
    }

    /// What the server granted, and where it is polled.
    fn granted(&self, intent: &Intent, answer: &ResponseHead) -> Granted {
        let Some((dialect, asked)) = intent.asks() else { return Granted::default() };
        let grant = dialect.read_grant(&answer.fields);
        Granted {
            id: grant.subscription_id,
            lease: grant.lease.or(asked).unwrap_or_else(|| dialect.default_lease()),
            poll: place_to_poll(answer).map(str::to_owned),
        }
    }

    fn apply(&self, intent: Intent, granted: Granted) {
        let Granted { id, lease, poll } = granted;
        match intent {
            Intent::Nothing => {}
            Intent::Renew { ids, node, .. } => self.subscriptions.renewed(&ids, &node, lease),
            Intent::Unsubscribe { ids, node } => self.subscriptions.end(&ids, &node),
            Intent::Subscribe { record, .. } => match poll {
                Some(poll) => {
                    tracing::info!(node = record.node, dialect = record.dialect, "subscribed");
                    let id = id.or_else(|| record.id.clone());
                    self.subscriptions.begin(Record { id, poll, lease_ends: ends_in(lease), ..*record });
                }
                None => {
                    tracing::error!(
                        node = record.node,
                        "the answer to a subscription names no place to poll: is there a gateway?"
                    );
                    self.metrics.no_place_to_poll();
                }
            },
        }
    }
}

/// What the server granted, and where it is polled.
#[derive(Default)]
struct Granted {
    id: Option<String>,
    lease: Duration,
    poll: Option<String>,
}

impl Granted {
    /// The same with what the body of the answer says.
    fn and(self, said: Grant) -> Self {
        Self { id: said.subscription_id.or(self.id), lease: said.lease.unwrap_or(self.lease), ..self }
    }
}

impl Intent {
    /// The dialect of a lease that is asked for, and how long the client wants it.
    fn asks(&self) -> Option<(&Dialect, Option<Duration>)> {
        match self {
            Self::Subscribe { dialect, lease, .. } | Self::Renew { dialect, lease, .. } => {
                Some((dialect, *lease))
            }
            Self::Nothing | Self::Unsubscribe { .. } => None,
        }
    }
}

/// The body of an answer as it passes, where it says something of a subscription.
struct AnswerBody {
    content: Vec<u8>,
    /// How much of it is kept; what is longer is not looked into.
    most: usize,
}

impl AnswerBody {
    fn new(intent: &Intent) -> Self {
        let most = intent.asks().and_then(|(dialect, _)| dialect.reads_answer());
        Self { content: Vec::new(), most: most.unwrap_or(0) }
    }

    fn push(&mut self, piece: &[u8]) {
        if self.content.len() + piece.len() <= self.most {
            self.content.extend_from_slice(piece);
        } else {
            (self.content, self.most) = (Vec::new(), 0);
        }
    }

    fn said(&self, intent: &Intent, answer: &ResponseHead) -> Grant {
        match intent.asks().filter(|_| self.most > 0) {
            Some((dialect, _)) => dialect.read_answer(&answer.fields, &self.content),
            None => Grant::default(),
        }
    }
}

async fn write(client: &mut Connection<TcpStream>, bytes: Bytes) -> Result<(), Broken> {
    client.write(bytes, Bytes::new(), Times::CLIENT.write).await.map_err(|_| Broken::Silent)
}

fn bad_gateway(what: impl std::fmt::Display) -> Response {
    Response::text(502, what)
}
