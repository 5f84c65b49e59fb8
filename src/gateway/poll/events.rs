//! Messages as a stream of server-sent events.
//!
//! What was sent stays in the mailbox until the client acknowledges it, by coming back with the
//! `Last-Event-ID` of the last event it saw, as an `EventSource` does by itself. A stream therefore ends
//! after as much as one answer may carry: the client's next request makes room.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};

use super::forms;
use super::hold::{Client, Found, Poll, Receipt};
use crate::telemetry::PollResult;

/// Well below the least time-out of a proxy that cuts silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream of events.
pub struct Events {
    poll: Poll,
    state: State,
    messages: usize,
    bytes: u64,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    Running,
    End,
}

impl Events {
    pub(super) fn new(poll: Poll) -> Self {
        Self { poll, state: State::Start, messages: 0, bytes: 0 }
    }

    /// The next piece of the stream, when there is one; `None` at its end.
    pub async fn next<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        client: Client<'_, S>,
    ) -> Option<(Bytes, Option<Receipt>)> {
        if self.state == State::Start {
            self.state = State::Running;
            // Reconnect at once: a stream ends when it has said enough.
            return Some((Bytes::from_static(b"retry: 100\n\n"), None));
        }
        let room = self.poll.gateway.config().polling.batch;
        if self.messages >= room.messages || self.bytes >= room.bytes {
            return self.end(PollResult::News);
        }
        let mut ticks = interval(KEEP_ALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let found = tokio::select! {
            found = self.poll.wait(client, true) => found,
            _ = ticks.tick() => return Some((Bytes::from_static(b": still here\n\n"), None)),
        };
        match found {
            Found::News(news) => {
                self.messages += news.messages.len();
                self.bytes += news.messages.iter().map(|m| m.message.message.cost()).sum::<u64>();
                let mut text: String = news.messages.iter().map(forms::event).collect();
                if news.dropped > 0 {
                    text.push_str(&format!("event: gap\ndata: {{\"dropped\":{}}}\n\n", news.dropped));
                }
                Some((text.into(), Some(news.receipt)))
            }
            Found::End(result) => {
                let result = if self.messages > 0 { PollResult::News } else { result };
                self.end(result)
            }
        }
    }

    fn end(&mut self, result: PollResult) -> Option<(Bytes, Option<Receipt>)> {
        if self.state != State::End {
            self.state = State::End;
            self.poll.leave();
            self.poll.note_if_in_vain(result);
            self.poll.gateway.metrics.poll_ended(result);
        }
        None
    }

    /// The client could not be written to.
    pub fn broken(&mut self) {
        self.end(PollResult::Gone);
    }
}
