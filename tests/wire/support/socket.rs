//! A bare connection: bytes in, bytes out.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::message::{End, Message, dechunk, end_of_body, find};
use super::within;

/// What bytes go over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;

    /// The certificate of the other side, within TLS.
    fn certificate(&self) -> Option<Vec<u8>> {
        None
    }
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn certificate(&self) -> Option<Vec<u8>> {
        self.get_ref().1.peer_certificates()?.first().map(|first| first.to_vec())
    }
}

pub struct Socket {
    stream: Box<dyn Wire>,
    input: Vec<u8>,
    /// Whether it waits for the other side as long as that takes.
    patient: bool,
}

impl Socket {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(address)).await.expect("a connection");
        stream.set_nodelay(true).unwrap();
        Self { stream: Box::new(stream), input: Vec::new(), patient: false }
    }

    /// A connection within TLS, to whom shows a certificate for `name` of an authority that is believed.
    pub async fn secure(address: SocketAddr, name: &str, connector: &TlsConnector) -> std::io::Result<Self> {
        let stream = within("connect", TcpStream::connect(address)).await?;
        let name = name.to_owned().try_into().expect("a name");
        let stream = within("handshake", connector.connect(name, stream)).await?;
        Ok(Self { stream: Box::new(TlsStream::from(stream)), input: Vec::new(), patient: false })
    }

    /// A connection from another address of this machine.
    pub async fn connect_from(own: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own.parse().unwrap(), 0)).expect("an address of this machine");
        let stream = within("connect", socket.connect(address)).await.expect("a connection");
        Self { stream: Box::new(stream), input: Vec::new(), patient: false }
    }

    /// The server's side of a connection.
    pub fn accepted(stream: impl Wire + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new(), patient: true }
    }

    /// The same, driven by the test itself, which is not to hang.
    pub fn driven(stream: impl Wire + 'static) -> Self {
        Self { patient: false, ..Self::accepted(stream) }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("write", self.stream.write_all(bytes.as_ref())).await.expect("written");
    }

    /// Sends what the other side may have stopped reading already.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        self.stream.shutdown().await.expect("half a close");
    }

    /// Drops the connection with a reset, as a client does that crashed.
    pub fn reset(self) {
        self.stream.tcp().set_zero_linger().expect("no lingering");
    }

    /// The certificate of the other side.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.certificate().expect("a certificate")
    }

    /// How many bytes come with the next read, and how the connection ends.
    pub async fn read_once(&mut self) -> std::io::Result<usize> {
        within("read", self.stream.read_buf(&mut self.input)).await
    }

    pub async fn answer(&mut self) -> Message {
        match self.message(false).await {
            Some(answer) => answer,
            None => panic!("no answer, but {:?}", String::from_utf8_lossy(&self.input)),
        }
    }

    /// The answer; of a stream of events only its head.
    pub async fn answer_or_stream(&mut self) -> Message {
        let head = self.head().await.expect("an answer");
        if String::from_utf8_lossy(&head).contains("text/event-stream") {
            return Message { head, raw_body: Vec::new(), body: Vec::new() };
        }
        self.input.splice(0..0, head);
        self.answer().await
    }

    /// The answer to a HEAD: a head that may tell of a body which does not come.
    pub async fn head_only(&mut self) -> Message {
        let head = self.head().await.expect("an answer");
        Message { head, raw_body: Vec::new(), body: Vec::new() }
    }

    /// The next request; `None` if no whole one comes any more.
    pub async fn request(&mut self) -> Option<Message> {
        self.message(true).await
    }

    async fn message(&mut self, is_request: bool) -> Option<Message> {
        let head = self.head().await?;
        let (length, body) = match end_of_body(&head, is_request) {
            End::After(length) => {
                while self.input.len() < length {
                    self.more().await?;
                }
                (length, self.input[..length].to_vec())
            }
            End::LastChunk => loop {
                match dechunk(&self.input) {
                    Some(done) => break done,
                    None => self.more().await?,
                }
            },
            End::Close => {
                while self.more().await.is_some() {}
                (self.input.len(), self.input.clone())
            }
        };
        Some(Message { head, raw_body: self.input.drain(..length).collect(), body })
    }

    async fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.input, b"\r\n\r\n") {
                return Some(self.input.drain(..end + 4).collect());
            }
            self.more().await?;
        }
    }

    /// Whether something came so far. Meaningful only for what must have come before something else did.
    pub async fn has_input(&mut self) -> bool {
        while tokio::time::timeout(std::time::Duration::ZERO, self.more())
            .await
            .is_ok_and(|more| more.is_some())
        {}
        !self.input.is_empty()
    }

    /// Reads until these bytes came, and returns everything up to their end.
    pub async fn read_to(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.input, mark) {
                return self.input.drain(..at + mark.len()).collect();
            }
            let came = self.more().await;
            assert!(came.is_some(), "{mark:?} did not come: {:?}", String::from_utf8_lossy(&self.input));
        }
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        std::mem::take(&mut self.input)
    }

    /// The other side is done, and said nothing more.
    pub async fn is_closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Reads once; `None` at the end of the connection, however it came.
    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.input);
        let read = if self.patient { read.await } else { within("read", read).await };
        read.ok().filter(|length| *length > 0).map(drop)
    }
}
