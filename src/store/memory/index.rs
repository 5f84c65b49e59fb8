//! Finding mailboxes by what the wire shows of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::slot::Slot;
use crate::mailbox::{CallbackToken, MailboxId, PollKey};
use crate::store::{Gone, Lookup, principal_key};

/// Every mailbox, and the names of the live ones.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: HashMap<MailboxId, Arc<Slot>>,
    tokens: HashMap<CallbackToken, MailboxId>,
    poll_keys: HashMap<PollKey, MailboxId>,
    subscription_ids: HashMap<Box<str>, Vec<MailboxId>>,
    principals: HashMap<Box<str>, Vec<MailboxId>>,
}

impl Index {
    pub(super) fn slot(&self, mailbox: MailboxId) -> Option<Arc<Slot>> {
        self.slots.get(&mailbox).cloned()
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.values().cloned().collect()
    }

    /// How many live mailboxes there are.
    pub(super) fn listed(&self) -> u64 {
        self.tokens.len() as u64
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.tokens.is_empty()
            && self.poll_keys.is_empty()
            && self.subscription_ids.is_empty()
            && self.principals.is_empty()
    }

    pub(super) fn insert(&mut self, slot: Arc<Slot>) {
        self.tokens.insert(slot.token, slot.id);
        self.poll_keys.insert(slot.poll_key, slot.id);
        if let Some(principal) = &slot.subscription.principal {
            self.principals.entry(principal_key(principal).into()).or_default().push(slot.id);
        }
        self.slots.insert(slot.id, slot);
    }

    /// Lets the mailbox be found by the upstream's id for its subscription, and by no older one.
    pub(super) fn name(&mut self, slot: &Slot, subscription_id: &str) -> Result<(), Gone> {
        if self.tokens.get(&slot.token) != Some(&slot.id) {
            return Err(Gone);
        }
        let older = slot.lock().subscription_id.replace(subscription_id.into());
        if let Some(older) = older {
            remove_from(&mut self.subscription_ids, &older, slot.id);
        }
        self.subscription_ids.entry(subscription_id.into()).or_default().push(slot.id);
        Ok(())
    }

    /// The mailbox is found no more; it stays until it is [removed](Self::remove).
    pub(super) fn unlist(&mut self, slot: &Slot) {
        if self.tokens.remove(&slot.token).is_none() {
            return;
        }
        self.poll_keys.remove(&slot.poll_key);
        if let Some(id) = &slot.lock().subscription_id {
            remove_from(&mut self.subscription_ids, id, slot.id);
        }
        if let Some(principal) = &slot.subscription.principal {
            remove_from(&mut self.principals, &principal_key(principal), slot.id);
        }
    }

    pub(super) fn remove(&mut self, mailbox: MailboxId) {
        self.slots.remove(&mailbox);
    }

    pub(super) fn find(&self, wanted: Lookup<'_>) -> Vec<MailboxId> {
        match wanted {
            Lookup::Token(token) => self.tokens.get(&token).copied().into_iter().collect(),
            Lookup::PollKey(key) => self.poll_keys.get(&key).copied().into_iter().collect(),
            Lookup::SubscriptionId { id, node } => {
                let at_node = |mailbox: &&MailboxId| match node {
                    Some(node) => {
                        self.slots.get(mailbox).is_some_and(|slot| &*slot.subscription.node == node)
                    }
                    None => true,
                };
                self.subscription_ids.get(id).into_iter().flatten().filter(at_node).copied().collect()
            }
            Lookup::Principal(url) => self.principals.get(&*principal_key(url)).cloned().unwrap_or_default(),
        }
    }
}

fn remove_from(map: &mut HashMap<Box<str>, Vec<MailboxId>>, key: &str, mailbox: MailboxId) {
    if let Some(mailboxes) = map.get_mut(key) {
        mailboxes.retain(|other| *other != mailbox);
        if mailboxes.is_empty() {
            map.remove(key);
        }
    }
}
