//! Where a body ends (RFC 9112 §6).

use super::{Fields, Headers, NoMemory, Version};

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// Where the connection ends; only in responses.
    UntilClose,
}

/// Why it cannot be told where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// RFC 9112 §6.1: what request smuggling is made of.
    #[error("both Content-Length and Transfer-Encoding")]
    Both,
    /// RFC 9110 §8.6.
    #[error("Content-Length is not one number")]
    Length,
    /// RFC 9112 §6.1: a transfer coding other than `chunked`, or in a version that has none.
    #[error("the transfer coding is not supported")]
    Coding,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// Its chunks are not well-formed.
    #[error("malformed chunk")]
    Chunk,
    /// It did not come in time.
    #[error("the body did not come in time")]
    TimedOut,
    /// There are too many others at this moment.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// The connection ended within it.
    #[error("the connection ended within the body")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Framing {
    pub(super) fn of_request(fields: &Fields, version: Version) -> Result<Self, FramingError> {
        Ok(Self::declared(fields, version)?.unwrap_or(Framing::Empty))
    }

    /// The framing of a response with this status to a request that was not `HEAD`.
    pub fn of_response(status: u16, fields: &Fields, version: Version) -> Result<Self, FramingError> {
        if status < 200 || status == 204 || status == 304 {
            return Ok(Framing::Empty);
        }
        Ok(Self::declared(fields, version)?.unwrap_or(Framing::UntilClose))
    }

    /// By the transfer coding alone: of all codings only `chunked`, once, in a version that has it (RFC 9112 §6.1). It
    /// overrules a length, which must not be passed on then (RFC 9112 §6.3).
    pub fn by_coding(fields: &Fields, version: Version) -> Result<Self, FramingError> {
        let mut codings = fields.values("transfer-encoding");
        let chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        let only = codings.next().is_none() && version == Version::Http11;
        if only && chunked { Ok(Framing::Chunked) } else { Err(FramingError::Coding) }
    }

    fn declared(fields: &Fields, version: Version) -> Result<Option<Self>, FramingError> {
        let mut lengths = fields.values("content-length");
        match (fields.contains("transfer-encoding"), lengths.next()) {
            (false, None) => Ok(None),
            (true, Some(_)) => Err(FramingError::Both),
            (true, None) => Self::by_coding(fields, version).map(Some),
            (false, Some(length)) => {
                let digits = std::str::from_utf8(length).ok().filter(|_| lengths.next().is_none());
                let digits = digits.filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
                let length = digits.and_then(|d| d.parse().ok()).ok_or(FramingError::Length)?;
                Ok(Some(if length == 0 { Framing::Empty } else { Framing::Length(length) }))
            }
        }
    }
}

/// Finds the end of a chunked body in a stream of bytes that comes in pieces of any size.
///
/// Strict: chunk sizes are hexadecimal digits, lines end with CRLF; extensions and trailers are passed
/// over, and bounded.
#[derive(Clone, Debug, Default)]
pub struct ChunkScanner {
    state: State,
    /// What is left of the chunk, or the size read so far.
    left: u64,
    /// Bytes of the line so far: bounds chunk extensions and trailers.
    line: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

impl ChunkScanner {
    /// The longest line it passes over, and the longest trailer section.
    const LONGEST_LINE: usize = 8 * 1024;

    /// Reads on in `input`: how many bytes of it belong to the body. `data` is called with each piece of
    /// content. Once it [`is_done`](Self::is_done), nothing more belongs to it.
    pub fn scan(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BodyError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let piece = (input.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                data(&input[at..at + piece]);
                at += piece;
                self.left -= piece as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Whether the end of the body was seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        self.line += 1;
        if self.line > Self::LONGEST_LINE {
            return Err(BodyError::Chunk);
        }
        let next = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left.checked_mul(16).ok_or(BodyError::Chunk)? + u64::from(digit);
                State::Size
            }
            (State::Size, b'\r') if self.line > 1 => State::SizeLf,
            (State::Size, b';') if self.line > 1 => State::Extension,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => State::Extension,
            (State::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line = 0;
                State::Size
            }
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(BodyError::Chunk),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(input: &str, piece: usize) -> Option<(String, usize)> {
        let mut scanner = ChunkScanner::default();
        let (mut content, mut used) = (Vec::new(), 0);
        for part in input.as_bytes().chunks(piece) {
            let n = scanner.scan(part, |data| content.extend_from_slice(data)).ok()?;
            used += n;
            if n < part.len() {
                break;
            }
        }
        scanner.is_done().then(|| (String::from_utf8(content).unwrap(), used))
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends_in_pieces_of_any_size() {
        for (input, content, rest) in [
            ("0\r\n\r\nNEXT", "", "NEXT"),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            (
                "5;ext=\"1\"\r\nhello\r\nA\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\nGET",
                "hello0123456789",
                "GET",
            ),
        ] {
            for piece in 1..=input.len() {
                let (got, used) = scan(input, piece).expect(input);
                assert_eq!((got.as_str(), &input[used..]), (content, rest), "pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        for input in [
            "\r\n",
            "x\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "11111111111111111\r\n",
            "5\r\nhello\r\n0\r\n\n",
        ] {
            assert_eq!(scan(input, input.len()), None, "{input:?}");
            assert_eq!(scan(input, 1), None, "{input:?}");
        }
    }
}
