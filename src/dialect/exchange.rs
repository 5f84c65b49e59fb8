//! What Exchange's notifications have in common, be they RVP's or WebDAV's: `Call-Back`, `Subscription-Id` and
//! `Subscription-Lifetime`.

use std::time::Duration;

use url::Url;

use super::{Grant, Verdict};
use crate::http1::{Headers, RequestHead, Response};

/// The field whose value the gateway replaces.
pub(super) const CALL_BACK: &str = "Call-Back";

/// The only method that Exchange calls back with.
pub(super) const NOTIFY: &str = "NOTIFY";

/// The longest callback address that is taken.
pub(super) const LONGEST_CALLBACK: usize = 2048;

/// What a SUBSCRIBE asks for.
pub(super) struct Asked<'a> {
    /// How long the client wants the lease.
    pub(super) lease: Option<Duration>,
    /// The subscriptions that it is about; none for a new one.
    pub(super) ids: Vec<String>,
    /// The callback address, as text and parsed. A client that gives none with a new subscription chooses polling:
    /// Exchange's own rule.
    pub(super) callback: Option<(&'a str, Url)>,
}

impl<'a> Asked<'a> {
    /// Reads a SUBSCRIBE whose callback address has one of these schemes; what is wrong with it, if anything is.
    pub(super) fn read(head: &'a RequestHead, schemes: &[&str]) -> Result<Self, String> {
        let mut callbacks = head.fields.values(CALL_BACK);
        let callback = match (callbacks.next(), callbacks.next()) {
            (Some(_), Some(_)) => return Err("more than one Call-Back".into()),
            (callback, _) => callback.map(|value| read_callback_address(value, schemes)).transpose()?,
        };
        let lease = seconds(&head.fields, "subscription-lifetime");
        Ok(Self { lease, ids: subscription_ids(head), callback })
    }

    /// Whether a lease is to be prolonged, and nothing else.
    pub(super) fn is_renewal(&self) -> bool {
        self.callback.is_none() && !self.ids.is_empty()
    }
}

/// A callback address: a URL of a host, with one of these schemes, as text and parsed.
fn read_callback_address<'a>(value: &'a [u8], schemes: &[&str]) -> Result<(&'a str, Url), String> {
    let wrong = |what: &str| format!("unusable Call-Back: {what}");
    let text = std::str::from_utf8(value).map_err(|_| wrong("it is not text"))?;
    if text.len() > LONGEST_CALLBACK {
        return Err(wrong("it is too long"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("it holds what must be percent-encoded"));
    }
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !schemes.contains(&url.scheme()) {
        return Err(wrong(&format!("only {} addresses can be called back", schemes.join(" and "))));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds user information"));
    }
    Ok((text, url))
}

/// What the upstream's 2xx answer to a SUBSCRIBE says.
pub(super) fn read_grant(fields: &impl Headers) -> Grant {
    Grant {
        subscription_id: fields.text("subscription-id").map(str::to_owned),
        lease: seconds(fields, "subscription-lifetime"),
    }
}

/// The answer to a callback, in HTTP's own words.
pub(super) fn word(verdict: Verdict) -> Response {
    match verdict {
        Verdict::Accepted => Response::new(200),
        Verdict::Refused(refusal) => refusal.answer(NOTIFY),
    }
}

pub(super) fn subscription_ids(head: &RequestHead) -> Vec<String> {
    head.fields.list("subscription-id").map(str::to_owned).collect()
}

pub(super) fn seconds(fields: &impl Headers, name: &str) -> Option<Duration> {
    fields.text(name)?.parse().ok().map(Duration::from_secs)
}
