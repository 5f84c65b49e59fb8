//! Looking at mailboxes.

use serde::Serialize;

use super::query::Query;
use super::{answer, seconds};
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::clock::{self, rfc3339};
use crate::http1::Response;
use crate::mailbox::{Bound, Limits, MailboxId, Overflow, Timestamp};
use crate::store::{Filter, MailboxReport, MailboxState};

impl Admin {
    pub(super) fn list(&self, mut query: Query) -> Result<Response, Problem> {
        let page = query.page()?;
        let principal = query.value("principal", "the URL of a principal", |text| {
            Some(text.to_owned()).filter(|text| !text.is_empty())
        })?;
        let state = query.value("state", "polled, live or ended", |text| {
            MailboxState::ALL.into_iter().find(|state| state.name() == text)
        })?;
        query.finish()?;
        let filter = Filter { principal: principal.as_deref(), state };
        let after = page.after.map(MailboxId);
        // One more than wanted: then it is known whether there are more.
        let mut found = self.store.list(filter, after, page.limit + 1);
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|last| last.id.0);
        let now = clock::now();
        let mailboxes = found.iter().map(|report| MailboxJson::new(report, None, now)).collect();
        let list = answer(&MailboxesJson { mailboxes, next });
        Ok(match next {
            Some(next) => list.with("Link", query.link_to_next(next)),
            None => list,
        })
    }

    pub(super) fn show(&self, id: MailboxId) -> Result<Response, Problem> {
        let report = self.store.report(id).map_err(|_| Problem::NoSuchMailbox)?;
        let config = self.config.load();
        Ok(answer(&MailboxJson::new(&report, Some(&config.polling.limits), clock::now())))
    }
}

#[derive(Serialize)]
struct MailboxesJson<'a> {
    mailboxes: Vec<MailboxJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
struct MailboxJson<'a> {
    id: u64,
    state: &'static str,
    mode: &'static str,
    created_at: String,
    messages: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_poll_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_poll_age_seconds: Option<f64>,
    gap: u64,
    dropped_messages: u64,
    dropped_bytes: u64,
    subscription: SubscriptionJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsJson>,
}

#[derive(Serialize)]
struct SubscriptionJson<'a> {
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    lease_ends_at: String,
    lease_left_seconds: f64,
}

#[derive(Serialize)]
struct LimitsJson {
    messages: BoundJson,
    bytes: BoundJson,
    message_life_time_seconds: f64,
    dropped_life_time_seconds: f64,
    overflow: &'static str,
    coalesce: bool,
}

/// A bound as it is configured.
#[derive(Serialize)]
#[serde(untagged)]
enum BoundJson {
    AtMost(u64),
    Word(&'static str),
}

impl<'a> MailboxJson<'a> {
    fn new(report: &'a MailboxReport, limits: Option<&Limits>, now: Timestamp) -> Self {
        let age = |then: Timestamp| seconds(now.since(then));
        let subscription = &report.subscription;
        Self {
            id: report.id.0,
            state: report.state.name(),
            mode: subscription.delivery_mode().as_str(),
            created_at: rfc3339(report.created),
            messages: report.totals.messages,
            bytes: report.totals.bytes,
            oldest_at: report.oldest.map(rfc3339),
            oldest_age_seconds: report.oldest.map(age),
            last_poll_at: report.last_poll.map(rfc3339),
            last_poll_age_seconds: report.last_poll.map(age),
            gap: report.gap,
            dropped_messages: report.totals.dropped_messages,
            dropped_bytes: report.totals.dropped_bytes,
            subscription: SubscriptionJson {
                node: &subscription.node,
                principal: subscription.principal.as_deref(),
                host: &subscription.host,
                upstream_id: report.subscription_id.as_deref(),
                callback: subscription.callback.as_deref(),
                subscriber: subscription.subscriber.map(|ip| ip.to_string()),
                lease_ends_at: rfc3339(report.lease_ends),
                lease_left_seconds: seconds(report.lease_ends.since(now)),
            },
            limits: limits.map(|limits| LimitsJson {
                messages: limits.messages.into(),
                bytes: limits.bytes.into(),
                message_life_time_seconds: seconds(limits.life_time.apply(subscription.message_life_time)),
                dropped_life_time_seconds: seconds(limits.drop_life_time),
                overflow: match limits.overflow {
                    Overflow::Reject => "reject",
                    Overflow::DropOldest => "drop-oldest",
                },
                coalesce: limits.coalesce,
            }),
        }
    }
}

impl From<Bound> for BoundJson {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Disabled => BoundJson::AtMost(0),
            Bound::AtMost(most) => BoundJson::AtMost(most),
            Bound::Unlimited => BoundJson::Word("unlimited"),
        }
    }
}
