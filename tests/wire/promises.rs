//! DESIGN §4.3 and §5: what is acknowledged, what is told, and what is counted, when polls name several mailboxes and
//! clients behave as they do in life.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use pollgate::mailbox::{Bound, Overflow};

use crate::support::{Gate, Login, Message, answer, bodies, life_times, rvp, text, until};

/// A poll of these mailboxes, which are of one node.
async fn poll_all(gate: &Gate, logins: &[&Login], fields: &str) -> Message {
    let ids: Vec<&str> = logins.iter().map(|login| login.id.as_str()).collect();
    let head = format!(
        "POLL /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-Id: {}\nAccept: application/json\n\
         Prefer: wait=0\n{fields}Content-Length: 0",
        ids.join(", ")
    );
    gate.ask(text(&head, "")).await
}

fn told(answer: &Message) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(&answer.body_text()).unwrap();
    let messages = body["messages"].as_array().unwrap();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

fn id_of(answer: &Message) -> String {
    format!("Last-Event-ID: {}\n", answer.field("last-event-id").unwrap())
}

#[tokio::test]
async fn of_several_mailboxes_the_oldest_messages_come_first() {
    let gate = Gate::with(|config| config.polling.batch.messages = 2).await;
    let (one, other) = (gate.login("kari").await, gate.login("kari").await);
    for (login, body) in [(&one, "1"), (&other, "2"), (&one, "3"), (&one, "4"), (&other, "5")] {
        gate.deliver(login, body).await;
    }
    let mut fields = "Last-Event-ID: 0\n".to_owned();
    for (expected, pending) in [(vec!["1", "2"], "3"), (vec!["3", "4"], "1"), (vec!["5"], "0")] {
        let answer = poll_all(&gate, &[&one, &other], &fields).await;
        assert_eq!(
            (told(&answer), answer.field("poll-pending").as_deref()),
            (expected.iter().map(|s| (*s).to_owned()).collect(), Some(pending))
        );
        fields = id_of(&answer);
    }
    assert_eq!(poll_all(&gate, &[&one, &other], &fields).await.status(), 204);
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 5.0);
}

#[tokio::test]
async fn the_id_of_one_mailboxs_message_releases_nothing_in_another() {
    let gate = Gate::start().await;
    let (one, other) = (gate.login("kari").await, gate.login("kari").await);
    gate.deliver(&other, "handed out and never acknowledged").await;
    gate.deliver(&one, "later").await;
    poll_all(&gate, &[&other], "Last-Event-ID: 0\n").await;
    let later = poll_all(&gate, &[&one], "Last-Event-ID: 0\n").await;
    let answer = poll_all(&gate, &[&one, &other], &id_of(&later)).await;
    assert_eq!(told(&answer), ["handed out and never acknowledged"]);
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 1.0);
}

#[tokio::test]
async fn a_gap_is_told_until_it_is_acknowledged() {
    let gate = Gate::with(|config| {
        config.polling.limits.messages = Bound::AtMost(1);
        config.polling.limits.overflow = Overflow::DropOldest;
    })
    .await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "1").await;
    gate.deliver(&login, "2").await;
    let mut fields = "Prefer: wait=0\nLast-Event-ID: 0\n".to_owned();
    for _ in 0..3 {
        let answer = gate.poll(&login, &fields).await;
        assert_eq!(
            (bodies(&answer), answer.field("poll-dropped").as_deref()),
            (vec!["2".to_owned()], Some("1"))
        );
        let acknowledges = format!("Prefer: wait=0\n{}", id_of(&answer));
        // The answer that would be acknowledged is lost twice.
        fields =
            if fields.contains("ID: 0\n") { fields.replace("ID: 0\n", "ID: 00\n") } else { acknowledges };
        if !fields.contains("ID: 0") {
            break;
        }
    }
    let answer = gate.poll(&login, &fields).await;
    assert_eq!((answer.status(), answer.field("poll-dropped")), (204, None));
}

#[tokio::test]
async fn a_gap_without_messages_has_an_id_and_does_not_end_polls_again_and_again() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let large = rvp::notify(&login.token, "", &"x".repeat(200 * 1024));
    assert_eq!(gate.call_back(large).await.status(), 413);
    let first = gate.poll(&login, "Last-Event-ID: 0\n").await;
    assert_eq!((first.status(), first.field("poll-dropped").as_deref()), (204, Some("1")));
    let mut held = gate.client().await;
    held.send(crate::support::poll(&login, "Last-Event-ID: 0\n")).await;
    gate.held(1).await;
    let again = gate.poll(&login, "Prefer: wait=0\nLast-Event-ID: 0\n").await;
    assert_eq!(again.field("poll-dropped").as_deref(), Some("1"), "whoever ends is told");
    let fields = format!("Prefer: wait=0\n{}", id_of(&again));
    assert_eq!(gate.poll(&login, &fields).await.field("poll-dropped"), None);
}

#[tokio::test]
async fn every_message_has_one_end_and_the_counters_add_up() {
    let gate = Gate::with(|config| config.polling.limits.life_time = life_times(1, 0, 1)).await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "acknowledged").await;
    assert_eq!(gate.bodies(&login).await, ["acknowledged"]);
    for body in ["handed out, and never acknowledged", "the same"] {
        gate.deliver(&login, body).await;
    }
    assert_eq!(gate.bodies(&login).await.len(), 2);
    let sum = async || {
        let mut ends = gate.metric("pollgate_messages_acknowledged_total").await;
        ends += gate.metric("pollgate_messages_replaced_total").await;
        ends += gate.metric("pollgate_messages_dropped_total{reason=\"expired\"}").await;
        ends + gate.metric("pollgate_buffered_messages").await
    };
    assert_eq!(sum().await, 3.0);
    while gate.metric("pollgate_messages_dropped_total{reason=\"expired\"}").await < 2.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sum().await, 3.0);
    assert_eq!(gate.poll(&login, "Prefer: wait=0\n").await.field("poll-dropped").as_deref(), Some("2"));
}

/// The client closes with the answer unread in its kernel: that is a reset (RFC 1122 §4.2.2.13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_connection_is_reset_before_the_next_poll_did_not_arrive() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "hello").await;
    let (public, request) = (gate.public, crate::support::poll(&login, ""));
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(public).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&request).unwrap();
        let mut some = [0; 10];
        stream.read_exact(&mut some).unwrap();
        assert_eq!(&some, b"HTTP/1.1 2");
    })
    .await
    .unwrap();
    until("the reset is seen", || gate.gateway().metrics.connections() == 0).await;
    assert_eq!(gate.bodies(&login).await, ["hello"]);
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 1.0);
}

/// Whoever sends so much behind a held poll that its end cannot be seen is answered at once, and takes nothing with it.
#[tokio::test]
async fn a_held_poll_behind_which_much_is_sent_takes_no_message() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(crate::support::poll(&login, "")).await;
    gate.held(1).await;
    client.send(vec![b'x'; 64 * 1024]).await;
    assert_eq!(client.answer().await.status(), 204);
    gate.held(0).await;
    drop(client);
    gate.deliver(&login, "hello").await;
    assert_eq!(gate.bodies(&login).await, ["hello"]);
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 0.0);
}

#[tokio::test]
async fn a_request_names_a_bounded_number_of_subscriptions_each_once() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let request = |method: &str, ids: Vec<String>| {
        let head = format!(
            "{method} /instmsg/aliases/kari HTTP/1.1\nHost: im.example\nSubscription-Id: {}\nContent-Length: 0",
            ids.join(", ")
        );
        text(&head, "")
    };
    let many = |n: usize| (0..n).map(|n| format!("x{n}")).collect::<Vec<_>>();
    let seen = gate.upstream.seen().len();
    for method in ["SUBSCRIBE", "UNSUBSCRIBE"] {
        let refused = gate.ask(request(method, many(65))).await;
        assert_eq!(refused.status(), 400, "{method}");
        assert!(refused.body_text().contains("65") && refused.body_text().contains("64"), "{refused:?}");
    }
    assert_eq!(gate.upstream.seen().len(), seen, "nothing of it goes on");
    let repeated = vec![login.id.clone(); 200];
    assert_eq!(gate.ask(request("SUBSCRIBE", repeated.clone())).await.status(), 200);
    assert_eq!(gate.ask(request("SUBSCRIBE", many(64))).await.status(), 200);
    assert_eq!(gate.ask(request("UNSUBSCRIBE", repeated)).await.status(), 200);
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn a_subscription_has_parts_of_a_bounded_length() {
    let gate = Gate::start().await;
    let long = "x".repeat(2000);
    for (name, fields, status) in [
        (format!("kari{long}{}", "y".repeat(48)), String::new(), 414),
        ("kari".to_owned(), format!("RVP-From-Principal: http://im.example/{long}{long}\n"), 431),
    ] {
        let head = format!(
            "SUBSCRIBE /instmsg/aliases/{name} HTTP/1.1\nHost: im.example\n{fields}Call-Back: http://10.1.2.3:1234\n\
             Content-Length: 0"
        );
        let refused = gate.ask(text(&head, "")).await;
        assert_eq!(refused.status(), status);
        assert!(refused.body_text().contains("2048"), "{}", refused.body_text());
    }
    gate.mailboxes(0).await;
    assert!(gate.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_lease_has_a_bound_of_which_the_client_is_told() {
    let gate = Gate::with(|config| config.limits.max_lease = Duration::from_secs(100)).await;
    for (granted, told) in [("Subscription-Lifetime: 99999999", "100"), ("Subscription-Lifetime: 60", "60")] {
        gate.upstream.script(move |_| answer(&format!("HTTP/1.1 200 OK\nSubscription-Id: 7\n{granted}"), ""));
        let login = gate.ask(rvp::login("kari", crate::support::CLIENT)).await;
        assert_eq!(login.field("subscription-lifetime").as_deref(), Some(told));
    }
    // An upstream that names none grants the client's wish.
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-Id: 8", ""));
    gate.ask(rvp::login("alan", crate::support::CLIENT)).await;
    let reports = gate.gateway().store.list(Default::default(), None, 9);
    for report in reports {
        assert!(report.lease_ends.since(report.created) <= Duration::from_secs(101), "{report:?}");
    }
}
