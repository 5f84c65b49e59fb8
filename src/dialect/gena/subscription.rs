//! Subscriptions: what a control point asks, and what the device grants.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::{CALLBACK, SID};
use crate::dialect::{Grant, Reading, Subscribe};
use crate::http1::client::Call;
use crate::http1::{Headers, RequestHead};
use crate::mailbox::Subscription;

/// The only thing that can be subscribed to.
const EVENT: &str = "upnp:event";

/// The lease when neither side names one: what the architecture recommends, 30 minutes.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(1800);

/// A lease without an end, which the first version of the architecture allowed: longer than any mailbox lives.
const INFINITE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The longest list of addresses that is taken.
const LONGEST_CALLBACK: usize = 2048;

/// A request that the device must not see, and the status that the architecture has for it (§4.1.1).
struct Wrong(u16, &'static str);

/// What a client's request means to the gateway.
pub fn read_request(head: &RequestHead, client: IpAddr) -> Reading {
    let sids = || head.fields.values(SID).filter_map(|sid| std::str::from_utf8(sid).ok()).map(str::to_owned);
    match head.method() {
        "SUBSCRIBE" => read_subscribe(head, sids().collect(), client)
            .unwrap_or_else(|Wrong(status, what)| Reading::Invalid { status, what: what.to_owned() }),
        "UNSUBSCRIBE" => Reading::Unsubscribe { ids: sids().collect() },
        _ => Reading::Other,
    }
}

fn read_subscribe(head: &RequestHead, sids: Vec<String>, client: IpAddr) -> Result<Reading, Wrong> {
    let lease = timeout(&head.fields);
    let mut callbacks = head.fields.values(CALLBACK);
    let callback = match (callbacks.next(), callbacks.next()) {
        (Some(_), Some(_)) => return Err(Wrong(400, "more than one CALLBACK")),
        (callback, _) => callback,
    };
    if !sids.is_empty() {
        return match callback.is_some() || head.fields.contains("nt") {
            true => Err(Wrong(400, "a SID together with a CALLBACK or an NT")),
            false => Ok(Reading::Renew { ids: sids, lease }),
        };
    }
    match head.fields.text("nt") {
        Some(EVENT) => {}
        Some(_) => return Err(Wrong(412, "only upnp:event can be subscribed to")),
        None => return Err(Wrong(400, "neither an NT nor a SID")),
    }
    let callback = callback.map(first_address).transpose()?;
    Ok(Reading::Subscribe(Subscribe {
        subscription: Subscription {
            node: head.path().into(),
            callback: callback.map(Into::into),
            host: head.authority().into(),
            subscriber: Some(client),
            ..Subscription::default()
        },
        lease,
        renews: None,
    }))
}

/// The first address of `<url><url>…` that can be called. The others are for a client that has more than one
/// network; the gateway is in one.
fn first_address(value: &[u8]) -> Result<&str, Wrong> {
    const WRONG: Wrong = Wrong(412, "CALLBACK holds no http URL in angle brackets");
    let text = std::str::from_utf8(value).map_err(|_| WRONG)?;
    if text.len() > LONGEST_CALLBACK {
        return Err(Wrong(412, "CALLBACK is too long"));
    }
    text.split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(url, _)| url)
        .find(is_callable)
        .ok_or(WRONG)
}

fn is_callable(url: &&str) -> bool {
    url.bytes().all(|b| b.is_ascii_graphic())
        && Url::parse(url).is_ok_and(|url| {
            url.scheme() == "http"
                && url.host_str().is_some_and(|host| !host.is_empty())
                && url.username().is_empty()
                && url.password().is_none()
        })
}

/// The head of a subscription as it goes to the device.
pub fn with_callback(head: &RequestHead, address: &str) -> Bytes {
    head.with_field(CALLBACK, &format!("<{address}>"))
}

/// What the device's 2xx answer to a SUBSCRIBE says.
pub fn read_grant(fields: &impl Headers) -> Grant {
    Grant { subscription_id: fields.text(SID).map(str::to_owned), lease: timeout(fields) }
}

/// `TIMEOUT: Second-1800`, `Second-infinite`, or `infinite`; what is not understood says nothing.
fn timeout(fields: &impl Headers) -> Option<Duration> {
    // A list, as the draft has it: the first that is understood counts.
    fields.list("timeout").find_map(|timeout| {
        if timeout.eq_ignore_ascii_case("infinite") {
            return Some(INFINITE);
        }
        let (_, number) = timeout.split_once('-').filter(|(unit, _)| unit.eq_ignore_ascii_case("second"))?;
        match number.eq_ignore_ascii_case("infinite") {
            true => Some(INFINITE),
            false => number.parse().ok().map(Duration::from_secs).map(|lease| lease.min(INFINITE)),
        }
    })
}

/// How the gateway itself ends a subscription.
pub fn unsubscribe(subscription: &Subscription, sid: &str) -> Call {
    Call::new("UNSUBSCRIBE", &subscription.node)
        .with("Host", &subscription.host)
        .with(SID, sid)
        .with("Content-Length", 0)
}

/// `SUBSCRIBE` by which it is tried whether the device calls back. It does so at once: the first event tells
/// all that there is (UPnP Device Architecture §4.2).
pub fn trial(subscription: &Subscription, lease: Duration) -> Call {
    let call = Call::new("SUBSCRIBE", &subscription.node)
        .with("Host", &subscription.host)
        .with("NT", EVENT)
        .with("TIMEOUT", format_args!("Second-{}", lease.as_secs()));
    match &subscription.callback {
        Some(callback) => call.with(CALLBACK, format_args!("<{callback}>")),
        None => call,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    const CLIENT: [u8; 4] = [10, 1, 2, 3];

    fn head(request: &str) -> RequestHead {
        let text = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
        RequestHead::parse(text.as_bytes(), HeadLimits::default()).unwrap().expect(request).0
    }

    fn read(method: &str, fields: &str) -> Reading {
        let head =
            head(&format!("{method} /upnp/event/rendertransport1 HTTP/1.1\nHost: 10.0.0.5:49494\n{fields}"));
        read_request(&head, CLIENT.into())
    }

    #[test]
    fn a_subscription_needs_a_mailbox() {
        for (fields, callback, lease) in [
            (
                "NT: upnp:event\nCALLBACK: <http://10.1.2.3:5000/notify>\nTIMEOUT: Second-300",
                "http://10.1.2.3:5000/notify",
                Some(300),
            ),
            (
                "Callback: <https://no/> <http://a:1/><http://b:2/>\nNT: upnp:event\nTimeout: infinite",
                "http://a:1/",
                Some(3_153_600_000),
            ),
            (
                "Callback: <http://a/>\nNT: upnp:event\nTimeout: Second-infinite",
                "http://a/",
                Some(3_153_600_000),
            ),
            ("Callback: <http://a/>\nNT: upnp:event\nTimeout: hours-1, second-7", "http://a/", Some(7)),
            ("Callback: <http://a/>\nNT: upnp:event\nTimeout: Second-x", "http://a/", None),
        ] {
            let reading = read("SUBSCRIBE", fields);
            let Reading::Subscribe(subscribe) = reading else { panic!("{fields}: {reading:?}") };
            assert_eq!(subscribe.lease, lease.map(Duration::from_secs), "{fields}");
            assert_eq!(subscribe.renews, None);
            let expected = Subscription {
                node: "/upnp/event/rendertransport1".into(),
                callback: Some(callback.into()),
                host: "10.0.0.5:49494".into(),
                subscriber: Some(CLIENT.into()),
                ..Subscription::default()
            };
            assert_eq!(subscribe.subscription, expected);
        }
    }

    #[test]
    fn a_client_that_gives_no_address_chooses_polling() {
        let Reading::Subscribe(subscribe) = read("SUBSCRIBE", "NT: upnp:event") else { panic!() };
        assert_eq!(subscribe.subscription.callback, None);
    }

    #[test]
    fn what_a_device_would_refuse_is_refused_in_its_words() {
        for (fields, status) in [
            ("SID: uuid:7\nNT: upnp:event", 400),
            ("SID: uuid:7\nCALLBACK: <http://a/>", 400),
            ("CALLBACK: <http://a/>", 400),
            ("CALLBACK: <http://a/>\nCALLBACK: <http://b/>\nNT: upnp:event", 400),
            ("CALLBACK: <http://a/>\nNT: upnp:other", 412),
            ("CALLBACK: http://a/\nNT: upnp:event", 412),
            ("CALLBACK: <http://a/\nNT: upnp:event", 412),
            ("CALLBACK: <http://u:p@a/>\nNT: upnp:event", 412),
            ("CALLBACK: <http://a/ b>\nNT: upnp:event", 412),
            ("CALLBACK: <>\nNT: upnp:event", 412),
            ("CALLBACK:\nNT: upnp:event", 412),
        ] {
            let reading = read("SUBSCRIBE", fields);
            assert!(
                matches!(&reading, Reading::Invalid { status: s, .. } if *s == status),
                "{fields}: {reading:?}"
            );
        }
    }

    #[test]
    fn renewals_and_unsubscriptions_name_their_id() {
        let ids = vec!["uuid:7".to_owned()];
        let lease = Some(Duration::from_secs(600));
        assert_eq!(
            read("SUBSCRIBE", "SID: uuid:7\nTIMEOUT: Second-600"),
            Reading::Renew { ids: ids.clone(), lease }
        );
        assert_eq!(read("UNSUBSCRIBE", "SID: uuid:7"), Reading::Unsubscribe { ids });
        assert_eq!(read("GET", "SID: uuid:7"), Reading::Other);
    }

    #[test]
    fn the_device_is_told_one_address_in_its_brackets() {
        let head = head("SUBSCRIBE /e HTTP/1.1\nHost: h\nCallBack: <http://a/><http://b/>\nNT: upnp:event");
        let sent = with_callback(&head, "http://10.0.0.9:8081/token");
        assert_eq!(
            String::from_utf8_lossy(&sent),
            "SUBSCRIBE /e HTTP/1.1\r\nHost: h\r\nCallBack: <http://10.0.0.9:8081/token>\r\nNT: upnp:event\r\n\r\n"
        );
    }
}
