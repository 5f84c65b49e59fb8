//! Answers that go on: their end is not known when their head is written.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Connection, Response, Times, Version, Waited};
use crate::clock;

/// A client that only listens is looked at anew after so long; nothing depends on it.
const LOOK: Duration = Duration::from_secs(3600);

/// What comes after the head.
#[async_trait]
pub trait Pieces: Send {
    /// The next piece, when there is one; never an empty one.
    async fn next(&mut self) -> Bytes;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Writes the head and piece after piece, until the client goes away or `stop` is set. The connection can
    /// carry nothing else afterwards.
    pub(super) async fn answer_in_pieces(
        &mut self,
        response: &Response,
        mut pieces: Box<dyn Pieces>,
        version: Version,
        times: Times,
        stop: &CancellationToken,
    ) -> std::io::Result<()> {
        let head = response.stream_head(version, false, clock::wall());
        self.write_within(head, Bytes::new(), times).await?;
        let chunked = version == Version::Http11;
        loop {
            let piece = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                waited = self.closed_by(clock::in_time(LOOK)) => match waited {
                    Waited::Closed | Waited::Crowded => return Ok(()),
                    Waited::Over => continue,
                },
                piece = pieces.next() => piece,
            };
            let (start, end) = match chunked {
                true => (format!("{:x}\r\n", piece.len()), "\r\n"),
                false => (String::new(), ""),
            };
            let piece = [start.as_bytes(), &piece, end.as_bytes()].concat();
            self.write_within(Bytes::from(piece), Bytes::new(), times).await?;
        }
        let end: &[u8] = if chunked { b"0\r\n\r\n" } else { b"" };
        self.write_within(Bytes::copy_from_slice(end), Bytes::new(), times).await
    }
}
