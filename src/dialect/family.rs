//! Which protocol family a request, a callback or a mailbox is of.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::exchange::{self, CALL_BACK, NOTIFY};
use super::{Delivery, Grant, Reading, Verdict, gena, rvp, webdav, webhook};
use crate::http1::client::Call;
use crate::http1::{Headers, RequestHead, Response};
use crate::mailbox::{Class, Subscription};

/// A protocol family. What it is asked it answers in the terms of [`super`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RVP, of Exchange 2000 Instant Messaging.
    Rvp,
    /// GENA, of UPnP devices.
    Gena,
    /// Notifications of WebDAV servers.
    Webdav,
    /// Webhooks, as these rules have them.
    Webhook(Arc<webhook::Rules>),
}

/// Which dialect an upstream speaks, as it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// What each request shows.
    #[default]
    Auto,
    /// [`Dialect::Rvp`].
    Rvp,
    /// [`Dialect::Gena`].
    Gena,
    /// [`Dialect::Webdav`].
    Webdav,
    /// [`Dialect::Webhook`], by the rules that are set beside it.
    Webhook,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Rvp, Self::Gena, Self::Webdav, Self::Webhook];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rvp => "rvp",
            Self::Gena => "gena",
            Self::Webdav => "webdav",
            Self::Webhook => "webhook",
        }
    }
}

impl Dialect {
    /// The dialect of a client's request to an upstream that is set to speak this. `rules` are those of webhooks.
    pub fn of_request(choice: Choice, rules: Option<&Arc<webhook::Rules>>, head: &RequestHead) -> Self {
        match choice {
            Choice::Rvp => Self::Rvp,
            Choice::Gena => Self::Gena,
            Choice::Webdav => Self::Webdav,
            Choice::Webhook => Self::by_rules(rules),
            Choice::Auto => {
                // RVP writes Call-Back and Subscription-Id.
                let is_gena = head.fields.contains(gena::CALLBACK)
                    || head.fields.contains(gena::SID)
                    || head.fields.text("nt").is_some_and(|nt| nt.starts_with("upnp:"));
                match is_gena {
                    true => Self::Gena,
                    false if webdav::subscription::is_mine(&head.fields) => Self::Webdav,
                    false => Self::Rvp,
                }
            }
        }
    }

    fn by_rules(rules: Option<&Arc<webhook::Rules>>) -> Self {
        Self::Webhook(rules.cloned().unwrap_or_default())
    }

    /// The dialect of an upstream that is set to speak this, and says that it is this software (`Server`).
    pub fn of_server(choice: Choice, rules: Option<&Arc<webhook::Rules>>, server: &str) -> Self {
        match choice {
            Choice::Rvp => Self::Rvp,
            Choice::Gena => Self::Gena,
            Choice::Webdav => Self::Webdav,
            Choice::Webhook => Self::by_rules(rules),
            // Devices have to say which version of UPnP they are of (UPnP Device Architecture §2.2).
            Choice::Auto if server.to_ascii_lowercase().contains("upnp/") => Self::Gena,
            Choice::Auto => Self::Rvp,
        }
    }

    /// The dialect in which a mailbox's subscription was written. `rules` are those of webhooks, as they are now.
    pub fn of_subscription(subscription: &Subscription, rules: Option<&Arc<webhook::Rules>>) -> Self {
        match &*subscription.dialect {
            "gena" => Self::Gena,
            "webdav" => Self::Webdav,
            "webhook" => Self::by_rules(rules),
            _ => Self::Rvp,
        }
    }

    /// The dialect of a callback whose mailbox is not known. `rules` are those of webhooks, if there are any: nothing
    /// in a callback shows that it is one.
    pub fn of_callback(fields: &impl Headers, rules: Option<&Arc<webhook::Rules>>) -> Self {
        if fields.contains(gena::SID) {
            return Self::Gena;
        }
        match rules {
            Some(rules) => Self::Webhook(rules.clone()),
            None => Self::Rvp,
        }
    }

    /// Its name in the file, and in mailboxes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rvp => "rvp",
            Self::Gena => "gena",
            Self::Webdav => "webdav",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Whether the body of a request must be known to tell what it means; if so, how many bytes it may have.
    pub fn reads_content(&self, head: &RequestHead) -> Option<usize> {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => None,
            Self::Webhook(rules) => webhook::reads_content(rules, head).then_some(webhook::LARGEST_CONTENT),
        }
    }

    /// What a client's request means to the gateway. `content` is its body, if that [must be
    /// known](Self::reads_content); `names` are those of the upstream, beside the one in the request.
    pub fn read_request(
        &self,
        head: &RequestHead,
        content: Option<&[u8]>,
        names: &[String],
        client: IpAddr,
    ) -> Reading {
        match self {
            Self::Rvp => rvp::read_request(head, names, client),
            Self::Gena => gena::read_request(head, client),
            Self::Webdav => webdav::read_request(head, client),
            Self::Webhook(rules) => webhook::read_request(rules, head, content, names, client),
        }
    }

    /// The path of the subscriptions that a request is about.
    pub fn node<'a>(&self, head: &'a RequestHead) -> &'a str {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => head.path(),
            Self::Webhook(rules) => webhook::node(rules, head),
        }
    }

    /// Whether later requests about a subscription may give its callback address again. What is subscribed to again
    /// is renewed then, in the same mailbox.
    pub fn repeats_callback(&self) -> bool {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => false,
            Self::Webhook(_) => true,
        }
    }

    /// A request as it goes upstream: its head, with the gateway's callback address in place of the client's, and its
    /// body if that was read.
    pub fn with_callback(&self, head: &RequestHead, content: Option<&[u8]>, address: &str) -> Bytes {
        match self {
            Self::Rvp | Self::Webdav => head.with_field(CALL_BACK, address),
            Self::Gena => gena::with_callback(head, address),
            Self::Webhook(rules) => webhook::with_callback(rules, head, content, address),
        }
    }

    /// The field with the client's callback address, if it is always the same one.
    pub fn callback_field(&self) -> Option<&'static str> {
        match self {
            Self::Rvp | Self::Webdav => Some(CALL_BACK),
            Self::Gena => Some(gena::CALLBACK),
            Self::Webhook(_) => None,
        }
    }

    /// What the head of the upstream's 2xx answer to a subscription or a renewal says.
    pub fn read_grant(&self, fields: &impl Headers) -> Grant {
        match self {
            Self::Rvp | Self::Webdav => exchange::read_grant(fields),
            Self::Gena => gena::read_grant(fields),
            Self::Webhook(rules) => webhook::read_grant(rules, fields),
        }
    }

    /// Whether the body of that answer says something; if so, how many bytes of it are read.
    pub fn reads_answer(&self) -> Option<usize> {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => None,
            Self::Webhook(rules) => rules.reads_answer().then_some(webhook::LARGEST_CONTENT),
        }
    }

    /// What the body of that answer says.
    pub fn read_answer(&self, fields: &impl Headers, content: &[u8]) -> Grant {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => Grant::default(),
            Self::Webhook(rules) => webhook::read_content(rules, fields, content),
        }
    }

    /// The lease when neither side names one.
    pub fn default_lease(&self) -> Duration {
        match self {
            Self::Rvp => rvp::DEFAULT_LEASE,
            Self::Gena => gena::DEFAULT_LEASE,
            Self::Webdav => webdav::DEFAULT_LEASE,
            Self::Webhook(rules) => rules.lease.default,
        }
    }

    /// Whether it is one that configured rules describe.
    pub fn has_rules(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }

    /// The field of an answer that tells the client this lease, if the dialect has one.
    pub fn lease_field(&self, lease: Duration) -> Option<(&'static str, String)> {
        match self {
            Self::Rvp | Self::Webdav => Some(("Subscription-Lifetime", lease.as_secs().to_string())),
            Self::Gena => Some(("TIMEOUT", format!("Second-{}", lease.as_secs()))),
            Self::Webhook(_) => None,
        }
    }

    /// Whether the upstream calls back with this method.
    pub fn is_callback(&self, method: &str) -> bool {
        match self {
            Self::Rvp | Self::Webdav => method == NOTIFY,
            Self::Gena => method == gena::callback::METHOD,
            Self::Webhook(rules) => rules.callback.methods.iter().any(|other| other == method),
        }
    }

    /// The handshake that a request at a callback address begins, if it is not a callback but one of these.
    pub fn handshake(&self, head: &RequestHead, content: &[u8]) -> Option<webhook::Handshake> {
        match self {
            Self::Rvp | Self::Gena | Self::Webdav => None,
            Self::Webhook(rules) => webhook::challenge(rules, head, content),
        }
    }

    /// What a callback says of itself.
    pub fn read_callback(&self, fields: &impl Headers, body: &[u8]) -> Delivery {
        match self {
            Self::Rvp => rvp::read_callback(fields, body),
            Self::Gena => gena::read_callback(),
            Self::Webdav => webdav::read_callback(),
            Self::Webhook(_) => Delivery { class: Class::Message, deep_ack: false },
        }
    }

    /// The upstream's id of the subscription that a callback is for, if it says so beside its path.
    pub fn subscription_id<'a>(&self, fields: &'a impl Headers) -> Option<&'a str> {
        match self {
            Self::Rvp | Self::Webdav => fields.text("subscription-id"),
            Self::Gena => fields.text(gena::SID),
            Self::Webhook(_) => None,
        }
    }

    /// The principal that a callback is for, if its body says so.
    pub fn addressee(&self, body: &[u8]) -> Option<String> {
        match self {
            Self::Rvp => rvp::notification_to(body),
            Self::Gena | Self::Webdav | Self::Webhook(_) => None,
        }
    }

    /// The answer to a callback with these fields.
    pub fn word(&self, verdict: Verdict, fields: &impl Headers) -> Response {
        match self {
            Self::Rvp => rvp::word(verdict, fields.text("rvp-notifications-version")),
            Self::Gena => gena::word(verdict),
            Self::Webdav => exchange::word(verdict),
            Self::Webhook(rules) => webhook::word(rules, verdict),
        }
    }

    /// How the gateway itself ends a subscription with the upstream's id; none if it has no way to.
    pub fn unsubscribe(&self, subscription: &Subscription, id: &str) -> Option<Call> {
        match self {
            Self::Rvp => Some(rvp::unsubscribe(subscription, id)),
            Self::Gena => Some(gena::unsubscribe(subscription, id)),
            Self::Webdav => Some(webdav::unsubscribe(subscription, id)),
            Self::Webhook(rules) => webhook::unsubscribe(rules, subscription, id),
        }
    }

    /// A subscription by which it is tried whether the upstream calls back; none if that cannot be tried.
    pub fn trial(&self, subscription: &Subscription, lease: Duration) -> Option<Call> {
        match self {
            Self::Rvp => Some(rvp::trial(subscription, lease)),
            Self::Gena => Some(gena::trial(subscription, lease)),
            // What would change a folder for good is not tried.
            Self::Webdav | Self::Webhook(_) => None,
        }
    }

    /// What makes the upstream call back for it: a request and its body; none if it does so by itself.
    pub fn provoke(&self, subscription: &Subscription) -> Option<(Call, String)> {
        match self {
            Self::Rvp => Some(rvp::provoke(subscription)),
            Self::Gena | Self::Webdav | Self::Webhook(_) => None,
        }
    }
}
