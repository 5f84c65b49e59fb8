//! What a poll brings: the JSON form, which keeps everything that the other forms have.

use serde::{Deserialize, Serialize};

/// What a poll brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct News {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// How many were dropped since the client was last told.
    #[serde(default)]
    pub dropped: u64,
    /// How many more wait.
    #[serde(default)]
    pub pending: u64,
}

/// One callback of the legacy server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id: larger than that of every message before it.
    pub id: u64,
    /// When the gateway took it in (RFC 3339).
    pub received_at: String,
    /// `message`, `presence` or `typing`.
    pub class: String,
    /// Its method.
    pub method: String,
    /// The client's own callback address.
    pub target: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl Message {
    /// The value of the first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
