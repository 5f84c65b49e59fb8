//! What clients may ask of the gateway (`[limits]`): each bound, and that nobody else is disturbed.

use std::time::Duration;

use crate::support::{CLIENT, Gate, Socket, answer, bodies, poll, rvp, text, until, within};

/// Short, and long enough for what is sent at once.
const SOON: Duration = Duration::from_millis(200);

async fn from(gate: &Gate, address: &str) -> Socket {
    Socket::connect_from(address, gate.public).await
}

fn get() -> Vec<u8> {
    text("GET / HTTP/1.1\nHost: im.example", "")
}

#[tokio::test]
async fn one_connection_more_than_there_may_be() {
    let gate = Gate::with(|config| config.limits.connections = 2).await;
    let mut guests = [gate.client().await, gate.client().await];
    for guest in &mut guests {
        guest.send(get()).await;
        assert_eq!(guest.answer().await.status(), 200);
    }
    let mut third = gate.client().await;
    let answer = third.answer().await;
    assert_eq!((answer.status(), answer.field("retry-after").as_deref()), (503, Some("10")));
    third.is_closed().await;
    assert_eq!(gate.metric("pollgate_connections").await, 2.0);
    assert_eq!(gate.metric("pollgate_connections_refused_total{bound=\"all\"}").await, 1.0);
    // Those who are in are served, and who leaves makes room.
    let [mut first, second] = guests;
    drop(second);
    gate.connections(1).await;
    for client in [&mut first, &mut gate.client().await] {
        client.send(get()).await;
        assert_eq!(client.answer().await.status(), 200);
    }
}

#[tokio::test]
async fn one_address_has_its_share_of_connections_and_no_more() {
    let gate = Gate::with(|config| config.limits.connections_per_address = 1).await;
    let mut first = from(&gate, "127.0.0.1").await;
    first.send(get()).await;
    assert_eq!(first.answer().await.status(), 200);
    let mut second = from(&gate, "127.0.0.1").await;
    let answer = second.answer().await;
    assert_eq!((answer.status(), answer.field("retry-after").as_deref()), (429, Some("10")));
    second.is_closed().await;
    let mut other = from(&gate, "127.0.0.2").await;
    other.send(get()).await;
    assert_eq!(other.answer().await.status(), 200);
    assert_eq!(gate.metric("pollgate_connections_refused_total{bound=\"address\"}").await, 1.0);
}

#[tokio::test]
async fn one_address_has_its_share_of_held_polls_and_no_more() {
    let gate = Gate::with(|config| config.limits.held_polls_per_address = 1).await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    let mut held = from(&gate, "127.0.0.1").await;
    held.send(poll(&kari, "")).await;
    gate.held(1).await;
    let mut second = from(&gate, "127.0.0.1").await;
    second.send(poll(&alan, "")).await;
    let answer = second.answer().await;
    assert_eq!((answer.status(), answer.field("retry-after").as_deref()), (429, Some("10")));
    // One that does not wait takes no place, and another address has places of its own.
    second.send(poll(&alan, "Prefer: wait=0\n")).await;
    assert_eq!(second.answer().await.status(), 204);
    let mut other = from(&gate, "127.0.0.2").await;
    other.send(poll(&alan, "")).await;
    gate.held(2).await;
    gate.deliver(&kari, "x").await;
    assert_eq!(bodies(&held.answer().await), ["x"]);
    second.send(poll(&kari, "")).await;
    gate.held(2).await;
}

#[tokio::test]
async fn heads_are_bounded_as_is_set() {
    let gate = Gate::with(|config| {
        config.limits.header_bytes = 1024;
        config.limits.header_fields = 3;
    })
    .await;
    for (fields, status) in [
        (format!("A: {}", "a".repeat(900)), 200),
        (format!("A: {}", "a".repeat(1100)), 431),
        ("A: 1\nB: 2".to_owned(), 200),
        ("A: 1\nB: 2\nC: 3".to_owned(), 431),
    ] {
        let answer = gate.ask(text(&format!("GET / HTTP/1.1\nHost: im.example\n{fields}"), "")).await;
        assert_eq!(answer.status(), status, "{fields}");
    }
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"431\"}").await, 2.0);
}

#[tokio::test]
async fn a_body_that_is_passed_on_is_bounded_with_and_without_a_length() {
    let gate = Gate::with(|config| config.limits.body_bytes = 16).await;
    let chunked = |chunk: &str| format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    let (short, long) = (chunked("12345"), chunked(&"x".repeat(40)));
    for (framing, body, status) in [
        ("Content-Length: 16", "0123456789abcdef", 200),
        ("Content-Length: 17", "0123456789abcdefg", 413),
        ("Transfer-Encoding: chunked", &*short, 200),
        ("Transfer-Encoding: chunked", &*long, 413),
    ] {
        let mut client = gate.client().await;
        client.send(text(&format!("PUT / HTTP/1.1\nHost: im.example\n{framing}"), body)).await;
        assert_eq!(client.answer().await.status(), status, "{framing}: {body}");
        if status == 413 {
            client.is_closed().await;
        }
    }
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"413\"}").await, 2.0);
}

#[tokio::test]
async fn who_is_too_slow_is_given_up_on_either_way() {
    let gate = Gate::with(|config| {
        config.limits.header_timeout = SOON;
        config.limits.body_timeout = SOON;
    })
    .await;
    let login = gate.login("kari").await;
    let polled = format!("POLL {} HTTP/1.1\nHost: im.example\nContent-Length: 5", login.poll);
    for sent in [
        b"GET / HTTP/1.1\r\nHost: im".to_vec(),
        text("PUT / HTTP/1.1\nHost: im.example\nContent-Length: 5", "ab"),
        text("PUT / HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked", "2\r\nab\r\n"),
        text(&polled, "ab"),
    ] {
        let mut client = gate.client().await;
        client.send(&sent).await;
        assert_eq!(client.answer().await.status(), 408, "{}", String::from_utf8_lossy(&sent));
        client.is_closed().await;
    }
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"408\"}").await, 4.0);
}

#[tokio::test]
async fn who_says_nothing_is_closed_without_a_word() {
    let gate = Gate::with(|config| config.limits.idle_timeout = SOON).await;
    let mut silent = gate.client().await;
    let mut client = gate.client().await;
    client.send(get()).await;
    assert_eq!(client.answer().await.status(), 200);
    for idle in [&mut silent, &mut client] {
        idle.is_closed().await;
    }
    gate.connections(0).await;
}

#[tokio::test]
async fn an_address_that_asks_too_fast_is_told_when_to_come_again() {
    let gate = Gate::with(|config| {
        config.limits.requests_per_second_per_address = 1;
        config.limits.request_burst_per_address = 3;
    })
    .await;
    let mut other = from(&gate, "127.0.0.2").await;
    let mut fast = from(&gate, "127.0.0.1").await;
    let mut refused = None;
    for _ in 0..100 {
        fast.send(get()).await;
        let answer = fast.answer().await;
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("an end of the burst");
    assert_eq!((refused.status(), refused.field("retry-after").as_deref()), (429, Some("1")));
    let seen = gate.upstream.seen().len();
    // Polls too, on a new connection as on this one; with a body the connection ends.
    let mut again = from(&gate, "127.0.0.1").await;
    for (request, closes) in [
        (text("POLL /x HTTP/1.1\nHost: im.example", ""), false),
        (text("PUT / HTTP/1.1\nHost: im.example\nContent-Length: 1", "x"), true),
    ] {
        // A bucket that fills by one each second may have one to give.
        loop {
            again.send(&request).await;
            if again.answer().await.status() == 429 {
                break;
            }
        }
        if closes {
            again.is_closed().await;
        }
    }
    assert!(gate.upstream.seen().len() <= seen + 3);
    other.send(get()).await;
    assert_eq!(other.answer().await.status(), 200);
    assert!(gate.metric("pollgate_requests_refused_total{status=\"429\"}").await >= 3.0);
}

#[tokio::test]
async fn a_principal_and_an_address_have_a_share_of_mailboxes_and_no_more() {
    let gate = Gate::with(|config| {
        config.limits.mailboxes_per_principal = 1;
        config.limits.mailboxes_per_address = 2;
    })
    .await;
    let login = |name: &str| rvp::login(name, CLIENT);
    let kari = gate.login("kari").await;
    let refused = gate.ask(login("kari")).await;
    assert_eq!((refused.status(), refused.field("retry-after").as_deref()), (429, Some("60")));
    gate.login("alan").await;
    assert_eq!(gate.ask(login("bea")).await.status(), 429);
    assert_eq!(gate.upstream.seen().len(), 2, "what is refused goes nowhere");
    let mut elsewhere = from(&gate, "127.0.0.2").await;
    elsewhere.send(login("bea")).await;
    assert_eq!(elsewhere.answer().await.status(), 200);
    // Who moves takes the place of its own mailbox.
    let moved =
        rvp::login_with("kari", &format!("Subscription-Id: {}\nCall-Back: http://10.1.2.9:4321\n", kari.id));
    assert_eq!(gate.ask(moved).await.status(), 200);
    gate.mailboxes(3).await;
    for (reason, refused) in [("principal", 1.0), ("address", 1.0), ("all", 0.0)] {
        assert_eq!(
            gate.metric(&format!("pollgate_mailboxes_refused_total{{reason=\"{reason}\"}}")).await,
            refused
        );
    }
}

/// Waits until so many bytes of bodies are in memory.
async fn in_memory(gate: &Gate, bytes: u64) {
    until("bodies in memory", || gate.gateway().bodies.used() == bytes).await;
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_at_every_listener() {
    let gate = Gate::with(|config| config.limits.body_bytes_in_flight = 21).await;
    let login = gate.login("kari").await;
    let put = text("PUT / HTTP/1.1\nHost: im.example\nContent-Length: 4", "1234");
    let chunked =
        text("PUT / HTTP/1.1\nHost: im.example\nTransfer-Encoding: chunked", "4\r\n1234\r\n0\r\n\r\n");
    let callback = rvp::notify(&login.token, "", "12345678");
    // All but the last of its bytes are here; what was only announced takes nothing.
    let slow = rvp::notify(&login.token, "", "123456789012345678");
    let mut holder = Socket::connect(gate.callback).await;
    holder.send(&slow[..slow.len() - 1]).await;
    in_memory(&gate, 17).await;
    assert_eq!(gate.metric("pollgate_body_bytes_in_flight").await, 17.0);
    for request in [&put, &chunked] {
        let mut client = gate.client().await;
        client.send(request).await;
        let answer = client.answer().await;
        let said = (answer.status(), answer.field("retry-after"));
        assert_eq!(said, (503, Some("10".to_owned())), "{}", String::from_utf8_lossy(request));
        client.is_closed().await;
    }
    assert_eq!(gate.call_back(&callback).await.status(), 503);
    let operator = text("POST /api/v1/mailboxes HTTP/1.1\nHost: localhost\nContent-Length: 8", "12345678");
    let mut socket = Socket::connect(gate.admin).await;
    socket.send(operator).await;
    assert_eq!(socket.answer().await.status(), 503);
    // Who brings none is served, and so are all when it is over.
    assert_eq!(gate.ask(get()).await.status(), 200);
    holder.send(&slow[slow.len() - 1..]).await;
    assert_eq!(holder.answer().await.status(), 200);
    in_memory(&gate, 0).await;
    assert_eq!(gate.ask(&put).await.status(), 200);
    in_memory(&gate, 0).await;
    assert_eq!(gate.callbacks("no-memory").await, 1.0);
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"503\"}").await, 2.0);
}

/// Clients have three quarters of the memory for bodies, and each address half of that.
#[tokio::test]
async fn no_client_keeps_callbacks_or_other_clients_out() {
    let gate = Gate::with(|config| config.limits.body_bytes_in_flight = 32).await;
    let login = gate.login("kari").await;
    let put = |bytes: usize| {
        text(&format!("PUT / HTTP/1.1\nHost: im.example\nContent-Length: {bytes}"), &"x".repeat(bytes))
    };
    let mut holders = Vec::new();
    for address in ["127.0.0.1", "127.0.0.2"] {
        let slow = put(13);
        let mut holder = from(&gate, address).await;
        holder.send(&slow[..slow.len() - 1]).await;
        in_memory(&gate, 12 * (holders.len() as u64 + 1)).await;
        let mut again = from(&gate, address).await;
        again.send(put(1)).await;
        assert_eq!(again.answer().await.status(), 503, "{address} has its share");
        holders.push(holder);
    }
    let mut third = from(&gate, "127.0.0.3").await;
    third.send(put(1)).await;
    assert_eq!(third.answer().await.status(), 503, "clients have their part");
    gate.deliver(&login, "12345678").await;
    assert_eq!(gate.bodies(&login).await, ["12345678"]);
}

/// The body of a poll means nothing, and takes no memory, whoever sends it and however slowly.
#[tokio::test]
async fn bodies_of_polls_are_not_kept() {
    let gate = Gate::with(|config| config.limits.body_bytes_in_flight = 8).await;
    let login = gate.login("kari").await;
    let body = "x".repeat(60_000);
    let head =
        format!("POLL {} HTTP/1.1\nHost: im.example\nPrefer: wait=0\nContent-Length: 60000", login.poll);
    let mut slow = gate.client().await;
    slow.send(text(&head, &body[..59_999])).await;
    gate.deliver(&login, "12345678").await;
    assert_eq!(gate.gateway().bodies.used(), 0);
    slow.send("x").await;
    assert_eq!(bodies(&slow.answer().await), ["12345678"]);
    let chunked =
        format!("POLL {} HTTP/1.1\nHost: im.example\nPrefer: wait=0\nTransfer-Encoding: chunked", login.poll);
    slow.send(text(&chunked, &format!("7530\r\n{}\r\n0\r\n\r\n", &body[..30_000]))).await;
    assert_eq!(slow.answer().await.status(), 204);
    slow.send(text(&head.replace("60000", "70000"), "")).await;
    assert_eq!(slow.answer().await.status(), 413);
}

#[tokio::test]
async fn targets_are_bounded() {
    let gate = Gate::with(|config| config.limits.header_bytes = 1024).await;
    for (length, status) in [(900, 200), (1100, 414)] {
        let target = "a".repeat(length);
        let answer = gate.ask(text(&format!("GET /{target} HTTP/1.1\nHost: im.example"), "")).await;
        assert_eq!(answer.status(), status, "{length}");
    }
    assert_eq!(gate.metric("pollgate_requests_refused_total{status=\"414\"}").await, 1.0);
}

#[tokio::test]
async fn who_does_not_read_its_answer_is_given_up_on() {
    let gate = Gate::with(|config| config.limits.write_timeout = SOON).await;
    // More than the kernel takes on its way.
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK", &"x".repeat(32 * 1024 * 1024)));
    let mut deaf = gate.client().await;
    deaf.send(get()).await;
    gate.upstream.saw(1).await;
    gate.connections(0).await;
}

/// The upstream has few connections to lose to clients that send a byte now and then.
#[tokio::test]
async fn the_upstream_hears_of_a_request_when_its_short_body_is_there() {
    let gate = Gate::with(|config| config.limits.body_timeout = Duration::from_secs(3600)).await;
    let mut slow = gate.client().await;
    slow.send(text("POST / HTTP/1.1\nHost: im.example\nX-First: 1\nContent-Length: 5\nX-Last: 1", "hel"))
        .await;
    // Whoever comes later is served, so the first had its chance.
    let mut other = gate.client().await;
    for _ in 0..20 {
        other.send(text("GET / HTTP/1.1\nHost: im.example", "")).await;
        assert_eq!(other.answer().await.status(), 200);
    }
    assert_eq!((gate.upstream.seen().len(), gate.upstream.connections()), (20, 1));
    slow.send("lo").await;
    assert_eq!(slow.answer().await.status(), 200);
    let seen = gate.upstream.last();
    assert_eq!(
        (seen.head_text(), seen.body_text()),
        (
            "POST / HTTP/1.1\r\nHost: im.example\r\nX-First: 1\r\nContent-Length: 5\r\nX-Last: 1\r\n\r\n"
                .to_owned(),
            "hello".to_owned()
        ),
        "byte for byte"
    );
    // A longer one passes as it comes, and has the connection for itself meanwhile.
    let mut long = gate.client().await;
    long.send(text("POST /long HTTP/1.1\nHost: im.example\nContent-Length: 20000", "x")).await;
    let second = async {
        while gate.upstream.connections() < 2 {
            other.send(get()).await;
            other.answer().await;
        }
    };
    within("a second connection", second).await;
}

#[tokio::test]
async fn a_short_body_that_does_not_come_is_408() {
    let gate = Gate::with(|config| config.limits.body_timeout = Duration::from_millis(50)).await;
    let answer = gate.ask(text("POST / HTTP/1.1\nHost: im.example\nContent-Length: 5", "hel")).await;
    assert_eq!(answer.status(), 408);
    assert!(gate.upstream.seen().is_empty());
}
