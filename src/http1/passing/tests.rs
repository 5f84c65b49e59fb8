//! Bodies on their way, over pipes.

use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::http1::Budget;

const PACE: Pace = Pace { read: Duration::from_secs(30), write: Duration::from_secs(10) };

/// The sender's end and ours, ours and the receiver's end: the receiver's pipe holds so much.
fn pipes(holds: usize) -> (DuplexStream, Connection<DuplexStream>, Connection<DuplexStream>, DuplexStream) {
    let (sender, from) = duplex(1 << 20);
    let (to, receiver) = duplex(holds);
    (sender, Connection::new(from), Connection::new(to), receiver)
}

/// What the receiver gets of a body that is sent in these pieces and ends with the connection, and how that went.
async fn passed(mut passing: Passing, pieces: &[&str]) -> (String, Result<(), PassError>) {
    let (mut sender, mut from, mut to, mut receiver) = pipes(1 << 20);
    let send = async {
        for piece in pieces {
            sender.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(sender);
    };
    let (result, ()) = tokio::join!(passing.pass(&mut from, &mut to, |piece, _| Some(piece)), send);
    drop(to);
    let mut got = String::new();
    receiver.read_to_string(&mut got).await.unwrap();
    (got, result)
}

#[tokio::test]
async fn a_body_goes_on_in_the_form_that_is_wanted() {
    for (framing, chunked, pieces, expected) in [
        (Framing::Empty, false, &["rest"][..], "HEAD"),
        (Framing::Length(5), false, &["hello", "rest"], "HEADhello"),
        (Framing::Length(5), false, &["he", "llorest"], "HEADhello"),
        (Framing::Length(5), true, &["hellorest"], "HEAD5\r\nhello\r\n0\r\n\r\n"),
        (Framing::UntilClose, false, &["hel", "lo"], "HEADhello"),
        (Framing::UntilClose, true, &["hello"], "HEAD5\r\nhello\r\n0\r\n\r\n"),
        (Framing::UntilClose, true, &[], "HEAD0\r\n\r\n"),
        (Framing::Chunked, false, &["2;x\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\nrest"], "HEADhello"),
        (
            Framing::Chunked,
            true,
            &["2;x\r\nhe\r\n03\r\nllo\r\n000\r\nT: 1\r\n\r\nrest"],
            "HEAD5\r\nhello\r\n0\r\n\r\n",
        ),
    ] {
        let passing = Passing::new(framing, chunked, PACE).behind("HEAD".into());
        let (got, result) = passed(passing, pieces).await;
        assert!(result.is_ok(), "{framing:?}: {result:?}");
        assert_eq!(got, expected, "{framing:?} {chunked} {pieces:?}");
    }
}

#[tokio::test]
async fn what_was_good_of_a_broken_body_has_passed_and_its_end_has_not() {
    for (framing, chunked, sent, expected) in [
        (Framing::Length(5), false, "hell", "hell"),
        (Framing::Chunked, true, "2\r\nhe\r\nnonsense", "2\r\nhe\r\n"),
        (Framing::Chunked, true, "5\r\nhe", "2\r\nhe\r\n"),
    ] {
        let (got, result) = passed(Passing::new(framing, chunked, PACE), &[sent]).await;
        assert!(matches!(result, Err(PassError::Read(_))), "{sent}: {result:?}");
        assert_eq!(got, expected, "{sent}");
    }
}

#[tokio::test]
async fn more_than_may_come_is_refused() {
    let budget = std::sync::Arc::new(Budget::default());
    let within =
        |most, bytes| Passing::new(Framing::Chunked, true, PACE).within(most, budget.allowance(bytes));
    let body = "5\r\nhello\r\n0\r\n\r\n";
    assert!(passed(within(15, 15), &[body]).await.1.is_ok());
    let too_large = passed(within(14, 15), &[body]).await.1;
    assert!(matches!(too_large, Err(PassError::Read(BodyError::TooLarge))), "{too_large:?}");
    let no_memory = passed(within(15, 14), &[body]).await.1;
    assert!(matches!(no_memory, Err(PassError::Read(BodyError::NoMemory(_)))), "{no_memory:?}");
    assert_eq!(budget.used(), 0);
}

/// Whoever does not read costs no more memory than one piece, and is not waited for without end.
#[tokio::test(start_paused = true)]
async fn no_more_is_read_than_was_taken() {
    let (mut sender, mut from, mut to, receiver) = pipes(1000);
    let length = 1 << 20;
    sender.write_all(&vec![b'x'; length]).await.unwrap();
    let mut passing = Passing::new(Framing::Length(length as u64), false, PACE);
    let began = clock::in_time(Duration::ZERO);
    let result = passing.pass(&mut from, &mut to, |piece, _| Some(piece)).await;
    assert!(matches!(result, Err(PassError::Write(_))), "{result:?}");
    let waited = clock::in_time(Duration::ZERO) - began;
    let patience = PACE.write + Duration::from_millis(PIECE as u64);
    assert!(waited >= PACE.write && waited <= patience + Duration::from_secs(1), "{waited:?}");
    let (mut left, mut buffer) = (0, vec![0; 1 << 16]);
    drop((to, receiver));
    let mut rest = from.into_stream();
    drop(sender);
    while let Ok(count @ 1..) = rest.read(&mut buffer).await {
        left += count;
    }
    assert_eq!(left, length - PIECE);
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_does_not_come_is_given_up() {
    let (mut sender, mut from, mut to, _receiver) = pipes(1000);
    let send = async {
        // Each in its time.
        for _ in 0..5 {
            sender.write_all(b"x").await.unwrap();
            tokio::time::sleep(PACE.read - Duration::from_secs(1)).await;
        }
        pending::<()>().await;
    };
    let mut passing = Passing::new(Framing::Length(9), false, PACE);
    let began = clock::in_time(Duration::ZERO);
    let result = tokio::select! {
        result = passing.pass(&mut from, &mut to, |piece, _| Some(piece)) => result,
        () = send => unreachable!(),
    };
    assert!(matches!(result, Err(PassError::Read(BodyError::TimedOut))), "{result:?}");
    assert_eq!((clock::in_time(Duration::ZERO) - began).as_secs(), 4 * 29 + 30);
}

#[tokio::test]
async fn content_goes_as_it_is_made() {
    let (mut sender, mut from, mut to, mut receiver) = pipes(1 << 20);
    sender.write_all(b"ab").await.unwrap();
    drop(sender);
    let mut passing = Passing::new(Framing::UntilClose, true, PACE);
    let made = |piece: Bytes, is_last: bool| {
        let end: &[u8] = if is_last { b"!" } else { b"" };
        Some([&piece.to_ascii_uppercase(), end].concat().into())
    };
    passing.pass(&mut from, &mut to, made).await.unwrap();
    drop(to);
    let mut got = String::new();
    receiver.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "2\r\nAB\r\n1\r\n!\r\n0\r\n\r\n");
}
