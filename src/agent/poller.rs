//! Polls a mailbox, through every kind of break.
//!
//! Delivery is at least once on the wire; what was returned once is not returned again. A message is
//! acknowledged by the poll after the one that brought it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Backoff, News, Reach, Target};
use crate::auth::digest::{self, Challenge, Credentials};
use crate::http1::client::{Answer, Call, CallError, call};
use crate::http1::{Connection, Headers};
use crate::tls::{Stream, Trust};

/// How much longer than its hold a poll may take: whoever is silent for longer is gone.
const SLACK: Duration = Duration::from_secs(15);

/// A gateway may hold a poll for longer than was asked (the white paper's PollLifeTime Minimum), and says so
/// only in its answer: this is the longest that it may by default.
const LONGEST_HOLD: Duration = Duration::from_secs(600);

/// How long an answer to a poll that asked for `wait` is waited for.
fn patience(wait: Duration) -> Duration {
    let hold = if wait.is_zero() { wait } else { wait.max(LONGEST_HOLD) };
    hold + SLACK
}

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The longest wait that a gateway may ask for (`Retry-After`).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How far apart polls are that are not held, if the gateway says nothing of it.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Polls one mailbox. Dropping a future of it at any point loses nothing.
pub struct Poller {
    reach: Reach,
    host: String,
    path: String,
    credentials: Option<Credentials>,
    connection: Option<Connection<Stream>>,
    /// The newest message that came; 0 at first.
    newest: u64,
    /// By which id all that came is acknowledged. It is sent from the first poll on, so that the gateway never takes a
    /// next poll for an acknowledgement.
    last_event_id: u64,
    /// Whether the last answer brought something that is not acknowledged yet.
    unacknowledged: bool,
    /// The challenge that is being answered, and how often its nonce was used.
    challenge: Option<(Challenge, u32)>,
    backoff: Backoff,
    /// How far apart the gateway wants polls that are not held, as its last answer said.
    interval: Option<Duration>,
}

/// A failure that may be over when it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] CallError),
    /// An answer that says to come again.
    #[error("{}", described(*.status, .text))]
    Refused {
        /// Its status.
        status: u16,
        /// What it says.
        text: String,
        /// When to come again, if it says so.
        retry_after: Option<Duration>,
    },
    /// An answer that is not what a gateway says.
    #[error("the answer is not a gateway's: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The end: to poll again would bring the same.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// There is no such mailbox, or no longer.
    #[error("there is no such mailbox, or it has ended ({0}): subscribe again")]
    Gone(u16),
    /// The gateway does not let this client poll.
    #[error("not allowed to poll ({0}): {1}")]
    Forbidden(u16, String),
    /// It failed, and was not to be tried again.
    #[error(transparent)]
    Failed(Trouble),
    /// Anything else that no repetition mends.
    #[error("{}", described(*.0, .1))]
    Refused(u16, String),
}

enum Failure {
    Trouble(Trouble),
    Ended(Ended),
}

impl Poller {
    /// Polls this mailbox, as this user if that is asked for; within TLS `trust` says whom to believe that it is
    /// the gateway.
    pub fn new(target: Target, credentials: Option<Credentials>, trust: Option<Arc<Trust>>) -> Self {
        Self::at(Reach::new(target.address, trust), target.host, target.path, credentials, 0)
    }

    /// The same at a gateway that is reached so, from behind this message on.
    pub(super) fn at(
        reach: Reach,
        host: String,
        path: String,
        credentials: Option<Credentials>,
        newest: u64,
    ) -> Self {
        Self {
            reach,
            host,
            path,
            credentials,
            connection: None,
            newest,
            last_event_id: newest,
            unacknowledged: false,
            challenge: None,
            backoff: Backoff::default(),
            interval: None,
        }
    }

    /// Polls, held for as long as `wait` (0: not at all), and acknowledges what the last answer brought.
    /// With `patient`, until there is an answer: `trouble` is told of each failure, and of how long it waits
    /// before the next try.
    pub async fn poll(
        &mut self,
        wait: Duration,
        patient: bool,
        mut trouble: impl FnMut(&Trouble, Duration),
    ) -> Result<News, Ended> {
        loop {
            match self.poll_once(wait).await {
                Ok(news) => {
                    self.backoff.reset();
                    return Ok(news);
                }
                Err(Failure::Ended(ended)) => return Err(ended),
                Err(Failure::Trouble(cause)) if !patient => return Err(Ended::Failed(cause)),
                Err(Failure::Trouble(cause)) => {
                    let pause = self.backoff.next(rand::random());
                    let asked = match &cause {
                        Trouble::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    // Spread a little, so that all who were told the same do not come at once.
                    let pause = if asked.is_zero() { pause } else { asked + pause.min(asked / 2) };
                    trouble(&cause, pause);
                    sleep(pause).await;
                }
            }
        }
    }

    /// Polls on a new connection next.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Whether something came that was not acknowledged yet: the next poll does it.
    pub fn has_unacknowledged(&self) -> bool {
        self.unacknowledged
    }

    /// How long to wait before a next poll that is not held: nothing if there is something to acknowledge or
    /// to fetch, else what the gateway asked for (`Poll-Interval`).
    pub fn interval(&self, last: &News) -> Duration {
        let busy = self.unacknowledged || last.pending > 0;
        if busy { Duration::ZERO } else { self.interval.unwrap_or(SHORTEST_INTERVAL) }
    }

    async fn poll_once(&mut self, wait: Duration) -> Result<News, Failure> {
        let mut answer = self.exchange(wait).await?;
        if answer.head.status == 401 && self.accept_challenge(&answer) {
            answer = self.exchange(wait).await?;
        }
        self.accept_next_nonce(&answer);
        self.read(&answer)
    }

    /// One request, one answer. A connection that was kept may have been closed meanwhile: then a new one
    /// is tried at once. The connection is ours again only when the answer was read to its end.
    async fn exchange(&mut self, wait: Duration) -> Result<Answer, Failure> {
        let request = self.request(wait);
        if let Some(mut kept) = self.connection.take()
            && let Ok(answer) = call(&mut kept, request, b"", LARGEST_ANSWER, patience(wait)).await
        {
            return Ok(self.keep(kept, answer));
        }
        let request = self.request(wait);
        let exchange = async {
            let mut connection = self.reach.connect().await?;
            let answer = call(&mut connection, request, b"", LARGEST_ANSWER, patience(wait)).await?;
            Ok((connection, answer))
        };
        let (connection, answer) =
            exchange.await.map_err(|error| Failure::Trouble(Trouble::NoAnswer(error)))?;
        Ok(self.keep(connection, answer))
    }

    fn keep(&mut self, connection: Connection<Stream>, answer: Answer) -> Answer {
        self.connection = answer.keep_alive.then_some(connection);
        answer
    }

    fn request(&mut self, wait: Duration) -> Call {
        const METHOD: &str = "POLL";
        let mut request = Call::new(METHOD, &self.path)
            .with("Host", &self.host)
            .with("Accept", "application/json")
            .with("Prefer", format_args!("wait={}", wait.as_secs()))
            .with("User-Agent", concat!("pollgate/", env!("CARGO_PKG_VERSION")))
            .with("Content-Length", 0)
            .with("Last-Event-ID", self.last_event_id);
        if let (Some((challenge, uses)), Some(credentials)) = (&mut self.challenge, &self.credentials) {
            *uses += 1;
            let cnonce = format!("{:032x}", rand::random::<u128>());
            let uri = &self.path;
            let what = digest::Request { method: METHOD, uri, cnonce: &cnonce, count: *uses };
            request = request.with("Authorization", challenge.authorization(credentials, what));
        }
        request
    }

    /// Whether a 401 is worth a second try: it brings a challenge that was not answered yet.
    fn accept_challenge(&mut self, answer: &Answer) -> bool {
        let answered = self.challenge.take();
        let Some(challenge) = Challenge::strongest(answer.head.fields.values("www-authenticate")) else {
            return false;
        };
        let worth_it = self.credentials.is_some() && (answered.is_none() || challenge.stale);
        if worth_it {
            self.challenge = Some((challenge, 0));
        }
        worth_it
    }

    /// A server that gives the next nonce in time saves a 401 when the old one is stale.
    fn accept_next_nonce(&mut self, answer: &Answer) {
        let next = answer.head.fields.values("authentication-info").find_map(digest::next_nonce);
        if let (Some(next), Some((challenge, uses))) = (next, &mut self.challenge) {
            challenge.nonce = next;
            *uses = 0;
        }
    }

    fn read(&mut self, answer: &Answer) -> Result<News, Failure> {
        let fields = &answer.head.fields;
        let number = |name| fields.text(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let text = || {
            let text = String::from_utf8_lossy(&answer.body);
            text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
        };
        let answer_id = fields.text("last-event-id").and_then(|value| value.parse().ok());
        let status = answer.head.status;
        if matches!(status, 200 | 204) {
            let asked = Some(Duration::from_secs(number("poll-interval"))).filter(|asked| !asked.is_zero());
            self.interval = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER));
        }
        match status {
            200 => {
                let mut news: News = serde_json::from_slice(&answer.body)
                    .map_err(|error| Failure::Trouble(Trouble::Unreadable(error)))?;
                let last = news.messages.last().map(|message| message.id);
                self.last_event_id = answer_id.or(last).unwrap_or(self.last_event_id);
                news.messages.retain(|message| message.id > self.newest);
                self.newest = news.messages.last().map_or(self.newest, |message| message.id);
                self.unacknowledged = last.is_some();
                Ok(news)
            }
            204 => {
                let dropped = number("poll-dropped");
                let last_event_id = answer_id.unwrap_or(self.last_event_id);
                // Without an id of its own there is nothing to acknowledge it by.
                self.unacknowledged = dropped > 0 && last_event_id != self.last_event_id;
                self.last_event_id = last_event_id;
                Ok(News { dropped, pending: number("poll-pending"), ..News::default() })
            }
            404 | 410 | 412 => Err(Failure::Ended(Ended::Gone(status))),
            401 | 403 => Err(Failure::Ended(Ended::Forbidden(status, text()))),
            408 | 429 | 500 | 502..=599 => {
                let retry_after =
                    Some(Duration::from_secs(number("retry-after"))).filter(|wait| !wait.is_zero());
                let retry_after = retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER));
                Err(Failure::Trouble(Trouble::Refused { status, text: text(), retry_after }))
            }
            _ => Err(Failure::Ended(Ended::Refused(status, text()))),
        }
    }
}

fn described(status: u16, text: &str) -> String {
    let reason = crate::http1::reason_phrase(status);
    if text.is_empty() { format!("{status} {reason}") } else { format!("{status} {reason}: {text}") }
}

#[cfg(test)]
mod tests;
