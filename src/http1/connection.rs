//! A stream, and what was read from it too early.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};

use super::alarm::Alarm;
use super::{Allowance, BodyError, ChunkScanner, Framing, HeadError, HeadLimits, RequestHead, ResponseHead};
use crate::clock;

/// How much is read at once. The space is on the stack of the read, not in the connection.
const READ_SIZE: usize = 8 * 1024;

/// How much of the requests that follow is read ahead while an answer is waited for. That it has come is the only way to
/// see whether the end comes behind it, and it is memory that no budget knows of; so it is little: enough for the stray
/// line ends that old clients send behind a body.
const READ_AHEAD: usize = 512;

/// A stream, and what was read from it too early. Nothing is buffered for writing.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// Read, but not yet used. Holds no memory while it is empty.
    input: BytesMut,
    alarm: Alarm,
    /// Whether a request has come on it.
    asked: bool,
}

/// How a wait for the end of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The client closed the connection, or half of it.
    Closed,
    /// The time was over.
    Over,
    /// So much came behind the request that the end of the connection could not be seen any more.
    Crowded,
}

/// Why no head came.
#[derive(Debug, thiserror::Error)]
pub enum ReadHeadError {
    /// What came is not a head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// It began and did not end in time.
    #[error("the head did not come in time")]
    TimedOut,
    /// The connection ended within it.
    #[error("the connection ended within the head")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection of which nothing was read yet.
    pub fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), alarm: Alarm::default(), asked: false }
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream below.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream alone.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// What was read and not used.
    pub fn input_mut(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The next request's head. `None`: the client is done, or said nothing for `idle`. Once the head has
    /// begun, all of it must come within `within`.
    pub async fn read_request_head(
        &mut self,
        limits: HeadLimits,
        idle: Duration,
        within: Duration,
    ) -> Result<Option<RequestHead>, ReadHeadError> {
        let (mut seen, mut deadline, mut has_begun) = (0, None, !self.input.is_empty());
        let parse = |input: &[u8]| RequestHead::parse(input, limits);
        let read = poll_fn(|cx| {
            let read = self.poll_head(cx, limits, &mut seen, &parse);
            if !has_begun && !self.input.is_empty() {
                (has_begun, deadline) = (true, None);
            }
            match read {
                Poll::Pending => {
                    let wait = if has_begun { within } else { idle };
                    let deadline = *deadline.get_or_insert_with(|| clock::in_time(wait));
                    self.alarm.poll(cx, deadline).map(|()| Err(ReadHeadError::TimedOut))
                }
                ready => ready,
            }
        });
        match read.await {
            Err(ReadHeadError::Closed | ReadHeadError::TimedOut) if !has_begun => Ok(None),
            read => {
                self.asked |= read.is_ok();
                read.map(Some)
            }
        }
    }

    /// Whether a request has come on it.
    pub(super) fn was_asked(&self) -> bool {
        self.asked
    }

    /// The head of an answer.
    pub async fn read_response_head(
        &mut self,
        limits: HeadLimits,
        within: Duration,
    ) -> Result<ResponseHead, ReadHeadError> {
        let (mut seen, deadline) = (0, clock::in_time(within));
        poll_fn(|cx| match self.poll_response_head(cx, limits, &mut seen) {
            Poll::Pending => self.alarm.poll(cx, deadline).map(|()| Err(ReadHeadError::TimedOut)),
            ready => ready,
        })
        .await
    }

    /// The head of an answer, polled. `seen` is how much of it was looked at: 0 at first.
    pub fn poll_response_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        seen: &mut usize,
    ) -> Poll<Result<ResponseHead, ReadHeadError>> {
        self.poll_head(cx, limits, seen, &|input: &[u8]| ResponseHead::parse(input, limits))
    }

    fn poll_head<H>(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        seen: &mut usize,
        parse: &impl Fn(&[u8]) -> Result<Option<(H, usize)>, HeadError>,
    ) -> Poll<Result<H, ReadHeadError>> {
        loop {
            if self.input.is_empty() {
                // Most heads come as a whole, and need not be kept first.
                let mut space = [MaybeUninit::uninit(); READ_SIZE];
                let mut read = ReadBuf::uninit(&mut space);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
                let read = read.filled();
                if read.is_empty() {
                    return Poll::Ready(Err(ReadHeadError::Closed));
                }
                let parsed = parse_if_ended(read, 0, limits, parse);
                // What is no head stays, for who can mend it.
                let used = if let Ok(Some((_, length))) = &parsed { *length } else { 0 };
                if used < read.len() {
                    self.input.extend_from_slice(&read[used..]);
                }
                if let Some((head, _)) = parsed? {
                    return Poll::Ready(Ok(head));
                }
                *seen = self.input.len();
            } else {
                if let Some((head, length)) = parse_if_ended(&self.input, *seen, limits, parse)? {
                    self.consume(length);
                    return Poll::Ready(Ok(head));
                }
                *seen = self.input.len();
                if ready!(self.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(ReadHeadError::Closed));
                }
            }
        }
    }

    /// The whole body, if it is no longer than `most` bytes, comes within `within`, and there is room for it.
    pub async fn read_body(
        &mut self,
        framing: Framing,
        most: usize,
        within: Duration,
        room: &mut Allowance,
    ) -> Result<Bytes, BodyError> {
        let deadline = clock::in_time(within);
        match framing {
            Framing::Empty => Ok(Bytes::new()),
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > most {
                    return Err(BodyError::TooLarge);
                }
                room.take(self.input.len().min(length))?;
                while self.input.len() < length {
                    let came = self.fill_body(deadline).await?;
                    room.take(came)?;
                }
                // What is read together with the next request must not keep that in memory.
                let is_all = self.input.len() == length && self.input.capacity() < 2 * length;
                Ok(match is_all {
                    true => std::mem::take(&mut self.input).freeze(),
                    false => {
                        let body = Bytes::copy_from_slice(&self.input[..length]);
                        self.consume(length);
                        body
                    }
                })
            }
            Framing::Chunked => {
                let (mut scanner, mut content) = (ChunkScanner::default(), BytesMut::new());
                loop {
                    let before = content.len();
                    let used = scanner.scan(&self.input, |data| content.extend_from_slice(data))?;
                    self.consume(used);
                    room.take(content.len() - before)?;
                    if content.len() > most {
                        return Err(BodyError::TooLarge);
                    }
                    if scanner.is_done() {
                        return Ok(content.freeze());
                    }
                    self.fill_body(deadline).await?;
                }
            }
            Framing::UntilClose => loop {
                if self.input.len() > most {
                    return Err(BodyError::TooLarge);
                }
                match self.fill_body(deadline).await {
                    Err(BodyError::Closed) => return Ok(std::mem::take(&mut self.input).freeze()),
                    read => room.take(read?)?,
                }
            },
        }
    }

    /// Reads over a body of at most `most` bytes, which comes within `within`. What is read is gone at once.
    pub async fn pass_over_body(
        &mut self,
        framing: Framing,
        most: usize,
        within: Duration,
    ) -> Result<(), BodyError> {
        let deadline = clock::in_time(within);
        let (mut scanner, mut passed) = (ChunkScanner::default(), 0);
        loop {
            let used = match framing {
                Framing::Empty => return Ok(()),
                Framing::Length(length) => {
                    let left = usize::try_from(length).unwrap_or(usize::MAX) - passed;
                    let used = self.input.len().min(left);
                    passed += used;
                    used
                }
                Framing::Chunked => scanner.scan(&self.input, |data| passed += data.len())?,
                Framing::UntilClose => {
                    passed += self.input.len();
                    self.input.len()
                }
            };
            self.consume(used);
            if passed > most {
                return Err(BodyError::TooLarge);
            }
            let is_over = match framing {
                Framing::Length(length) => passed as u64 == length,
                _ => scanner.is_done(),
            };
            if is_over {
                return Ok(());
            }
            match self.fill_body(deadline).await {
                Err(BodyError::Closed) if framing == Framing::UntilClose => return Ok(()),
                filled => _ = filled?,
            }
        }
    }

    async fn fill_body(&mut self, deadline: Instant) -> Result<usize, BodyError> {
        match self.fill_by(deadline).await {
            Ok(0) => Err(BodyError::Closed),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(BodyError::TimedOut),
            read => Ok(read?),
        }
    }

    /// Reads once, as much as there is: how many bytes came; 0 at the end. After `deadline` it fails as
    /// timed out.
    async fn fill_by(&mut self, deadline: Instant) -> io::Result<usize> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Pending => self.alarm.poll(cx, deadline).map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready => ready,
        })
        .await
    }

    /// Reads once, as much as there is: how many bytes came; 0 at the end.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// The same, polled.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_fill_with::<READ_SIZE>(cx)
    }

    /// The same, of at most so many bytes.
    pub(super) fn poll_fill_with<const SIZE: usize>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); SIZE];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Ready when it is `deadline` or later.
    pub fn poll_alarm(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.alarm.poll(cx, deadline)
    }

    /// Resolves when the client closes the connection, or half of it, when it is `deadline`, or when the client sends
    /// more than is read ahead.
    pub async fn closed_by(&mut self, deadline: Instant) -> Waited {
        poll_fn(|cx| match self.poll_closed(cx) {
            Poll::Ready(()) => Poll::Ready(Waited::Closed),
            Poll::Pending if self.input.len() >= READ_AHEAD => Poll::Ready(Waited::Crowded),
            Poll::Pending => self.alarm.poll(cx, deadline).map(|()| Waited::Over),
        })
        .await
    }

    /// Ready when the client closes the connection, or half of it. What follows is kept, up to a bound, beyond which
    /// the end is no longer seen.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < READ_AHEAD {
            if !matches!(ready!(self.poll_fill_with::<READ_AHEAD>(cx)), Ok(n) if n > 0) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Writes all of it, in this order; what is not taken within `within` fails as timed out.
    pub async fn write(&mut self, head: impl Buf, body: Bytes, within: Duration) -> io::Result<()> {
        let mut all = head.chain(body);
        let mut deadline = None;
        poll_fn(|cx| match self.poll_write_all(cx, &mut all) {
            Poll::Pending => {
                let deadline = *deadline.get_or_insert_with(|| clock::in_time(within));
                self.alarm.poll(cx, deadline).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            written => written,
        })
        .await
    }

    /// The same, polled.
    pub(super) fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        all: &mut impl Buf,
    ) -> Poll<io::Result<()>> {
        while all.has_remaining() {
            let mut pieces = [IoSlice::new(&[]); 2];
            let count = all.chunks_vectored(&mut pieces);
            let written = match &pieces[..count] {
                // The kernel has a shorter way for one piece.
                [piece] => Pin::new(&mut self.stream).poll_write(cx, piece),
                pieces => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => all.advance(written),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Takes `length` bytes of what was read.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        let taken = self.input.split_to(length).freeze();
        self.consume(0);
        taken
    }

    /// Takes `length` bytes as used.
    pub fn consume(&mut self, length: usize) {
        self.input.advance(length);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Closes the connection so that what was written still arrives: data that the client sent and nobody
    /// read would otherwise make the kernel reset it (RFC 9112 §9.6).
    /// It fails if the client resets the connection meanwhile.
    pub async fn close(mut self) -> io::Result<()> {
        const LINGER: Duration = Duration::from_secs(2);
        let drain = async {
            self.stream.shutdown().await?;
            while self.fill().await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // A client that goes on sending has had its answer.
        timeout(LINGER, drain).await.unwrap_or(Ok(()))
    }
}

/// Whether the other side of an idle connection neither ended it nor said anything that nobody asked for.
pub async fn is_silent(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let is_silent = poll_fn(|cx| {
        let mut byte = [0];
        Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending())
    });
    // Whoever has done much in a row must not take that for silence.
    unconstrained(is_silent).await
}

/// Parses when a line has ended behind what was `seen`, and not with each piece: a head that comes byte by byte costs
/// as many looks as it has lines.
fn parse_if_ended<H>(
    input: &[u8],
    seen: usize,
    limits: HeadLimits,
    parse: &impl Fn(&[u8]) -> Result<Option<(H, usize)>, HeadError>,
) -> Result<Option<(H, usize)>, HeadError> {
    let a_line_ended = memchr::memchr(b'\n', &input[seen..]).is_some();
    if a_line_ended || input.len() >= limits.bytes { parse(input) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
