//! The body of a request on its way to a server.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::passage::Failure;
use super::upstream::Line;
use crate::http1::{Allowance, BodyError, Connection, Framing, Pace, PassError, Passing};
use crate::tls::Stream;

/// The body of a request on its way.
pub(super) struct RequestBody {
    passing: Passing,
    state: BodyState,
    /// Whether the client waits to be told that it may come.
    awaits: bool,
    /// How long each piece of it may take to come.
    each_within: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Going,
    Done,
    /// The server takes no more of it.
    GivenUp,
}

impl RequestBody {
    /// What of a body is still on the client's connection: how it comes, how much of it may, and how long each piece may
    /// take to come and to be taken. The client `awaits` to be told that it may.
    pub(super) fn new(framing: Framing, most: u64, room: Allowance, pace: Pace, awaits: bool) -> Self {
        let awaits = awaits && framing != Framing::Empty;
        // Who waits to be told to go on waits for the server.
        let read = if awaits { pace.write } else { pace.read };
        let passing = Passing::new(framing, framing == Framing::Chunked, Pace { read, ..pace });
        Self {
            passing: passing.within(most, room),
            state: if framing == Framing::Empty { BodyState::Done } else { BodyState::Going },
            awaits,
            each_within: pace.read,
        }
    }

    /// Whether the client waits to be told that it may come.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaits
    }

    /// Whether something of it was taken from the client.
    pub(super) fn has_begun(&self) -> bool {
        self.passing.has_begun()
    }

    /// Whether the client has sent all of it, and gone away.
    pub(super) fn is_left(&self, cx: &mut Context<'_>, client: &mut Connection<Stream>) -> bool {
        self.is_done() && client.poll_closed(cx).is_ready()
    }

    pub(super) fn is_going(&self) -> bool {
        self.state == BodyState::Going
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.state == BodyState::GivenUp
    }

    pub(super) fn give_up(&mut self) {
        if self.is_going() {
            self.state = BodyState::GivenUp;
        }
    }

    /// The client need not wait any more.
    pub(super) fn may_come(&mut self) {
        if self.awaits {
            self.awaits = false;
            self.passing.expect_within(self.each_within);
        }
    }

    /// Another server takes it, of which the first has seen nothing.
    pub(super) fn begin_again(&mut self) {
        if self.is_given_up() {
            self.state = BodyState::Going;
        }
    }

    /// Passes it on as far as it goes now.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Connection<Stream>,
        line: &mut Connection<Line>,
    ) -> Result<(), Failure> {
        if !self.is_going() {
            return Ok(());
        }
        let passed = self.passing.poll_pass(cx, client, line, |piece, _| Some(piece));
        if self.passing.has_begun() {
            self.may_come();
        }
        match passed {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.state = BodyState::Done,
            // What it waited for is the server's word.
            Poll::Ready(Err(PassError::Read(BodyError::TimedOut))) if self.awaits => {
                return Err(Failure::timed_out());
            }
            Poll::Ready(Err(PassError::Read(error))) => return Err(Failure::Body(error)),
            Poll::Ready(Err(PassError::Write(error))) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Failure::timed_out());
            }
            // It may say why.
            Poll::Ready(Err(PassError::Write(_))) => self.give_up(),
        }
        Ok(())
    }
}
