//! One request, one answer: the client's side of the light path.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    Allowance, BodyError, Connection, Framing, FramingError, HeadLimits, ReadHeadError, ResponseHead,
};

/// A request to be sent. `Host` and `Content-Length` are among the fields only if put there.
#[derive(Clone, Debug, Default)]
pub struct Call {
    bytes: BytesMut,
    head_only: bool,
}

impl Call {
    /// The start of a request: `method target HTTP/1.1`.
    pub fn new(method: &str, target: &str) -> Self {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(format!("{method} {target} HTTP/1.1\r\n").as_bytes());
        Self { bytes, head_only: method == "HEAD" }
    }

    /// The same with one more field.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        self
    }

    fn finish(mut self, body: &[u8]) -> Bytes {
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(body);
        self.bytes.freeze()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// Its body, without transfer coding.
    pub body: Bytes,
    /// Whether the connection can carry another request.
    pub keep_alive: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The other side speaks no TLS, or is not believed.
    #[error("no TLS: {0}")]
    Tls(#[source] std::io::Error),
    /// The request could not be sent, or the connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// What came is not an answer.
    #[error("no answer: {0}")]
    Head(#[from] ReadHeadError),
    /// It cannot be told where its body ends.
    #[error("unreadable answer: {0}")]
    Framing(#[from] FramingError),
    /// Its body is not well-formed, or too large.
    #[error("unreadable answer: {0}")]
    Body(#[from] BodyError),
    /// It did not come in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Connects to `address`, a host and a port.
pub async fn connect(address: &str, within: Duration) -> Result<Connection<TcpStream>, CallError> {
    dial(address, within).await.map(Connection::new)
}

/// The same for who has something else to do before the first request.
pub async fn dial(address: &str, within: Duration) -> Result<TcpStream, CallError> {
    let stream = timeout(within, TcpStream::connect(address))
        .await
        .map_err(|_| CallError::TimedOut(within))?
        .map_err(CallError::Connect)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its answer, all `within` that time; a body up to `most` bytes.
pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    call: Call,
    body: &[u8],
    most: usize,
    within: Duration,
) -> Result<Answer, CallError> {
    let head_only = call.head_only;
    let exchange = async {
        connection.write(call.finish(body), Bytes::new(), within).await?;
        let head = loop {
            let head = connection.read_response_head(HeadLimits::default(), within).await?;
            if head.status >= 200 {
                break head;
            }
        };
        let framing = match Framing::of_response(head.status, &head.fields, head.version)? {
            _ if head_only => Framing::Empty,
            framing => framing,
        };
        let body = connection.read_body(framing, most, within, &mut Allowance::unlimited()).await?;
        let keep_alive = head.keep_alive() && framing != Framing::UntilClose;
        Ok(Answer { head, body, keep_alive })
    };
    timeout(within, exchange).await.map_err(|_| CallError::TimedOut(within))?
}
