//! Finding mailboxes by what the wire shows of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::slot::{Slot, SlotState};
use crate::mailbox::{CallbackToken, MailboxId, PollKey, Subscription};
use crate::store::{CreateError, Found, Gone, Lookup, Shares, network_of, principal_key};

/// For keys that the gateway draws itself: nobody can choose them so that they collide.
///
/// To look a secret up tells nobody how near a guess was: where it is looked for follows from a hash with a key
/// that only this process has, so a guess that shares bits with a secret is no nearer to it than any other, and
/// what is found there is compared in constant time. What is left to guess is 128 random bits at once.
type FastHash = foldhash::fast::RandomState;

/// Every mailbox, and the names of the live ones.
#[derive(Debug)]
pub(super) struct Index<C> {
    slots: HashMap<MailboxId, Arc<Slot<C>>, FastHash>,
    tokens: HashMap<CallbackToken, Arc<Slot<C>>, FastHash>,
    poll_keys: HashMap<PollKey, Arc<Slot<C>>, FastHash>,
    /// Mailboxes that are polled by the key of the one that came after them.
    handed_on: HashMap<PollKey, Vec<Arc<Slot<C>>>, FastHash>,
    subscription_ids: HashMap<Box<str>, Vec<MailboxId>>,
    principals: HashMap<Box<str>, Vec<MailboxId>>,
    /// How many each address has that subscribed.
    subscribers: HashMap<IpAddr, u64>,
    /// The mailboxes that ended, and are kept for their dropped messages.
    ended: BTreeSet<MailboxId>,
    /// The same by whose they were.
    ended_of: HashMap<Owner, BTreeSet<MailboxId>>,
}

/// Whose a mailbox was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Principal(Box<str>),
    Address(IpAddr),
}

/// As many mailboxes that ended are kept of one principal, and of one address: an operator may look into the last of
/// them, and whoever subscribes and unsubscribes again and again takes no more memory than this.
const MOST_ENDED_OF_ONE: usize = 64;

impl<C> Default for Index<C> {
    fn default() -> Self {
        Self {
            slots: HashMap::default(),
            tokens: HashMap::default(),
            poll_keys: HashMap::default(),
            handed_on: HashMap::default(),
            subscription_ids: HashMap::new(),
            principals: HashMap::new(),
            subscribers: HashMap::new(),
            ended: BTreeSet::new(),
            ended_of: HashMap::new(),
        }
    }
}

impl<C: Clone> Index<C> {
    pub(super) fn slot(&self, mailbox: MailboxId) -> Option<Arc<Slot<C>>> {
        self.slots.get(&mailbox).cloned()
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot<C>>> {
        self.slots.values().cloned().collect()
    }

    /// How many live mailboxes there are.
    pub(super) fn listed(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// How many are kept that ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.len() as u64
    }

    /// The mailbox has ended, and is kept. Returns those for which there is no room any more: the oldest of its
    /// principal and address, and of all if there are more than `most`.
    pub(super) fn keep_ended(&mut self, slot: &Slot<C>, most: u64) -> Vec<Arc<Slot<C>>> {
        self.ended.insert(slot.id);
        let mut excess = BTreeSet::new();
        for owner in owners(slot) {
            let ended = self.ended_of.entry(owner).or_default();
            ended.insert(slot.id);
            excess.extend(ended.iter().take(ended.len().saturating_sub(MOST_ENDED_OF_ONE)));
        }
        let too_many = (self.ended.len() as u64).saturating_sub(most);
        excess.extend(self.ended.iter().take(usize::try_from(too_many).unwrap_or(usize::MAX)));
        excess.iter().filter_map(|id| self.slots.get(id)).cloned().collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.tokens.is_empty()
            && self.poll_keys.is_empty()
            && self.handed_on.is_empty()
            && self.subscription_ids.is_empty()
            && self.principals.is_empty()
            && self.subscribers.is_empty()
            && self.ended.is_empty()
            && self.ended_of.is_empty()
    }

    pub(super) fn insert(&mut self, slot: Arc<Slot<C>>) {
        self.tokens.insert(slot.token, slot.clone());
        let poll_key = slot.lock().poll_key;
        self.list_key(poll_key, &slot);
        if let Some(principal) = &slot.subscription.principal {
            self.principals.entry(principal_key(principal).into()).or_default().push(slot.id);
        }
        if let Some(subscriber) = slot.subscription.subscriber {
            *self.subscribers.entry(network_of(subscriber)).or_default() += 1;
        }
        self.slots.insert(slot.id, slot);
    }

    /// Whether whoever subscribes so may have one more mailbox.
    pub(super) fn has_a_share_left(&self, new: &Subscription, shares: Shares) -> Result<(), CreateError> {
        let principal = new.principal.as_deref().and_then(|url| self.principals.get(&*principal_key(url)));
        if principal.is_some_and(|mailboxes| mailboxes.len() as u64 >= shares.principal) {
            return Err(CreateError::TooManyOfPrincipal);
        }
        let address = new.subscriber.and_then(|subscriber| self.subscribers.get(&network_of(subscriber)));
        if address.is_some_and(|mailboxes| *mailboxes >= shares.address) {
            return Err(CreateError::TooManyOfAddress);
        }
        Ok(())
    }

    /// Lets the mailbox be found by the upstream's id for its subscription, and by no older one.
    pub(super) fn name(&mut self, slot: &Slot<C>, subscription_id: &str) -> Result<(), Gone> {
        if !self.tokens.contains_key(&slot.token) {
            return Err(Gone);
        }
        let older = slot.lock().subscription_id.replace(subscription_id.into());
        if let Some(older) = older {
            remove_from(&mut self.subscription_ids, &older, slot.id);
        }
        self.subscription_ids.entry(subscription_id.into()).or_default().push(slot.id);
        Ok(())
    }

    /// Lets the mailbox be found by a new poll key, and by no older one.
    pub(super) fn rotate_key(&mut self, slot: &Arc<Slot<C>>, new: PollKey) -> Result<(), Gone> {
        if !self.tokens.contains_key(&slot.token) {
            return Err(Gone);
        }
        let older = std::mem::replace(&mut slot.lock().poll_key, new);
        self.unlist_key(older, slot.id);
        self.list_key(new, slot);
        Ok(())
    }

    /// Lets the mailbox be found by the poll key of another one, together with it, and by no id of the upstream.
    pub(super) fn hand_on(&mut self, slot: &Arc<Slot<C>>, to: PollKey) -> Result<(), Gone> {
        self.rotate_key(slot, to)?;
        if let Some(id) = slot.lock().subscription_id.take() {
            remove_from(&mut self.subscription_ids, &id, slot.id);
        }
        Ok(())
    }

    fn list_key(&mut self, key: PollKey, slot: &Arc<Slot<C>>) {
        match self.poll_keys.entry(key) {
            Entry::Vacant(place) => _ = place.insert(slot.clone()),
            // After a restart the older one comes first.
            Entry::Occupied(mut place) if place.get().id < slot.id => {
                let older = place.insert(slot.clone());
                self.handed_on.entry(key).or_default().push(older);
            }
            Entry::Occupied(_) => self.handed_on.entry(key).or_default().push(slot.clone()),
        }
    }

    fn unlist_key(&mut self, key: PollKey, mailbox: MailboxId) {
        let mut others = self.handed_on.remove(&key).unwrap_or_default();
        others.retain(|other| other.id != mailbox);
        if self.poll_keys.get(&key).is_some_and(|slot| slot.id == mailbox) {
            match others.pop() {
                Some(other) => _ = self.poll_keys.insert(key, other),
                None => _ = self.poll_keys.remove(&key),
            }
        }
        if !others.is_empty() {
            self.handed_on.insert(key, others);
        }
    }

    /// The mailbox is found no more; it stays until it is [removed](Self::remove).
    pub(super) fn unlist(&mut self, slot: &Slot<C>, state: &SlotState<C>) {
        if self.tokens.remove(&slot.token).is_none() {
            return;
        }
        self.unlist_key(state.poll_key, slot.id);
        if let Some(id) = &state.subscription_id {
            remove_from(&mut self.subscription_ids, id, slot.id);
        }
        if let Some(principal) = &slot.subscription.principal {
            remove_from(&mut self.principals, &principal_key(principal), slot.id);
        }
        if let Some(subscriber) = slot.subscription.subscriber
            && let Entry::Occupied(mut mailboxes) = self.subscribers.entry(network_of(subscriber))
        {
            *mailboxes.get_mut() -= 1;
            if *mailboxes.get() == 0 {
                mailboxes.remove();
            }
        }
    }

    pub(super) fn remove(&mut self, mailbox: MailboxId) {
        let Some(slot) = self.slots.remove(&mailbox) else { return };
        if !self.ended.remove(&mailbox) {
            return;
        }
        for owner in owners(&slot) {
            if let Entry::Occupied(mut ended) = self.ended_of.entry(owner) {
                ended.get_mut().remove(&mailbox);
                if ended.get().is_empty() {
                    ended.remove();
                }
            }
        }
    }

    pub(super) fn find(&self, wanted: Lookup<'_>) -> Vec<Found> {
        let found = |slot: &Arc<Slot<C>>| Found {
            id: slot.id,
            subscription: slot.subscription.clone(),
            pace: slot.pace(),
        };
        let all = |mailboxes: Option<&Vec<MailboxId>>| -> Vec<Found> {
            mailboxes.into_iter().flatten().filter_map(|id| self.slots.get(id)).map(found).collect()
        };
        match wanted {
            Lookup::Token(token) => self.tokens.get(&token).map(found).into_iter().collect(),
            Lookup::PollKey(key) => {
                let mut all: Vec<Found> = self.poll_keys.get(&key).map(found).into_iter().collect();
                if !self.handed_on.is_empty() {
                    all.extend(self.handed_on.get(&key).into_iter().flatten().map(found));
                }
                all
            }
            Lookup::SubscriptionId { id, node } => {
                let mut at_node = all(self.subscription_ids.get(id));
                at_node.retain(|found| node.is_none_or(|node| &*found.subscription.node == node));
                at_node
            }
            Lookup::Principal(url) => all(self.principals.get(&*principal_key(url))),
        }
    }
}

fn owners<C>(slot: &Slot<C>) -> impl Iterator<Item = Owner> + use<C> {
    let principal = slot.subscription.principal.as_deref();
    let principal = principal.map(|url| Owner::Principal(principal_key(url).into()));
    let address = slot.subscription.subscriber.map(|address| Owner::Address(network_of(address)));
    principal.into_iter().chain(address)
}

fn remove_from(map: &mut HashMap<Box<str>, Vec<MailboxId>>, key: &str, mailbox: MailboxId) {
    if let Some(mailboxes) = map.get_mut(key) {
        mailboxes.retain(|other| *other != mailbox);
        if mailboxes.is_empty() {
            map.remove(key);
        }
    }
}
