//! Waiting until there is something to say.
//!
//! A poll that waits owns its turns at the mailboxes and a bell; the timer is its connection's. It takes messages only when it
//! answers, so a client that goes away while it waits takes nothing with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::forms::{self, Handed};
use super::{Form, PollRequest, Subscriptions, Target};
use crate::clock;
use crate::dialect::Dialect;
use crate::gateway::access::Visitor;
use crate::gateway::doors::{Bounds, Guest, Seat};
use crate::gateway::{Gateway, whole_seconds};
use crate::http1::{Connection, Response, Waited};
use crate::mailbox::{Batch, BatchLimits, EventId, HandoutId, MailboxId, Outcome, Timestamp};
use crate::store::{self, Bell, Lookup, MailboxStore, Taken, Turn};
use crate::telemetry::{AuthResult, Happened, PollResult};

/// What a poll is answered.
pub enum Answer {
    /// An answer as a whole; with a receipt if there are messages in it.
    Whole(Response, Option<Receipt>),
    /// A stream of events, after this head.
    Stream(Response, Box<Events>),
}

/// The messages of an answer, whose fate is not known until it is written.
#[must_use]
pub struct Receipt {
    store: Arc<dyn MailboxStore>,
    handouts: Vec<(MailboxId, HandoutId)>,
}

impl Receipt {
    /// Tells the mailboxes what became of the answer.
    pub fn settle(self, outcome: Outcome) {
        for (mailbox, handout) in self.handouts {
            self.store.settle(mailbox, handout, outcome);
        }
    }
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
            let found = poll.wait(client, false).await;
            if let Found::End(result) = found {
                poll.note_if_in_vain(result);
            }
            // What it took ended its turn; the turns of which it took nothing are given back.
            if poll.turns.len() > 1 || !matches!(found, Found::News(_)) {
                poll.leave();
            }
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
            }
        }
    };
    gateway.metrics.poll_ended(result);
    answer
}

/// A poll that has the turn at its mailboxes.
pub struct Poll {
    pub(super) gateway: Arc<Gateway>,
    turns: Vec<(store::Found, Turn)>,
    bell: Bell,
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
}

/// Something to say.
pub struct News {
    /// The messages, oldest first.
    pub messages: Vec<Handed>,
    /// How many more wait.
    pub pending: u64,
    /// How many were dropped since the client was last told.
    pub dropped: u64,
    /// To be settled.
    pub receipt: Receipt,
}

impl News {
    /// Whether there is something in it from this mailbox.
    pub fn is_from(&self, mailbox: MailboxId) -> bool {
        self.receipt.handouts.iter().any(|(from, _)| *from == mailbox)
    }
}

/// Resolves the target, and takes the turn at its mailboxes.
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
    let bell = Bell::default();
    let mut turns = Vec::new();
    let mut has_acknowledged = false;
    for found in found {
        let Ok((turn, acknowledged)) = gateway.store.begin_poll(found.id, request.last_event_id, &bell)
        else {
            continue;
        };
        if acknowledged > 0 {
            has_acknowledged = true;
            gateway.metrics.acknowledged(acknowledged);
            gateway.traffic.tell(found.id, || Happened::Acknowledged { messages: acknowledged });
            let up_to = request.last_event_id.map(tracing::field::display);
            tracing::debug!(mailbox = %found.id, acknowledged, up_to, "messages acknowledged");
        }
        turns.push((found, turn));
    }
    if turns.is_empty() {
        return Err((PollResult::Unknown, unknown(&request.target)));
    }
    let named = match form {
        Form::Status => named(gateway, &request.target, &turns),
        _ => Vec::new(),
    };
    Ok(Poll {
        gateway: gateway.clone(),
        turns,
        bell,
        form,
        hold,
        last_event_id: request.last_event_id,
        named,
        has_acknowledged,
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
fn named(gateway: &Gateway, target: &Target, turns: &[(store::Found, Turn)]) -> Vec<Named> {
    let mut named = Vec::new();
    for (found, _) in turns {
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

fn polled(batch: &Batch) -> Happened {
    let ids = || batch.messages.iter().map(|message| message.id.0);
    Happened::Polled {
        messages: batch.messages.len(),
        first: ids().next(),
        last: ids().next_back(),
        gap: batch.gap,
    }
}

fn unknown(target: &Target) -> Response {
    match target {
        Target::Key(_) => Response::text(404, "no such mailbox"),
        Target::Subscriptions(_) => Response::text(412, "no such subscription"),
    }
}

impl Poll {
    /// Waits until there is something to say; if it `goes_on`, behind what this poll has said already.
    pub(super) async fn wait<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        client: Client<'_, S>,
        goes_on: bool,
    ) -> Found {
        let found = self.look(goes_on).await;
        if self.hold.is_zero() || !matches!(found, Found::End(PollResult::Empty)) {
            return found;
        }
        let metrics = self.gateway.metrics.clone();
        let _held = metrics.hold();
        let deadline = *self.deadline.get_or_insert_with(|| clock::in_time(self.hold));
        loop {
            tokio::select! {
                // First, so that a message which comes at the same moment stays where it is.
                biased;
                waited = client.connection.closed_by(deadline) => return Found::End(match waited {
                    Waited::Closed => PollResult::Gone,
                    Waited::Over => PollResult::Empty,
                }),
                () = self.bell.notified() => {}
                () = client.stop.cancelled() => {
                    sleep(self.gateway.config().shutdown.drain.mul_f64(rand::random())).await;
                    return match self.look(goes_on).await {
                        Found::End(PollResult::Empty) => Found::End(PollResult::Stopping),
                        found => found,
                    };
                }
            }
            match self.look(goes_on).await {
                Found::End(PollResult::Empty) => {}
                found => return found,
            }
        }
    }

    /// How long its client should wait between polls: the shortest of its mailboxes' times.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.turns.iter().filter_map(|(found, _)| found.subscription.poll_interval()).min()
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
            for (mailbox, _) in &self.turns {
                self.gateway.store.polled_in_vain(mailbox.id, floor, now);
            }
        }
    }

    /// Under which URL the first of its mailboxes' nodes is known.
    pub(super) fn node_url(&self) -> String {
        let first = self.turns.first().map(|(found, _)| &found.subscription);
        first.map_or_else(String::new, |of| format!("http://{}{}", of.host, of.node))
    }

    /// Gives the turns back.
    pub(super) fn leave(&self) {
        for (mailbox, turn) in &self.turns {
            self.gateway.store.leave(mailbox.id, *turn);
        }
    }

    /// Takes what there is.
    async fn look(&self, goes_on: bool) -> Found {
        let now = clock::now();
        let config = self.gateway.config();
        let mut room = config.polling.batch;
        if self.form == Form::Http {
            room.messages = 1;
        }
        let mut news = News { messages: Vec::new(), pending: 0, dropped: 0, receipt: self.receipt() };
        let mut alive = false;
        for (mailbox, turn) in &self.turns {
            if self.form == Form::Status {
                // No message is in the answer: each mailbox is looked at.
                room = config.polling.batch;
            }
            let full = room.messages == 0 || room.bytes == 0;
            if full {
                // The next poll takes the rest; its first look is at the same mailboxes.
                break;
            }
            let limits = &config.polling.limits;
            let (taken, lost) = self.gateway.store.take(mailbox.id, *turn, room, goes_on, limits, now).await;
            self.gateway.record_lost(mailbox.id, &lost, now);
            match taken {
                Taken::Nothing => alive = true,
                Taken::Superseded => {
                    news.receipt.settle(Outcome::Broken);
                    return Found::End(PollResult::Superseded);
                }
                Taken::Ended => {}
                Taken::Unavailable => {
                    news.receipt.settle(Outcome::Broken);
                    return Found::End(PollResult::Unavailable);
                }
                Taken::Batch(batch) => {
                    alive = true;
                    room = what_is_left(room, &batch);
                    self.count(&batch, now);
                    self.gateway.traffic.tell(mailbox.id, || polled(&batch));
                    news.pending += batch.pending;
                    news.dropped += batch.gap;
                    news.receipt.handouts.push((mailbox.id, batch.handout));
                    let handed = |message| Handed { message, of: mailbox.subscription.clone() };
                    news.messages.extend(batch.messages.into_iter().map(handed));
                }
            }
        }
        if !news.receipt.handouts.is_empty() {
            if self.turns.len() > 1 {
                news.messages.sort_by_key(|handed| handed.message.id);
            }
            Found::News(news)
        } else if alive {
            Found::End(PollResult::Empty)
        } else {
            Found::End(PollResult::Unknown)
        }
    }

    fn receipt(&self) -> Receipt {
        Receipt { store: self.gateway.store.clone(), handouts: Vec::new() }
    }

    fn count(&self, batch: &crate::mailbox::Batch, now: Timestamp) {
        for message in &batch.messages {
            self.gateway.metrics.handed_out(now.since(message.received), message.redelivered);
            tracing::debug!(event = %message.id, redelivered = message.redelivered, "message handed out");
        }
    }
}

fn what_is_left(room: BatchLimits, batch: &crate::mailbox::Batch) -> BatchLimits {
    let bytes: u64 = batch.messages.iter().map(|taken| taken.message.cost()).sum();
    BatchLimits {
        messages: room.messages.saturating_sub(batch.messages.len()),
        bytes: room.bytes.saturating_sub(bytes),
    }
}
