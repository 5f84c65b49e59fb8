//! A UPnP device and a control point, neither of them ours and neither changed, through gateway and agent.
//!
//! The device is gmediarender (libupnp), the control point uses Python's async_upnp_client. They are in network
//! namespaces, and the firewall between them lets only the control point's side connect, to port 80 at the edge.
//! `tests/setup_upnp.sh` installs both; where they are missing, or networks cannot be made, the test says so and
//! ends.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may, and says why it is skipped")]

#[allow(dead_code, reason = "the tests in tests/firewall need more of it")]
#[path = "../firewall/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "the tests in tests/firewall need more of it")]
#[path = "../firewall/network.rs"]
mod network;
mod programs;

use std::path::Path;

use gateway::Gateway;
use network::{CLIENT, EDGE, EDGE_INSIDE, Network, Rules, SERVER, within};
use programs::{Program, control_point, python, renderer};
use serde_json::{Value, json};

/// Where the agent serves the control point.
const AGENT: &str = "127.0.0.1:8380";

/// Runs a test with the device and its address, and a Python that has the control point; or says why it cannot.
fn with_device(name: &str, rules: &Rules, test: impl FnOnce(Network, &str, &Path)) {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    within(name, rules, |network| match renderer(&network) {
        Ok(device) => test(network, &device.address, &python),
        Err(reason) => println!("skipped: {reason}"),
    });
}

/// What a control point must see that knows the device by this origin.
fn sees_all(mut seen: impl Iterator<Item = Value>, origin: &str) {
    let mut next = || seen.next().expect("it ended, and said why");
    let found = next();
    assert_eq!(found["device"], "urn:schemas-upnp-org:device:MediaRenderer:1");
    for url in ["events", "control"] {
        let url = found[url].as_str().unwrap();
        assert!(url.starts_with(&format!("{origin}/")), "{url}");
    }
    assert_eq!(next()["subscribed"], 300);
    assert_eq!(next(), json!({ "event": 100, "numbers": [0] }), "the initial event");
    assert_eq!(next(), json!({ "event": 37, "numbers": [0, 1] }), "what it changed");
    assert_eq!(next(), json!({ "renewed": 600, "same": true }));
    assert_eq!(next(), json!({ "event": 62, "numbers": [0, 1, 2] }));
    assert_eq!(next()["unsubscribed"], true);
    assert_eq!(seen.next(), None);
}

/// What the gateway must have seen.
fn went_through(gateway: &Gateway, network: &Network) {
    let accepted = gateway.metric(network, r#"pollgate_callbacks_total{result="accepted"}"#);
    assert_eq!(accepted, 3.0, "the events came through the gateway");
    assert_eq!(gateway.metric(network, "pollgate_mailboxes"), 0.0, "it unsubscribed");
    assert_eq!(network.stopped(), 0, "nobody tried to call the client through the firewall");
}

#[test]
fn a_control_point_that_listens_hears_a_device_that_calls_back() {
    let name = "a_control_point_that_listens_hears_a_device_that_calls_back";
    let rules = Rules { polls: true, ..Rules::default() };
    with_device(name, &rules, |network, device, python| {
        let settings = [
            ("POLLGATE_UPSTREAM_ADDRESS", device),
            ("POLLGATE_UPSTREAM_REWRITE_DESCRIPTIONS", "true"),
            ("POLLGATE_DELIVERY_MODE", "polling"),
        ];
        let gateway = Gateway::start(&network, &settings);
        for closed in [device, &format!("{SERVER}:80"), &format!("{EDGE_INSIDE}:8081")] {
            assert!(!network.client.is_open(closed), "{closed}: only the gateway's port 80 is open");
        }
        let through = format!("http://{EDGE}");
        let agent = ["agent", "--gateway", &through, "--listen", AGENT, "--state", ""];
        let mut agent = Program::start(&network.client, env!("CARGO_BIN_EXE_pollgate"), &agent).unwrap();
        agent.serves(&network.client, AGENT).unwrap();

        let origin = format!("http://{AGENT}");
        sees_all(control_point(&network.client, python, &origin, ("127.0.0.1", 0)), &origin);
        went_through(&gateway, &network);
    });
}

/// libupnp sends its first event within a millisecond of its answer to the subscription.
#[test]
fn a_control_point_behind_a_hole_is_called_by_the_gateway() {
    let name = "a_control_point_behind_a_hole_is_called_by_the_gateway";
    let rules = Rules { polls: true, hole: Some(1050), ..Rules::default() };
    with_device(name, &rules, |network, device, python| {
        let settings = [("POLLGATE_UPSTREAM_ADDRESS", device), ("POLLGATE_DELIVERY_MODE", "default")];
        let gateway = Gateway::start(&network, &settings);
        let origin = format!("http://{EDGE}");
        sees_all(control_point(&network.client, python, &origin, (CLIENT, 1050)), &origin);
        went_through(&gateway, &network);
    });
}
