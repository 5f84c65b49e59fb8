//! A callback as the client is sent it: as it came in, with the client's own path and host.
//!
//! A connection that ends without an answer leaves the message undelivered, for at least once is what is
//! promised.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use super::address::Address;
use crate::http1::callback::{Unanswered, call_back};
use crate::mailbox::Message;

/// The head of the callback as it is sent; its length stands among the header lines.
fn head(message: &Message, address: &Address, port: u16) -> Bytes {
    let mut head = BytesMut::with_capacity(message.header_lines.len() + 256);
    let start =
        format!("{} {} HTTP/1.1\r\nHost: {}:{port}\r\n", message.method, address.target, address.host);
    head.put(start.as_bytes());
    head.put(&message.header_lines[..]);
    // What was there of the connection was the upstream's and is gone; this one ends with the answer.
    head.put(&b"Connection: close\r\n\r\n"[..]);
    head.freeze()
}

/// Sends the callback: the status of the answer.
pub(super) async fn exchange(
    stream: TcpStream,
    message: &Message,
    address: &Address,
    port: u16,
    within: Duration,
) -> Result<u16, Unanswered> {
    call_back(stream, &head(message, address, port), &message.body, within).await
}
