//! Passing on what is not ours: a request to a server, and its answer back.
//!
//! Both bodies pass at the same time, since an answer may come before its request has ended; each as its reader takes
//! it, and with no more in memory than one piece. A client that goes away takes its request with it. What was sent
//! on a connection that the server had just ended is sent again on a new one, if that can do no harm.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};

use super::hop;
use super::passage::{Failure, Passage};
use super::request_body::RequestBody;
use super::upstream::Line;
use crate::clock;
use crate::config::HostMode;
use crate::http1::{
    Allowance, BodyError, Connection, FieldList, Framing, FramingError, HeadLimits, Headers, Pace, PassError,
    Passing, ReadHeadError, Reply, RequestHead, Response, ResponseHead, Times, Version, answer_to_bad_body,
    date,
};
use crate::telemetry::UpstreamError;
use crate::tls::Stream;

/// The largest head of an answer that is taken.
const ANSWER: HeadLimits = HeadLimits { bytes: 128 * 1024, fields: HeadLimits::MOST_FIELDS };

/// Methods of WebDAV that change nothing (RFC 3253 §3.6, RFC 4918 §9.1, RFC 5323 §2), beside those of HTTP itself.
const HARMLESS: [&str; 3] = ["PROPFIND", "REPORT", "SEARCH"];

/// A request that is passed on.
pub(super) struct Request {
    pub(super) head: RequestHead,
    /// Whether its client wants its connection kept.
    pub(super) keep_alive: bool,
    /// What of its body was read already, as it goes on.
    pub(super) content: Bytes,
    /// How the rest of it comes.
    pub(super) framing: Framing,
    /// How much of that may come, chunk heads and all.
    pub(super) most: u64,
    /// What that takes its memory from.
    pub(super) room: Allowance,
}

/// A request and its answer on their way.
pub(super) struct Exchange {
    client: Connection<Stream>,
    head: RequestHead,
    keep_alive: bool,
    content: Bytes,
    body: RequestBody,
    passage: Passage,
    times: Times,
    /// What the client was answered, if it was.
    status: u16,
}

/// What became of a client's connection.
pub(super) struct Passed {
    /// The connection, if it can carry another request.
    pub(super) connection: Option<Connection<Stream>>,
    /// Whether its client was asked to authenticate it.
    pub(super) challenged: bool,
}

/// What is known of a server's answer.
#[derive(Clone, Copy)]
struct Kept {
    /// Whether the client's connection may be kept after it.
    client: bool,
    /// Whether the server's may.
    server: bool,
}

/// Why a server did not answer.
enum Unanswered {
    /// It ended the connection without a word.
    Lost(String),
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Exchange {
    pub(super) fn new(client: Connection<Stream>, request: Request, passage: Passage, times: Times) -> Self {
        let Request { head, keep_alive, content, framing, most, room } = request;
        let pace = Pace { read: times.body, write: passage.upstream.config.read_timeout };
        let body = RequestBody::new(framing, most, room, pace, head.fields.contains("expect"));
        Self { client, head, keep_alive, content, body, passage, times, status: 0 }
    }

    pub(super) async fn run(mut self) -> Passed {
        let exchanged = self.exchange().await;
        let challenged = self.passage.challenged;
        let failure = match exchanged {
            Ok(true) => {
                self.log(None);
                return Passed { connection: Some(self.client), challenged };
            }
            Ok(false) => None,
            Err(failure) => Some(failure),
        };
        self.passage.give_up().await;
        self.log(failure.as_ref());
        self.end(failure).await;
        Passed { connection: None, challenged }
    }

    /// Whether the client's connection can carry another request.
    async fn exchange(&mut self) -> Result<bool, Failure> {
        let (mut line, head) = self.ask().await?;
        let (mut answer, kept) = self.answer(&head).await?;
        self.status = head.status;
        self.read_answer(&mut line, &mut answer).await?;
        let mut line = Some(line);
        // Before the client has it all: its next request may come at once.
        if kept.server && self.body.is_done() {
            self.keep(line.take());
        }
        self.finish(line.as_mut(), &mut answer, kept).await?;
        self.passage.newcomer = None;
        if kept.server && self.body.is_done() {
            self.keep(line);
        }
        Ok(kept.client && self.body.is_done())
    }

    /// Writes the last of the answer, and passes on what is left of the request's body, if the server takes it.
    async fn finish(
        &mut self,
        mut line: Option<&mut Connection<Line>>,
        answer: &mut Passing,
        kept: Kept,
    ) -> Result<(), Failure> {
        let Self { client, body, .. } = self;
        poll_fn(|cx| {
            // What goes wrong with it now changes nothing for the answer.
            if let Some(line) = &mut line
                && body.poll(cx, client, line).is_err()
            {
                body.give_up();
            }
            ready!(answer.poll_write(cx, client)).map_err(|_| Failure::Gone)?;
            if !kept.server {
                body.give_up();
            }
            if body.is_going() { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }

    /// Sends the request, and waits for the head of its answer.
    async fn ask(&mut self) -> Result<(Connection<Line>, ResponseHead), Failure> {
        let mut fresh = false;
        loop {
            let (line, was_used) = self.passage.line(fresh).await?;
            let mut line = Connection::new(line);
            match self.ask_on(&mut line).await {
                Ok(head) => return Ok((line, head)),
                Err(Unanswered::Lost(_)) if was_used && self.can_be_repeated() => {
                    fresh = true;
                    self.body.begin_again();
                }
                Err(Unanswered::Lost(what)) => return Err(Failure::broken(what)),
                Err(Unanswered::Failed(failure)) => return Err(failure),
            }
        }
    }

    async fn ask_on(&mut self, line: &mut Connection<Line>) -> Result<ResponseHead, Unanswered> {
        let config = &self.passage.upstream.config;
        let server = self.passage.server().unwrap_or_default();
        let head = hop::request(&self.head, server, config.host == HostMode::Upstream);
        let sent = line.write(head, self.content.clone(), config.read_timeout).await;
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Failure::timed_out().into()),
            // It may have said why.
            Err(_) => self.body.give_up(),
        }
        let mut has_spoken = false;
        loop {
            let head = match self.next_head(line).await {
                Err(Unanswered::Lost(what)) if has_spoken => return Err(Failure::broken(what).into()),
                head => head?,
            };
            match head.status {
                200.. => return Ok(head),
                // Behind a switch of protocols nobody would look at what passes.
                101 => return Err(Failure::broken("it switches protocols").into()),
                _ => self.pass_interim(&head).await?,
            }
            has_spoken = true;
        }
    }

    /// The head of the next answer, while the body of the request goes on its way.
    async fn next_head(&mut self, line: &mut Connection<Line>) -> Result<ResponseHead, Unanswered> {
        let (mut seen, mut answer_by) = (0, None);
        let within = self.passage.upstream.config.read_timeout;
        let Self { client, body, .. } = self;
        poll_fn(|cx| {
            body.poll(cx, client, line)?;
            let failed = match line.poll_response_head(cx, ANSWER, &mut seen) {
                Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
                Poll::Ready(Err(error)) => error,
                Poll::Pending if body.is_going() => return Poll::Pending,
                Poll::Pending => {
                    if body.is_left(cx, client) {
                        return Poll::Ready(Err(Failure::Gone.into()));
                    }
                    let answer_by = *answer_by.get_or_insert_with(|| clock::in_time(within));
                    ready!(client.poll_alarm(cx, answer_by));
                    return Poll::Ready(Err(Failure::timed_out().into()));
                }
            };
            let silent = matches!(failed, ReadHeadError::Closed | ReadHeadError::Io(_)) && seen == 0;
            Poll::Ready(Err(match silent {
                true => Unanswered::Lost(failed.to_string()),
                false => Failure::broken(failed).into(),
            }))
        })
        .await
    }

    async fn pass_interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        if head.status == 100 {
            self.body.may_come();
        }
        // RFC 9110 §15.2: HTTP/1.0 knows none.
        if self.head.version == Version::Http10 {
            return Ok(());
        }
        let mut fields = head.fields.to_list();
        hop::end(&mut fields);
        remove_framing(&mut fields);
        let passed = self.client.write(written(head, &fields), Bytes::new(), self.times.write).await;
        passed.map_err(|_| Failure::Gone)
    }

    /// The answer as it goes to the client, and which connections are kept after it.
    async fn answer(&mut self, head: &ResponseHead) -> Result<(Passing, Kept), Failure> {
        let declared = match Framing::of_response(head.status, &head.fields, head.version) {
            Err(FramingError::Both) => Framing::by_coding(&head.fields, head.version),
            declared => declared,
        };
        let declared = declared.map_err(Failure::broken)?;
        let framing = if self.head.method() == "HEAD" { Framing::Empty } else { declared };
        let mut fields = self.passage.answered(&self.head, head, framing).await;
        let version = self.head.version;
        let is_both = fields.contains("content-length") && fields.contains("transfer-encoding");
        let in_pieces =
            self.passage.is_written_anew() || matches!(framing, Framing::Chunked | Framing::UntilClose);
        let chunked = in_pieces && version == Version::Http11;
        if in_pieces || is_both {
            fields.remove("content-length");
        }
        if chunked {
            fields.set("Transfer-Encoding", "chunked");
        } else if version == Version::Http10 {
            // It knows no chunks (RFC 9112 §7.1): what has no length ends with the connection.
            fields.remove("transfer-encoding");
        }
        // What may come behind a 204 that says so would be taken for the next answer.
        let is_odd = head.status == 204 && remove_framing(&mut fields);
        // RFC 9112 §6.1, §6.3: what else such a server says is not to be trusted.
        let server = head.keep_alive() && framing != Framing::UntilClose && !is_both && !is_odd;
        if self.body.is_awaited() {
            // It will not come.
            self.body.give_up();
        }
        let client = self.keep_alive
            && !self.passage.gateway.stop.clients.is_cancelled()
            && chunked == in_pieces
            && !self.body.is_given_up()
            && (server || self.body.is_done());
        hop::keep_alive(&mut fields, version, client);
        if !fields.contains("date") {
            // RFC 9110 §6.6.1
            fields.set("Date", date(clock::wall()));
        }
        let pace = Pace { read: self.passage.upstream.config.read_timeout, write: self.times.write };
        Ok((Passing::new(framing, chunked, pace).behind(written(head, &fields)), Kept { client, server }))
    }

    /// Passes the answer on until all of it was read.
    async fn read_answer(
        &mut self,
        line: &mut Connection<Line>,
        answer: &mut Passing,
    ) -> Result<(), Failure> {
        let Self { client, body, passage, .. } = self;
        poll_fn(|cx| {
            body.poll(cx, client, line)?;
            match answer.poll_read(cx, line, client, |piece, is_last| passage.content(piece, is_last)) {
                Poll::Ready(Err(PassError::Read(BodyError::TimedOut))) => {
                    Poll::Ready(Err(Failure::timed_out()))
                }
                Poll::Ready(Err(PassError::Read(error))) => Poll::Ready(Err(Failure::broken(error))),
                Poll::Ready(Err(PassError::Write(_))) => Poll::Ready(Err(Failure::Gone)),
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Pending if body.is_left(cx, client) => Poll::Ready(Err(Failure::Gone)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Keeps the server's connection, if nothing is left over on it.
    fn keep(&self, line: Option<Connection<Line>>) {
        if let Some(mut line) = line
            && line.input_mut().is_empty()
        {
            self.passage.keep(line.into_stream());
        }
    }

    /// Whether it does no harm to ask twice (RFC 9110 §9.2.2), and is possible.
    fn can_be_repeated(&self) -> bool {
        let method = self.head.method();
        let is_harmless = HARMLESS.contains(&method)
            || http::Method::from_bytes(method.as_bytes()).is_ok_and(|method| method.is_idempotent());
        is_harmless && !self.body.has_begun()
    }

    /// Tells the client what went wrong, if it has no answer yet, and closes its connection.
    async fn end(self, failure: Option<Failure>) {
        let is_answered = failure.is_none();
        let answer = failure.and_then(|failure| self.said_of(failure)).filter(|_| self.status == 0);
        if let Some(answer) = &answer {
            self.passage.gateway.metrics.proxied(answer.status);
        }
        let Self { mut client, head, passage, times, .. } = self;
        // To part with the client takes its time.
        drop(passage);
        let is_told = match &answer {
            Some(answer) => {
                let head_only = head.method() == "HEAD";
                let reply = Reply { version: head.version, keep_alive: false, head_only };
                client.answer(answer, reply, times).await.is_ok()
            }
            None => is_answered,
        };
        if is_told {
            drop(client.close().await);
        }
    }

    /// What a client is told of this; nothing if it is gone.
    fn said_of(&self, failure: Failure) -> Option<Response> {
        let gateway = &self.passage.gateway;
        match failure {
            Failure::Gone | Failure::Body(BodyError::Closed | BodyError::Io(_)) => None,
            Failure::Body(error) => {
                let answer = answer_to_bad_body(&error);
                if self.status == 0 {
                    gateway.metrics.request_refused(answer.status);
                }
                Some(answer)
            }
            Failure::Upstream(kind, error) => {
                let (upstream, server) = (&self.passage.upstream, self.passage.server());
                let (name, reason) = (&upstream.config.name, kind.name());
                tracing::warn!(upstream = name, server, reason, error, "the upstream did not answer");
                upstream.counters.failed(kind, clock::wall());
                Some(bad_gateway(kind))
            }
        }
    }

    fn log(&self, failure: Option<&Failure>) {
        if self.status > 0 {
            self.passage.gateway.metrics.proxied(self.status);
        }
        let (method, path, status) = (self.head.method(), self.head.path(), self.status);
        tracing::debug!(method, path, status, ?failure, "passed on");
    }
}

/// Takes out what says where a body ends, from an answer that has none (RFC 9112 §6.1, RFC 9110 §8.6). Whether that
/// says that there is one.
fn remove_framing(fields: &mut FieldList) -> bool {
    let says_so =
        fields.contains("transfer-encoding") || fields.values("content-length").any(|length| length != b"0");
    fields.remove("transfer-encoding");
    fields.remove("content-length");
    says_so
}

/// The head of an answer as the client gets it, with these fields.
fn written(head: &ResponseHead, fields: &FieldList) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(format!("HTTP/1.1 {} ", head.status).as_bytes());
    out.put_slice(head.reason());
    out.put_slice(b"\r\n");
    fields.write(&mut out);
    out.put_slice(b"\r\n");
    out.freeze()
}

fn bad_gateway(kind: UpstreamError) -> Response {
    let (status, text) = match kind {
        UpstreamError::Resolve => (502, "the server behind this gateway cannot be found"),
        UpstreamError::Connect => (502, "the server behind this gateway takes no connection"),
        UpstreamError::Tls => (502, "the server behind this gateway cannot be trusted"),
        UpstreamError::TimedOut => (504, "the server behind this gateway did not answer in time"),
        UpstreamError::Broken => (502, "the server behind this gateway broke off its answer"),
    };
    Response::text(status, text)
}
