//! HTTP/1.1 messages on a bare connection (RFC 9112): those that Pollgate answers itself, those that it asks as a
//! client, and those that it passes on. A connection that waits owns its socket and no buffer.
//!
//! In reading order:
//! - [`Connection`]: a stream and what was read from it too early.
//! - [`RequestHead`], [`ResponseHead`], [`Fields`]: heads, with the names, the order and the values as they came.
//!   [`FieldList`]: fields that can be changed.
//! - [`Framing`]: where a body ends; every ambiguity about that is an error. [`Budget`]: what all bodies may take.
//!   [`Passing`]: a body on its way from one connection to another.
//! - [`Response`]: an answer, and how it is written. [`Pieces`]: one that goes on.
//! - [`accept`]: the accept loop; [`serve`](serve()): request in, answer out, for as long as the
//!   connection lasts.
//! - [`client`]: one request, one answer; [`callback`]: the same with an old client that listens.
//!
//! What it refuses to do: HTTP/2, TLS, compression, trailers (they are read and thrown away).

pub mod accept;
mod alarm;
mod body;
mod budget;
pub mod callback;
pub mod client;
mod connection;
mod fields;
mod head;
mod passing;
mod pieces;
mod response;
mod serve;

pub use body::{BodyError, ChunkScanner, Framing, FramingError};
pub use budget::{Allowance, Budget, NoMemory};
pub use connection::{Connection, ReadHeadError, Waited, is_silent};
pub use fields::{FieldList, Fields, Headers, field_lines};
pub use head::{HeadError, HeadLimits, RequestHead, ResponseHead, Version};
pub use passing::{Pace, PassError, Passing};
pub use pieces::Pieces;
pub use response::{Response, date, reason_phrase};
pub use serve::{
    NEXT_REQUEST, Reply, Request, ServeLimits, Service, Times, answer_to_bad_body, answer_to_bad_head,
    pass_over_body, read_body, refuse, serve,
};
