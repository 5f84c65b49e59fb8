//! A client that says it is gone for good: its mailbox ends, and its subscription at the upstream does.

use std::net::{IpAddr, Ipv4Addr};

use super::super::upstream::Wish;
use super::super::{Gateway, subscribe};
use crate::http1::client::{Call, CallError, call};
use crate::store::{EndedBy, MailboxReport};

/// The largest body of an answer that is read; it means nothing.
const LARGEST_BODY: usize = 64 * 1024;

/// Ends a mailbox, and unsubscribes it at the upstream.
pub(super) async fn client_is_gone(gateway: &Gateway, report: &MailboxReport) {
    let mailbox = report.id;
    tracing::info!(%mailbox, "client is gone: its subscription ends");
    subscribe::end(gateway, mailbox, EndedBy::Other).await;
    // Without an id nothing was granted yet, and there is nothing to end.
    let Some(id) = report.subscription_id.as_deref() else { return };
    let dialect = gateway.dialect_of_subscription(&report.subscription);
    let Some(request) = dialect.unsubscribe(&report.subscription, id) else {
        tracing::info!(%mailbox, "the upstream keeps the subscription until it is told that it is over");
        return;
    };
    match unsubscribe(gateway, report, request).await {
        Ok(200..300) => tracing::info!(%mailbox, "unsubscribed"),
        Ok(status) => {
            tracing::warn!(%mailbox, status, "the upstream keeps a subscription until its lease ends")
        }
        Err(error) => {
            tracing::warn!(%mailbox, %error, "the upstream keeps a subscription until its lease ends");
        }
    }
}

async fn unsubscribe(gateway: &Gateway, report: &MailboxReport, request: Call) -> Result<u16, CallError> {
    let subscription = &report.subscription;
    let nowhere = || CallError::Connect(std::io::Error::other("there is no server"));
    let upstream =
        gateway.upstreams().of_subscription(&subscription.upstream).cloned().ok_or_else(nowhere)?;
    let client = subscription.subscriber.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let wish = Wish { client, known: upstream.who_granted(&[report.id]), tried: &[] };
    let server = upstream.server(wish).await.map_err(CallError::Connect)?.ok_or_else(nowhere)?;
    let mut connection = upstream.connect(&server).await?;
    let within = upstream.config.read_timeout;
    let answer = call(&mut connection, request, b"", LARGEST_BODY, within).await?;
    Ok(answer.head.status)
}
