//! What a running gateway says of itself.

use std::time::Duration;

use super::Finding;
use crate::config::{Config, Token, reachable};
use crate::http1::client::{Answer, Call, CallError, call, connect};

const AREA: &str = "gateway";

/// Longer than a gateway takes that is well: it gives its upstream two seconds.
const WITHIN: Duration = Duration::from_secs(5);

/// More than its metrics take.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// A gateway that answers at `listen.admin`.
#[derive(Debug)]
pub(super) struct Running {
    /// The lines of its readiness: whether each is well, what it is about, and what is said.
    readiness: Vec<(bool, String, String)>,
    /// How many clients it has room for.
    pub(super) clients: Option<u64>,
}

/// Asks whoever listens at `listen.admin`; none unless that is a gateway.
pub(super) async fn ask(config: &Config) -> Option<Running> {
    let address = reachable(config.listen.admin);
    if address.port() == 0 {
        return None;
    }
    let address = address.to_string();
    let health = get(&address, "/healthz", None).await.ok()?;
    if health.head.status != 200 || health.body.trim_ascii() != b"ok" {
        return None;
    }
    let ready = get(&address, "/readyz", None).await;
    let readiness = ready.map_or_else(
        |error| vec![(false, "readiness".to_owned(), error.to_string())],
        |answer| lines(&String::from_utf8_lossy(&answer.body)),
    );
    let metrics = get(&address, "/metrics", config.admin.token.as_ref()).await.ok();
    let clients = metrics.and_then(|answer| clients(&String::from_utf8_lossy(&answer.body)));
    Some(Running { readiness, clients })
}

async fn get(address: &str, path: &str, token: Option<&Token>) -> Result<Answer, CallError> {
    let mut connection = connect(address, WITHIN).await?;
    let mut request = Call::new("GET", path).with("Host", address).with("Connection", "close");
    if let Some(token) = token {
        request = request.with("Authorization", token.authorization());
    }
    call(&mut connection, request, b"", LARGEST_ANSWER, WITHIN).await
}

/// `ok      upstream: …`, `failed  store: …`: a line each.
fn lines(text: &str) -> Vec<(bool, String, String)> {
    text.lines()
        .filter_map(|line| {
            let (word, rest) = line.split_once(' ')?;
            let (name, said) = rest.trim_start().split_once(": ")?;
            Some((word == "ok", name.to_owned(), said.to_owned()))
        })
        .collect()
}

fn clients(metrics: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix("pollgate_connections_limit ")?.parse().ok())
}

impl Running {
    /// What it says of this part of itself, and whether that is well.
    pub(super) fn says(&self, part: &str) -> Option<(bool, &str)> {
        self.readiness.iter().find(|(_, name, _)| name == part).map(|(well, _, said)| (*well, said.as_str()))
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let broken = self.readiness.iter().filter(|(well, ..)| !well);
        let mut findings: Vec<_> = broken
            .map(|(_, name, said)| {
                Finding::fail(AREA, format!("it runs, and its {name} is not well: {said}"), "See its log.")
            })
            .collect();
        if findings.is_empty() {
            findings.push(Finding::ok(AREA, "it runs, and says that it can do its work"));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_is_not_well_is_told() {
        let text = "ok      upstream: 10.0.0.5:80 takes connections\nfailed  store: it cannot write\n";
        let running = Running { readiness: lines(text), clients: None };
        assert_eq!(running.says("upstream"), Some((true, "10.0.0.5:80 takes connections")));
        assert_eq!(running.says("store"), Some((false, "it cannot write")));
        let [finding] = &running.findings()[..] else { panic!("{running:?}") };
        assert!(finding.level == Level::Fail && finding.seen.contains("it cannot write"), "{finding:?}");
        let well = Running { readiness: lines("ok      store: empty"), clients: None };
        assert_eq!(well.findings()[0].level, Level::Ok);
    }

    #[test]
    fn the_room_for_clients_is_a_metric() {
        let text = "# TYPE pollgate_connections_limit gauge\npollgate_connections_limit 768\n";
        assert_eq!(clients(text), Some(768));
        assert_eq!(clients(""), None);
    }
}
