//! What every test needs: a gateway at work, an upstream with a script, and sockets.

mod authority;
mod document;
mod gate;
mod message;
mod multipart;
pub mod rvp;
mod socket;
mod upstream;

use std::time::Duration;

pub use authority::{Authority, Pair};
pub use document::Document;
pub use gate::{CLIENT, Gate, Login, bodies, exchange, life_times, poll};
pub use message::Message;
pub use multipart::{parts, request};
pub use socket::Socket;
pub use upstream::{ByHand, Step, Upstream, answer};

/// How long anything may take that a test waits for: far longer than it takes, so that a busy machine
/// fails no test.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits until something holds that cannot be awaited by itself.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, look).await;
}

/// A head as it stands on the wire, from lines; with the body behind it.
pub fn text(head: &str, body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", head.trim_end().replace('\n', "\r\n")).into_bytes()
}

/// A body in two chunks, with all that may stand around them.
pub fn chunks(body: &str) -> String {
    let (first, second) = body.split_at(body.len() / 3);
    let chunk = |piece: &str| format!("{:X};ext=\"1\"\r\n{piece}\r\n", piece.len());
    format!("{}{}0\r\nX-Trailer: 1\r\n\r\n", chunk(first), chunk(second))
}
