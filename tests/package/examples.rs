//! The unit, the image and the pod are set as the gateway's own settings want it.

use std::process::Command;
use std::time::Duration;

use pollgate::config::Config;

use super::{PROGRAM, run};

const UNIT: &str = include_str!("../../conf/systemd/pollgate.service");
const POD: &str = include_str!("../../conf/kubernetes/sidecar.yaml");
const IMAGE: &str = include_str!("../../conf/docker/Dockerfile");

/// What stands behind the first of these words in a line.
fn behind<'a>(text: &'a str, word: &str) -> &'a str {
    let mut lines = text.lines();
    lines.find_map(|line| line.trim_start().strip_prefix(word)).expect(word).trim()
}

fn seconds(text: &str, word: &str) -> Duration {
    Duration::from_secs(behind(text, word).parse().unwrap())
}

#[test]
fn nobody_kills_a_gateway_that_is_about_to_end() {
    let deadline = Config::default().shutdown.deadline;
    assert!(seconds(UNIT, "TimeoutStopSec=") > deadline);
    assert!(seconds(POD, "terminationGracePeriodSeconds:") > deadline);
    assert_eq!(behind(IMAGE, "STOPSIGNAL"), "SIGTERM");
}

#[test]
fn the_state_is_kept_where_it_is_put() {
    let state = Config::default().store.path;
    assert_eq!(state, std::path::Path::new("/var/lib").join(behind(UNIT, "StateDirectory=")));
    assert_eq!(state, std::path::Path::new(behind(IMAGE, "VOLUME")));
    assert!(POD.contains(&format!("mountPath: {} }}", state.display())));
}

#[test]
fn as_many_clients_may_come_as_the_settings_say() {
    // A quarter, and at most 8192, is kept for what is not a client.
    let descriptors: u64 = behind(UNIT, "LimitNOFILE=").parse().unwrap();
    assert!(descriptors - 8192 >= Config::default().limits.connections);
}

#[test]
fn the_configuration_of_the_pod_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("admin.token");
    std::fs::write(&token, "a-token-that-nobody-can-guess-0123456789abcdef\n").unwrap();
    let (_, block) = POD.split_once("  pollgate.toml: |\n").unwrap();
    let (block, _) = block.split_once("---\n").unwrap();
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let secrets = "/etc/pollgate-secrets/admin.token";
    let text = lines.join("\n");
    assert!(text.contains(secrets));
    let file = directory.path().join("pollgate.toml");
    std::fs::write(&file, text.replace(secrets, token.to_str().unwrap())).unwrap();
    run(Command::new(PROGRAM).env_clear().args(["check-config", "-c"]).arg(&file));
}
