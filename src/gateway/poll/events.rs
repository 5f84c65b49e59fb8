//! Messages as a stream of server-sent events.
//!
//! What was sent stays in the mailbox until the client acknowledges it, by coming back with the
//! `Last-Event-ID` of the last event it saw, as an `EventSource` does by itself. A stream therefore ends
//! after as much as one answer may carry: the client's next request makes room.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::forms;
use super::hold::{Client, Found, Pass, Poll};
use super::session::Receipt;
use crate::clock;
use crate::telemetry::PollResult;

/// Well below the least time-out of a proxy that cuts silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a stream begins: reconnect at once, for it ends when it has said enough.
pub(super) const RECONNECT: &[u8] = b"retry: 100\n\n";

/// A stream of events.
pub struct Events {
    poll: Poll,
    state: State,
    messages: usize,
    bytes: u64,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Nothing was sent.
    Start,
    /// No message was sent yet.
    First,
    /// Messages were.
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
            self.state = State::First;
            return Some((Bytes::from_static(RECONNECT), None));
        }
        let room = self.poll.gateway.config().polling.batch;
        if self.messages >= room.messages || self.bytes >= room.bytes {
            return self.end(PollResult::News);
        }
        let tick = clock::in_time(KEEP_ALIVE);
        let pass = match self.state {
            State::First => Pass::First { tick },
            _ => Pass::Next { tick },
        };
        match self.poll.wait(client, pass).await {
            Found::Tick => Some((Bytes::from_static(b": still here\n\n"), None)),
            Found::News(news) => {
                self.state = State::Running;
                self.messages += news.messages.len();
                self.bytes += news.messages.iter().map(|m| m.message.message.cost()).sum::<u64>();
                Some((forms::events(&news).into(), Some(news.receipt)))
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
            self.poll.session.leave();
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
