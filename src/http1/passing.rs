//! A body on its way from one connection to another.
//!
//! No more of it is held than was read at once, and nothing is read before that was written: whoever is slow to take
//! it slows the one who sends. Where it goes in chunks they are made anew, so that what came with them (extensions,
//! trailers, odd sizes; RFC 9112 §7.1) goes no further.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Allowance, BodyError, ChunkScanner, Connection, Framing};
use crate::clock;

/// How much is read at once, and so held.
const PIECE: usize = 16 * 1024;

/// How much is copied behind what goes before it, rather than given to the kernel as a piece of its own.
const LARGEST_COPY: usize = 4096;

/// A body on its way, and what is written in front of it.
#[derive(Debug)]
pub struct Passing {
    remaining: Remaining,
    /// Whether it goes on in chunks.
    chunked: bool,
    pace: Pace,
    /// How many more bytes are taken, chunk heads and all.
    left: u64,
    /// What is held of it.
    room: Allowance,
    /// Goes in front of it.
    head: Bytes,
    /// Read, and to be written before more is read.
    output: Chain<Bytes, Bytes>,
    /// Written, and perhaps still within TLS.
    unflushed: bool,
    /// Whether something of it was read.
    begun: bool,
    /// Whether all of it was read, or why no more will be.
    end: Option<Result<(), BodyError>>,
    /// Until when something has to happen.
    deadline: Option<Instant>,
}

/// What is left of a body.
#[derive(Debug)]
enum Remaining {
    /// So many bytes.
    Length(u64),
    /// Whatever comes before the last chunk ends.
    Chunked(ChunkScanner),
    /// Whatever comes.
    UntilClose,
}

/// How long each piece may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// To come.
    pub read: Duration,
    /// To be taken, beside a millisecond for each of its bytes.
    pub write: Duration,
}

/// Why a body did not pass.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// It did not come.
    #[error(transparent)]
    Read(BodyError),
    /// It was not taken.
    #[error("nobody takes it: {0}")]
    Write(io::Error),
}

impl Passing {
    /// All of a body that came in this way, and goes on in chunks or without.
    pub fn new(framing: Framing, chunked: bool, pace: Pace) -> Self {
        let remaining = match framing {
            Framing::Empty => Remaining::Length(0),
            Framing::Length(length) => Remaining::Length(length),
            Framing::Chunked => Remaining::Chunked(ChunkScanner::default()),
            Framing::UntilClose => Remaining::UntilClose,
        };
        Self {
            remaining,
            chunked,
            pace,
            left: u64::MAX,
            room: Allowance::unlimited(),
            head: Bytes::new(),
            output: Bytes::new().chain(Bytes::new()),
            unflushed: false,
            begun: false,
            end: None,
            deadline: None,
        }
    }

    /// The same with this in front of it.
    pub fn behind(self, head: Bytes) -> Self {
        Self { head, ..self }
    }

    /// The same of a body of at most so many bytes, chunk heads and all, which takes its memory from there.
    pub fn within(self, most: u64, room: Allowance) -> Self {
        Self { left: most, room, ..self }
    }

    /// From now on each piece has so long to come.
    pub fn expect_within(&mut self, read: Duration) {
        (self.pace.read, self.deadline) = (read, None);
    }

    /// Whether something of it was read.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Passes it on to its end.
    pub async fn pass<A, B>(
        &mut self,
        from: &mut Connection<A>,
        to: &mut Connection<B>,
        mut content: impl FnMut(Bytes, bool) -> Option<Bytes>,
    ) -> Result<(), PassError>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        poll_fn(|cx| self.poll_pass(cx, from, to, &mut content)).await
    }

    /// The same, polled.
    pub fn poll_pass<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection<A>,
        to: &mut Connection<B>,
        content: impl FnMut(Bytes, bool) -> Option<Bytes>,
    ) -> Poll<Result<(), PassError>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        ready!(self.poll_read(cx, from, to, content))?;
        self.poll_write(cx, to)
    }

    /// Passes it on until all of it was read; the last of it may still have to be [written](Self::poll_write).
    ///
    /// Each piece of the content goes as `content` returns it; with the last, which may be empty, comes `true`.
    pub fn poll_read<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection<A>,
        to: &mut Connection<B>,
        mut content: impl FnMut(Bytes, bool) -> Option<Bytes>,
    ) -> Poll<Result<(), PassError>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        while self.end.is_none() {
            // What is here already goes with the head.
            let is_here = self.is_done() || !from.input_mut().is_empty();
            if self.output.has_remaining() || !(is_here || self.head.is_empty()) || self.unflushed {
                ready!(self.poll_write(cx, to))?;
            }
            if !is_here {
                match from.poll_fill_with::<PIECE>(cx) {
                    Poll::Pending => {
                        let deadline = *self.deadline.get_or_insert_with(|| clock::in_time(self.pace.read));
                        ready!(from.poll_alarm(cx, deadline));
                        self.end = Some(Err(BodyError::TimedOut));
                        break;
                    }
                    Poll::Ready(read) => {
                        self.deadline = None;
                        self.end_at(read);
                    }
                }
            }
            self.take(from, &mut content);
        }
        match &self.end {
            Some(Err(_)) => {
                // What came before it went wrong was good.
                ready!(self.poll_write(cx, to))?;
                let error = self.end.take().and_then(Result::err).unwrap_or(BodyError::Closed);
                Poll::Ready(Err(PassError::Read(error)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes what was read.
    pub fn poll_write<B>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Connection<B>,
    ) -> Poll<Result<(), PassError>>
    where
        B: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.output.has_remaining() && !self.head.is_empty() {
            self.output = std::mem::take(&mut self.head).chain(Bytes::new());
        }
        let length = self.output.remaining() as u64;
        self.unflushed |= length > 0;
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        match to.poll_write_all(cx, &mut self.output) {
            Poll::Pending => {
                let within = self.pace.write + Duration::from_millis(length);
                let deadline = *self.deadline.get_or_insert_with(|| clock::in_time(within));
                ready!(to.poll_alarm(cx, deadline));
                Poll::Ready(Err(PassError::Write(io::ErrorKind::TimedOut.into())))
            }
            Poll::Ready(written) => {
                self.output = Bytes::new().chain(Bytes::new());
                (self.unflushed, self.deadline) = (false, None);
                Poll::Ready(written.map_err(PassError::Write))
            }
        }
    }

    /// Whether nothing is left of it; where it ends with the connection, nobody can tell.
    fn is_done(&self) -> bool {
        match &self.remaining {
            Remaining::Length(left) => *left == 0,
            Remaining::Chunked(scanner) => scanner.is_done(),
            Remaining::UntilClose => false,
        }
    }

    /// Sees whether this was the end of what can be read.
    fn end_at(&mut self, read: io::Result<usize>) {
        match read {
            Ok(0) if matches!(self.remaining, Remaining::UntilClose) => self.remaining = Remaining::Length(0),
            Ok(0) => self.end = Some(Err(BodyError::Closed)),
            Ok(_) => {}
            Err(error) => self.end = Some(Err(error.into())),
        }
    }

    /// Takes what was read, and makes of it what is to be written.
    fn take<A>(&mut self, from: &mut Connection<A>, content: &mut impl FnMut(Bytes, bool) -> Option<Bytes>)
    where
        A: AsyncRead + AsyncWrite + Unpin,
    {
        if self.end.is_some() {
            return;
        }
        let before = from.input_mut().len();
        let mut malformed = None;
        let piece = match &mut self.remaining {
            Remaining::Length(left) => {
                let length = before.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                from.take(length)
            }
            Remaining::UntilClose => from.take(before),
            Remaining::Chunked(scanner) => {
                let mut data = BytesMut::new();
                let scanned = scanner.scan(from.input_mut(), |piece| data.put_slice(piece));
                from.consume(*scanned.as_ref().unwrap_or(&before));
                malformed = scanned.err();
                data.freeze()
            }
        };
        let taken = before - from.input_mut().len();
        self.begun |= taken > 0;
        match self.left.checked_sub(taken as u64) {
            None => return self.end = Some(Err(BodyError::TooLarge)),
            Some(left) => self.left = left,
        }
        if let Err(error) = self.room.take_within(PIECE as u64, taken) {
            return self.end = Some(Err(error.into()));
        }
        let is_done = self.is_done();
        self.end = match malformed {
            Some(error) => Some(Err(error)),
            None => is_done.then_some(Ok(())),
        };
        let is_something = is_done || !piece.is_empty();
        let passed = if is_something { content(piece, is_done) } else { None };
        self.write(passed.unwrap_or_default(), is_done);
    }

    /// Sets what is to be written next.
    fn write(&mut self, piece: Bytes, is_last: bool) {
        let chunk_head = if self.chunked { format!("{:X}\r\n", piece.len()) } else { String::new() };
        let (before, after): (&[u8], &[u8]) = match (self.chunked, piece.is_empty()) {
            (true, false) if is_last => (chunk_head.as_bytes(), b"\r\n0\r\n\r\n"),
            (true, false) => (chunk_head.as_bytes(), b"\r\n"),
            (true, true) if is_last => (b"0\r\n\r\n", b""),
            _ => (b"", b""),
        };
        let head = std::mem::take(&mut self.head);
        if before.is_empty() && (head.is_empty() || piece.len() > LARGEST_COPY) {
            self.output = head.chain(piece);
            return;
        }
        let mut all = BytesMut::with_capacity(head.len() + before.len() + piece.len() + after.len());
        for part in [&head[..], before, &piece, after] {
            all.put_slice(part);
        }
        self.output = all.freeze().chain(Bytes::new());
    }
}

#[cfg(test)]
mod tests;
