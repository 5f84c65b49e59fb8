//! Waiting until there is something to say.
//!
//! A poll that waits has a [`Session`]; the timer is its connection's. It takes messages only when it answers, so a
//! client that goes away while it waits takes nothing with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::forms;
use super::session::{Look, News, Receipt, Session, Wanted};
use super::{Form, PollRequest, Subscriptions, Target};
use crate::clock;
use crate::dialect::Dialect;
use crate::gateway::access::Visitor;
use crate::gateway::doors::{Bounds, Guest, Seat};
use crate::gateway::{Gateway, whole_seconds};
use crate::http1::{Connection, Response, Waited};
use crate::mailbox::{Acknowledgement, EventId, MailboxId, Timestamp};
use crate::store::{self, Lookup};
use crate::telemetry::{AuthResult, Happened, PollResult};

/// What a poll is answered.
pub enum Answer {
    /// An answer as a whole; with a receipt if there are messages in it.
    Whole(Response, Option<Receipt>),
    /// A stream of events, after this head.
    Stream(Response, Box<Events>),
}

impl Answer {
    /// The same with its response changed.
    pub fn map(self, change: impl FnOnce(Response) -> Response) -> Self {
        match self {
            Answer::Whole(response, receipt) => Answer::Whole(change(response), receipt),
            Answer::Stream(response, events) => Answer::Stream(change(response), events),
        }
    }

    /// The answer to what was not understood as a poll.
    pub fn refused(gateway: &Gateway, response: Response) -> Self {
        let result = if response.status == 404 { PollResult::Unknown } else { PollResult::Refused };
        gateway.metrics.poll_ended(result);
        Answer::Whole(response, None)
    }
}

/// The client of a poll: while it waits, it may go away, and the gateway may stop.
pub struct Client<'a, S> {
    /// Its connection.
    pub connection: &'a mut Connection<S>,
    /// Set when the gateway stops.
    pub stop: &'a CancellationToken,
    /// Its share of the gateway.
    pub guest: &'a Guest,
}

/// Answers a poll, at once or when there is something to say; `None` if the client went away.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    gateway: &Arc<Gateway>,
    request: &PollRequest,
    visitor: &Visitor,
    client: Client<'_, S>,
) -> Option<Answer> {
    let (result, answer) = match begin(gateway, request, visitor, client.guest) {
        Err((result, response)) => (result, Some(Answer::Whole(response, None))),
        Ok(poll) if poll.form == Form::Events => {
            // The stream ends the poll, and counts it.
            let head = forms::stream_head(&poll);
            return Some(Answer::Stream(head, Box::new(Events::new(poll))));
        }
        Ok(mut poll) => {
            let found = poll.wait(client, Pass::Whole).await;
            if let Found::End(result) = found {
                poll.note_if_in_vain(result);
            }
            poll.session.leave();
            match found {
                Found::News(news) => {
                    (PollResult::News, Some(Answer::Whole(forms::write(&poll, &news), Some(news.receipt))))
                }
                Found::End(result @ PollResult::Gone) => (result, None),
                Found::End(result @ PollResult::Unknown) => {
                    (result, Some(Answer::Whole(unknown(&request.target), None)))
                }
                Found::End(result @ PollResult::Unavailable) => {
                    let later = Response::text(503, "the messages cannot be read at this moment");
                    (result, Some(Answer::Whole(later.with("Retry-After", RETRY_SOON), None)))
                }
                Found::End(result) => (result, Some(Answer::Whole(forms::nothing(&poll), None))),
                Found::Tick => return None,
            }
        }
    };
    gateway.metrics.poll_ended(result);
    answer
}

/// The answer to a poll that came after the store was given away: as early as that to one that was held. It acknowledges
/// nothing; the client's next poll is the next process's.
pub fn come_again(gateway: &Gateway, request: &PollRequest) -> Answer {
    gateway.metrics.poll_ended(PollResult::Stopping);
    let response = match request.form {
        // What is no stream would end an EventSource for good.
        Some(Form::Events) => {
            Response::new(200).with_body("text/event-stream", Bytes::from_static(super::events::RECONNECT))
        }
        Some(Form::Status) => {
            Response::text(503, "the next process takes over").with("Retry-After", RETRY_SOON)
        }
        _ => Response::new(204),
    };
    Answer::Whole(response.with("Cache-Control", "no-store"), None)
}

/// A poll that has its mailboxes.
pub struct Poll {
    pub(super) gateway: Arc<Gateway>,
    pub(super) session: Session,
    pub(super) form: Form,
    /// How long it may be held.
    pub(super) hold: Duration,
    pub(super) last_event_id: Option<EventId>,
    /// The subscriptions that it names, for an answer that is about them.
    pub(super) named: Vec<Named>,
    /// Whether it acknowledged anything: then it did not come in vain.
    has_acknowledged: bool,
    /// When the hold is over; it begins with the first wait.
    deadline: Option<Instant>,
    /// Its place among the polls of its address.
    _seat: Option<Seat>,
}

/// A subscription that a poll names.
pub struct Named {
    /// The upstream's id.
    pub id: String,
    /// Its mailbox; none if there is no such subscription.
    pub mailbox: Option<MailboxId>,
}

/// What a wait ends with.
pub enum Found {
    /// Something to say.
    News(News),
    /// Nothing.
    End(PollResult),
    /// Nothing yet, and it is time to let the client know that the connection is alive.
    Tick,
}

/// Which part of an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The whole of it.
    Whole,
    /// The first piece of a stream, which tells of every loss that the client does not know of.
    First {
        /// When the wait is to be interrupted.
        tick: Instant,
    },
    /// Another piece of a stream.
    Next {
        /// When the wait is to be interrupted.
        tick: Instant,
    },
}

/// Finds the mailboxes that are meant, and takes them over.
fn begin(
    gateway: &Arc<Gateway>,
    request: &PollRequest,
    visitor: &Visitor,
    guest: &Guest,
) -> Result<Poll, (PollResult, Response)> {
    let config = gateway.config().clone();
    if !config.polling.poll_support {
        return Err((PollResult::Refused, Response::text(501, "polling is not supported here")));
    }
    let found = resolve(gateway, &request.target, visitor);
    let form = form(request.form, &found);
    let hold = match request.wait {
        Some(Duration::ZERO) => Duration::ZERO,
        // Clients of WebDAV poll when they were notified, and expect to be answered.
        None if form == Form::Status => Duration::ZERO,
        wait => config.polling.poll_life_time.apply(wait),
    };
    let too_many = |what| (PollResult::TooMany, Response::text(429, what).with("Retry-After", RETRY_AFTER));
    let mut seat = None;
    if !hold.is_zero() {
        if gateway.metrics.held_polls() >= config.polling.max_held_polls {
            return Err(too_many("too many polls are held"));
        }
        seat = guest.seat(Bounds::from(&config.limits));
        if seat.is_none() {
            return Err(too_many("too many polls are held from this address"));
        }
    }
    let floor = config.polling.min_poll_interval;
    drop(config);
    let now = clock::now();
    let too_early = found.iter().map(|found| found.pace.wait(floor, now)).max().unwrap_or_default();
    if !too_early.is_zero() {
        let often = Response::text(429, "polled too often: nothing came since");
        return Err((PollResult::TooOften, often.with("Retry-After", whole_seconds(too_early))));
    }
    // Whoever reads events learns what to acknowledge from the first one on.
    let explicitly = form == Form::Events;
    let by = Acknowledgement { last_event_id: request.last_event_id, explicitly, shared: false };
    let (session, acknowledged) = Session::begin(gateway.store.clone(), found, by);
    for (mailbox, messages) in &acknowledged {
        gateway.metrics.acknowledged(*messages);
        gateway.traffic.tell(*mailbox, || Happened::Acknowledged { messages: *messages });
        let up_to = request.last_event_id.map(tracing::field::display);
        tracing::debug!(%mailbox, acknowledged = messages, up_to, "messages acknowledged");
    }
    if session.mailboxes().len() == 0 {
        return Err((PollResult::Unknown, unknown(&request.target)));
    }
    let named = match form {
        Form::Status => named(gateway, &request.target, &session),
        _ => Vec::new(),
    };
    Ok(Poll {
        gateway: gateway.clone(),
        session,
        form,
        hold,
        last_event_id: request.last_event_id,
        named,
        has_acknowledged: !acknowledged.is_empty(),
        deadline: None,
        _seat: seat,
    })
}

/// The form that a client wants, or the first that its dialect knows.
fn form(wanted: Option<Form>, found: &[store::Found]) -> Form {
    match wanted {
        Some(Form::Status) | None if !found.is_empty() && found.iter().all(is_of_webdav) => Form::Status,
        Some(Form::Status) | None => Form::Multipart,
        Some(form) => form,
    }
}

fn is_of_webdav(found: &store::Found) -> bool {
    Dialect::of_subscription(&found.subscription, None) == Dialect::Webdav
}

/// The subscriptions of these mailboxes by the upstream's ids, and those that the poll names in vain.
fn named(gateway: &Gateway, target: &Target, session: &Session) -> Vec<Named> {
    let mut named = Vec::new();
    for found in session.mailboxes() {
        let id = gateway.store.report(found.id).ok().and_then(|report| report.subscription_id);
        named.extend(id.map(|id| Named { id: id.into(), mailbox: Some(found.id) }));
    }
    if let Target::Subscriptions(wanted) = target {
        let in_vain: Vec<&String> =
            wanted.ids.iter().filter(|id| named.iter().all(|known| known.id != **id)).collect();
        named.extend(in_vain.into_iter().map(|id| Named { id: id.clone(), mailbox: None }));
    }
    named
}

/// After how many seconds a poll that was too many may come again.
const RETRY_AFTER: u64 = 10;

/// After how many seconds a poll may come again for messages that could not be read.
const RETRY_SOON: u64 = 1;

/// The mailboxes that are meant, as far as the visitor may poll them.
fn resolve(gateway: &Gateway, target: &Target, visitor: &Visitor) -> Vec<store::Found> {
    let mut mailboxes: Vec<store::Found> = Vec::new();
    let mut somebody_elses = None;
    // One for all, whatever is reloaded meanwhile.
    let access = gateway.access();
    let mut add = |found: Vec<store::Found>| {
        for found in found {
            if !access.is_owner(visitor, &found) {
                somebody_elses = Some(found.id);
            }
            let known = mailboxes.iter().any(|other| other.id == found.id);
            if !known && access.allows(visitor, target, &found) {
                mailboxes.push(found);
            }
        }
    };
    match target {
        Target::Key(key) => add(gateway.store.find(Lookup::PollKey(*key))),
        Target::Subscriptions(wanted) => {
            let Subscriptions { node, ids, .. } = &**wanted;
            for id in ids {
                let at_node = gateway.store.find(Lookup::SubscriptionId { id, node: Some(node) });
                match at_node.is_empty() && node == "/" {
                    // Slide's client polls all that it has at the root of its server.
                    true => {
                        let mut anywhere = gateway.store.find(Lookup::SubscriptionId { id, node: None });
                        anywhere.retain(is_of_webdav);
                        add(anywhere);
                    }
                    false => add(at_node),
                }
            }
        }
    }
    if let Some(mailbox) = somebody_elses.filter(|_| mailboxes.is_empty()) {
        gateway.metrics.authenticated(AuthResult::Forbidden);
        tracing::info!(%mailbox, result = AuthResult::Forbidden.name(), "poll refused: it is another principal's");
    }
    mailboxes
}

fn unknown(target: &Target) -> Response {
    match target {
        Target::Key(_) => Response::text(404, "no such mailbox"),
        Target::Subscriptions(_) => Response::text(412, "no such subscription"),
    }
}

impl Poll {
    /// Waits until there is something to say.
    pub(super) async fn wait<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        client: Client<'_, S>,
        pass: Pass,
    ) -> Found {
        let (goes_on, tick) = match pass {
            Pass::Whole => (false, None),
            Pass::First { tick } | Pass::Next { tick } => (true, Some(tick)),
        };
        let ends_now = self.hold.is_zero() || matches!(pass, Pass::First { .. });
        let found = self.look(goes_on, ends_now).await;
        if self.hold.is_zero() || !matches!(found, Found::End(PollResult::Empty)) {
            return found;
        }
        let metrics = self.gateway.metrics.clone();
        let _held = metrics.hold();
        let deadline = *self.deadline.get_or_insert_with(|| clock::in_time(self.hold));
        let until = tick.map_or(deadline, |tick| tick.min(deadline));
        loop {
            tokio::select! {
                // First, so that a message which comes at the same moment stays where it is.
                biased;
                waited = client.connection.closed_by(until) => match waited {
                    Waited::Closed => return Found::End(PollResult::Gone),
                    // It takes nothing: whether anybody is still there cannot be seen.
                    Waited::Crowded => return Found::End(PollResult::Superseded),
                    Waited::Over if until < deadline => return Found::Tick,
                    Waited::Over => return self.look(goes_on, true).await,
                },
                () = self.session.bell().notified() => {}
                () = client.stop.cancelled() => {
                    if !self.gateway.stop.hand_over.is_cancelled() {
                        sleep(self.gateway.config().shutdown.drain.mul_f64(rand::random())).await;
                    }
                    return match self.look(goes_on, true).await {
                        Found::End(PollResult::Empty) => Found::End(PollResult::Stopping),
                        found => found,
                    };
                }
            }
            match self.look(goes_on, false).await {
                Found::End(PollResult::Empty) => {}
                found => return found,
            }
        }
    }

    /// How long its client should wait between polls: the shortest of its mailboxes' times.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.session.mailboxes().filter_map(|found| found.subscription.poll_interval()).min()
    }

    /// Notes that it ended with nothing before its time was over. When it has waited for all of it, or when the
    /// gateway stops, that is nobody's haste.
    pub(super) fn note_if_in_vain(&self, result: PollResult) {
        let in_haste = !self.has_acknowledged
            && match result {
                PollResult::Empty => self.hold.is_zero(),
                PollResult::Superseded | PollResult::Gone => true,
                _ => false,
            };
        let floor = self.gateway.config().polling.min_poll_interval;
        if in_haste && !floor.is_zero() {
            let now = clock::now();
            for mailbox in self.session.mailboxes() {
                self.gateway.store.polled_in_vain(mailbox.id, floor, now);
            }
        }
    }

    /// Under which URL the first of its mailboxes' nodes is known.
    pub(super) fn node_url(&self) -> String {
        let first = self.session.mailboxes().next().map(|found| &found.subscription);
        first.map_or_else(String::new, |of| format!("http://{}{}", of.host, of.node))
    }

    /// Takes what there is; `last` if the poll ends with it.
    async fn look(&mut self, goes_on: bool, last: bool) -> Found {
        let now = clock::now();
        let gateway = &self.gateway;
        let config = gateway.config().clone();
        let mut room = config.polling.batch;
        if self.form == Form::Http {
            room.messages = 1;
        }
        let wanted = Wanted { room, each: self.form == Form::Status, goes_on, last };
        let lost = |mailbox, lost: &_| gateway.record_lost(mailbox, lost, now);
        match self.session.look(wanted, &config.polling.limits, now, lost).await {
            Look::News(news) => {
                self.record(&news, now);
                Found::News(news)
            }
            Look::Nothing => Found::End(PollResult::Empty),
            Look::Superseded => Found::End(PollResult::Superseded),
            Look::Ended => Found::End(PollResult::Unknown),
            Look::Unavailable => Found::End(PollResult::Unavailable),
        }
    }

    /// Counts and logs what is in an answer.
    fn record(&self, news: &News, now: Timestamp) {
        for handed in &news.messages {
            let message = &handed.message;
            self.gateway.metrics.handed_out(now.since(message.received), message.redelivered);
            tracing::debug!(event = %message.id, redelivered = message.redelivered, "message handed out");
        }
        for mailbox in self.session.mailboxes().map(|found| found.id).filter(|mailbox| news.is_from(*mailbox))
        {
            self.gateway.traffic.tell(mailbox, || {
                let ids = || news.messages.iter().filter(|h| h.from == mailbox).map(|h| h.message.id.0);
                let (first, last) = (ids().next(), ids().next_back());
                Happened::Polled { messages: ids().count(), first, last, gap: news.gap_of(mailbox) }
            });
        }
    }
}
