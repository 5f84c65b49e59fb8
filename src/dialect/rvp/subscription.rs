//! Subscriptions: what a client asks, and what the upstream grants.

use std::net::IpAddr;

use url::Url;

use crate::dialect::exchange::{Asked, seconds, subscription_ids};
use crate::dialect::{Reading, Subscribe};
use crate::http1::{Headers, RequestHead};
use crate::mailbox::Subscription;

/// The names under which the upstream is known, beside the one in the request.
pub type Names<'a> = &'a [String];

/// What a client's request means to the gateway.
pub fn read_request(head: &RequestHead, names: Names<'_>, client: IpAddr) -> Reading {
    match head.method() {
        "SUBSCRIBE" => {
            let invalid = |what| Reading::Invalid { status: 400, what };
            read_subscribe(head, names, client).unwrap_or_else(invalid)
        }
        "UNSUBSCRIBE" => Reading::Unsubscribe { ids: subscription_ids(head) },
        _ => Reading::Other,
    }
}

fn read_subscribe(head: &RequestHead, names: Names<'_>, client: IpAddr) -> Result<Reading, String> {
    let asked = Asked::read(head, &["http"])?;
    if asked.is_renewal() {
        return Ok(Reading::Renew { ids: asked.ids, lease: asked.lease });
    }
    let Asked { lease, ids, callback } = asked;
    if callback.as_ref().is_some_and(|(_, url)| is_logical(url, head.authority(), names)) {
        return Ok(Reading::Other);
    }
    let host = head.authority();
    let node = head.path();
    let principal = match head.fields.text("rvp-from-principal") {
        Some(principal) => principal.to_owned(),
        None => format!("http://{host}{node}"),
    };
    Ok(Reading::Subscribe(Subscribe {
        subscription: Subscription {
            node: node.into(),
            principal: Some(principal.into()),
            callback: callback.map(|(text, _)| text.into()),
            host: host.into(),
            subscriber: Some(client),
            message_life_time: seconds(&head.fields, "poll-message-lifetime"),
            ..Subscription::default()
        },
        lease,
        renews: ids.into_iter().next(),
    }))
}

/// Whether a callback is a principal's URL rather than a client's address: its host is one of the
/// server's own names, and its port the one under which that name is asked.
pub(in crate::dialect) fn is_logical(callback: &Url, authority: &str, names: Names<'_>) -> bool {
    let Some(host) = callback.host_str() else { return false };
    let port = callback.port_or_known_default();
    let (own_host, own_port) = split_port(authority);
    names.iter().map(String::as_str).chain([own_host]).any(|name| {
        let (name, name_port) = split_port(name);
        let ports = [Some(80), own_port, name_port];
        name.eq_ignore_ascii_case(host) && ports.contains(&port)
    })
}

fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http1::HeadLimits;

    fn read(request: &str) -> Reading {
        let text = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
        let (head, _) = RequestHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect(request);
        read_request(&head, &["im-alias.example".into()], IpAddr::from([10, 1, 2, 3]))
    }

    fn subscribe(fields: &str) -> Reading {
        read(&format!("SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\nHost: im.example:8080\n{fields}"))
    }

    #[test]
    fn a_login_needs_a_mailbox() {
        let reading = subscribe(
            "Notification-Type: pragma/notify\nSubscription-Lifetime: 14400\nCALL-back: http://10.1.2.3:1234\n\
             RVP-Notifications-Version: 0.2\nPoll-Message-Lifetime: 600\n\
             RVP-From-Principal: http://im.example/instmsg/aliases/kari",
        );
        let Reading::Subscribe(login) = reading else { panic!("{reading:?}") };
        assert_eq!(login.lease, Some(Duration::from_secs(14400)));
        assert_eq!(login.renews, None);
        assert_eq!(
            login.subscription,
            Subscription {
                node: "/instmsg/aliases/kari".into(),
                principal: Some("http://im.example/instmsg/aliases/kari".into()),
                callback: Some("http://10.1.2.3:1234".into()),
                host: "im.example:8080".into(),
                subscriber: Some(IpAddr::from([10, 1, 2, 3])),
                message_life_time: Some(Duration::from_secs(600)),
                ..Subscription::default()
            }
        );
    }

    #[test]
    fn an_absolute_form_target_names_the_host() {
        let reading = read(
            "SUBSCRIBE http://IM.example/instmsg/aliases/kari?x HTTP/1.1\nHost: other\nCall-Back: http://h:1234/p",
        );
        let Reading::Subscribe(login) = reading else { panic!("{reading:?}") };
        assert_eq!(
            (&*login.subscription.host, &*login.subscription.node),
            ("IM.example", "/instmsg/aliases/kari")
        );
        assert_eq!(
            login.subscription.principal.as_deref(),
            Some("http://IM.example/instmsg/aliases/kari"),
            "without RVP-From-Principal it is the node's own"
        );
    }

    #[test]
    fn a_client_that_gives_no_address_chooses_polling() {
        let reading = subscribe("Notification-Type: pragma/notify");
        let Reading::Subscribe(login) = reading else { panic!("{reading:?}") };
        assert_eq!(login.subscription.callback, None);
        assert_eq!(login.subscription.message_target(), "http://im.example:8080/instmsg/aliases/kari");
    }

    #[test]
    fn renewals_and_unsubscriptions_name_their_ids() {
        assert_eq!(
            subscribe("Subscription-Id: 7, 8\nSubscription-Lifetime: 60"),
            Reading::Renew { ids: vec!["7".into(), "8".into()], lease: Some(Duration::from_secs(60)) }
        );
        assert_eq!(
            read("UNSUBSCRIBE /n HTTP/1.1\nHost: h\nsubscription-ID: 7"),
            Reading::Unsubscribe { ids: vec!["7".into()] }
        );
    }

    #[test]
    fn logical_callbacks_and_other_methods_pass() {
        for callback in [
            "http://im.example/instmsg/aliases/kari",
            "http://IM.EXAMPLE:80/instmsg/aliases/kari",
            "http://im.example:8080/instmsg/aliases/kari",
            "http://im-alias.example/instmsg/aliases/kari",
        ] {
            assert_eq!(subscribe(&format!("Call-Back: {callback}")), Reading::Other, "{callback}");
        }
        for method in ["PROPFIND", "PROPPATCH", "SUBSCRIPTIONS", "NOTIFY", "ACL", "subscribe", "X-NEW"] {
            let reading = read(&format!("{method} /n HTTP/1.1\nHost: h\nCall-Back: http://10.1.1.1:9"));
            assert_eq!(reading, Reading::Other, "{method}");
        }
    }

    #[test]
    fn a_client_on_the_servers_own_host_is_not_the_server() {
        assert!(matches!(subscribe("Call-Back: http://im.example:1234"), Reading::Subscribe(_)));
    }

    #[test]
    fn an_unusable_callback_is_invalid() {
        for callback in [
            "",
            "10.1.2.3:1234",
            "not a url",
            "/path",
            "https://10.1.2.3/",
            "httpu://10.1.2.3:1",
            "ftp://10.1.2.3/",
            "http://",
            "http://:80/",
            "http://user@10.1.2.3/",
            "http://user:pw@10.1.2.3/",
            "http://10.1.2.3:99999/",
            "http://10.1.2.3/a b",
            "http://10.1.2.3/\tx",
            "http://10.1.2.3/, http://10.1.2.4/",
        ] {
            let reading = subscribe(&format!("Call-Back: {callback}"));
            assert!(matches!(reading, Reading::Invalid { .. }), "{callback:?}: {reading:?}");
        }
        let twice = subscribe("Call-Back: http://10.1.2.3:1\nCall-Back: http://10.1.2.3:2");
        assert!(matches!(twice, Reading::Invalid { .. }), "{twice:?}");
        let long = "x".repeat(crate::dialect::exchange::LONGEST_CALLBACK);
        let long = subscribe(&format!("Call-Back: http://10.1.2.3/{long}"));
        assert!(matches!(long, Reading::Invalid { .. }));
    }
}
