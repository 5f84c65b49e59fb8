//! What a scrape gets, as Prometheus' own tool sees it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::Gate;

/// What `promtool check metrics` has to say of this exposition; none if it is not installed.
fn complaints(exposition: &str) -> Option<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut checking) = promtool.spawn() else {
        eprintln!("skipped: there is no promtool (Debian: prometheus)");
        return None;
    };
    checking.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let done = checking.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    Some(format!("{}{}", String::from_utf8_lossy(&said), if done.status.success() { "" } else { "failed" }))
}

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "one").await;
    let exposition = gate.operate("GET", "/metrics").await.body_text();
    assert!(exposition.contains("pollgate_messages_total"), "{exposition}");
    if let Some(said) = complaints(&exposition) {
        assert_eq!(said, "");
    }
}
