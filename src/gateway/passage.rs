//! A request on its way: which upstream it is for, which of its servers it is at, and what its answer means.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answers::PassingAnswer;
use super::description::{self, Rewriter};
use super::newcomers::Newcomer;
use super::stop::{Pending, StoreUse};
use super::subscribe::{self, Intent};
use super::tether::{Tether, challenges_connection};
use super::upstream::{Destination, Known, Line, Server, Upstream, Wish};
use super::{Gateway, hop};
use crate::clock;
use crate::http1::client::CallError;
use crate::http1::{BodyError, FieldList, Framing, Headers, RequestHead, ResponseHead};
use crate::telemetry::{InFlight, UpstreamError};

/// What is known of a request on its way.
pub(super) struct Passage {
    pub(super) gateway: Arc<Gateway>,
    pub(super) upstream: Arc<Upstream>,
    client: IpAddr,
    way_in: WayIn,
    /// What the connection to the upstream is tied to, if it is the client's own.
    tether: Option<Arc<Tether>>,
    /// Set when the answer asks the client to authenticate its connection.
    pub(super) challenged: bool,
    /// What its answer will mean.
    intent: Intent,
    /// Whom the answer makes a subscriber; to go when it was written.
    pub(super) newcomer: Option<Newcomer>,
    /// What its answer may change in the store.
    pending: Option<Pending>,
    /// The answer, if its body says something of a subscription.
    answer: Option<PassingAnswer>,
    /// The origin under which the client knows the gateway, if that goes into descriptions.
    origin: Option<String>,
    /// What writes the answer anew, if it is a description.
    rewriter: Option<Rewriter>,
    /// The server that it is at.
    server: Option<Server>,
    /// Where its connection leads.
    leads: Option<Destination>,
    /// Those that took no connection.
    tried: Vec<SocketAddr>,
    since: Instant,
    _in_flight: InFlight,
}

/// Who asks, and by which way.
pub(super) struct Asker {
    pub(super) client: IpAddr,
    pub(super) way_in: WayIn,
    /// What the connection to the upstream is to be tied to, if it is the client's own.
    pub(super) tether: Option<Arc<Tether>>,
    /// The origin under which the client knows the gateway, if that goes into descriptions.
    pub(super) origin: Option<String>,
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct WayIn {
    /// The scheme under which the client knows the gateway.
    pub scheme: &'static str,
    /// The port of the listener, where that counts.
    pub port: u16,
}

/// Why a request did not pass, or its answer did not.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is gone.
    Gone,
    /// What the client sends is not a body.
    Body(BodyError),
    /// The upstream did not answer.
    Upstream(UpstreamError, String),
}

impl Failure {
    pub(super) fn broken(what: impl ToString) -> Self {
        Self::Upstream(UpstreamError::Broken, what.to_string())
    }

    pub(super) fn timed_out() -> Self {
        Self::Upstream(UpstreamError::TimedOut, "it took too long".to_owned())
    }
}

impl Passage {
    /// A request that is about to leave.
    pub(super) fn new(gateway: &Arc<Gateway>, upstream: Arc<Upstream>, asker: Asker, intent: Intent) -> Self {
        let Asker { client, way_in, tether, origin } = asker;
        Self {
            gateway: gateway.clone(),
            _in_flight: upstream.counters.passing(),
            upstream,
            client,
            way_in,
            tether,
            challenged: false,
            intent,
            newcomer: None,
            pending: None,
            answer: None,
            origin,
            rewriter: None,
            server: None,
            leads: None,
            tried: Vec::new(),
            since: clock::instant(),
        }
    }

    /// The store is used until its answer is there.
    pub(super) fn uses_store(&mut self, at_store: StoreUse) {
        let mailboxes = [self.intent.known(), self.intent.stays()].concat();
        self.pending = Some(Pending::new(&self.gateway, &mailboxes, at_store));
    }

    /// A connection to its server, and whether it was used before. With `fresh` it never was.
    ///
    /// A server that takes none is passed over where there are others: nothing of the request was sent.
    pub(super) async fn line(&mut self, fresh: bool) -> Result<(Line, bool), Failure> {
        loop {
            let server = self.next_server().await?;
            let roots = self.upstream.roots();
            let to = Destination::new(&server, roots.as_deref());
            if !fresh && let Some(line) = self.gateway.lines.take(&to, self.owner()).await {
                (self.server, self.leads) = (Some(server), Some(to));
                return Ok((line, true));
            }
            let made = self.upstream.line(&server, roots.as_deref()).await;
            let others = self.upstream.took_connection(&server, made.is_ok());
            let at = server.address;
            (self.server, self.leads) = (Some(server), Some(to));
            match made {
                Ok(line) => return Ok((line, false)),
                Err(error) => {
                    self.tried.push(at);
                    if !others || self.tried.len() >= self.upstream.config.all_servers().len() {
                        return Err(no_connection(&error));
                    }
                    self.upstream.counters.tried_another();
                }
            }
        }
    }

    async fn next_server(&self) -> Result<Server, Failure> {
        let (upstream, tether) = (&self.upstream, self.tether.as_deref());
        let known = tether
            .and_then(|tether| tether.server(&upstream.config.name))
            .or_else(|| upstream.who_granted(self.intent.known()));
        let nowhere = |what: String| Failure::Upstream(UpstreamError::Resolve, what);
        let wish = Wish { client: self.client, known, tried: &self.tried };
        let found = upstream.server(wish).await.map_err(|error| nowhere(error.to_string()))?;
        let server = found.ok_or_else(|| nowhere("there is no other server".to_owned()))?;
        if let Some(tether) = tether {
            tether.is_at(&upstream.config.name, server.address);
        }
        Ok(server)
    }

    /// Keeps its connection for the next request, unless it may be authenticated by now and is nobody's own.
    pub(super) fn keep(&self, line: Line) {
        let Some(to) = self.leads.clone() else { return };
        if !self.challenged || self.tether.is_some() {
            self.gateway.lines.keep(line, to, self.owner(), self.upstream.config.idle_timeout);
        }
    }

    fn owner(&self) -> Option<u64> {
        self.tether.as_ref().map(|tether| tether.number())
    }

    /// The authority of the server that it is at.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.config.authority())
    }

    /// The upstream's answer came: its fields as they go on.
    pub(super) async fn answered(
        &mut self,
        request: &RequestHead,
        head: &ResponseHead,
        framing: Framing,
    ) -> FieldList {
        let mut fields = head.fields.to_list();
        hop::end(&mut fields);
        self.upstream.counters.answered(self.since.elapsed());
        if (200..300).contains(&head.status) {
            self.remember_who_granted();
        }
        if (300..400).contains(&head.status)
            && let Some(location) = self.redirected(request, &fields)
        {
            fields.set("Location", location);
        }
        self.challenged = challenges_connection(&fields);
        let intent = std::mem::take(&mut self.intent);
        let answered = subscribe::answered(&self.gateway, intent, head.status, &fields).await;
        let granted = answered.granted;
        self.answer = granted.map(|granted| PassingAnswer::new(&self.gateway, granted, fields.clone()));
        for (name, value) in answered.fields {
            fields.set(name, value);
        }
        self.newcomer = answered.newcomer;
        if let Some(origin) = self.origin.take() {
            let to_head = request.method() == "HEAD";
            let answer = description::Answer { status: head.status, fields: &mut fields, framing, to_head };
            let server = self.server.as_ref().map(|server| server.address);
            self.rewriter = description::begin(answer, origin, &self.upstream.config, server);
        }
        fields
    }

    /// Whether the answer is written anew, and nobody knows how long it will be.
    pub(super) fn is_written_anew(&self) -> bool {
        self.rewriter.is_some()
    }

    /// What goes to the client of a piece of the answer.
    pub(super) fn content(&mut self, piece: Bytes, is_last: bool) -> Option<Bytes> {
        let kept = self.answer.take().and_then(|mut answer| answer.push(&piece).then_some(answer));
        match kept {
            Some(answer) if is_last => answer.end(&self.gateway),
            kept => self.answer = kept,
        }
        match &mut self.rewriter {
            Some(rewriter) => rewriter.pass(&piece, is_last),
            None => Some(piece),
        }
    }

    /// There will be no answer.
    pub(super) async fn give_up(&mut self) {
        subscribe::give_up(&self.gateway, std::mem::take(&mut self.intent)).await;
    }

    fn remember_who_granted(&self) {
        if let Some(server) = &self.server {
            for mailbox in self.intent.stays() {
                self.upstream.granted(*mailbox, server.address);
            }
        }
    }

    /// Where a client that is redirected to a server behind the gateway finds that.
    fn redirected(&self, request: &RequestHead, fields: &FieldList) -> Option<String> {
        let location = fields.text("location")?;
        let authority = request.fields.text("host").unwrap_or_default();
        let WayIn { scheme, port } = self.way_in;
        let known = Known { scheme, authority, port, target: request.origin_form() };
        self.gateway.upstreams().redirected(location, &known)
    }
}

fn no_connection(error: &CallError) -> Failure {
    let kind = match error {
        CallError::TimedOut(_) => UpstreamError::TimedOut,
        CallError::Tls(_) => UpstreamError::Tls,
        _ => UpstreamError::Connect,
    };
    Failure::Upstream(kind, error.to_string())
}
