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

use gateway::Gateway;
use network::{EDGE, EDGE_INSIDE, Rules, SERVER, within};
use programs::{Program, control_point, python, renderer};

/// Where the agent serves the control point.
const AGENT: &str = "127.0.0.1:8380";

#[test]
fn a_control_point_that_listens_hears_a_device_that_calls_back() {
    let name = "a_control_point_that_listens_hears_a_device_that_calls_back";
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let rules = Rules { polls: true, ..Rules::default() };
    within(name, &rules, |network| {
        let device = match renderer(&network) {
            Ok(device) => device,
            Err(reason) => return println!("skipped: {reason}"),
        };
        let settings = [
            ("POLLGATE_UPSTREAM_ADDRESS", device.address.as_str()),
            ("POLLGATE_UPSTREAM_REWRITE_DESCRIPTIONS", "true"),
            ("POLLGATE_DELIVERY_MODE", "polling"),
        ];
        let gateway = Gateway::start(&network, &settings);
        for closed in [device.address.clone(), format!("{SERVER}:80"), format!("{EDGE_INSIDE}:8081")] {
            assert!(!network.client.is_open(&closed), "{closed}: only the gateway's port 80 is open");
        }
        let through = format!("http://{EDGE}");
        let agent = ["agent", "--gateway", &through, "--listen", AGENT, "--state", ""];
        let mut agent = Program::start(&network.client, env!("CARGO_BIN_EXE_pollgate"), &agent).unwrap();
        agent.serves(&network.client, AGENT).unwrap();

        let mut seen = control_point(&network.client, &python, &format!("http://{AGENT}/description.xml"));
        let mut next = || seen.next().expect("it ended, and said why");
        let found = next();
        assert_eq!(found["device"], "urn:schemas-upnp-org:device:MediaRenderer:1");
        for url in ["events", "control"] {
            let url = found[url].as_str().unwrap();
            assert!(url.starts_with(&format!("http://{AGENT}/")), "{url}");
        }
        assert_eq!(next()["subscribed"], 300);
        assert_eq!(next(), serde_json::json!({ "event": 100, "numbers": [0] }), "the initial event");
        assert_eq!(next(), serde_json::json!({ "event": 37, "numbers": [0, 1] }), "what it changed");
        assert_eq!(next(), serde_json::json!({ "renewed": 600, "same": true }));
        assert_eq!(next(), serde_json::json!({ "event": 62, "numbers": [0, 1, 2] }));
        assert_eq!(next()["unsubscribed"], true);
        assert_eq!(seen.next(), None);

        let accepted = gateway.metric(&network, r#"pollgate_callbacks_total{result="accepted"}"#);
        assert_eq!(accepted, 3.0, "they came through the gateway");
        assert_eq!(gateway.metric(&network, "pollgate_mailboxes"), 0.0, "it unsubscribed");
        assert_eq!(network.stopped(), 0, "nobody tried to call the client through the firewall");
    });
}
