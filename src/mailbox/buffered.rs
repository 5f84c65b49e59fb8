//! What a mailbox knows of one message: what it decides by, and where the message itself is.

use std::sync::Arc;

use super::{Class, Message, Timestamp};

/// A message that is offered, before anything is decided.
#[derive(Clone, Debug)]
pub struct Incoming<C> {
    /// How it will behave.
    pub class: Class,
    /// What it costs, in bytes.
    pub cost: u64,
    /// The message, or where it is.
    pub message: C,
}

impl From<Arc<Message>> for Incoming<Arc<Message>> {
    fn from(message: Arc<Message>) -> Self {
        Self { class: message.class.clone(), cost: message.cost(), message }
    }
}

/// A message in a mailbox.
///
/// Kept small: there may be a million of them, whose contents are elsewhere.
#[derive(Clone, Debug)]
pub struct Buffered<C = Arc<Message>> {
    /// None for a plain message, as most are.
    class: Option<Box<Class>>,
    /// What it costs, in bytes.
    pub cost: u64,
    /// When the upstream delivered it.
    pub received: Timestamp,
    /// When its life time is over.
    pub expires: Timestamp,
    /// The message, or where it is.
    pub message: C,
}

impl<C> Buffered<C> {
    /// A message that came at `received` and may stay until `expires`.
    pub fn new(incoming: Incoming<C>, received: Timestamp, expires: Timestamp) -> Self {
        let Incoming { class, cost, message } = incoming;
        let class = (class != Class::Message).then(|| Box::new(class));
        Self { class, cost, received, expires, message }
    }

    /// How it behaves while it waits.
    pub fn class(&self) -> &Class {
        self.class.as_deref().unwrap_or(&Class::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_whose_content_is_elsewhere_is_small() {
        assert_eq!(size_of::<Buffered<u64>>(), 40);
    }
}
