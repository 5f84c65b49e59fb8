//! Which protocol family a request, a callback or a mailbox is of.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::exchange::{self, CALL_BACK, NOTIFY};
use super::{Delivery, Grant, Reading, Verdict, gena, rvp, webdav};
use crate::http1::client::Call;
use crate::http1::{Headers, RequestHead, Response};
use crate::mailbox::Subscription;

/// A protocol family. What it is asked it answers in the terms of [`super`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RVP, of Exchange 2000 Instant Messaging.
    Rvp,
    /// GENA, of UPnP devices.
    Gena,
    /// Notifications of WebDAV servers.
    Webdav,
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
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Rvp, Self::Gena, Self::Webdav];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rvp => "rvp",
            Self::Gena => "gena",
            Self::Webdav => "webdav",
        }
    }
}

impl Dialect {
    /// The dialect of a client's request to an upstream that is set to speak this.
    pub fn of_request(choice: Choice, head: &RequestHead) -> Self {
        match choice {
            Choice::Rvp => Self::Rvp,
            Choice::Gena => Self::Gena,
            Choice::Webdav => Self::Webdav,
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

    /// The dialect of an upstream that is set to speak this, and says that it is this software (`Server`).
    pub fn of_server(choice: Choice, server: &str) -> Self {
        match choice {
            Choice::Rvp => Self::Rvp,
            Choice::Gena => Self::Gena,
            Choice::Webdav => Self::Webdav,
            // Devices have to say which version of UPnP they are of (UPnP Device Architecture §2.2).
            Choice::Auto if server.to_ascii_lowercase().contains("upnp/") => Self::Gena,
            Choice::Auto => Self::Rvp,
        }
    }

    /// The dialect in which a mailbox's subscription was written.
    pub fn of_subscription(subscription: &Subscription) -> Self {
        match &*subscription.dialect {
            "gena" => Self::Gena,
            "webdav" => Self::Webdav,
            _ => Self::Rvp,
        }
    }

    /// The dialect of a callback whose mailbox is not known.
    pub fn of_callback(fields: &impl Headers) -> Self {
        if fields.contains(gena::SID) { Self::Gena } else { Self::Rvp }
    }

    /// Its name in the file, and in mailboxes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rvp => "rvp",
            Self::Gena => "gena",
            Self::Webdav => "webdav",
        }
    }

    /// What a client's request means to the gateway. `names` are those of the upstream, beside the one in
    /// the request.
    pub fn read_request(&self, head: &RequestHead, names: &[String], client: IpAddr) -> Reading {
        match self {
            Self::Rvp => rvp::read_request(head, names, client),
            Self::Gena => gena::read_request(head, client),
            Self::Webdav => webdav::read_request(head, client),
        }
    }

    /// The head of a subscription as it goes upstream: with the gateway's callback address in place of the
    /// client's.
    pub fn with_callback(&self, head: &RequestHead, address: &str) -> Bytes {
        match self {
            Self::Rvp | Self::Webdav => head.with_field(CALL_BACK, address),
            Self::Gena => gena::with_callback(head, address),
        }
    }

    /// The field with the client's callback address.
    pub fn callback_field(&self) -> &'static str {
        match self {
            Self::Rvp | Self::Webdav => CALL_BACK,
            Self::Gena => gena::CALLBACK,
        }
    }

    /// What the upstream's 2xx answer to a subscription or a renewal says.
    pub fn read_grant(&self, fields: &impl Headers) -> Grant {
        match self {
            Self::Rvp | Self::Webdav => exchange::read_grant(fields),
            Self::Gena => gena::read_grant(fields),
        }
    }

    /// The lease when neither side names one.
    pub fn default_lease(&self) -> Duration {
        match self {
            Self::Rvp => rvp::DEFAULT_LEASE,
            Self::Gena => gena::DEFAULT_LEASE,
            Self::Webdav => webdav::DEFAULT_LEASE,
        }
    }

    /// Whether the upstream calls back with this method.
    pub fn is_callback(&self, method: &str) -> bool {
        match self {
            Self::Rvp | Self::Webdav => method == NOTIFY,
            Self::Gena => method == gena::callback::METHOD,
        }
    }

    /// What a callback says of itself.
    pub fn read_callback(&self, fields: &impl Headers, body: &[u8]) -> Delivery {
        match self {
            Self::Rvp => rvp::read_callback(fields, body),
            Self::Gena => gena::read_callback(),
            Self::Webdav => webdav::read_callback(),
        }
    }

    /// The upstream's id of the subscription that a callback is for, if it says so beside its path.
    pub fn subscription_id<'a>(&self, fields: &'a impl Headers) -> Option<&'a str> {
        match self {
            Self::Rvp | Self::Webdav => fields.text("subscription-id"),
            Self::Gena => fields.text(gena::SID),
        }
    }

    /// The principal that a callback is for, if its body says so.
    pub fn addressee(&self, body: &[u8]) -> Option<String> {
        match self {
            Self::Rvp => rvp::notification_to(body),
            Self::Gena | Self::Webdav => None,
        }
    }

    /// The answer to a callback with these fields.
    pub fn word(&self, verdict: Verdict, fields: &impl Headers) -> Response {
        match self {
            Self::Rvp => rvp::word(verdict, fields.text("rvp-notifications-version")),
            Self::Gena => gena::word(verdict),
            Self::Webdav => exchange::word(verdict),
        }
    }

    /// How the gateway itself ends a subscription with the upstream's id.
    pub fn unsubscribe(&self, subscription: &Subscription, id: &str) -> Call {
        match self {
            Self::Rvp => rvp::unsubscribe(subscription, id),
            Self::Gena => gena::unsubscribe(subscription, id),
            Self::Webdav => webdav::unsubscribe(subscription, id),
        }
    }

    /// A subscription by which it is tried whether the upstream calls back; none if that cannot be tried.
    pub fn trial(&self, subscription: &Subscription, lease: Duration) -> Option<Call> {
        match self {
            Self::Rvp => Some(rvp::trial(subscription, lease)),
            Self::Gena => Some(gena::trial(subscription, lease)),
            // What would change a folder for good is not tried.
            Self::Webdav => None,
        }
    }

    /// What makes the upstream call back for it: a request and its body; none if it does so by itself.
    pub fn provoke(&self, subscription: &Subscription) -> Option<(Call, String)> {
        match self {
            Self::Rvp => Some(rvp::provoke(subscription)),
            Self::Gena | Self::Webdav => None,
        }
    }
}
