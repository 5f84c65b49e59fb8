//! Connections, over a pipe.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 10 };
const IDLE: Duration = Duration::from_secs(75);
const WITHIN: Duration = Duration::from_secs(15);

fn pipe() -> (DuplexStream, Connection<DuplexStream>) {
    let (client, server) = duplex(64 * 1024);
    (client, Connection::new(server))
}

async fn read(connection: &mut Connection<DuplexStream>) -> Result<Option<RequestHead>, ReadHeadError> {
    connection.read_request_head(LIMITS, IDLE, WITHIN).await
}

const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";

#[tokio::test]
async fn a_head_comes_whole_or_byte_by_byte_and_what_follows_is_kept() {
    let (mut client, mut connection) = pipe();
    client.write_all(&[HEAD, HEAD, b"GET"].concat()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(read(&mut connection).await.unwrap().unwrap().path(), "/a");
    }
    assert_eq!(&connection.input_mut()[..], b"GET");
    let rest = [&HEAD[3..], HEAD].concat();
    let writer = tokio::spawn(async move {
        for byte in rest {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    });
    for _ in 0..2 {
        assert_eq!(read(&mut connection).await.unwrap().unwrap().path(), "/a");
    }
    drop(writer.await.unwrap());
    assert!(read(&mut connection).await.unwrap().is_none(), "the client is done");
}

#[tokio::test]
async fn a_connection_that_waits_holds_no_buffer() {
    let (mut client, mut connection) = pipe();
    client.write_all(HEAD).await.unwrap();
    read(&mut connection).await.unwrap().unwrap();
    assert_eq!(connection.input.capacity(), 0);
    let waited = connection.closed_by(clock::in_time(Duration::from_millis(1))).await;
    assert_eq!(waited, Waited::Over);
    assert_eq!(connection.input.capacity(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_done_and_whoever_stops_half_way_is_too_slow() {
    let (mut client, mut connection) = pipe();
    assert!(read(&mut connection).await.unwrap().is_none());
    client.write_all(&HEAD[..20]).await.unwrap();
    // A byte now and then does not prolong it.
    let slow = tokio::spawn(async move {
        for byte in &HEAD[20..] {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    });
    assert!(matches!(read(&mut connection).await, Err(ReadHeadError::TimedOut)));
    slow.abort();
}

#[tokio::test]
async fn a_connection_that_ends_half_way() {
    let (mut client, mut connection) = pipe();
    client.write_all(&HEAD[..20]).await.unwrap();
    drop(client);
    assert!(matches!(read(&mut connection).await, Err(ReadHeadError::Closed)));
}

#[tokio::test]
async fn bodies_are_read_to_their_end_and_no_further() {
    for (framing, sent, body, rest) in [
        (Framing::Empty, "NEXT", "", "NEXT"),
        (Framing::Length(5), "helloNEXT", "hello", "NEXT"),
        (Framing::Chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\nT: x\r\n\r\nNEXT", "hello", "NEXT"),
        (Framing::UntilClose, "hello", "hello", ""),
    ] {
        let (mut client, mut connection) = pipe();
        client.write_all(sent.as_bytes()).await.unwrap();
        drop(client);
        connection.fill().await.unwrap();
        assert_eq!(
            connection.read_body(framing, 5, WITHIN, &mut Allowance::unlimited()).await.unwrap(),
            body,
            "{framing:?}"
        );
        assert_eq!(&connection.input_mut()[..], rest.as_bytes(), "{framing:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_breaks_off_is_refused() {
    for (framing, sent) in [
        (Framing::Length(6), "hello!"),
        (Framing::Chunked, "6\r\nhello!\r\n0\r\n\r\n"),
        (Framing::UntilClose, "hello!"),
        (Framing::Length(u64::MAX), ""),
    ] {
        let (mut client, mut connection) = pipe();
        client.write_all(sent.as_bytes()).await.unwrap();
        drop(client);
        let error = connection.read_body(framing, 5, WITHIN, &mut Allowance::unlimited()).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge), "{framing:?}: {error}");
    }
    for (framing, sent) in [(Framing::Length(5), "hell"), (Framing::Chunked, "5\r\nhell")] {
        let (mut client, mut connection) = pipe();
        client.write_all(sent.as_bytes()).await.unwrap();
        drop(client);
        let error = connection.read_body(framing, 5, WITHIN, &mut Allowance::unlimited()).await.unwrap_err();
        assert!(matches!(error, BodyError::Closed), "{framing:?}: {error}");
    }
}

#[tokio::test]
async fn that_the_client_goes_away_is_seen_and_what_it_says_meanwhile_is_kept() {
    let (mut client, mut connection) = pipe();
    client.write_all(HEAD).await.unwrap();
    drop(client);
    assert_eq!(connection.closed_by(clock::in_time(IDLE)).await, Waited::Closed);
    assert_eq!(read(&mut connection).await.unwrap().unwrap().path(), "/a");
}

#[tokio::test]
async fn a_client_that_sends_much_behind_its_request_is_not_waited_for() {
    for (bytes, expected) in
        [(100, Waited::Over), (511, Waited::Over), (512, Waited::Crowded), (60_000, Waited::Crowded)]
    {
        let (mut client, mut connection) = pipe();
        client.write_all(&vec![b'x'; bytes]).await.unwrap();
        let waited = connection.closed_by(clock::in_time(Duration::from_millis(20))).await;
        assert_eq!(waited, expected, "{bytes}");
        assert!(connection.input.capacity() <= 1024, "{bytes}: {}", connection.input.capacity());
        if expected == Waited::Over {
            drop(client);
            assert_eq!(connection.closed_by(clock::in_time(IDLE)).await, Waited::Closed, "{bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_lets_the_answer_arrive() {
    let (mut client, mut connection) = pipe();
    client.write_all(b"what nobody reads").await.unwrap();
    connection.write(Bytes::from_static(b"an "), Bytes::from_static(b"answer"), WITHIN).await.unwrap();
    let closing = tokio::spawn(connection.close());
    let mut answer = Vec::new();
    let at_once = tokio::time::timeout(Duration::from_secs(1), client.read_to_end(&mut answer)).await;
    at_once.expect("the end of the answer without a wait").unwrap();
    drop(client);
    closing.await.unwrap().unwrap();
    assert_eq!(answer, b"an answer");
}
