//! Subscriptions: what a client asks.

use std::net::IpAddr;

use crate::dialect::exchange::{Asked, subscription_ids};
use crate::dialect::{Reading, Subscribe};
use crate::http1::client::Call;
use crate::http1::{Headers, RequestHead};
use crate::mailbox::Subscription;

/// Whether a SUBSCRIBE is one of WebDAV and not of RVP, whose fields are the same but for its own.
pub fn is_mine(fields: &impl Headers) -> bool {
    let of_rvp = ["rvp-notifications-version", "rvp-from-principal"];
    let kind = fields.text("notification-type").unwrap_or_default().trim();
    let is = |other: &str| kind.eq_ignore_ascii_case(other);
    let kinds = ["update", "update/newmember", "delete", "move"];
    let mail =
        kind.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("pragma/")) && !is("pragma/notify");
    !of_rvp.iter().any(|name| fields.contains(name)) && (mail || kinds.iter().any(|kind| is(kind)))
}

/// What a client's request means to the gateway.
pub fn read_request(head: &RequestHead, client: IpAddr) -> Reading {
    match head.method() {
        "SUBSCRIBE" => {
            let invalid = |what| Reading::Invalid { status: 400, what };
            read_subscribe(head, client).unwrap_or_else(invalid)
        }
        "UNSUBSCRIBE" => Reading::Unsubscribe { ids: subscription_ids(head) },
        _ => Reading::Other,
    }
}

fn read_subscribe(head: &RequestHead, client: IpAddr) -> Result<Reading, String> {
    let asked = Asked::read(head, &["http", "httpu"])?;
    if asked.is_renewal() {
        return Ok(Reading::Renew { ids: asked.ids, lease: asked.lease });
    }
    Ok(Reading::Subscribe(Subscribe {
        subscription: Subscription {
            node: head.path().into(),
            callback: asked.callback.map(|(text, _)| text.into()),
            host: head.authority().into(),
            subscriber: Some(client),
            ..Subscription::default()
        },
        lease: asked.lease,
        renews: asked.ids.into_iter().next(),
    }))
}

/// How the gateway itself ends a subscription.
pub fn unsubscribe(subscription: &Subscription, id: &str) -> Call {
    Call::new("UNSUBSCRIBE", &subscription.node)
        .with("Host", &subscription.host)
        .with("Subscription-Id", id)
        .with("Content-Length", 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http1::HeadLimits;

    fn head(fields: &str) -> RequestHead {
        let text = format!("SUBSCRIBE /exchange/kari/Inbox/ HTTP/1.1\nHost: mail.example\n{fields}\n\n");
        RequestHead::parse(text.replace('\n', "\r\n").as_bytes(), HeadLimits::default()).unwrap().unwrap().0
    }

    #[test]
    fn a_subscription_of_webdav_shows_itself_by_its_type() {
        for (fields, mine) in [
            ("Notification-Type: update", true),
            ("Notification-type: Update/NewMember\nDepth: 1", true),
            ("Notification-Type: delete", true),
            ("Notification-Type: move", true),
            ("Notification-Type: pragma/<http://schemas.microsoft.com/exchange/newmail>", true),
            ("Notification-Type: pragma/notify", false),
            ("Notification-Type: update/propchange", false),
            ("Notification-Type: update\nRVP-Notifications-Version: 0.2", false),
            ("Subscription-Id: 7", false),
        ] {
            assert_eq!(is_mine(&head(fields).fields), mine, "{fields}");
        }
    }

    #[test]
    fn a_subscription_needs_a_mailbox() {
        for (fields, callback) in [
            ("Call-back: httpu://10.1.2.3:1234/\n", Some("httpu://10.1.2.3:1234/")),
            (
                "Call-back: http://10.1.2.3:1234/\nNotification-delay: 0\nDepth: 0\n",
                Some("http://10.1.2.3:1234/"),
            ),
            ("", None),
        ] {
            let fields = format!("{fields}Notification-Type: update\nSubscription-lifetime: 3600");
            let reading = read_request(&head(&fields), [10, 1, 2, 3].into());
            let Reading::Subscribe(subscribe) = reading else { panic!("{fields}: {reading:?}") };
            assert_eq!(subscribe.lease, Some(Duration::from_secs(3600)));
            assert_eq!(subscribe.subscription.callback.as_deref(), callback);
            assert_eq!(&*subscribe.subscription.node, "/exchange/kari/Inbox/");
        }
        let wrong = read_request(&head("Call-Back: ftp://10.1.2.3/"), [10, 1, 2, 3].into());
        assert!(matches!(wrong, Reading::Invalid { status: 400, .. }));
    }

    #[test]
    fn a_renewal_names_its_ids() {
        let renewal =
            read_request(&head("Subscription-ID: 21, 22\nSubscription-lifetime: 60"), [10, 1, 2, 3].into());
        let lease = Some(Duration::from_secs(60));
        assert_eq!(renewal, Reading::Renew { ids: vec!["21".into(), "22".into()], lease });
    }
}
