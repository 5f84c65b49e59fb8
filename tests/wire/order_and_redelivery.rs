//! DESIGN §4.3: at least once, in order, and each only once to a client that acknowledges.

use pollgate::mailbox::Bound;

use crate::support::{Gate, Login, bodies, parts, poll};

async fn gate_with(messages: &[&str]) -> (Gate, Login) {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for body in messages {
        gate.deliver(&login, body).await;
    }
    (gate, login)
}

#[tokio::test]
async fn a_next_poll_acknowledges_what_was_written() {
    let (gate, login) = gate_with(&["1", "2"]).await;
    assert_eq!(gate.bodies(&login).await, ["1", "2"]);
    gate.deliver(&login, "3").await;
    assert_eq!(gate.bodies(&login).await, ["3"]);
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 2.0);
}

#[tokio::test]
async fn an_id_acknowledges_everything_up_to_it() {
    let (gate, login) = gate_with(&["1", "2", "3"]).await;
    let answer = gate.poll(&login, "").await;
    let ids: Vec<u64> = parts(&answer).iter().map(|part| part.id).collect();
    for (acknowledged, left) in [
        (0, vec!["1", "2", "3"]),
        (ids[0], vec!["2", "3"]),
        // An older one again takes nothing back.
        (0, vec!["2", "3"]),
        (ids[0], vec!["2", "3"]),
        (ids[2], vec![]),
    ] {
        let fields = format!("Prefer: wait=0\nLast-Event-ID: {acknowledged}\n");
        assert_eq!(bodies(&gate.poll(&login, &fields).await), left, "{acknowledged}");
    }
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 3.0);
}

#[tokio::test]
async fn an_id_that_was_never_given_acknowledges_nothing_to_come() {
    let (gate, login) = gate_with(&["1"]).await;
    let fields = format!("Prefer: wait=0\nLast-Event-ID: {}\n", u64::MAX);
    assert_eq!(bodies(&gate.poll(&login, &fields).await), ["1"], "it was not handed out before");
    gate.deliver(&login, "2").await;
    assert_eq!(bodies(&gate.poll(&login, &fields).await), ["1", "2"], "nor anything that was");
}

/// A client that once named an id means what it says, and what it does not say.
#[tokio::test]
async fn a_client_that_acknowledges_by_id_is_believed_in_nothing_else() {
    let (gate, login) = gate_with(&["1"]).await;
    let id = gate.poll(&login, "").await.number("last-event-id").unwrap();
    assert_eq!(gate.poll(&login, &format!("Prefer: wait=0\nLast-Event-ID: {id}\n")).await.status(), 204);
    gate.deliver(&login, "2").await;
    assert_eq!(gate.bodies(&login).await, ["2"]);
    assert_eq!(gate.bodies(&login).await, ["2"], "it was not acknowledged");
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 1.0);
}

/// More than the buffers of two sockets hold, so that the answer breaks and is not just unread.
#[tokio::test]
async fn what_a_broken_answer_carried_is_handed_out_again() {
    let gate = Gate::with(|config| {
        config.polling.limits.bytes = Bound::Unlimited;
        config.polling.batch.bytes = u64::MAX;
    })
    .await;
    let login = gate.login("kari").await;
    let sent: Vec<String> = (0..24).map(|n| format!("{n:06}").repeat(170_000)).collect();
    for body in &sent {
        gate.deliver(&login, body).await;
    }
    let mut client = gate.client().await;
    client.send(poll(&login, "")).await;
    let first = client.head_only().await;
    client.reset();
    // Nothing was acknowledged by that, and nothing changed its id.
    let answer = gate.poll(&login, "").await;
    assert!(bodies(&answer) == sent, "all of it, in order");
    assert_eq!(answer.number("last-event-id"), first.number("last-event-id"));
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 24.0);
    assert_eq!(gate.bodies(&login).await, [""; 0], "this answer was written to the end");
}

#[tokio::test]
async fn ids_grow_from_one_life_of_the_gateway_to_the_next() {
    let (gate, login) = gate_with(&["1"]).await;
    let before = gate.poll(&login, "").await.number("last-event-id").unwrap();
    gate.deliver(&login, "2").await;
    let drained = gate.poll(&login, "").await.number("last-event-id").unwrap();
    assert!(drained > before);
    let gate = Gate::before(gate.stop().await, |_| {});
    let login = gate.login("kari").await;
    gate.deliver(&login, "3").await;
    assert!(gate.poll(&login, "").await.number("last-event-id").unwrap() > drained);
    assert!(drained < 1 << 53, "exact in JSON");
}

#[tokio::test]
async fn messages_keep_their_order_while_polls_come_and_go() {
    let (gate, login) = gate_with(&[]).await;
    let sender = async {
        for n in 0..200 {
            gate.deliver(&login, &n.to_string()).await;
        }
    };
    let reader = async {
        let mut client = gate.client().await;
        let mut read = Vec::new();
        while read.len() < 200 {
            client.send(poll(&login, "")).await;
            read.extend(bodies(&client.answer().await));
        }
        read
    };
    let ((), read) = tokio::join!(sender, reader);
    assert_eq!(read, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}
