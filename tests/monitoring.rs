//! What is given to Prometheus and Grafana: alerts and a dashboard, held against the metrics that there are.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const README: &str = include_str!("../README.md");
const ALERTS: &str = include_str!("../conf/prometheus/alerts.yml");
const ALERT_TESTS: &str = include_str!("../conf/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../conf/grafana/pollgate.json");

/// What Prometheus itself and the process collector add.
const OTHERS: [&str; 6] = [
    "up",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
];

/// The names of all samples that are exposed, by the README's table, which a test holds against the exposition.
fn samples() -> BTreeSet<String> {
    let mut samples: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    for row in README.lines().filter(|line| line.starts_with("| `pollgate_")) {
        // The agent has a registry of its own.
        if row.starts_with("| `pollgate_agent_") {
            continue;
        }
        let cells: Vec<&str> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        match cells[1] {
            "histogram" => {
                samples.extend(["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", cells[0])))
            }
            _ => _ = samples.insert(cells[0].to_owned()),
        }
    }
    assert!(samples.len() > 40);
    samples
}

/// The words of an expression that look like a metric's name.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| *word == "up" || word.starts_with("pollgate_") || word.starts_with("process_"))
        .collect()
}

/// Runs `promtool` on files in `conf/prometheus`; none if it is not installed.
fn promtool(arguments: &[&str]) -> Option<String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prometheus");
    let Ok(done) = Command::new("promtool").args(arguments).current_dir(home).output() else {
        eprintln!("skipped: there is no promtool (Debian: prometheus)");
        return None;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    Some(said)
}

#[test]
fn every_alert_fires_when_it_should_and_is_silent_when_not() {
    if let Some(said) = promtool(&["test", "rules", "alerts_test.yml"]) {
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

#[test]
fn prometheus_understands_the_alerts() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
}

#[test]
fn every_alert_is_tested_both_ways_and_says_what_to_do() {
    let alerts: Vec<&str> = ALERTS.split("      - alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 14);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for ending in ["fires", "is silent"] {
            assert!(ALERT_TESTS.contains(&format!("name: {name} {ending}\n")), "{name} {ending}");
        }
        for part in ["summary: ", "description: ", "severity: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn alerts_name_only_metrics_that_there_are() {
    let samples = samples();
    let without_comments = ALERTS.lines().filter(|line| !line.trim_start().starts_with('#'));
    let alerts = without_comments.collect::<Vec<_>>().join("\n");
    let named: BTreeSet<&str> = metrics_in(&alerts).into_iter().filter(|name| *name != "pollgate_").collect();
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(samples.contains(name), "there is no {name}");
    }
}

/// Every panel, those within rows that are folded too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = dashboard["panels"].as_array().unwrap();
    let inner = outer.iter().filter_map(|panel| panel["panels"].as_array()).flatten();
    outer.iter().chain(inner).collect()
}

#[test]
fn the_dashboard_shows_only_metrics_that_there_are() {
    let (samples, dashboard) = (samples(), serde_json::from_str::<Value>(DASHBOARD).unwrap());
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard).into_iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            let named = metrics_in(expression);
            assert!(!named.is_empty(), "{title}: {expression}");
            for name in named {
                assert!(samples.contains(name), "{title}: there is no {name}");
                shown.insert(name);
            }
        }
    }
    assert!(shown.len() > 35, "{shown:?}");
}

#[test]
fn every_panel_is_titled_placed_and_has_a_unit() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let mut rows = Vec::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, width] = ["x", "y", "w"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(places.insert((x, y)) && x + width <= 24, "{title}");
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
    for row in
        ["Traffic", "Waiting", "Polls", "Drops", "Deliveries", "Saturation", "Store", "Upstream", "Process"]
    {
        assert!(rows.contains(&row), "{row}");
    }
}

#[test]
fn promtool_understands_the_dashboards_expressions() {
    // There is no command for a lone expression: each becomes a rule.
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    let targets = panels(&dashboard).into_iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    for (n, target) in targets.enumerate() {
        let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
        let expression = serde_json::to_string(&expression).unwrap();
        rules.push_str(&format!("      - record: dashboard:expression{n}\n        expr: {expression}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}
