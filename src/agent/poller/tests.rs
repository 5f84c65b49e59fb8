//! The poller against a server that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one request after the other, on whatever connection they come; with `None` the connection
/// ends where the answer would be, and so it does after an answer that says `close`.
struct Script {
    listener: TcpListener,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn new() -> (Self, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/.pollgate/0a", listener.local_addr().unwrap());
        (Self { listener, requests: Arc::default() }, Target::parse(&url).unwrap())
    }

    fn play(self, answers: &[Option<&str>]) -> Arc<Mutex<Vec<String>>> {
        let requests = self.requests.clone();
        let mut answers: VecDeque<Option<String>> = answers.iter().map(|a| a.map(str::to_owned)).collect();
        tokio::spawn(async move {
            while !answers.is_empty() {
                let (mut stream, _) = self.listener.accept().await.unwrap();
                let mut buffer = Vec::new();
                while stream.read_buf(&mut buffer).await.unwrap() > 0 {
                    if !buffer.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    self.requests
                        .lock()
                        .unwrap()
                        .push(String::from_utf8(std::mem::take(&mut buffer)).unwrap());
                    let Some(answer) = answers.pop_front().flatten() else { break };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains("Connection: close") {
                        break;
                    }
                }
            }
        });
        requests
    }
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn news(ids: &[u64]) -> String {
    let messages: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(
                r#"{{"id":{id},"received_at":"2001-08-01T12:00:00Z","class":"message","method":"NOTIFY",
                    "target":"http://c","headers":[["A","b"]],"body":"hello {id}"}}"#
            )
        })
        .collect();
    let body = format!(r#"{{"messages":[{}],"dropped":0,"pending":0}}"#, messages.join(","));
    answer("200 OK", "", &body)
}

const NOTHING: &str = "HTTP/1.1 204 No Content\r\nPoll-Dropped: 3\r\n\r\n";

#[tokio::test]
async fn the_gateway_says_how_far_apart_polls_are_that_are_not_held() {
    let (script, target) = Script::new().await;
    let told = "HTTP/1.1 204 No Content\r\nPoll-Interval: 600\r\n\r\n";
    let long = "HTTP/1.1 204 No Content\r\nPoll-Interval: 99999999\r\n\r\n";
    let news = news(&[1]);
    script.play(&[Some(told), Some(&news), Some(NOTHING), Some(long)]);
    let mut poller = Poller::new(target, None, None);
    for seconds in [600, 0, 1, 3600] {
        let (last, _) = poll(&mut poller).await;
        assert_eq!(poller.interval(&last.unwrap()), Duration::from_secs(seconds));
    }
    let pending = News { pending: 1, ..News::default() };
    assert_eq!(poller.interval(&pending), Duration::ZERO);
}

fn ids(news: &News) -> Vec<u64> {
    news.messages.iter().map(|message| message.id).collect()
}

/// Polls patiently; returns the news and the troubles on the way.
async fn poll(poller: &mut Poller) -> (Result<News, Ended>, Vec<(String, Duration)>) {
    let mut troubles = Vec::new();
    let wait = Duration::from_secs(5);
    let news = poller.poll(wait, true, |trouble, pause| troubles.push((trouble.to_string(), pause))).await;
    (news, troubles)
}

#[tokio::test]
async fn each_poll_acknowledges_what_the_last_one_brought() {
    let (script, target) = Script::new().await;
    let host = target.host.clone();
    let requests = script.play(&[Some(&news(&[7, 9])), Some(NOTHING), Some(&news(&[12]))]);
    let mut poller = Poller::new(target, None, None);
    let (first, _) = poll(&mut poller).await;
    assert_eq!(ids(&first.unwrap()), [7, 9]);
    assert!(poller.has_unacknowledged());
    let (second, _) = poll(&mut poller).await;
    assert_eq!(second.unwrap(), News { dropped: 3, ..News::default() });
    assert!(!poller.has_unacknowledged());
    assert_eq!(ids(&poll(&mut poller).await.0.unwrap()), [12]);
    let requests = requests.lock().unwrap();
    assert!(requests[0].starts_with("POLL /.pollgate/0a HTTP/1.1\r\n"));
    for field in
        [format!("Host: {host}\r\n"), "Prefer: wait=5\r\n".into(), "Accept: application/json\r\n".into()]
    {
        assert!(requests[0].contains(&field), "{field}");
    }
    assert!(requests[0].contains("Last-Event-ID: 0\r\n"), "it acknowledges by id from the first poll on");
    assert!(requests[1].contains("Last-Event-ID: 9\r\n") && requests[2].contains("Last-Event-ID: 9\r\n"));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_delivers_nothing_of_it() {
    let (script, target) = Script::new().await;
    let whole = news(&[1, 2]);
    let cut = format!("{}\r\nConnection: close\r\n\r\nhalf", whole.split_once("\r\n\r\n").unwrap().0);
    let requests = script.play(&[Some(&cut), Some(&whole)]);
    let mut poller = Poller::new(target, None, None);
    let (news, troubles) = poll(&mut poller).await;
    assert_eq!((ids(&news.unwrap()), troubles.len()), (vec![1, 2], 1));
    assert!(requests.lock().unwrap()[1].contains("Last-Event-ID: 0\r\n"));
}

#[tokio::test]
async fn what_came_already_does_not_come_again() {
    let (script, target) = Script::new().await;
    script.play(&[Some(&news(&[1, 2])), Some(&news(&[1, 2, 3]))]);
    let mut poller = Poller::new(target, None, None);
    assert_eq!(ids(&poll(&mut poller).await.0.unwrap()), [1, 2]);
    assert_eq!(ids(&poll(&mut poller).await.0.unwrap()), [3]);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_trouble() {
    let (script, target) = Script::new().await;
    let requests = script.play(&[Some(&news(&[1])), None, Some(NOTHING)]);
    let mut poller = Poller::new(target, None, None);
    poll(&mut poller).await.0.unwrap();
    let (news, troubles) = poll(&mut poller).await;
    assert!(news.is_ok() && troubles.is_empty(), "{troubles:?}");
    assert_eq!(requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_gateway_that_is_away_is_waited_for() {
    let (script, target) = Script::new().await;
    // Nobody listens there, but the port stays taken until the gateway is back.
    let address = script.listener.local_addr().unwrap();
    drop(script);
    let mut poller = Poller::new(target, None, None);
    let mut back = None;
    let polled = poller.poll(Duration::from_secs(5), true, |trouble, _| {
        assert!(trouble.to_string().contains("cannot connect"), "{trouble}");
        if back.is_none() {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            let listener = socket.listen(1).unwrap();
            back = Some(Script { listener, requests: Arc::default() }.play(&[Some(NOTHING)]));
        }
    });
    assert!(polled.await.is_ok());
    assert_eq!(back.unwrap().lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_says_when_to_come_again_is_believed() {
    let (script, target) = Script::new().await;
    let busy = answer("429 Too Many Requests", "Retry-After: 1\r\n", "too many polls are held\n");
    script.play(&[Some(&busy), Some(NOTHING)]);
    let (news, troubles) = poll(&mut Poller::new(target, None, None)).await;
    assert!(news.is_ok());
    let [(said, pause)] = &troubles[..] else { panic!("{troubles:?}") };
    assert_eq!(said, "429 Too Many Requests: too many polls are held");
    assert!((1.0..=1.5).contains(&pause.as_secs_f64()), "{pause:?}");
}

#[tokio::test]
async fn without_patience_a_trouble_is_the_end() {
    let (script, target) = Script::new().await;
    script.play(&[Some(&answer("503 Service Unavailable", "", ""))]);
    let ended = Poller::new(target, None, None).poll(Duration::ZERO, false, |_, _| ()).await.unwrap_err();
    assert_eq!(ended.to_string(), "503 Service Unavailable");
}

#[tokio::test]
async fn what_no_repetition_mends_is_the_end() {
    for (status, says) in [
        ("404 Not Found", "there is no such mailbox, or it has ended (404): subscribe again"),
        ("412 Precondition Failed", "there is no such mailbox, or it has ended (412): subscribe again"),
        ("401 Unauthorized", "not allowed to poll (401): why"),
        ("403 Forbidden", "not allowed to poll (403): why"),
        ("501 Not Implemented", "501 Not Implemented: why"),
        ("302 Found", "302 Found: why"),
    ] {
        let (script, target) = Script::new().await;
        let requests = script.play(&[Some(&answer(status, "Location: /elsewhere\r\n", "why\u{1b}\nmore"))]);
        let (news, troubles) = poll(&mut Poller::new(target, None, None)).await;
        assert_eq!(news.unwrap_err().to_string(), says);
        assert_eq!((troubles.len(), requests.lock().unwrap().len()), (0, 1));
    }
}

#[tokio::test]
async fn a_challenge_is_answered_once_and_again_when_its_nonce_is_stale() {
    let challenge = |nonce: &str, more: &str| {
        let field =
            format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{more}\r\n");
        answer("401 Unauthorized", &field, "")
    };
    let (first, stale, wrong) = (challenge("n1", ""), challenge("n2", ", stale=true"), challenge("n3", ""));
    let (script, target) = Script::new().await;
    let requests = script.play(&[Some(&first), Some(&news(&[1])), Some(&stale), Some(NOTHING), Some(&wrong)]);
    let credentials = Credentials { user: "kari".into(), password: "secret".into() };
    let mut poller = Poller::new(target, Some(credentials), None);
    assert_eq!(ids(&poll(&mut poller).await.0.unwrap()), [1]);
    poll(&mut poller).await.0.unwrap();
    assert!(matches!(poll(&mut poller).await.0, Err(Ended::Forbidden(401, _))));
    let requests = requests.lock().unwrap();
    let used: Vec<_> = requests
        .iter()
        .map(|request| ["n1", "n2", "n3"].into_iter().find(|n| request.contains(&format!("nonce=\"{n}\""))))
        .collect();
    assert_eq!(used, [None, Some("n1"), Some("n1"), Some("n2"), Some("n2")]);
    assert!(requests[1].contains("nc=00000001") && requests[2].contains("nc=00000002"));
    assert!(requests.iter().all(|request| !request.contains("secret")));
}

/// The gateway raises a short wait to its own minimum: that it is silent for longer than was asked is no sign
/// that it is gone.
#[tokio::test]
async fn the_next_nonce_is_used_from_then_on() {
    let (script, target) = Script::new().await;
    let field = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\"\r\n";
    let next = "HTTP/1.1 204 No Content\r\nAuthentication-Info: nextnonce=\"2\"\r\n\r\n";
    let requests = script.play(&[
        Some(&answer("401 Unauthorized", field, "")),
        Some(NOTHING),
        Some(next),
        Some(NOTHING),
    ]);
    let credentials = Credentials { user: "kari".into(), password: "secret".into() };
    let mut poller = Poller::new(target, Some(credentials), None);
    for _ in 0..3 {
        poll(&mut poller).await.0.unwrap();
    }
    let requests = requests.lock().unwrap();
    for (request, used) in [
        (1, ["nonce=\"1\"", "nc=00000001"]),
        (2, ["nonce=\"1\"", "nc=00000002"]),
        (3, ["nonce=\"2\"", "nc=00000001"]),
    ] {
        assert!(used.iter().all(|part| requests[request].contains(part)), "{}", requests[request]);
    }
}

#[test]
fn a_hold_may_be_longer_than_was_asked() {
    for (wait, seconds) in [(0, 15), (1, 615), (300, 615), (600, 615), (3600, 3615)] {
        assert_eq!(patience(Duration::from_secs(wait)), Duration::from_secs(seconds), "{wait}");
    }
}
