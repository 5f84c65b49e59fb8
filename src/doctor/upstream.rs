//! Whether an upstream answers, and how soon.
//!
//! `OPTIONS *` is asked (RFC 9110 §9.3.7): it concerns the server as a whole and changes nothing. Any answer
//! in HTTP will do, a refusal too.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Finding, certificates, millis};
use crate::clock;
use crate::config::Upstream;
use crate::http1::client::{Call, CallError, call, dial};
use crate::http1::{Connection, Headers};
use crate::tls::{self, Stream, Trust};

const AREA: &str = "upstream";

/// The largest answer that is read; it means nothing.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// How long an answer is waited for at most, whatever `upstream.read_timeout` is.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer to nothing that takes longer is worth a word.
const SLOW: Duration = Duration::from_secs(1);

/// What was seen of an upstream.
#[derive(Debug)]
pub(super) struct Observed {
    /// Where its name leads to.
    pub(super) addresses: Vec<IpAddr>,
    /// What it answered.
    pub(super) outcome: Result<Answered, Trouble>,
}

impl Observed {
    /// What software it says it is; empty if it says nothing.
    pub(super) fn server(&self) -> &str {
        self.outcome.as_ref().map_or("", |answered| &answered.server)
    }
}

/// An answer in HTTP.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    connected: Duration,
    answered: Duration,
    status: u16,
    /// What software it is, as it says.
    server: String,
    /// Its `Date`.
    pub(super) date: Option<String>,
    /// Our own clock when that came.
    pub(super) received: SystemTime,
    certificate_ends: Option<SystemTime>,
}

impl Answered {
    /// How long its answer took, and so how far its `Date` may be off.
    pub(super) fn took(&self) -> Duration {
        self.answered
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Its name leads nowhere.
    #[error("its name cannot be resolved: {0}")]
    Name(String),
    /// It takes no connection.
    #[error("{0}")]
    Connection(String),
    /// It is not trusted, or does not speak TLS.
    #[error("no TLS with it: {0}")]
    Tls(String),
    /// It takes connections, and says nothing that is HTTP.
    #[error("it took a connection, and did not answer OPTIONS *: {0}")]
    Silent(String),
}

pub(super) async fn observe(upstream: &Upstream) -> Observed {
    match resolve(upstream).await {
        Err(trouble) => Observed { addresses: Vec::new(), outcome: Err(trouble) },
        Ok(addresses) => Observed { addresses, outcome: ask(upstream).await },
    }
}

async fn resolve(upstream: &Upstream) -> Result<Vec<IpAddr>, Trouble> {
    let found = timeout(upstream.connect_timeout, lookup_host(upstream.authority())).await;
    let found = found.map_err(|_| Trouble::Name("no name server answered in time".to_owned()))?;
    let found = found.map_err(|error| Trouble::Name(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    addresses.dedup();
    Ok(addresses)
}

/// A connection to it, as the gateway would make one.
pub(super) async fn connect(upstream: &Upstream) -> Result<Connection<Stream>, Trouble> {
    let within = upstream.connect_timeout;
    let stream = dial(upstream.authority(), within).await.map_err(|error| {
        Trouble::Connection(match error {
            CallError::TimedOut(within) => format!("it took no connection within {within:?}"),
            error => error.to_string(),
        })
    })?;
    if !upstream.is_tls() {
        return Ok(Connection::new(Stream::Plain(stream)));
    }
    let trust = Trust::open(upstream.ca_file.clone()).map_err(|error| Trouble::Tls(error.to_string()))?;
    let roots = trust.current(clock::now());
    let shaken = timeout(within, tls::connect(stream, upstream.host(), &roots)).await;
    let shaken = shaken.map_err(|_| Trouble::Tls(format!("no handshake within {within:?}")))?;
    shaken.map(Connection::new).map_err(|error| Trouble::Tls(error.to_string()))
}

async fn ask(upstream: &Upstream) -> Result<Answered, Trouble> {
    let began = clock::instant();
    let mut connection = connect(upstream).await?;
    let connected = began.elapsed();
    let request = Call::new("OPTIONS", "*").with("Host", host(upstream)).with("Content-Length", 0);
    let request = request.with("Connection", "close");
    let within = upstream.read_timeout.min(PATIENCE);
    let answer = call(&mut connection, request, b"", LARGEST_ANSWER, within).await;
    let answer = answer.map_err(|error| Trouble::Silent(error.to_string()))?;
    let field = |name| answer.head.fields.text(name).map(str::to_owned);
    Ok(Answered {
        connected,
        answered: began.elapsed().saturating_sub(connected),
        status: answer.head.status,
        server: field("server").unwrap_or_default(),
        date: field("date"),
        received: clock::wall(),
        certificate_ends: connection.stream().peer_certificate_ends(),
    })
}

/// The `Host` under which its clients know it.
pub(super) fn host(upstream: &Upstream) -> String {
    let usual = if upstream.is_tls() { ":443" } else { ":80" };
    let own = || upstream.authority().strip_suffix(usual).unwrap_or(upstream.authority()).to_owned();
    upstream.server_names.first().cloned().unwrap_or_else(own)
}

pub(super) fn judge(name: &str, observed: &Observed, now: SystemTime) -> Vec<Finding> {
    match &observed.outcome {
        Ok(answered) => {
            let ends = answered.certificate_ends.map(|ends| {
                certificates::judge(&format!("the certificate of the upstream {name}"), ends, now)
            });
            std::iter::once(answers(name, answered)).chain(ends).collect()
        }
        Err(trouble) => vec![Finding::fail(AREA, format!("{name}: {trouble}"), advice(trouble))],
    }
}

fn answers(name: &str, answered: &Answered) -> Finding {
    let Answered { connected, answered: took, status, server, .. } = answered;
    let server = if server.is_empty() { String::new() } else { format!(" ({server})") };
    let seen = format!(
        "{name}{server} took a connection in {}, and answered OPTIONS * with {status} in {}",
        millis(*connected),
        millis(*took)
    );
    match status {
        502..=504 => Finding::warn(AREA, seen, "See whether the server is well: it says that it is not."),
        _ if *connected + *took > SLOW => {
            Finding::warn(AREA, seen, "See why it is slow: every request waits for it.")
        }
        _ => Finding::ok(AREA, seen),
    }
}

fn advice(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Name(_) => {
            "Set upstream.address to a name that this machine can resolve, or to an IP address."
        }
        Trouble::Connection(_) => {
            "See whether the server runs, whether upstream.address is right, and whether a firewall is between."
        }
        Trouble::Tls(_) => {
            "Set upstream.ca_file to the authority of its certificate, and the host in upstream.address to a name in it."
        }
        Trouble::Silent(_) => {
            "See whether upstream.address is an HTTP server's, and whether it wants https:// in front."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn answered(status: u16, took: u64) -> Answered {
        Answered {
            connected: Duration::from_millis(1),
            answered: Duration::from_millis(took),
            status,
            server: "IIS".to_owned(),
            date: None,
            received: SystemTime::UNIX_EPOCH,
            certificate_ends: None,
        }
    }

    #[test]
    fn any_answer_will_do_but_those_that_say_that_it_is_not_well() {
        for (status, took, level) in [
            (200, 1, Level::Ok),
            (401, 1, Level::Ok),
            (404, 1, Level::Ok),
            (501, 1, Level::Ok),
            (503, 1, Level::Warn),
            (200, 2000, Level::Warn),
        ] {
            let observed = Observed { addresses: Vec::new(), outcome: Ok(answered(status, took)) };
            let [finding] = &judge("im:80", &observed, SystemTime::UNIX_EPOCH)[..] else { panic!() };
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.seen.contains("im:80 (IIS) took a connection in 1.0 ms"), "{finding:?}");
        }
    }

    #[test]
    fn no_answer_is_a_failure_with_its_own_advice() {
        let text = || "why".to_owned();
        let mut advices = std::collections::BTreeSet::new();
        for trouble in [
            Trouble::Name(text()),
            Trouble::Connection(text()),
            Trouble::Tls(text()),
            Trouble::Silent(text()),
        ] {
            let observed = Observed { addresses: Vec::new(), outcome: Err(trouble) };
            let [finding] = &judge("im:80", &observed, SystemTime::UNIX_EPOCH)[..] else { panic!() };
            assert!(finding.level == Level::Fail && finding.seen.ends_with("why"), "{finding:?}");
            advices.insert(finding.advice.clone());
        }
        assert_eq!(advices.len(), 4);
    }

    #[test]
    fn its_clients_know_it_by_its_first_name() {
        let upstream = |address: &str, names: &[&str]| Upstream {
            address: address.to_owned(),
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Upstream::default()
        };
        for (address, names, expected) in [
            ("10.0.0.5:80", &["im.example", "b"][..], "im.example"),
            ("10.0.0.5:80", &[], "10.0.0.5"),
            ("10.0.0.5:8000", &[], "10.0.0.5:8000"),
            ("https://im:443", &[], "im"),
            ("https://im:80", &[], "im:80"),
        ] {
            assert_eq!(host(&upstream(address, names)), expected);
        }
    }
}
