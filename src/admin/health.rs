//! Whether the gateway can do its work at this moment.

use std::time::Duration;

use crate::gateway::Gateway;
use crate::http1::Response;

/// Long enough for any upstream that is worth having, short enough for whoever probes us.
const PROBE: Duration = Duration::from_secs(2);

/// 200 if all is well, else 503; a line for each thing that was looked at.
pub async fn readiness(gateway: &Gateway) -> Response {
    let config = gateway.config();
    let address = &config.upstream.address;
    let upstream = match gateway.upstream.probe(address, PROBE.min(config.upstream.connect_timeout)).await {
        Ok(()) => Ok(format!("{address} takes connections")),
        Err(error) => Err(format!("{address}: {error}")),
    };
    let totals = gateway.store.totals();
    let store = if totals.bytes < config.store.max_buffered_bytes {
        Ok(format!("{} mailboxes, {} messages", totals.mailboxes, totals.messages))
    } else {
        Err(format!("full: {} bytes are buffered", totals.bytes))
    };
    let listeners =
        if gateway.stop.is_cancelled() { Err("stopping".to_owned()) } else { Ok("up".to_owned()) };
    let checks = [("upstream", upstream), ("store", store), ("listeners", listeners)];
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
