//! A sign-in by which it is tried whether the upstream calls back, and a message to call back for.

use std::time::Duration;

use quick_xml::escape::escape;

use crate::dialect::exchange::CALL_BACK;
use crate::http1::client::Call;
use crate::mailbox::Subscription;

/// `SUBSCRIBE` to the node's notifications, without credentials.
pub fn trial(subscription: &Subscription, lease: Duration) -> Call {
    let call = start("SUBSCRIBE", subscription)
        .with("Notification-Type", "pragma/notify")
        .with("Subscription-Lifetime", lease.as_secs());
    let call = match &subscription.callback {
        Some(callback) => call.with(CALL_BACK, callback),
        None => call,
    };
    call.with("Content-Length", 0)
}

/// `NOTIFY`: a message of the node's user to itself, since a sign-in alone is no news to anybody.
pub fn provoke(subscription: &Subscription) -> (Call, String) {
    let body = message(subscription.principal.as_deref().unwrap_or_default());
    let call = start("NOTIFY", subscription).with("Content-Type", "text/xml");
    (call.with("Content-Length", body.len()), body)
}

fn start(method: &str, subscription: &Subscription) -> Call {
    let call = Call::new(method, &subscription.node)
        .with("Host", &subscription.host)
        .with("RVP-Notifications-Version", "0.2");
    match &subscription.principal {
        Some(principal) => call.with("RVP-From-Principal", principal),
        None => call,
    }
}

fn message(principal: &str) -> String {
    let contact = format!("<r:contact><d:href>{}</d:href></r:contact>", escape(principal));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <r:notification xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\"><r:message>\
         <r:notification-from>{contact}</r:notification-from><r:notification-to>{contact}</r:notification-to>\
         <r:msgbody><r:mime-data><![CDATA[MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n\
         Pollgate tries whether callbacks arrive.]]></r:mime-data></r:msgbody></r:message></r:notification>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::rvp;
    use crate::http1::{HeadLimits, RequestHead};

    #[test]
    fn its_message_is_one() {
        let principal = "http://im.example/instmsg/aliases/a&b";
        let body = message(principal);
        let parsed = RequestHead::parse(b"NOTIFY / HTTP/1.1\r\nHost: h\r\n\r\n", HeadLimits::default());
        let (head, _) = parsed.unwrap().unwrap();
        assert_eq!(rvp::read_callback(&head.fields, body.as_bytes()).class.name(), "message");
        assert_eq!(rvp::notification_to(body.as_bytes()).as_deref(), Some(principal));
    }
}
