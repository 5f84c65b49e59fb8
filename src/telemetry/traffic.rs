//! The traffic, event by event, for whoever follows it at this moment: what the paper would have looked at with a
//! network monitor.
//!
//! Nobody follows most of the time, and then an event costs one look at a counter: it is not even made. Followers are
//! few, and one that is too slow loses events and is told how many; it delays nobody. No event has a credential, a poll
//! key or a callback token in it, and a body only if one of the followers wants bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::clock;
use crate::mailbox::MailboxId;

/// How many may follow at a time.
const FOLLOWERS: usize = 8;

/// How many events are kept for a follower that is slow.
const KEPT: usize = 1024;

/// How much of a body is shown: what is kept for slow followers takes 16 MiB at most.
const LARGEST_BODY: usize = 16 * 1024;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// In which mailbox, where one is known.
    pub mailbox: Option<MailboxId>,
    /// What.
    pub what: Happened,
    /// The start of the callback's body, if a follower wants bodies.
    pub body: Option<Bytes>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// The upstream granted a subscription.
    Subscribed,
    /// It granted a longer lease.
    Renewed,
    /// A mailbox ended, and with it so many messages.
    Ended {
        /// How many were in it.
        abandoned: u64,
    },
    /// A callback came in.
    Callback {
        /// Its class.
        class: &'static str,
        /// The length of its body.
        bytes: usize,
    },
    /// Its message is in the mailbox.
    Buffered {
        /// The message's id.
        message: u64,
    },
    /// A callback was refused.
    Refused {
        /// Why.
        reason: &'static str,
    },
    /// A poll takes messages.
    Polled {
        /// How many.
        messages: usize,
        /// The first one's id; none if there is only a gap to tell of.
        first: Option<u64>,
        /// The last one's id.
        last: Option<u64>,
        /// How many were dropped since the client was last told.
        gap: u64,
    },
    /// The client acknowledged messages.
    Acknowledged {
        /// How many.
        messages: u64,
    },
    /// A message was brought to its client, or it was tried.
    Delivered {
        /// The message's id.
        message: u64,
        /// What became of it.
        result: &'static str,
    },
    /// Messages left undelivered.
    Dropped {
        /// Why.
        reason: &'static str,
        /// How many.
        messages: u64,
    },
    /// The follower was too slow, and missed so many events.
    Lagged {
        /// How many.
        events: u64,
    },
}

/// Told of everything that happens; tells those who follow.
#[derive(Debug)]
pub struct Traffic {
    sender: broadcast::Sender<Event>,
    followers: AtomicUsize,
    want_bodies: AtomicUsize,
}

impl Default for Traffic {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(KEPT);
        Self { sender, followers: AtomicUsize::new(0), want_bodies: AtomicUsize::new(0) }
    }
}

impl Traffic {
    /// Something happened. What, is asked only if somebody follows.
    #[inline]
    pub fn tell(&self, mailbox: impl Into<Option<MailboxId>>, what: impl FnOnce() -> Happened) {
        if self.is_followed() {
            self.send(mailbox.into(), what(), None);
        }
    }

    /// A callback came in, with this body.
    #[inline]
    pub fn tell_body(&self, mailbox: MailboxId, body: &Bytes, what: impl FnOnce() -> Happened) {
        if self.is_followed() {
            // A copy: a slice would keep all of it in memory.
            let body = (self.want_bodies.load(Relaxed) > 0)
                .then(|| Bytes::copy_from_slice(&body[..body.len().min(LARGEST_BODY)]));
            self.send(Some(mailbox), what(), body);
        }
    }

    /// Whether anybody follows.
    #[inline]
    fn is_followed(&self) -> bool {
        self.followers.load(Relaxed) > 0
    }

    fn send(&self, mailbox: Option<MailboxId>, what: Happened, body: Option<Bytes>) {
        // It fails if the last follower went away just now.
        let _ = self.sender.send(Event { at: clock::wall(), mailbox, what, body });
    }

    /// Follows from now on; none if as many follow as may.
    pub fn follow(self: &Arc<Self>, bodies: bool) -> Option<Follower> {
        let room = |followers| (followers < FOLLOWERS).then_some(followers + 1);
        self.followers.fetch_update(Relaxed, Relaxed, room).ok()?;
        self.want_bodies.fetch_add(usize::from(bodies), Relaxed);
        Some(Follower { traffic: self.clone(), events: self.sender.subscribe(), bodies })
    }
}

/// Follows the traffic until it goes.
#[derive(Debug)]
pub struct Follower {
    traffic: Arc<Traffic>,
    events: broadcast::Receiver<Event>,
    bodies: bool,
}

impl Follower {
    /// The next event; what was missed comes as one.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Ok(event) => Event { body: event.body.filter(|_| self.bodies), ..event },
            Err(RecvError::Lagged(events)) => {
                Event { at: clock::wall(), mailbox: None, what: Happened::Lagged { events }, body: None }
            }
            // The sender is in what this holds.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.traffic.want_bodies.fetch_sub(usize::from(self.bodies), Relaxed);
        self.traffic.followers.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_made_when_nobody_follows() {
        let traffic = Arc::new(Traffic::default());
        traffic.tell(None, || panic!("nobody follows"));
        drop(traffic.follow(true));
        traffic.tell_body(MailboxId(1), &Bytes::from_static(b"a"), || panic!("nobody follows"));
    }

    #[tokio::test]
    async fn bodies_are_for_those_who_want_them_and_no_larger_than_they_may() {
        let traffic = Arc::new(Traffic::default());
        let mut without = traffic.follow(false).unwrap();
        let tell = |length| {
            let body = Bytes::from(vec![b'a'; length]);
            traffic.tell_body(MailboxId(1), &body, || Happened::Subscribed);
        };
        tell(3);
        assert_eq!(without.next().await.body, None);
        let mut with = traffic.follow(true).unwrap();
        tell(LARGEST_BODY + 1);
        assert_eq!(with.next().await.body.unwrap().len(), LARGEST_BODY);
        assert_eq!(without.next().await.body, None);
    }

    #[tokio::test]
    async fn who_is_slow_is_told_how_much_is_missing() {
        let traffic = Arc::new(Traffic::default());
        let mut follower = traffic.follow(false).unwrap();
        for n in 0..KEPT as u64 + 3 {
            traffic.tell(MailboxId(n), || Happened::Renewed);
        }
        assert_eq!(follower.next().await.what, Happened::Lagged { events: 3 });
        assert_eq!(follower.next().await.mailbox, Some(MailboxId(3)));
    }

    #[test]
    fn only_few_may_follow_at_a_time() {
        let traffic = Arc::new(Traffic::default());
        let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| traffic.follow(false).unwrap()).collect();
        assert!(traffic.follow(false).is_none());
        followers.pop();
        assert!(traffic.follow(true).is_some());
    }
}
