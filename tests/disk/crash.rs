//! The real process under load, killed with `kill -9` again and again: what was acknowledged to the upstream
//! is delivered, in order, and nothing twice to a client that says what it has.
//!
//! This does not test what is on the disk: what a killed process has written is in the system's memory, and
//! stays there. The store's own tests cut the power.
//!
//! `POLLGATE_CRASH_CYCLES` says how many times; `benches/crash.sh` does it a thousand times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::gateway::{Gateway, Mailbox, connect, read_message, status, upstream};

const MAILBOXES: usize = 4;
const PRODUCERS: usize = 2;

/// Delivers callbacks until the gateway is gone: the numbers of those that were acknowledged.
fn produce(callback: &str, token: &str, name: &str, next: &mut u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = connect(callback) else { return acknowledged };
    loop {
        *next += 1;
        let body = format!("{name} {next} {}", "x".repeat((*next as usize * 37) % 700));
        let request = format!(
            "NOTIFY /{token} HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(request.as_bytes()).is_err() {
            return acknowledged;
        }
        match read_message(&mut stream) {
            Ok((head, _)) if status(&head) == 200 => acknowledged.push(body),
            // Full: the client is slower than we are.
            Ok((head, _)) => assert_eq!(status(&head), 503, "{head}"),
            Err(_) => return acknowledged,
        }
    }
}

/// What is received is what was acknowledged, and perhaps what was on its way when the gateway was killed.
fn check(mailbox: &Mailbox, n: usize, acknowledged: &BTreeSet<String>) {
    let bodies: Vec<&String> = mailbox.received.values().collect();
    let received: BTreeSet<&String> = bodies.iter().copied().collect();
    assert_eq!(received.len(), bodies.len(), "one message came under two ids");
    let of_this = format!("{n}.");
    let lost: Vec<&String> =
        acknowledged.iter().filter(|body| body.starts_with(&of_this) && !received.contains(body)).collect();
    assert!(
        lost.is_empty(),
        "{} were acknowledged and never came: {:?}",
        lost.len(),
        &lost[..lost.len().min(3)]
    );
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for body in bodies {
        let mut words = body.split(' ');
        let (producer, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let before = newest.insert(producer, number);
        assert!(before.is_none_or(|before| number > before), "{body:?} is out of order");
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
    let cycles: u64 = std::env::var("POLLGATE_CRASH_CYCLES").map_or(20, |cycles| cycles.parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    let (upstream, tokens) = upstream();
    let mut gateway = Gateway::start(state.path(), &upstream, &[]);
    let mailboxes: Vec<Arc<Mutex<Mailbox>>> =
        (0..MAILBOXES).map(|n| Arc::new(Mutex::new(Mailbox::subscribe(&gateway, &tokens, n)))).collect();
    let mut numbers = [[0; PRODUCERS]; MAILBOXES];
    let mut acknowledged = BTreeSet::new();
    for cycle in 0..cycles {
        std::thread::scope(|scope| {
            let mut producers = Vec::new();
            for (n, (mailbox, numbers)) in mailboxes.iter().zip(&mut numbers).enumerate() {
                let token = mailbox.lock().unwrap().token.clone();
                for (producer, next) in numbers.iter_mut().enumerate() {
                    let (token, callback) = (token.clone(), gateway.callback.clone());
                    let name = format!("{n}.{producer}");
                    producers.push(scope.spawn(move || produce(&callback, &token, &name, next)));
                }
                let public = gateway.public.clone();
                scope.spawn(move || {
                    let mut mailbox = mailbox.lock().unwrap();
                    let Ok(mut stream) = connect(&public) else { return };
                    while mailbox.poll(&mut stream, 1).is_ok() {}
                });
            }
            // Not always in the same place.
            std::thread::sleep(Duration::from_millis(40 + (cycle * 29) % 90));
            gateway.kill();
            for producer in producers {
                acknowledged.extend(producer.join().unwrap());
            }
        });
        gateway = Gateway::start(state.path(), &upstream, &[]);
    }
    for (n, mailbox) in mailboxes.iter().enumerate() {
        let mut mailbox = mailbox.lock().unwrap();
        let mut stream = connect(&gateway.public).unwrap();
        while mailbox.poll(&mut stream, 0).unwrap() > 0 {}
        check(&mailbox, n, &acknowledged);
    }
    let received: usize = mailboxes.iter().map(|mailbox| mailbox.lock().unwrap().received.len()).sum();
    println!("{cycles} cycles: {} acknowledged, {received} received, none lost", acknowledged.len());
    assert!(acknowledged.len() as u64 >= cycles * 10, "too little happened: {}", acknowledged.len());
}
