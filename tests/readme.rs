//! What the README says of metrics and settings is what there is.

use std::collections::BTreeSet;

use pollgate::agent;
use pollgate::config::SAMPLE;
use pollgate::mailbox::Timestamp;
use pollgate::store::{StoreStatus, StoreTotals};
use pollgate::telemetry::Metrics;

const README: &str = include_str!("../README.md");

/// The cells of each row of a table whose first cell begins so.
fn rows(start: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = README.lines().filter(move |line| line.starts_with(&format!("| {start}")));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
}

#[test]
fn every_metric_is_listed_with_its_type() {
    let metrics = Metrics::new().unwrap();
    // Their label values are not known beforehand.
    metrics.proxied(200);
    metrics.request_refused(408);
    metrics.upstream("im", vec!["10.0.0.5:80".to_owned()]);
    let text = metrics.expose(StoreTotals::default(), StoreStatus::default(), None, Timestamp::default());
    let exposed = types(&text);
    let (of_agent, listed): (BTreeSet<_>, BTreeSet<_>) = rows("`pollgate_")
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .partition(|(name, _)| name.starts_with("pollgate_agent_"));
    assert_eq!(exposed, listed);
    assert!(exposed.len() > 15, "{exposed:?}");
    assert_eq!(types(&agent::Metrics::new().unwrap().expose()), of_agent);
    assert!(of_agent.len() > 5, "{of_agent:?}");
}

/// The names and types of what is exposed, but for those of every process.
fn types(exposed: &str) -> BTreeSet<(String, String)> {
    exposed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| !name.starts_with("process_"))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

#[test]
fn every_setting_of_the_white_paper_is_in_the_sample() {
    let mut settings = 0;
    for row in rows("Poll") {
        assert!(SAMPLE.contains(&format!("\n{} = ", row[1])), "{row:?}");
        settings += 1;
    }
    assert_eq!(settings, 6);
}

#[test]
fn every_other_setting_that_is_listed_is_in_the_sample() {
    let mut settings = 0;
    for row in rows("`admin.") {
        let key = row[0].strip_prefix("admin.").unwrap();
        assert!(SAMPLE.contains(&format!("\n{key} = ")), "{row:?}");
        settings += 1;
    }
    assert_eq!(settings, 1);
}
