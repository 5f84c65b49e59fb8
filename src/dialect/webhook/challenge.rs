//! The handshakes of servers that ask first whether an address wants to be called.
//!
//! The client is away, and the gateway has its word for it: it registered. So the gateway answers, within the server's
//! time-out, whenever that is.

use std::time::Duration;

use super::place::Message;
use super::{Challenge, Condition, Rules, Unreadable};
use crate::http1::{RequestHead, Response};

/// A handshake that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The answer, if the subscription is the one that the server asks for.
    pub answer: Response,
    /// What must be a part of the subscription's id, if anything must.
    pub names: Option<String>,
    /// How long the server says the lease is.
    pub lease: Option<Duration>,
    /// Whether the mailbox ends by it.
    pub ends: bool,
    /// Whether it is answered for a subscription that is over, too.
    pub of_the_gone: bool,
}

impl Handshake {
    /// Whether it is about the subscription with this id.
    pub fn is_about(&self, id: Option<&str>) -> bool {
        self.names.as_deref().is_none_or(|name| id.is_some_and(|id| id.split(' ').any(|part| part == name)))
    }
}

/// The handshake that a request of the server begins, if it begins one.
pub fn challenge(rules: &Rules, head: &RequestHead, content: &[u8]) -> Option<Handshake> {
    let message = Message::request(head, Some(content));
    let challenges = rules.challenges.iter().filter(|challenge| challenge.method == head.method());
    // What cannot be read is no challenge, but a callback that means nothing here.
    challenges.filter_map(|challenge| read(rules, challenge, &message).ok().flatten()).next()
}

fn read(
    rules: &Rules,
    challenge: &Challenge,
    message: &Message<'_, crate::http1::Fields>,
) -> Result<Option<Handshake>, Unreadable> {
    if !Condition::all_hold(&challenge.when, message)? {
        return Ok(None);
    }
    let answer = match &challenge.echo {
        None => Response::new(200),
        Some(place) => match place.read(message)? {
            Some(echo) => Response::new(200).with_body(&challenge.content_type, echo),
            None => return Ok(None),
        },
    };
    let value = |place: &Option<super::Place>| place.as_ref().map(|place| place.read(message)).transpose();
    let lease = value(&challenge.lease)?.flatten();
    Ok(Some(Handshake {
        answer,
        names: match &challenge.id {
            // One that names nothing is about nothing.
            Some(place) => Some(place.read(message)?.unwrap_or_default()),
            None => None,
        },
        lease: lease.and_then(|lease| rules.lease.unit.read(&lease, None)),
        ends: challenge.ends,
        of_the_gone: challenge.of_the_gone,
    }))
}
