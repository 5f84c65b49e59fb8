//! What waits while the store changes hands, and what does not.

use pollgate::http1::client::{Call, call, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::process::{Gateway, PATIENCE};

/// Reads from a stream until this has come.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.expect("more"));
        }
    };
    timeout(PATIENCE, read).await.expect("it in time");
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_successor_serves_while_a_download_goes_on_in_the_old_process() {
    let state = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut gateway = Gateway::start(state.path(), &address, &[]).await;
    let mut client = TcpStream::connect(&gateway.public).await.unwrap();
    client.write_all(b"GET /download HTTP/1.1\r\nHost: im.example\r\n\r\n").await.unwrap();
    let (mut download, _) = server.accept().await.unwrap();
    read_to(&mut download, "\r\n\r\n").await;
    download.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin").await.unwrap();
    read_to(&mut client, "begin").await;

    let next = Gateway::spawn(state.path(), &address, &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("handing over").await;
    let began = pollgate::clock::instant();
    let next = next.serves().await;
    eprintln!("served again after {:?}", began.elapsed());
    // It answers, and the download is not over.
    assert_eq!(next.metric("pollgate_mailboxes").await, 0.0);
    gateway.says("handed over; what is under way is finished").await;
    assert!(gateway.process.try_wait().unwrap().is_none(), "the old process is there still");
    download.write_all(b"ended").await.unwrap();
    assert_eq!(read_to(&mut client, "ended").await, "ended");
    drop(client);
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_ends_by_the_deadline_in_the_old_process() {
    let state = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let settings = [("POLLGATE_SHUTDOWN_DRAIN", "100ms"), ("POLLGATE_SHUTDOWN_DEADLINE", "300ms")];
    let mut gateway = Gateway::start(state.path(), &address, &settings).await;
    let mut client = TcpStream::connect(&gateway.public).await.unwrap();
    client.write_all(b"GET /download HTTP/1.1\r\nHost: im.example\r\n\r\n").await.unwrap();
    let (mut download, _) = server.accept().await.unwrap();
    read_to(&mut download, "\r\n\r\n").await;
    let next = Gateway::spawn(state.path(), &address, &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("stopped before these were done").await;
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
    let next = next.serves().await;
    assert_eq!(next.metric("pollgate_mailboxes").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_keeps_its_connection_is_told_to_close_it() {
    let state = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(state.path(), "127.0.0.1:9", &[]).await;
    let notify = || Call::new("NOTIFY", "/x").with("Host", "a").with("Content-Length", 0);
    let mut kept = connect(&gateway.callback, PATIENCE).await.unwrap();
    let answer = call(&mut kept, notify(), b"", 1024, PATIENCE).await.unwrap();
    assert!(answer.keep_alive);
    let mut begun = TcpStream::connect(&gateway.callback).await.unwrap();
    let head = b"NOTIFY /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    begun.write_all(head).await.unwrap();
    read_to(&mut begun, "100 Continue\r\n\r\n").await;

    let next = Gateway::spawn(state.path(), "127.0.0.1:9", &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("handed over").await;
    let _next = next.serves().await;
    // What was begun is answered, and not broken off, though the store is another's.
    begun.write_all(b"ab").await.unwrap();
    let answer = read_to(&mut begun, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    // What was idle was ended, and not reset.
    assert_eq!(timeout(PATIENCE, kept.fill()).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_granted_after_the_hand_over_is_the_successors() {
    let state = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut gateway = Gateway::start(state.path(), &address, &[]).await;
    let mut client = TcpStream::connect(&gateway.public).await.unwrap();
    let subscribe = "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\r\nHost: im.example\r\nContent-Length: 0\r\n\
                     Call-Back: http://10.1.2.3:1234\r\nRVP-Notifications-Version: 0.2\r\n\r\n";
    client.write_all(subscribe.as_bytes()).await.unwrap();
    let (mut asked, _) = server.accept().await.unwrap();
    let request = read_to(&mut asked, "\r\n\r\n").await;
    assert!(request.contains("Call-Back: http://127.0.0.1:"), "{request}");

    let next = Gateway::spawn(state.path(), &address, &["--upgrade"], &[]);
    gateway.signal("-QUIT");
    gateway.says("handing over").await;
    let next = next.serves().await;
    gateway.says("handed over; what is under way is finished").await;
    assert!(!next.mailboxes().await.contains("98210"));
    let granted = "HTTP/1.1 200 OK\r\nSubscription-Id: 98210\r\nSubscription-Lifetime: 14400\r\n\
                   Content-Length: 0\r\n\r\n";
    asked.write_all(granted.as_bytes()).await.unwrap();
    let answer = read_to(&mut client, "\r\n\r\n").await;
    assert!(answer.contains("Content-Location: http://im.example/.pollgate/"), "{answer}");
    drop(client);
    // All that it had to tell is told when it ends.
    assert!(timeout(PATIENCE, gateway.process.wait()).await.unwrap().unwrap().success());
    let known = async {
        while !next.mailboxes().await.contains("98210") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, known).await.expect("the successor knows of the subscription");
}
