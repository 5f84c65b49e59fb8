//! The end of a subscription, as the gateway itself asks for it.

use crate::http1::client::Call;
use crate::mailbox::Subscription;

/// `UNSUBSCRIBE` for a subscription with the upstream's id: what the client would have sent, without
/// credentials.
pub fn unsubscribe(subscription: &Subscription, id: &str) -> Call {
    let call = Call::new("UNSUBSCRIBE", &subscription.node)
        .with("Host", &subscription.host)
        .with("Subscription-Id", id)
        .with("RVP-Notifications-Version", "0.2");
    let call = match &subscription.principal {
        Some(principal) => call.with("RVP-From-Principal", principal),
        None => call,
    };
    call.with("Content-Length", 0)
}
