//! A client that says it is gone for good: its mailbox ends, and its subscription at the upstream does.

use std::time::Duration;

use super::super::{Gateway, subscribe};
use crate::http1::client::{Call, CallError, call};
use crate::store::MailboxReport;

/// The largest body of an answer that is read; it means nothing.
const LARGEST_BODY: usize = 64 * 1024;

/// Ends a mailbox, and unsubscribes it at the upstream.
pub(super) async fn client_is_gone(gateway: &Gateway, report: &MailboxReport) {
    let mailbox = report.id;
    tracing::info!(%mailbox, "client is gone: its subscription ends");
    subscribe::end(gateway, mailbox).await;
    // Without an id nothing was granted yet, and there is nothing to end.
    let Some(id) = report.subscription_id.as_deref() else { return };
    let dialect = gateway.dialect_of_subscription(&report.subscription);
    let Some(request) = dialect.unsubscribe(&report.subscription, id) else {
        tracing::info!(%mailbox, "the upstream keeps the subscription until it is told that it is over");
        return;
    };
    match unsubscribe(gateway, request).await {
        Ok(200..300) => tracing::info!(%mailbox, "unsubscribed"),
        Ok(status) => {
            tracing::warn!(%mailbox, status, "the upstream keeps a subscription until its lease ends")
        }
        Err(error) => {
            tracing::warn!(%mailbox, %error, "the upstream keeps a subscription until its lease ends");
        }
    }
}

async fn unsubscribe(gateway: &Gateway, request: Call) -> Result<u16, CallError> {
    let upstream = gateway.config().upstream.clone();
    let mut connection = gateway.connect_upstream(&upstream).await?;
    let within: Duration = upstream.read_timeout;
    let answer = call(&mut connection, request, b"", LARGEST_BODY, within).await?;
    Ok(answer.head.status)
}
