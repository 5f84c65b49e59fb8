//! What is said of a server that calls webhooks.

use std::time::Duration;

use super::{LONGEST_LEASE, PathPattern, Place, Unreadable, place::Message};
use crate::http1::{Headers, RequestHead};

/// What is said of a server. Without a registration nothing is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The request that registers an address.
    pub registration: Option<Registration>,
    /// The request that changes or prolongs what was registered.
    pub renewal: Option<Known>,
    /// The request that ends it.
    pub end: Option<Known>,
    /// What the answer to a registration or a renewal says.
    pub answer: Answer,
    /// How long a lease is.
    pub lease: Lease,
    /// What the server calls with, and how it is answered.
    pub callback: Callback,
    /// What the server asks before it calls; the first that fits counts.
    pub challenges: Vec<Challenge>,
}

/// The request that registers an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it is like.
    pub request: RequestPattern,
    /// Where the address may stand; never empty. Where there is none it is put at the first that it can be put at.
    pub callback: Vec<Place>,
    /// Whether a registration without an address is one of a client that chooses polling.
    pub callback_optional: bool,
    /// What in it identifies the subscription; empty if the answer has its id.
    pub id: Vec<Place>,
    /// Where the client says how long it wants the lease.
    pub lease: Option<Place>,
}

/// A request that is about a subscription which is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is like.
    pub request: RequestPattern,
    /// What in it identifies the subscription; empty if its path has the id.
    pub id: Vec<Place>,
}

/// What a request is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPattern {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: PathPattern,
    /// The media type of its body, without parameters and in lower case; none: any.
    pub content_type: Option<String>,
    /// What else must hold.
    pub when: Vec<Condition>,
}

/// A place that must hold one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which place.
    pub place: Place,
    /// The values.
    pub values: Vec<String>,
}

/// What the answer to a registration or a renewal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Where the id of the subscription stands.
    pub id: Option<Place>,
    /// Where it says how long the lease is.
    pub lease: Option<Place>,
}

/// How long a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When nobody says it.
    pub default: Duration,
    /// How those write it who do.
    pub unit: Unit,
}

/// How the length of a lease is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A number of seconds.
    #[default]
    Seconds,
    /// A number of minutes.
    Minutes,
    /// The time of its end (RFC 3339). Only an answer says it, beside its `Date`: that needs no clock of ours.
    Time,
}

/// What the server calls with, and how it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The methods; never empty.
    pub methods: Vec<String>,
    /// The status of the answer.
    pub status: u16,
    /// The content of the answer; it may be empty.
    pub body: String,
    /// The media type of that content.
    pub content_type: String,
}

/// What the server asks before it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The method of the request.
    pub method: String,
    /// What must hold.
    pub when: Vec<Condition>,
    /// What is answered: what stands there. Without it the answer has no content.
    pub echo: Option<Place>,
    /// The media type of the answer.
    pub content_type: String,
    /// Where a part of the subscription's id stands, which must be one.
    pub id: Option<Place>,
    /// Where the server says how long the lease is.
    pub lease: Option<Place>,
    /// Whether the mailbox ends by it.
    pub ends: bool,
    /// Whether it is answered for subscriptions that are over, too.
    pub of_the_gone: bool,
}

impl Default for Lease {
    /// Ten days, as many hubs of WebSub have it.
    fn default() -> Self {
        Self { default: Duration::from_secs(10 * 24 * 3600), unit: Unit::Seconds }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            methods: vec!["POST".to_owned()],
            status: 200,
            body: String::new(),
            content_type: "text/plain; charset=utf-8".to_owned(),
        }
    }
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Minutes, Self::Time];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Time => "time",
        }
    }

    /// How long a lease is that is written so, in a message of this date (RFC 9110 §6.6.1). What is not understood
    /// says nothing, and so does what is over already.
    pub(super) fn read(self, text: &str, date: Option<&str>) -> Option<Duration> {
        let number = || text.trim().parse().ok();
        let lease = match self {
            Self::Seconds => Duration::from_secs(number()?),
            Self::Minutes => Duration::from_secs(number()?.checked_mul(60)?),
            Self::Time => {
                let end = humantime::parse_rfc3339_weak(text.trim()).ok()?;
                end.duration_since(httpdate::parse_http_date(date?).ok()?).ok()?
            }
        };
        Some(lease.min(LONGEST_LEASE)).filter(|lease| !lease.is_zero())
    }
}

impl Rules {
    /// Whether the body of the answer to a registration says something.
    pub(in crate::dialect) fn reads_answer(&self) -> bool {
        [&self.answer.id, &self.answer.lease].into_iter().flatten().any(Place::is_in_content)
    }
}

impl Condition {
    pub(super) fn all_hold(
        conditions: &[Self],
        message: &Message<'_, impl Headers>,
    ) -> Result<bool, Unreadable> {
        for Self { place, values } in conditions {
            if !place.read(message)?.is_some_and(|value| values.contains(&value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl RequestPattern {
    /// Whether the head leaves it open that a request is like this.
    pub(super) fn fits_head(&self, head: &RequestHead) -> bool {
        let media_type = || head.fields.text("content-type").unwrap_or_default();
        self.method == head.method()
            && self.path.matches(head.path())
            && self.content_type.as_deref().is_none_or(|wanted| is_media_type(media_type(), wanted))
    }

    /// Whether a request is like this.
    pub(super) fn fits(
        &self,
        head: &RequestHead,
        message: &Message<'_, impl Headers>,
    ) -> Result<bool, Unreadable> {
        Ok(self.fits_head(head) && Condition::all_hold(&self.when, message)?)
    }
}

/// Whether a `Content-Type` is this media type, whatever its parameters are.
fn is_media_type(content_type: &str, wanted: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
