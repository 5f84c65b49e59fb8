//! DESIGN §4.3: polls that wait.

use crate::support::{Gate, Socket, bodies, poll, rvp, text};

#[tokio::test]
async fn a_held_poll_is_answered_when_a_message_comes() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    for body in ["1", "2", "3"] {
        client.send(poll(&login, "")).await;
        gate.held(1).await;
        gate.deliver(&login, body).await;
        assert_eq!(bodies(&client.answer().await), [body]);
        gate.held(0).await;
    }
}

#[tokio::test]
async fn a_message_wakes_the_poll_of_its_mailbox_only() {
    let gate = Gate::start().await;
    let (kari, alan) = (gate.login("kari").await, gate.login("alan").await);
    let (mut first, mut second) = (gate.client().await, gate.client().await);
    first.send(poll(&kari, "")).await;
    second.send(poll(&alan, "")).await;
    gate.held(2).await;
    gate.deliver(&alan, "for alan").await;
    assert_eq!(bodies(&second.answer().await), ["for alan"]);
    assert!(!first.has_input().await);
    gate.held(1).await;
    gate.deliver(&kari, "for kari").await;
    assert_eq!(bodies(&first.answer().await), ["for kari"]);
}

#[tokio::test]
async fn what_comes_while_an_answer_is_on_its_way_goes_out_together() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    client.send(poll(&login, "")).await;
    gate.held(1).await;
    let burst: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let (first, rest) = burst.split_at(1);
    gate.deliver(&login, &first[0]).await;
    gate.held(0).await;
    // The client has not read its answer yet.
    for body in rest {
        gate.deliver(&login, body).await;
    }
    assert_eq!(bodies(&client.answer().await), first);
    client.send(poll(&login, "")).await;
    assert_eq!(bodies(&client.answer().await), rest);
    assert_eq!(gate.metric("pollgate_polls_total{result=\"news\"}").await, 2.0);
}

#[tokio::test]
async fn a_newer_poll_takes_the_place_of_the_older() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let (mut older, mut newer) = (gate.client().await, gate.client().await);
    older.send(poll(&login, "")).await;
    gate.held(1).await;
    newer.send(poll(&login, "Prefer: wait=60\n")).await;
    let answer = older.answer().await;
    assert_eq!((answer.status(), answer.number("poll-pending")), (204, Some(0)));
    gate.deliver(&login, "x").await;
    assert_eq!(bodies(&newer.answer().await), ["x"]);
    assert_eq!(gate.metric("pollgate_polls_total{result=\"superseded\"}").await, 1.0);
    // The older connection is as good as before.
    older.send(poll(&login, "Prefer: wait=0\n")).await;
    assert_eq!(older.answer().await.status(), 204);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_with_it() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    for way in ["close", "half a close", "reset"] {
        let mut client = gate.client().await;
        client.send(poll(&login, "")).await;
        gate.held(1).await;
        match way {
            "close" => drop(client),
            "reset" => client.reset(),
            _ => {
                client.finish_sending().await;
                client.is_closed().await;
            }
        }
        gate.held(0).await;
        gate.deliver(&login, way).await;
        assert_eq!(gate.bodies(&login).await, [way]);
    }
    assert_eq!(gate.metric("pollgate_messages_redelivered_total").await, 0.0, "nobody took them before");
    assert_eq!(gate.metric("pollgate_polls_total{result=\"gone\"}").await, 3.0);
}

/// The news that the client is gone and the news of a message may be there at the same moment.
#[tokio::test]
async fn a_client_that_goes_away_as_the_message_comes_takes_nothing_either() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut upstream = Socket::connect(gate.callback).await;
    for round in 0..20 {
        let mut client = gate.client().await;
        client.send(poll(&login, "")).await;
        gate.held(1).await;
        let body = round.to_string();
        upstream.send(rvp::notify(&login.token, "", &body)).await;
        drop(client);
        assert_eq!(upstream.answer().await.status(), 200);
        gate.held(0).await;
        assert_eq!(gate.bodies(&login).await, [body], "round {round}");
    }
}

#[tokio::test]
async fn requests_behind_a_held_poll_wait_their_turn() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    let get = text("GET /page HTTP/1.1\nHost: im.example", "");
    client.send([poll(&login, ""), poll(&login, "Prefer: wait=0\n"), get].concat()).await;
    gate.held(1).await;
    gate.deliver(&login, "x").await;
    assert_eq!(bodies(&client.answer().await), ["x"]);
    assert_eq!(client.answer().await.status(), 204);
    assert_eq!(client.answer().await.body_text(), "upstream");
}

#[tokio::test]
async fn a_held_poll_in_pieces_of_one_byte() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut client = gate.client().await;
    for byte in poll(&login, "Prefer: wait=60\nAccept: application/json\n") {
        client.send([byte]).await;
    }
    gate.held(1).await;
    gate.deliver(&login, "x").await;
    assert_eq!(client.answer().await.json()["messages"][0]["body"], "x");
}

#[tokio::test]
async fn a_poll_of_two_mailboxes_lives_on_when_one_ends() {
    let gate = Gate::start().await;
    let (one, two) = (gate.login("kari").await, gate.login("kari").await);
    let path = "/instmsg/aliases/kari";
    let mut client = gate.client().await;
    let ids = format!("Subscription-Id: {}, {}", one.id, two.id);
    client.send(text(&format!("POLL {path} HTTP/1.1\nHost: im.example\n{ids}"), "")).await;
    gate.held(1).await;
    let end = format!("UNSUBSCRIBE {path} HTTP/1.1\nHost: im.example\nSubscription-Id: {}", one.id);
    assert_eq!(gate.ask(text(&end, "")).await.status(), 200);
    gate.deliver(&two, "x").await;
    assert_eq!(bodies(&client.answer().await), ["x"]);
}
