//! Who is to be told what, where, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::mailbox::Timestamp;

/// What a subscription is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `pragma/notify`: a sign-in. What concerns the user goes to its callback address.
    SignIn,
    /// `update/propchange`: changes of the user's presence go to its callback address, which may be
    /// another user of this server.
    Presence,
}

impl Kind {
    /// The kind of a `Notification-Type`.
    pub(super) fn parse(notification_type: &str) -> Option<Self> {
        [Kind::SignIn, Kind::Presence]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(notification_type))
    }

    /// Its `Notification-Type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::SignIn => "pragma/notify",
            Kind::Presence => "update/propchange",
        }
    }
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) user: String,
    pub(super) kind: Kind,
    pub(super) callback: String,
    pub(super) ends: Timestamp,
}

/// All leases, by id.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<u64, Subscription>,
    latest: u64,
}

impl Subscriptions {
    /// The longest lease that is granted, and the one for who asks for none.
    pub(super) const LONGEST: Duration = Duration::from_secs(4 * 3600);

    pub(super) fn add(&mut self, subscription: Subscription) -> u64 {
        self.latest += 1;
        self.all.insert(self.latest, subscription);
        self.latest
    }

    /// Renews a lease, perhaps with another callback address; whether there is such a lease of this user.
    pub(super) fn renew(&mut self, id: u64, user: &str, callback: Option<&str>, ends: Timestamp) -> bool {
        let Some(found) = self.all.get_mut(&id).filter(|found| found.user == user) else { return false };
        found.ends = ends;
        if let Some(callback) = callback {
            found.callback = callback.to_owned();
        }
        true
    }

    /// Ends a lease; whether there was such a lease of this user.
    pub(super) fn remove(&mut self, id: u64, user: &str) -> bool {
        self.all.get(&id).is_some_and(|found| found.user == user) && self.all.remove(&id).is_some()
    }

    /// Forgets the leases that are over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.all.retain(|_, subscription| subscription.ends > now);
    }

    /// The leases of a user, in the order in which they were granted.
    pub(super) fn of(&self, user: &str) -> impl Iterator<Item = (u64, &Subscription)> {
        self.all.iter().filter(move |(_, s)| s.user == user).map(|(id, s)| (*id, s))
    }
}
