//! One callback kept in a mailbox.

use std::time::Duration;

use bytes::Bytes;

/// How long a typing notification is worth keeping: Exchange repeats it every four seconds.
pub const TYPING_LIFE_TIME: Duration = Duration::from_secs(10);

/// One callback, as the upstream sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The request method, such as `NOTIFY`.
    pub method: Box<str>,
    /// The kept header lines, each `Name: value\r\n`, with the names' case and the lines' order as sent.
    pub header_lines: Bytes,
    /// The body, without transfer coding.
    pub body: Bytes,
    /// How it behaves while it waits.
    pub class: Class,
}

impl Message {
    /// What it costs its mailbox, in bytes: the body and the kept header lines.
    pub fn cost(&self) -> u64 {
        (self.header_lines.len() + self.body.len()) as u64
    }
}

/// How a message behaves while it waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Kept as it is.
    Message,
    /// A state: with `coalesce`, a newer one with the same key takes the place of the buffered older one.
    Presence {
        /// Whose state, and which properties of it.
        key: Box<str>,
    },
    /// Somebody is typing: short-lived, replaced by the same sender's next one, and no loss if it goes.
    Typing {
        /// Who is typing.
        key: Box<str>,
    },
}

impl Class {
    /// The class's word in metrics, logs and the JSON form.
    pub fn name(&self) -> &'static str {
        match self {
            Class::Message => "message",
            Class::Presence { .. } => "presence",
            Class::Typing { .. } => "typing",
        }
    }

    /// Whether it is a typing notification.
    pub fn is_typing(&self) -> bool {
        matches!(self, Class::Typing { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_costs_its_body_and_its_header_lines() {
        for (header_lines, body, cost) in
            [("", "", 0), ("A: b\r\n", "", 6), ("", "abc", 3), ("A: b\r\n", "abc", 9)]
        {
            let message = Message {
                method: "NOTIFY".into(),
                header_lines: Bytes::from_static(header_lines.as_bytes()),
                body: Bytes::from_static(body.as_bytes()),
                class: Class::Message,
            };
            assert_eq!(message.cost(), cost, "{header_lines:?} {body:?}");
        }
    }
}
