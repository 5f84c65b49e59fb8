//! Whose mailbox it is.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::{ConnectionSettings, DeliveryMode};

/// What is known of the lease that a mailbox belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The node subscribed to: the path of the request, such as `/instmsg/aliases/kari`.
    pub node: Box<str>,
    /// Who subscribed, as a principal's URL, if the request said so.
    pub principal: Option<Box<str>>,
    /// The client's own callback address; none if the client chose polling by giving none.
    pub callback: Option<Box<str>>,
    /// The name under which the client knows the gateway (`Host`, or the target's authority).
    pub host: Box<str>,
    /// Where the request came from.
    pub subscriber: Option<IpAddr>,
    /// The life time of messages that the client asked for (`Poll-Message-Lifetime`).
    pub message_life_time: Option<Duration>,
    /// How the client wanted to be told when it signed in.
    pub connection: ConnectionSettings,
    /// The name of the dialect it was written in; empty is the first that there was, RVP.
    pub dialect: Box<str>,
    /// The name of the upstream that it is at; empty is the first.
    pub upstream: Box<str>,
}

impl Subscription {
    /// How the client is told. One that gave no callback address chose polling, whatever its settings say.
    pub fn delivery_mode(&self) -> DeliveryMode {
        match self.callback {
            Some(_) => self.connection.effective_mode(),
            None => DeliveryMode::Polling,
        }
    }

    /// How long the client should wait between its polls, as its settings say; none if it is called.
    pub fn poll_interval(&self) -> Option<Duration> {
        (self.delivery_mode() == DeliveryMode::Polling).then(|| self.connection.polling_period.duration())
    }

    /// The target of a message that is handed to the client: its own callback address, or, for a client
    /// that gave none, the logical URL of the node it subscribed to.
    pub fn message_target(&self) -> Cow<'_, str> {
        match &self.callback {
            Some(callback) => Cow::Borrowed(callback),
            None => Cow::Owned(format!("http://{}{}", self.host, self.node)),
        }
    }
}
