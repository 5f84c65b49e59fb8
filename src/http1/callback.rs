//! One callback, one answer, on a connection of its own: what whoever calls old clients back must put up with.
//!
//! Of the answer only its status is read, and leniently: the listeners of old clients end lines with a bare
//! LF, say nothing of where their body ends, or have no body at all. So an answer is complete with its
//! head. A connection that ends before that is no answer, however it ends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// More header fields than any client sends.
const MOST_FIELDS: usize = 64;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The connection ended before the head did.
    #[error("the connection ended without an answer")]
    Closed,
    /// The connection failed.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// What came is not an answer.
    #[error("what came is no answer")]
    Unreadable,
    /// It did not come in time.
    #[error("no answer came in time")]
    TimedOut,
}

/// Sends a callback: the status of its answer. The head ends with its empty line.
pub async fn call_back(
    mut stream: TcpStream,
    head: &[u8],
    body: &[u8],
    within: Duration,
) -> Result<u16, Unanswered> {
    let exchange = async {
        stream.write_all(head).await?;
        stream.write_all(body).await?;
        let mut input = Vec::with_capacity(512);
        loop {
            if let Some(status) = final_status(&input)? {
                return Ok(status);
            }
            if input.len() >= LONGEST_HEAD {
                return Err(Unanswered::Unreadable);
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Err(Unanswered::Closed);
            }
        }
    };
    timeout(within, exchange).await.unwrap_or(Err(Unanswered::TimedOut))
}

/// The status of the first answer that is not interim, if its head is whole.
fn final_status(mut input: &[u8]) -> Result<Option<u16>, Unanswered> {
    let mut parser = httparse::ParserConfig::default();
    parser
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        match parser.parse_response(&mut response, input) {
            Ok(httparse::Status::Complete(length)) => match response.code {
                Some(100..200) => input = &input[length..],
                Some(status) => return Ok(Some(status)),
                None => return Err(Unanswered::Unreadable),
            },
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unanswered::Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_head() {
        for (input, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.1 200 Change Notification Accepted\n\n\n", Some(200)),
            ("HTTP/1.0 200\r\n\r\n", Some(200)),
            ("HTTP/1.1 412 Precondition Failed\nContent-Length: 100\n\n", Some(412)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Some(204)),
            ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", Some(302)),
            ("HTTP/1.1 200 OK\r\nBad Name : x\r\n\r\n", Some(200)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("HT", None),
            ("", None),
        ] {
            assert_eq!(final_status(input.as_bytes()).unwrap(), expected, "{input:?}");
        }
        for input in ["220 mail.example ESMTP\r\n", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n\r\n", "\0\0\0\0"]
        {
            assert!(final_status(input.as_bytes()).is_err(), "{input:?}");
        }
    }
}
