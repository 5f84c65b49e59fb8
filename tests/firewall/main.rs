//! The white paper's three ways to be notified (default, polling, fixed ports), through a real firewall.
//!
//! Three machines in network namespaces: a client, an edge with nftables and the gateway on it, and a legacy
//! server that can only call back. This needs `ip` and `nft`, and root or a user namespace; where that is not
//! to be had the tests say so and end.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may, and says why it is skipped")]

mod gateway;
mod network;
mod people;

use gateway::Gateway;
use network::{CLIENT, EDGE, EDGE_INSIDE, PATIENCE, Rules, SERVER, within};
use people::{Kari, Server, bodies, poll};

#[test]
fn without_the_gateway_the_firewall_stops_the_callback() {
    let rules = Rules { direct: true, ..Rules::default() };
    within("without_the_gateway_the_firewall_stops_the_callback", &rules, |network| {
        let server = Server::start(&network.server);
        let kari = Kari::listens(&network.client, [1444]);
        assert_eq!(Kari::signs_in(&network.client, SERVER, 1444), None, "the server knows no polls");
        assert_eq!(network.stopped(), 0, "she can send");

        let callback = server.tell_kari(&network.server, "Lunch at twelve?");
        assert!(callback.outcome.is_err(), "{callback:?}");
        assert!(network.stopped() > 0, "it was the firewall");
        assert!(kari.called().is_empty());

        // The same client, the same subscription, the same server.
        network.without_firewall();
        let callback = server.tell_kari(&network.server, "Lunch at one?");
        assert_eq!(callback.outcome, Ok(200));
        assert_eq!(kari.was_called(1), [(format!("{CLIENT}:1444"), "Lunch at one?".into())]);
    });
}

#[test]
fn polling_needs_port_80_and_nothing_else() {
    let rules = Rules { polls: true, ..Rules::default() };
    within("polling_needs_port_80_and_nothing_else", &rules, |network| {
        let server = Server::start(&network.server);
        let gateway = Gateway::start(&network, &[("POLLGATE_DELIVERY_MODE", "polling")]);
        let kari = Kari::listens(&network.client, [1444]);
        for closed in [format!("{EDGE_INSIDE}:8081"), format!("{SERVER}:80")] {
            assert!(!network.client.is_open(&closed), "{closed}");
        }

        let mailbox = Kari::signs_in(&network.client, EDGE, 1444).expect("a place to poll");
        assert_eq!(server.tell_kari(&network.server, "Lunch at twelve?").outcome, Ok(200));
        let polled = network.client.run(poll(EDGE, mailbox.clone(), 0, None));
        let last = polled.last().map(|(id, _)| *id);
        assert_eq!(bodies(polled), ["Lunch at twelve?"]);

        let held = network.client.begin(poll(EDGE, mailbox, 20, last));
        gateway.reaches(&network, "pollgate_held_polls", 1.0);
        assert_eq!(server.tell_kari(&network.server, "Lunch at one?").outcome, Ok(200));
        assert_eq!(bodies(held.recv_timeout(PATIENCE).unwrap()), ["Lunch at one?"]);
        assert_eq!(network.stopped(), 0, "nobody tried to call her");
        assert!(kari.called().is_empty());
    });
}

#[test]
fn a_fixed_port_needs_that_port_and_port_80_to_subscribe() {
    let rules = Rules { polls: true, hole: Some(1050), ..Rules::default() };
    within("a_fixed_port_needs_that_port_and_port_80_to_subscribe", &rules, |network| {
        let server = Server::start(&network.server);
        let gateway = Gateway::start(
            &network,
            &[("POLLGATE_DELIVERY_MODE", "fixed-ports"), ("POLLGATE_DELIVERY_PORTS", "1050")],
        );
        // She says that she listens elsewhere, which the firewall would not let through.
        let kari = Kari::listens(&network.client, [1050, 1444]);
        Kari::signs_in(&network.client, EDGE, 1444).expect("a mailbox");
        // From here on not even polls get through.
        network.firewall(&Rules { hole: Some(1050), ..Rules::default() }).unwrap();
        assert!(!network.client.is_open(&format!("{EDGE}:80")));
        assert!(!network.edge.is_open(&format!("{CLIENT}:1444")));

        assert_eq!(server.tell_kari(&network.server, "Lunch at twelve?").outcome, Ok(200));
        assert_eq!(kari.was_called(1), [(format!("{CLIENT}:1050"), "Lunch at twelve?".into())]);
        gateway.reaches(&network, r#"pollgate_deliveries_total{mode="fixed-ports",result="delivered"}"#, 1.0);
    });
}

#[test]
fn a_range_of_ports_is_cycled_through_until_one_is_open() {
    let rules = Rules { polls: true, hole: Some(1053), ..Rules::default() };
    within("a_range_of_ports_is_cycled_through_until_one_is_open", &rules, |network| {
        let server = Server::start(&network.server);
        let settings = [
            ("POLLGATE_DELIVERY_MODE", "fixed-ports"),
            ("POLLGATE_DELIVERY_PORTS", "1050-1054"),
            ("POLLGATE_DELIVERY_CONNECT_TIMEOUT", "2s"),
        ];
        let gateway = Gateway::start(&network, &settings);
        let kari = Kari::listens(&network.client, 1050..=1054);
        Kari::signs_in(&network.client, EDGE, 1444).expect("a mailbox");
        assert_eq!(server.tell_kari(&network.server, "Lunch at twelve?").outcome, Ok(200));
        assert_eq!(kari.was_called(1), [(format!("{CLIENT}:1053"), "Lunch at twelve?".into())]);
        assert!(network.stopped() >= 3, "1050, 1051 and 1052 were tried first");
        gateway.reaches(&network, r#"pollgate_deliveries_total{mode="fixed-ports",result="delivered"}"#, 1.0);
        let unreachable = r#"pollgate_deliveries_total{mode="fixed-ports",result="unreachable"}"#;
        assert_eq!(gateway.metric(&network, unreachable), 0.0, "within one try");
    });
}

#[test]
fn what_a_closed_firewall_stops_waits_for_a_poll() {
    let rules = Rules { polls: true, ..Rules::default() };
    within("what_a_closed_firewall_stops_waits_for_a_poll", &rules, |network| {
        let server = Server::start(&network.server);
        let settings = [
            ("POLLGATE_DELIVERY_MODE", "default"),
            ("POLLGATE_DELIVERY_CONNECT_TIMEOUT", "200ms"),
            ("POLLGATE_DELIVERY_MAX_RETRY_DELAY", "1s"),
        ];
        let gateway = Gateway::start(&network, &settings);
        let kari = Kari::listens(&network.client, [1444]);
        let mailbox = Kari::signs_in(&network.client, EDGE, 1444).expect("a place to poll");
        assert_eq!(server.tell_kari(&network.server, "Lunch at twelve?").outcome, Ok(200));
        gateway.reaches(&network, r#"pollgate_deliveries_total{mode="default",result="unreachable"}"#, 1.0);
        assert!(network.stopped() > 0, "it was the firewall");
        let polled = network.client.run(poll(EDGE, mailbox, 0, None));
        assert_eq!(bodies(polled), ["Lunch at twelve?"]);
        assert!(kari.called().is_empty());

        // Where a hole is made, the next one is brought to her.
        network.firewall(&Rules { hole: Some(1444), ..rules.clone() }).unwrap();
        assert_eq!(server.tell_kari(&network.server, "Lunch at one?").outcome, Ok(200));
        assert_eq!(kari.was_called(1), [(format!("{CLIENT}:1444"), "Lunch at one?".into())]);
    });
}
