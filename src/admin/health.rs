//! Whether the gateway can do its work at this moment.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Admin;
use crate::http1::Response;

/// Long enough for any upstream that is worth having, short enough for whoever probes us.
const PROBE: Duration = Duration::from_secs(2);

impl Admin {
    /// 200 if all is well, else 503; a line for each thing that was looked at.
    pub(super) async fn readiness(&self) -> Response {
        let checks =
            [("upstream", self.upstream().await), ("store", self.store()), ("listeners", self.listeners())];
        let ready = checks.iter().all(|(_, check)| check.is_ok());
        let lines: String = checks
            .iter()
            .map(|(name, check)| match check {
                Ok(what) => format!("ok      {name}: {what}\n"),
                Err(what) => format!("failed  {name}: {what}\n"),
            })
            .collect();
        Response::text(if ready { 200 } else { 503 }, lines.trim_end())
    }

    async fn upstream(&self) -> Result<String, String> {
        let config = self.config.load_full();
        let address = &config.upstream.address;
        let within = PROBE.min(config.upstream.connect_timeout);
        match timeout(within, TcpStream::connect(config.upstream.authority())).await {
            Ok(Ok(_)) => Ok(format!("{address} takes connections")),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address} takes no connection within {within:?}")),
        }
    }

    fn store(&self) -> Result<String, String> {
        let (totals, status) = (self.store.totals(), self.store.status());
        if !status.available {
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
