//! The API's answers, as far as people are shown them. What a newer gateway adds is left out.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Mailbox {
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) mode: String,
    pub(super) created_at: String,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) oldest_at: Option<String>,
    pub(super) oldest_age_seconds: Option<f64>,
    pub(super) last_poll_at: Option<String>,
    pub(super) last_poll_age_seconds: Option<f64>,
    pub(super) gap: u64,
    pub(super) dropped_messages: u64,
    pub(super) dropped_bytes: u64,
    pub(super) subscription: Subscription,
    pub(super) limits: Option<Limits>,
}

#[derive(Deserialize)]
pub(super) struct Subscription {
    pub(super) node: String,
    pub(super) principal: Option<String>,
    pub(super) host: String,
    pub(super) upstream_id: Option<String>,
    pub(super) callback: Option<String>,
    pub(super) subscriber: Option<String>,
    pub(super) lease_ends_at: String,
    pub(super) lease_left_seconds: f64,
}

#[derive(Deserialize)]
pub(super) struct Limits {
    /// A number, or a word.
    pub(super) messages: serde_json::Value,
    /// A number, or a word.
    pub(super) bytes: serde_json::Value,
    pub(super) message_life_time_seconds: f64,
    pub(super) dropped_life_time_seconds: f64,
    pub(super) overflow: String,
    pub(super) coalesce: bool,
}

/// A message, buffered or dropped.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) class: String,
    pub(super) cost_bytes: u64,
    pub(super) received_at: String,
    pub(super) age_seconds: f64,
    pub(super) expires_in_seconds: Option<f64>,
    pub(super) handed_out: Option<bool>,
    pub(super) dropped_age_seconds: Option<f64>,
    pub(super) reason: Option<String>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    pub(super) body_base64: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Replayed {
    pub(super) replayed: u64,
    pub(super) refused: u64,
}

#[derive(Deserialize)]
pub(super) struct Dropped {
    pub(super) dropped: u64,
}

#[derive(Deserialize)]
pub(super) struct Rotated {
    pub(super) poll_path: String,
}

impl Mailbox {
    /// Whose it is: the principal, or else what was subscribed to.
    pub(super) fn owner(&self) -> &str {
        self.subscription.principal.as_deref().unwrap_or(&self.subscription.node)
    }
}
