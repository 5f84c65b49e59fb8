//! What the server answers, and what it is answered.

use std::time::Duration;

use super::place::Message;
use super::{Place, Rules};
use crate::dialect::{CallbackRefusal, Grant, Verdict};
use crate::http1::{Headers, Response};

/// What the head of a 2xx answer says.
pub fn read_grant(rules: &Rules, fields: &impl Headers) -> Grant {
    read(rules, fields, b"", |place| !place.is_in_content())
}

/// What the body of a 2xx answer says; none if the rules look for nothing there.
pub fn read_content(rules: &Rules, fields: &impl Headers, content: &[u8]) -> Grant {
    read(rules, fields, content, Place::is_in_content)
}

/// What is not readable says nothing: the subscription is there all the same, and is found by its token.
fn read(rules: &Rules, fields: &impl Headers, content: &[u8], wanted: fn(&Place) -> bool) -> Grant {
    let message = Message { query: "", fields, content };
    let value = |place: &Option<Place>| {
        let place = place.as_ref().filter(|place| wanted(place))?;
        place.read(&message).ok().flatten().filter(|value| !value.is_empty())
    };
    let lease = value(&rules.answer.lease);
    Grant {
        subscription_id: value(&rules.answer.id),
        lease: lease
            .and_then(|lease| -> Option<Duration> { rules.lease.unit.read(&lease, fields.text("date")) }),
    }
}

/// The answer to a callback.
pub fn word(rules: &Rules, verdict: Verdict) -> Response {
    let callback = &rules.callback;
    match verdict {
        Verdict::Accepted if callback.body.is_empty() => Response::new(callback.status),
        Verdict::Accepted => {
            Response::new(callback.status).with_body(&callback.content_type, callback.body.clone())
        }
        Verdict::Refused(refusal @ (CallbackRefusal::Unknown | CallbackRefusal::Ambiguous)) => {
            Response::text(410, refusal)
        }
        Verdict::Refused(refusal) => refusal.answer(&callback.methods.join(", ")),
    }
}
