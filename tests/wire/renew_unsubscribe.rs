//! DESIGN §4.1: leases that go on, and leases that end.

use crate::support::{CLIENT, Gate, answer, rvp, text};

fn request(method: &str, name: &str, fields: &str) -> Vec<u8> {
    let head = format!(
        "{method} /instmsg/aliases/{name} HTTP/1.1\nHost: im.example\n{fields}\
         RVP-Notifications-Version: 0.2\nContent-Length: 0"
    );
    text(&head, "")
}

/// Grants leases of one second at first, and renewals of an hour.
async fn gate_with_short_leases() -> Gate {
    let gate = Gate::start().await;
    gate.upstream.script(|request| {
        let lease = if request.field("call-back").is_some() { 1 } else { 3600 };
        answer(&format!("HTTP/1.1 200 OK\nSubscription-Id: 7\nSubscription-Lifetime: {lease}"), "")
    });
    gate
}

#[tokio::test]
async fn a_renewal_passes_and_prolongs_the_lease() {
    let gate = gate_with_short_leases().await;
    let kept = gate.login("kari").await;
    let renewal = request("SUBSCRIBE", "kari", "subscription-id: 7\nSubscription-Lifetime: 14400\n");
    let answer = gate.ask(&renewal).await;
    assert_eq!(gate.upstream.last().raw(), renewal);
    assert_eq!(answer.field("content-location"), None, "the place to poll stays what it is");
    // Another lease of the same length, begun later, has run out: so would the first have.
    gate.login("alan").await;
    gate.mailboxes(1).await;
    gate.deliver(&kept, "hello").await;
    assert_eq!(gate.bodies(&kept).await, ["hello"]);
}

#[tokio::test]
async fn a_renewal_that_is_refused_prolongs_nothing() {
    let gate = gate_with_short_leases().await;
    let login = gate.login("kari").await;
    gate.upstream.answers(text("HTTP/1.1 412 Precondition Failed\nContent-Length: 0", ""));
    let renewal = request("SUBSCRIBE", "kari", "Subscription-Id: 7\nSubscription-Lifetime: 14400\n");
    assert_eq!(gate.ask(renewal).await.status(), 412);
    gate.mailboxes(0).await;
    assert_eq!(gate.poll(&login, "").await.status(), 404);
}

#[tokio::test]
async fn a_renewal_of_what_is_not_known_passes() {
    let gate = Gate::start().await;
    let renewal = request("SUBSCRIBE", "kari", "Subscription-Id: 4711\n");
    assert_eq!(gate.ask(&renewal).await.status(), 200);
    assert_eq!(gate.upstream.last().raw(), renewal);
    gate.mailboxes(0).await;
}

#[tokio::test]
async fn unsubscribing_ends_the_mailbox() {
    let gate = Gate::start().await;
    let (login, other) = (gate.login("kari").await, gate.login("alan").await);
    gate.deliver(&login, "left behind").await;
    let unsubscribe = request("UNSUBSCRIBE", "kari", &format!("Subscription-Id: {}\n", login.id));
    let answer = gate.ask(&unsubscribe).await;
    assert_eq!((answer.status(), answer.body_text().as_str()), (200, "upstream"));
    assert_eq!(gate.upstream.last().raw(), unsubscribe);
    gate.mailboxes(1).await;
    assert_eq!(gate.poll(&login, "").await.status(), 404);
    assert_eq!(gate.call_back(rvp::notify(&login.token, "", "late")).await.status(), 412);
    assert_eq!(gate.metric("pollgate_messages_dropped_total{reason=\"abandoned\"}").await, 1.0);
    gate.deliver(&other, "hello").await;
}

#[tokio::test]
async fn a_poll_that_is_held_ends_with_its_mailbox() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let mut held = gate.client().await;
    held.send(crate::support::poll(&login, "")).await;
    gate.held(1).await;
    gate.ask(request("UNSUBSCRIBE", "kari", &format!("Subscription-Id: {}\n", login.id))).await;
    assert_eq!(held.answer().await.status(), 404);
    gate.held(0).await;
}

#[tokio::test]
async fn unsubscribing_ends_nothing_if_the_upstream_refuses_or_the_node_is_another() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    let id = format!("Subscription-Id: {}\n", login.id);
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "alan", &id)).await.status(), 200);
    gate.upstream.answers(text("HTTP/1.1 403 Forbidden\nContent-Length: 0", ""));
    assert_eq!(gate.ask(request("UNSUBSCRIBE", "kari", &id)).await.status(), 403);
    gate.mailboxes(1).await;
    gate.deliver(&login, "hello").await;
    assert_eq!(gate.bodies(&login).await, ["hello"]);
}

#[tokio::test]
async fn a_second_login_has_a_mailbox_of_its_own() {
    let gate = Gate::start().await;
    let (first, second) = (gate.login("kari").await, gate.login("kari").await);
    assert_ne!((&first.poll, &first.token), (&second.poll, &second.token));
    gate.deliver(&first, "to the first").await;
    gate.deliver(&second, "to the second").await;
    assert_eq!(gate.bodies(&first).await, ["to the first"]);
    assert_eq!(gate.bodies(&second).await, ["to the second"]);
}

/// A client that came back at another address renews with both: from then on callbacks go to the new
/// address, and the id names the new mailbox alone.
#[tokio::test]
async fn a_renewal_with_an_address_replaces_the_mailbox() {
    let gate = Gate::start().await;
    let old = gate.login("kari").await;
    let fields = format!("Subscription-Id: {}\nCall-Back: http://10.1.2.9:4321\n", old.id);
    let new = gate.login_as(&rvp::login_with("kari", &fields)).await;
    assert_eq!(new.id, old.id);
    gate.deliver(&new, "by token").await;
    let by_id = rvp::notify("/", &format!("Subscription-Id: {}\n", old.id), "by id");
    assert_eq!(gate.call_back(by_id).await.status(), 200, "the id names one mailbox");
    assert_eq!(gate.bodies(&new).await, ["by token", "by id"]);
    assert_eq!(gate.poll(&old, "").await.status(), 404);
}

#[tokio::test]
async fn a_renewal_with_an_address_that_is_refused_changes_nothing() {
    let gate = Gate::start().await;
    let old = gate.login("kari").await;
    gate.upstream.answers(text("HTTP/1.1 412 Precondition Failed\nContent-Length: 0", ""));
    let fields = format!("Subscription-Id: {}\nCall-Back: {CLIENT}\n", old.id);
    assert_eq!(gate.ask(rvp::login_with("kari", &fields)).await.status(), 412);
    gate.mailboxes(1).await;
    gate.deliver(&old, "hello").await;
    assert_eq!(gate.bodies(&old).await, ["hello"]);
}

/// What waits in the mailbox of a client that comes back at another address is polled with its new key, in order.
#[tokio::test]
async fn what_waits_moves_along_with_its_subscription() {
    let gate = Gate::start().await;
    let old = gate.login("kari").await;
    gate.deliver(&old, "before").await;
    let fields = format!("Subscription-Id: {}\nCall-Back: http://10.1.2.9:4321\n", old.id);
    let new = gate.login_as(&rvp::login_with("kari", &fields)).await;
    gate.deliver(&new, "after").await;
    assert_eq!(gate.poll(&old, "").await.status(), 404);
    let both = gate.poll(&new, "Prefer: wait=0\nLast-Event-ID: 0\n").await;
    assert_eq!(crate::support::bodies(&both), ["before", "after"]);
    let id = both.field("last-event-id").unwrap();
    assert_eq!(gate.poll(&new, &format!("Prefer: wait=0\nLast-Event-ID: {id}\n")).await.status(), 204);
    assert_eq!(gate.metric("pollgate_messages_acknowledged_total").await, 2.0);
    gate.ask(request("UNSUBSCRIBE", "kari", &format!("Subscription-Id: {}\n", new.id))).await;
    assert_eq!(
        gate.poll(&new, "Prefer: wait=0\n").await.status(),
        204,
        "what was handed on is still there, and empty"
    );
}

#[tokio::test]
async fn to_name_somebody_elses_subscription_ends_nothing() {
    let gate = Gate::start().await;
    let victim = gate.login("kari").await;
    gate.deliver(&victim, "hers").await;
    // The server ignores the id, and grants another; or it grants the same to anybody.
    for granted in ["4711".to_owned(), victim.id.clone()] {
        gate.upstream.script(move |_| answer(&format!("HTTP/1.1 200 OK\nSubscription-Id: {granted}"), ""));
        let mut stranger = crate::support::Socket::connect_from("127.0.0.2", gate.public).await;
        stranger
            .send(rvp::login_with("kari", &format!("Subscription-Id: {}\nCall-Back: {CLIENT}\n", victim.id)))
            .await;
        assert_eq!(stranger.answer().await.status(), 200);
    }
    assert_eq!(gate.bodies(&victim).await, ["hers"]);
}

#[tokio::test]
async fn a_server_that_ignores_the_id_has_granted_another_subscription() {
    let gate = Gate::start().await;
    let old = gate.login("kari").await;
    gate.deliver(&old, "of the old one").await;
    gate.upstream.script(|_| answer("HTTP/1.1 200 OK\nSubscription-Id: 4711", ""));
    gate.ask(rvp::login_with("kari", &format!("Subscription-Id: {}\nCall-Back: {CLIENT}\n", old.id))).await;
    gate.mailboxes(2).await;
    assert_eq!(gate.bodies(&old).await, ["of the old one"]);
}
