//! Whether the gateway can do its work at this moment.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Admin;
use crate::config::Upstream;
use crate::http1::Response;

/// Long enough for any upstream that is worth having, short enough for whoever probes us.
const PROBE: Duration = Duration::from_secs(2);

/// What was found, or what is wrong.
type Check = Result<String, String>;

impl Admin {
    /// 200 if all is well, else 503; a line for each thing that was looked at.
    pub(super) async fn readiness(&self) -> Response {
        let upstreams = self.upstreams().await;
        // Clients of those that are up are served.
        let some_upstream = upstreams.iter().any(|(_, check)| check.is_ok());
        let own = [("store".to_owned(), self.store()), ("listeners".to_owned(), self.listeners())];
        let ready = some_upstream && own.iter().all(|(_, check)| check.is_ok());
        let lines: String = upstreams
            .iter()
            .chain(&own)
            .map(|(name, check)| match check {
                Ok(what) => format!("ok      {name}: {what}\n"),
                Err(what) => format!("failed  {name}: {what}\n"),
            })
            .collect();
        Response::text(if ready { 200 } else { 503 }, lines.trim_end())
    }

    /// A line for each upstream.
    async fn upstreams(&self) -> Vec<(String, Check)> {
        let config = self.config.load_full();
        let mut probes: Vec<_> = config
            .upstreams
            .iter()
            .map(|upstream| {
                let name = match config.upstreams.len() {
                    1 => "upstream".to_owned(),
                    _ => format!("upstream {}", upstream.name),
                };
                (name, tokio::spawn(probe(upstream.clone())))
            })
            .collect();
        let mut checks = Vec::new();
        for (name, probe) in probes.drain(..) {
            checks.push((name, probe.await.unwrap_or_else(|error| Err(error.to_string()))));
        }
        checks
    }

    fn store(&self) -> Result<String, String> {
        let (totals, status) = (self.store.totals(), self.store.status());
        if let Some(wrong) = status.wrong_path {
            Err(wrong.to_string())
        } else if !status.readable {
            Err("it cannot read: polls of messages that are not in memory get 503".to_owned())
        } else if !status.available {
            Err("it cannot write".to_owned())
        } else if status.no_space {
            Err(format!("no space: {} bytes are free", status.disk.free_bytes))
        } else if totals.bytes < self.config.load().store.max_buffered_bytes {
            Ok(format!("{} mailboxes, {} messages", totals.mailboxes, totals.messages))
        } else {
            Err(format!("full: {} bytes are buffered", totals.bytes))
        }
    }

    /// They are bound before anything is answered, and closed when the gateway stops.
    fn listeners(&self) -> Result<String, String> {
        if self.stop.is_cancelled() { Err("stopping".to_owned()) } else { Ok("up".to_owned()) }
    }
}

/// Whether one of its servers takes connections; which do, or why none does.
async fn probe(upstream: Upstream) -> Check {
    let within = PROBE.min(upstream.connect_timeout);
    let probes: Vec<_> = upstream
        .all_servers()
        .into_iter()
        .map(|server| {
            tokio::spawn(async move {
                let address = &server.address;
                match timeout(within, TcpStream::connect(server.authority())).await {
                    Ok(Ok(_)) => Ok(format!("{address} takes connections")),
                    Ok(Err(error)) => Err(format!("{address}: {error}")),
                    Err(_) => Err(format!("{address} takes no connection within {within:?}")),
                }
            })
        })
        .collect();
    let (mut up, mut all) = (false, Vec::new());
    for probe in probes {
        let check = probe.await.unwrap_or_else(|error| Err(error.to_string()));
        up |= check.is_ok();
        all.push(check.unwrap_or_else(|what| what));
    }
    let what = all.join(", ");
    if up { Ok(what) } else { Err(what) }
}
