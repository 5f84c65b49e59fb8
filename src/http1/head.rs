//! Heads of requests and responses.
//!
//! Requests are parsed strictly: what two implementations could read in two ways is refused, so that one request of
//! a client is one request of the upstream. That goes further than RFC 9112 asks: lines end with CRLF and
//! nothing else, nothing stands before the request line, and a `Host` is never empty. Answers of old servers are
//! read leniently, where only one reading is possible, and are written in one form.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Fields, Framing, FramingError, Headers};

/// The most that a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, from the request line to the empty line.
    pub bytes: usize,
    /// Header fields; never more than [`HeadLimits::MOST_FIELDS`].
    pub fields: usize,
}

impl HeadLimits {
    /// More fields than any client sends; the parser's table is of this size.
    pub const MOST_FIELDS: usize = 128;

    /// For a head that was made here: what came was bounded when it came.
    pub const ANY: Self = Self { bytes: usize::MAX, fields: Self::MOST_FIELDS };
}

impl Default for HeadLimits {
    /// 32 KiB hold the largest Kerberos ticket that Windows sends; 100 fields are what servers of the
    /// field allow.
    fn default() -> Self {
        Self { bytes: 32 * 1024, fields: 100 }
    }
}

/// Why a head was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is not HTTP/1.
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    /// It is longer than allowed, or has more fields.
    #[error("the header section is too large")]
    TooLarge,
    /// The request target alone is longer than allowed.
    #[error("the request target is too long")]
    TargetTooLong,
    /// It says in two ways, or in none that is known, where its body ends.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// HTTP/1.1 without exactly one valid `Host` (RFC 9112 §3.2).
    #[error("a request needs exactly one Host field")]
    Host,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("the HTTP version is not supported")]
    Version,
}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The version.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
    /// Where its body ends.
    pub framing: Framing,
    /// Where the method is in the head.
    method: Range<usize>,
    /// Where the target is.
    target: Range<usize>,
}

impl RequestHead {
    /// Reads a head from the front of `input`: it and its length, or `None` if more is needed.
    pub fn parse(input: &[u8], limits: HeadLimits) -> Result<Option<(Self, usize)>, HeadError> {
        let mut table = [const { MaybeUninit::uninit() }; HeadLimits::MOST_FIELDS];
        let table = &mut table[..limits.fields.min(HeadLimits::MOST_FIELDS)];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(input, table) {
            Ok(httparse::Status::Complete(length)) if length <= limits.bytes => length,
            Ok(httparse::Status::Partial) if input.len() < limits.bytes => return Ok(None),
            // However much of what follows came with it.
            Ok(_) if !input.iter().take(limits.bytes).any(|b| *b == b'\n') => {
                return Err(HeadError::TargetTooLong);
            }
            Ok(_) => return Err(HeadError::TooLarge),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(httparse::Error::Version) => return Err(HeadError::Version),
            Err(error) => return Err(HeadError::Malformed(describe(error))),
        };
        let malformed = |what| HeadError::Malformed(what);
        check_lines(&input[..length])?;
        let version = version(request.version)?;
        let method = request.method.ok_or(malformed("no method"))?;
        let target = request.path.ok_or(malformed("no request target"))?;
        check_target(method, target)?;
        let range = |part: &str| {
            let start = part.as_ptr() as usize - input.as_ptr() as usize;
            start..start + part.len()
        };
        let (method, target) = (range(method), range(target));
        let raw = Bytes::copy_from_slice(&input[..length]);
        let fields = Fields::new(raw, input, request.headers);
        check_host(&fields, version)?;
        check_connection(&fields)?;
        let framing = Framing::of_request(&fields, version)?;
        Ok(Some((Self { version, fields, framing, method, target }, length)))
    }

    /// The method; case matters.
    pub fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// The request target as it came: origin-form, absolute-form, or `*`.
    pub fn target(&self) -> &str {
        self.text(&self.target)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // Both are ASCII: that was seen when they were read.
        std::str::from_utf8(&self.fields.raw()[range.clone()]).unwrap_or_default()
    }

    /// Whether the client wants the connection kept for a next request (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        keep_alive(&self.fields, self.version)
    }

    /// The path of the target, without query; `*` stays.
    pub fn path(&self) -> &str {
        let (_, rest) = self.split_target();
        rest.split(['?', '#']).next().unwrap_or_default()
    }

    /// The authority that the request is for: the target's, or else the `Host` field's (RFC 9112 §3.3).
    pub fn authority(&self) -> &str {
        self.split_target().0.or_else(|| self.fields.text("host")).unwrap_or_default()
    }

    /// The head's bytes with the first field of this name set to `value`, or with the field added. All
    /// else stays as it came.
    pub fn with_field(&self, name: &str, value: &str) -> Bytes {
        let raw = self.fields.raw();
        let mut head = BytesMut::with_capacity(raw.len() + name.len() + value.len() + 4);
        if let Some(range) = self.fields.value_range(name) {
            head.put(&raw[..range.start]);
            head.put(value.as_bytes());
            head.put(&raw[range.end..]);
        } else {
            let end = if raw.ends_with(b"\r\n") { raw.len() - 2 } else { raw.len() - 1 };
            head.put(&raw[..end]);
            for part in [name, ": ", value, "\r\n"] {
                head.put(part.as_bytes());
            }
            head.put(&raw[end..]);
        }
        head.freeze()
    }

    /// The head's bytes without the fields of these names, and with this one at their end.
    pub fn with_the_only(&self, names: &[&str], name: &str, value: &[u8]) -> Bytes {
        let raw = self.fields.raw();
        let mut head = BytesMut::with_capacity(raw.len() + name.len() + value.len() + 4);
        // Every line ends with CRLF, and none goes on in the next: that was seen when they were read.
        for (at, line) in raw.split_inclusive(|b| *b == b'\n').enumerate() {
            let end = line.iter().position(|b| *b == b':').unwrap_or(0);
            let goes = |name: &&str| at > 0 && line[..end].eq_ignore_ascii_case(name.as_bytes());
            if line == b"\r\n" {
                for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                    head.put(part);
                }
            }
            if !names.iter().any(goes) {
                head.put(line);
            }
        }
        head.freeze()
    }

    /// The request's bytes, if its body was read: that stands behind the head, has a length even if it came in
    /// chunks, and nobody is asked any more whether it may come. Without a body they are those of the head.
    pub fn with_content(&self, content: Option<&[u8]>) -> Bytes {
        const REPLACED: [&str; 4] = ["content-length", "transfer-encoding", "trailer", "expect"];
        let Some(content) = content else { return self.raw() };
        let head = self.with_the_only(&REPLACED, "Content-Length", content.len().to_string().as_bytes());
        [&head, content].concat().into()
    }

    /// The head's bytes as they came.
    pub fn raw(&self) -> Bytes {
        self.fields.raw().clone()
    }

    /// How many bytes it takes.
    pub fn length(&self) -> usize {
        self.fields.raw().len()
    }

    /// The target without the authority, as a server is asked (RFC 9112 §3.2.1).
    pub fn origin_form(&self) -> &str {
        self.split_target().1
    }

    fn split_target(&self) -> (Option<&str>, &str) {
        let target = self.target();
        if target.starts_with('/') {
            return (None, target);
        }
        let Some((_, rest)) = target.split_once("://") else { return (None, target) };
        match rest.find(['/', '?']) {
            Some(at) => (Some(&rest[..at]), &rest[at..]),
            None => (Some(rest), "/"),
        }
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
    /// Where the reason phrase is in the head.
    reason: Range<usize>,
}

impl ResponseHead {
    /// The head's bytes in the one form that all read alike.
    pub fn raw(&self) -> Bytes {
        self.fields.raw().clone()
    }

    /// The reason phrase as it came; may be empty, and be of any coding.
    pub fn reason(&self) -> &[u8] {
        &self.fields.raw()[self.reason.clone()]
    }

    /// Reads a head from the front of `input`: it and its length, or `None` if more is needed.
    ///
    /// Old servers end lines with a bare LF, go on in the next one, or leave space in front of a colon. All that can
    /// be read in one way only, and in that it is passed on (RFC 9112 §2.2, §5.1, §5.2).
    pub fn parse(input: &[u8], limits: HeadLimits) -> Result<Option<(Self, usize)>, HeadError> {
        let mut table = [const { MaybeUninit::uninit() }; HeadLimits::MOST_FIELDS];
        let table = &mut table[..limits.fields.min(HeadLimits::MOST_FIELDS)];
        let mut response = httparse::Response::new(&mut []);
        let mut parser = httparse::ParserConfig::default();
        parser
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        let length = match parser.parse_response_with_uninit_headers(&mut response, input, table) {
            Ok(httparse::Status::Complete(length)) if length <= limits.bytes => length,
            Ok(httparse::Status::Partial) if input.len() < limits.bytes => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(error) => return Err(HeadError::Malformed(describe(error))),
        };
        if input.starts_with(b"\r") || input.starts_with(b"\n") {
            return Err(HeadError::Malformed("an empty line before the start line"));
        }
        let status =
            response.code.filter(|code| *code >= 100).ok_or(HeadError::Malformed("the status code"))?;
        let mut raw = BytesMut::with_capacity(length + 64);
        raw.put_slice(format!("HTTP/1.{} {status} ", response.version.unwrap_or(1)).as_bytes());
        let start = raw.len();
        raw.put_slice(reason(&input[..length]));
        let reason = start..raw.len();
        raw.put_slice(b"\r\n");
        let version = version(response.version)?;
        let fields = Fields::in_one_form(raw, response.headers);
        Ok(Some((Self { status, version, fields, reason }, length)))
    }

    /// Whether the server keeps the connection for a next request.
    pub fn keep_alive(&self) -> bool {
        keep_alive(&self.fields, self.version)
    }
}

/// The reason phrase in this head, which begins with a status line.
fn reason(head: &[u8]) -> &[u8] {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    line.get("HTTP/1.1 200".len()..).unwrap_or_default().trim_ascii()
}

fn version(minor: Option<u8>) -> Result<Version, HeadError> {
    match minor {
        Some(0) => Ok(Version::Http10),
        Some(1) => Ok(Version::Http11),
        _ => Err(HeadError::Version),
    }
}

/// RFC 9112 §2.2: a lone CR or LF is a line end to some and not to others.
fn check_lines(head: &[u8]) -> Result<(), HeadError> {
    if head.starts_with(b"\r") || head.starts_with(b"\n") {
        return Err(HeadError::Malformed("an empty line before the start line"));
    }
    let lone = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r');
    if lone { Err(HeadError::Malformed("a line that does not end with CRLF")) } else { Ok(()) }
}

/// RFC 9112 §3.2: origin-form, absolute-form of `http`, or `*` for OPTIONS. Nothing here is a tunnel, so there
/// is no authority-form. An encoded NUL ends the path for some servers and not for others; an encoded space
/// is part of many a folder's name, and passes.
fn check_target(method: &str, target: &str) -> Result<(), HeadError> {
    let malformed = |what| Err(HeadError::Malformed(what));
    // Without an early end, so that many bytes are looked at at once.
    if !target.bytes().fold(true, |graphic, b| graphic & b.is_ascii_graphic()) {
        return malformed("the request target holds what must be percent-encoded");
    }
    let mut marks = memchr::memchr2_iter(b'#', b'%', target.as_bytes()).map(|at| &target[at..]);
    if marks.any(|rest| rest.starts_with('#') || rest.starts_with("%00")) {
        return malformed("the request target");
    }
    let absolute = || {
        let (scheme, rest) = target.split_once("://").unwrap_or_default();
        scheme.eq_ignore_ascii_case("http") && !rest.is_empty() && !rest.starts_with(['/', '?'])
    };
    if target.starts_with('/') || (method == "OPTIONS" && target == "*") || absolute() {
        Ok(())
    } else {
        malformed("the request target")
    }
}

/// What a host and a port are made of (RFC 3986 §3.2.2).
const OF_A_HOST: [bool; 256] = {
    const OTHERS: &[u8] = b"-._~!$&'()*+;=:[]%";
    let mut table = [false; 256];
    let mut at = 0;
    while at < table.len() {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < OTHERS.len() {
        table[OTHERS[at] as usize] = true;
        at += 1;
    }
    table
};

/// RFC 9112 §3.2: exactly one `Host`; only HTTP/1.0 may do without.
fn check_host(fields: &Fields, version: Version) -> Result<(), HeadError> {
    let mut hosts = fields.values("host");
    let valid = |host: &[u8]| !host.is_empty() && host.iter().all(|b| OF_A_HOST[*b as usize]);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if valid(host) => Ok(()),
        (None, None) if version == Version::Http10 => Ok(()),
        _ => Err(HeadError::Host),
    }
}

/// RFC 9110 §7.6.1: what `Connection` names is taken out on the way. It must not name what tells where the
/// message ends or whom it is for.
fn check_connection(fields: &Fields) -> Result<(), HeadError> {
    const NEEDED: [&str; 3] = ["content-length", "host", "transfer-encoding"];
    if fields.list("connection").any(|option| NEEDED.iter().any(|name| option.eq_ignore_ascii_case(name))) {
        return Err(HeadError::Malformed("Connection names a field that must not be taken out"));
    }
    Ok(())
}

fn keep_alive(fields: &Fields, version: Version) -> bool {
    let says = |option: &str| fields.list("connection").any(|o| o.eq_ignore_ascii_case(option));
    match version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    }
}

fn describe(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a field name",
        httparse::Error::HeaderValue => "a field value",
        httparse::Error::NewLine => "a line end",
        httparse::Error::Status => "the status code",
        httparse::Error::Token => "a token",
        httparse::Error::TooManyHeaders => "too many fields",
        httparse::Error::Version => "the version",
    }
}

#[cfg(test)]
mod tests;
