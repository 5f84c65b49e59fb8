//! A new store, and the steps that the rules have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;

use crate::mailbox::{
    Batch, BatchLimits, CallbackToken, Class, EventId, Limits, Lost, MailboxId, Message, Offered, Outcome,
    PollKey, Subscription, Take, Timestamp,
};
use crate::store::{Bell, Caps, Lookup, MailboxStore, NewMailbox, OfferError, Shares, Taken, Turn};

/// Makes an empty store.
pub(crate) type Make = Arc<dyn Fn(Caps) -> Arc<dyn MailboxStore> + Send + Sync>;

/// A new store under limits and at a time that the rule moves on by itself.
pub(crate) struct Ground {
    make: Make,
    pub store: Arc<dyn MailboxStore>,
    pub limits: Limits,
    pub now: Timestamp,
    mailboxes: AtomicU64,
}

/// So many seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// As much as an answer may carry.
pub(crate) const ROOM: BatchLimits = BatchLimits { messages: 100, bytes: 1 << 20 };

/// How long the lease of a mailbox is at first.
pub(crate) const LEASE: Duration = s(10_000);

/// The `n`th mailbox, with a token, a key and a node of its own.
pub(crate) fn new_mailbox(n: u64, lease_ends: Timestamp) -> NewMailbox {
    NewMailbox {
        token: token(n),
        poll_key: poll_key(n),
        subscription: Subscription {
            node: format!("/node/{n}").into(),
            principal: Some(format!("http://im.example/people/{n}").into()),
            ..Subscription::default()
        },
        created: Timestamp::from_millis(1_000_000_000),
        lease_ends,
        shares: Shares { principal: 3, address: 3 },
    }
}

/// The callback token of the `n`th mailbox.
pub(crate) fn token(n: u64) -> CallbackToken {
    CallbackToken::from_random(n.into())
}

/// The poll key of the `n`th mailbox.
pub(crate) fn poll_key(n: u64) -> PollKey {
    PollKey::from_random(1 << 64 | u128::from(n))
}

/// A message without header lines: its body is all that it costs.
pub(crate) fn message(body: &str, class: Class) -> Message {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Message { method: "NOTIFY".into(), header_lines: Bytes::new(), body, class }
}

/// The bodies of a batch.
pub(crate) fn bodies(batch: &Batch) -> Vec<String> {
    batch.messages.iter().map(|m| String::from_utf8(m.message.body.to_vec()).unwrap()).collect()
}

impl Ground {
    pub(crate) fn new<S: MailboxStore>(make: Arc<impl Fn(Caps) -> S + Send + Sync + 'static>) -> Self {
        let make: Make = Arc::new(move |caps| Arc::new(make(caps)));
        let caps = Caps { mailboxes: 10_000, bytes: 1 << 30 };
        let now = Timestamp::from_millis(1_000_000_000);
        Self { store: make(caps), make, limits: Limits::default(), now, mailboxes: AtomicU64::new(0) }
    }

    /// The same with another store, under these caps.
    pub fn with_caps(self, caps: Caps) -> Self {
        Self { store: (self.make)(caps), ..self }
    }

    /// A new mailbox, whose lease is [`LEASE`].
    pub async fn mailbox(&self) -> MailboxId {
        let n = self.mailboxes.fetch_add(1, Relaxed) + 1;
        self.store.create(new_mailbox(n, self.now + LEASE)).await.unwrap()
    }

    pub async fn offer_as(
        &self,
        mailbox: MailboxId,
        body: &str,
        class: Class,
    ) -> Result<Offered, OfferError> {
        self.store.offer(mailbox, message(body, class), &self.limits, self.now).await
    }

    /// Offers a message that must be accepted.
    pub async fn offer(&self, mailbox: MailboxId, body: &str) -> EventId {
        self.offer_as(mailbox, body, Class::Message).await.unwrap().outcome.unwrap()
    }

    /// Every live mailbox that fits.
    pub fn find(&self, wanted: Lookup<'_>) -> Vec<MailboxId> {
        self.store.find(wanted).iter().map(|found| found.id).collect()
    }

    /// A poll begins.
    pub fn begin(&self, mailbox: MailboxId, last_event_id: Option<EventId>) -> (Turn, Bell) {
        let bell = Bell::default();
        let (turn, _) = self.store.begin_poll(mailbox, last_event_id.into(), &bell).unwrap();
        (turn, bell)
    }

    pub async fn take(&self, mailbox: MailboxId, turn: Turn) -> Taken {
        self.store.take(mailbox, turn, Take::up_to(ROOM), &self.limits, self.now).await.0
    }

    /// A poll from begin to end, that does not wait: its answer, which became what `outcome` says.
    pub async fn poll(
        &self,
        mailbox: MailboxId,
        last_event_id: Option<EventId>,
        outcome: Outcome,
    ) -> Option<Batch> {
        let (turn, _) = self.begin(mailbox, last_event_id);
        let taken = self.take(mailbox, turn).await;
        self.store.leave(mailbox, turn);
        match taken {
            Taken::Batch(batch, mut settlement) => {
                settlement.settle(outcome);
                Some(batch)
            }
            Taken::Nothing => None,
            Taken::Superseded | Taken::Ended | Taken::Unavailable => panic!("{taken:?}"),
        }
    }

    /// The bodies that a poll finds whose answer was written.
    pub async fn polled(&self, mailbox: MailboxId, last_event_id: Option<EventId>) -> Vec<String> {
        self.poll(mailbox, last_event_id, Outcome::Written).await.as_ref().map(bodies).unwrap_or_default()
    }

    pub fn expire(&self) -> Lost {
        self.store.expire(&self.limits, self.now).all_lost()
    }
}

/// Resolves when the bell rings; a bell that stays silent fails the test.
pub(crate) async fn rung(bell: &Bell) {
    tokio::time::timeout(s(10), bell.notified()).await.expect("the bell to ring");
}

/// Whether the bell has been rung.
pub(crate) async fn was_rung(bell: &Bell) -> bool {
    // A ring is kept until somebody waits for it: then this is ready at once.
    let mut ring = std::pin::pin!(bell.notified());
    ring.as_mut().enable()
}
