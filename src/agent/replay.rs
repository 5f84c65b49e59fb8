//! One message brought to the client: the server's callback, as if it came from the server itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use url::Url;

use super::Message;
use crate::http1::callback::{Unanswered, call_back};

/// How long a connection to the client may take to be made: it is near.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the client may take to answer: as long as libupnp waits.
const ANSWER: Duration = Duration::from_secs(30);

/// The largest datagram that clients have room for: Evolution reads 1,024 bytes.
const LARGEST_DATAGRAM: usize = 1024;

/// What the client said to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It has it.
    Taken,
    /// It does not want it, with this status.
    Refused(u16),
    /// It knows no such subscription any more (410, 412).
    Gone(u16),
    /// Nothing: it is not there, or does not answer.
    Nothing,
}

/// Sends a message to this callback address. With `silent_is_taken` a client that takes a request and never
/// answers has it.
pub(super) async fn replay(message: &Message, callback: &Url, silent_is_taken: bool) -> Said {
    let Some(address) = address(callback) else { return Said::Refused(0) };
    if callback.scheme() == "httpu" {
        return datagram(message, callback, &address).await;
    }
    let connected = timeout(CONNECT, TcpStream::connect(address)).await;
    let Ok(Ok(stream)) = connected else { return Said::Nothing };
    let _ = stream.set_nodelay(true);
    let within = if silent_is_taken { CONNECT } else { ANSWER };
    match call_back(stream, &head(message, callback), &body(message), within).await {
        Ok(200..300) => Said::Taken,
        Ok(status @ (410 | 412)) => Said::Gone(status),
        Ok(status) => Said::Refused(status),
        Err(Unanswered::Closed | Unanswered::TimedOut) if silent_is_taken => Said::Taken,
        Err(_) => Said::Nothing,
    }
}

/// One datagram: who listens for such never answers, and has it when it was sent. Its body says no more than that
/// something has changed, and goes only if it finds room.
async fn datagram(message: &Message, callback: &Url, address: &str) -> Said {
    let mut datagram = head(message, callback);
    let body = body(message);
    if datagram.len() + body.len() <= LARGEST_DATAGRAM {
        datagram.extend(body);
    }
    let any =
        if callback.host_str().is_some_and(|host| host.starts_with('[')) { "[::]:0" } else { "0.0.0.0:0" };
    let sent = async { UdpSocket::bind(any).await?.send_to(&datagram, address).await };
    if sent.await.is_ok() { Said::Taken } else { Said::Nothing }
}

/// `HOST:PORT`, with the brackets of an IPv6 address.
fn address(callback: &Url) -> Option<String> {
    Some(format!("{}:{}", callback.host_str()?, callback.port_or_known_default()?))
}

/// The head as the server would have sent it; its length stands among the fields.
fn head(message: &Message, callback: &Url) -> Vec<u8> {
    let host = match callback.port() {
        Some(port) => format!("{}:{port}", callback.host_str().unwrap_or_default()),
        None => callback.host_str().unwrap_or_default().to_owned(),
    };
    let query = callback.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut head =
        format!("{} {}{query} HTTP/1.1\r\nHost: {host}\r\n", message.method, callback.path()).into_bytes();
    for (name, value) in &message.headers {
        // The gateway's own idea of it.
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        // As it came: what is not ASCII was read as Latin-1. No field can end a line.
        let byte = |c: char| u8::try_from(c).ok().filter(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(b'?');
        head.extend(name.chars().map(byte));
        head.extend(b": ");
        head.extend(value.chars().map(byte));
        head.extend(b"\r\n");
    }
    head.extend(b"Connection: close\r\n\r\n");
    head
}

fn body(message: &Message) -> Vec<u8> {
    match (&message.body, &message.body_base64) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(coded)) => STANDARD.decode(coded).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_written_as_the_server_sent_it() {
        let message = Message {
            id: 1,
            received_at: String::new(),
            class: "message".into(),
            method: "NOTIFY".into(),
            target: "http://10.1.2.3:1".into(),
            headers: vec![
                ("Host".into(), "im.example".into()),
                ("Content-LENGTH".into(), "3".into()),
                ("X-Twice".into(), "\u{e9}".into()),
                ("X-Twice".into(), "a\r\nb".into()),
            ],
            body: None,
            body_base64: Some("AP8K".into()),
        };
        let url = |url: &str| Url::parse(url).unwrap();
        let text = |bytes: Vec<u8>| bytes.iter().map(|b| char::from(*b)).collect::<String>();
        assert_eq!(
            text(head(&message, &url("http://10.1.2.3:1"))),
            "NOTIFY / HTTP/1.1\r\nHost: 10.1.2.3:1\r\nContent-LENGTH: 3\r\nX-Twice: \u{e9}\r\nX-Twice: a??b\r\n\
             Connection: close\r\n\r\n"
        );
        assert!(
            text(head(&message, &url("http://h/in%20box?a=b")))
                .starts_with("NOTIFY /in%20box?a=b HTTP/1.1\r\nHost: h\r\n")
        );
        assert_eq!(body(&message), [0, 255, 10]);
        assert_eq!(address(&url("http://[::1]/")).unwrap(), "[::1]:80");
    }
}
