//! The mailbox store: every mailbox of the gateway, found by what the wire shows of it.
//!
//! A store keeps mailboxes and their subscriptions, finds them, wakes the poll that waits for one, and
//! lets them end. What may be buffered is not decided here but by [`mailbox::plan`](crate::mailbox::plan()).
//! A store returns facts; whoever calls it counts and logs them.
//!
//! Invariants that every store keeps, and the contract suite checks:
//! - what was accepted is kept as durably as the store promises, before the acceptance is returned;
//! - a mailbox is found by its token and poll key from its creation until its end, and not after;
//! - event ids grow over the whole store, and across its restarts;
//! - at most one poll or deliverer has the turn at a mailbox; whoever loses it is woken;
//! - the cost of [`expire`](MailboxStore::expire) follows what is due, not what is there.

mod caught;
mod clients;
#[cfg(test)]
pub(crate) mod contract;
mod deliver;
mod disk;
mod engine;
mod memory;
mod operate;
mod settlement;
mod status;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::mailbox::{
    Acknowledgement, Batch, CallbackToken, EventId, Limits, Lost, MailboxId, Message, Offered, Pace, PollKey,
    Subscription, Take, Timestamp, fold_case, normal_path,
};

pub use caught::is_caught;
pub use clients::{ClientSetting, Clients, WriteError};
pub use deliver::{Delivery, Due, Patience, Standing};
pub use disk::{Clock, CommitWatch, DiskOptions, DiskStore, OpenError};
pub use memory::MemoryStore;
pub use operate::{Filter, MailboxReport, MailboxState, PeekedDrop, PeekedMessage, Replay, ReplayError};
pub use settlement::Settlement;
pub use status::{Commit, DiskStatus, Recovery, StoreStatus, WrongPath};

/// Rung when the poll that waits should look again. It belongs to one poll.
pub type Bell = Arc<Notify>;

/// Which poll has the turn at a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(pub u64);

/// What a whole store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Live mailboxes.
    pub mailboxes: u64,
    /// Bytes of buffered messages; callbacks that arrive in the same moment may go over it by one message
    /// each. Dropped messages may take a quarter of this beside them.
    pub bytes: u64,
}

/// A mailbox to be.
#[derive(Clone, Debug)]
pub struct NewMailbox {
    /// Who delivers to it must know this.
    pub token: CallbackToken,
    /// Who polls it must know this.
    pub poll_key: PollKey,
    /// Whose it is.
    pub subscription: Subscription,
    /// Now.
    pub created: Timestamp,
    /// When it ends unless the upstream grants it a longer lease.
    pub lease_ends: Timestamp,
    /// How many there may be with it.
    pub shares: Shares,
}

/// How many live mailboxes somebody may have, a new one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// A principal, by its [`principal_key`].
    pub principal: u64,
    /// An address that subscribes, by its [network](network_of).
    pub address: u64,
}

/// By what a mailbox is looked for. Principals are compared by [`principal_key`].
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// The callback token: one mailbox at most.
    Token(CallbackToken),
    /// The poll key: one mailbox, and those that were [handed on](MailboxStore::hand_on) to it.
    PollKey(PollKey),
    /// The id that the upstream gave the subscription; at one node, if that is known.
    SubscriptionId {
        /// The upstream's id.
        id: &'a str,
        /// The path subscribed to.
        node: Option<&'a str>,
    },
    /// The principal that subscribed.
    Principal(&'a str),
}

/// A mailbox that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which one.
    pub id: MailboxId,
    /// Whose it is.
    pub subscription: Arc<Subscription>,
    /// How often it was polled in vain lately.
    pub pace: Pace,
}

/// What the wire shows of a mailbox: its upstream the one, its client the other.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Who delivers to it knows this.
    pub token: CallbackToken,
    /// Who polls it knows this.
    pub poll_key: PollKey,
}

/// Why a mailbox could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// `store.max_mailboxes` are there already.
    #[error("too many mailboxes")]
    TooMany,
    /// Its principal has [as many as it may](Shares) already.
    #[error("too many mailboxes of this principal")]
    TooManyOfPrincipal,
    /// Its address has [as many as it may](Shares) already.
    #[error("too many mailboxes of this address")]
    TooManyOfAddress,
    /// The store cannot keep anything at this moment.
    #[error("the store is unavailable")]
    Unavailable,
}

/// The mailbox has ended, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such mailbox")]
pub struct Gone;

/// Why a poll key was not replaced for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// The mailbox has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The new key counts, but the store cannot keep it at this moment: after a restart the old one might count
    /// again.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Why a message was not even offered to its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The mailbox has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// `store.max_buffered_bytes` are buffered already.
    #[error("the store is full")]
    StoreFull,
    /// The store cannot keep anything at this moment. What left the mailbox on the occasion has left it.
    /// The message itself may come through nevertheless: nobody was told that it would.
    #[error("the store is unavailable")]
    Unavailable(Lost),
    /// The file system of the store has too little room.
    #[error("the store has no space")]
    NoSpace,
}

/// Who ends a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Its client: what its last answer carried to its end is acknowledged by that, as by its next poll.
    Client,
    /// The upstream, the gateway, or an operator.
    Other,
}

/// What became of the messages of a mailbox that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What was dropped.
    pub lost: Lost,
    /// How many were acknowledged by the end.
    pub acknowledged: u64,
}

/// What a poll would take.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// The messages, oldest first.
    pub next: Vec<Next>,
    /// How many there are, these included.
    pub waiting: u64,
    /// How many were dropped that the client does not know of.
    pub gap: u64,
}

/// A message that a poll would take.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Its id.
    pub id: EventId,
    /// What it costs, in bytes.
    pub cost: u64,
}

/// What a poll finds.
#[derive(Debug)]
pub enum Taken {
    /// There is something to say. What becomes of it is told to the [`Settlement`].
    Batch(Batch, Settlement),
    /// Nothing: wait for the bell.
    Nothing,
    /// A newer poll has the turn.
    Superseded,
    /// The mailbox ended.
    Ended,
    /// There is something, and it cannot be read at this moment: it stays. The poll has no turn any more.
    Unavailable,
}

/// What [`MailboxStore::expire`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// The messages lost, by mailbox.
    pub lost: Vec<(MailboxId, Lost)>,
    /// The mailboxes whose lease was over, and how many messages each lost by it.
    pub ended: Vec<(MailboxId, u64)>,
}

impl Expired {
    fn note(&mut self, mailbox: MailboxId, lost: Lost) {
        if lost.left() > 0 {
            self.lost.push((mailbox, lost));
        }
    }

    /// All that was lost.
    pub fn all_lost(&self) -> Lost {
        let mut all = Lost::default();
        self.lost.iter().for_each(|(_, lost)| all.add(*lost));
        all
    }
}

/// Everything that the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Live mailboxes.
    pub mailboxes: u64,
    /// Mailboxes that ended, and are kept for their dropped messages.
    pub ended_mailboxes: u64,
    /// Buffered messages.
    pub messages: u64,
    /// Their cost in bytes.
    pub bytes: u64,
    /// Messages kept after they were dropped.
    pub dropped_messages: u64,
    /// Their cost in bytes.
    pub dropped_bytes: u64,
}

/// Keeps the mailboxes.
///
/// `limits` and `now` are those of the moment: the running configuration's, and the caller's clock.
#[async_trait]
pub trait MailboxStore: Send + Sync + 'static {
    /// Makes a mailbox, before its subscription is asked for upstream.
    async fn create(&self, new: NewMailbox) -> Result<MailboxId, CreateError>;

    /// The upstream granted or renewed the lease; `subscription_id` if it named one.
    async fn grant(
        &self,
        mailbox: MailboxId,
        subscription_id: Option<&str>,
        lease_ends: Timestamp,
    ) -> Result<(), Gone>;

    /// The upstream renewed the leases of these mailboxes: as one, in one commit if nothing else comes between. Returns
    /// those that have not ended.
    async fn renew(&self, mailboxes: &[MailboxId], lease_ends: Timestamp) -> Vec<MailboxId>;

    /// What the wire shows of a mailbox.
    fn keys(&self, mailbox: MailboxId) -> Result<Keys, Gone>;

    /// From now on the mailbox is found by this poll key alone. A poll that is held there loses its turn; one that
    /// had found the mailbox by the old key at this very moment may still be answered.
    async fn rotate_key(&self, mailbox: MailboxId, new: PollKey) -> Result<(), RotateError>;

    /// The client of a mailbox has another one for the same subscription: from now on whoever polls that one polls both,
    /// and the upstream's id names that one alone. The older one ends with its lease.
    async fn hand_on(&self, older: MailboxId, newer: MailboxId) -> Result<(), Gone>;

    /// Ends a mailbox; what is left in it is dropped as abandoned.
    async fn end(
        &self,
        mailbox: MailboxId,
        by: EndedBy,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Ending, Gone>;

    /// Every live mailbox that fits.
    fn find(&self, wanted: Lookup<'_>) -> Vec<Found>;

    /// Offers a message to a mailbox and rings the poll that waits there.
    async fn offer(
        &self,
        mailbox: MailboxId,
        message: Message,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Offered, OfferError>;

    /// A poll begins: it gets the turn, an older one loses it, and what it acknowledges leaves. Returns
    /// the turn and how many messages were acknowledged.
    fn begin_poll(&self, mailbox: MailboxId, by: Acknowledgement, bell: &Bell) -> Result<(Turn, u64), Gone>;

    /// The [id of the answer](Take::answer) that ended with this message of the mailbox, if no other answer carried
    /// the message.
    fn answer_with(&self, mailbox: MailboxId, last: EventId) -> Option<EventId>;

    /// At most `most` of the messages that the poll with this turn would take; none if it has the turn no more.
    fn outlook(&self, mailbox: MailboxId, turn: Turn, goes_on: bool, most: usize) -> Outlook;

    /// A new event id, that no message has; none if the store can promise no new id at this moment.
    fn draw(&self) -> Option<EventId>;

    /// What there is for the poll that has this turn. After `Nothing` that poll counts as held, until it
    /// takes something, loses its turn, or [leaves](Self::leave). A batch is the poll's last, unless it
    /// [goes on](Take::goes_on): then what it took before stays handed out. Also says what expired on the occasion.
    async fn take(
        &self,
        mailbox: MailboxId,
        turn: Turn,
        take: Take,
        limits: &Limits,
        now: Timestamp,
    ) -> (Taken, Lost);

    /// The poll with this turn waits no longer.
    fn leave(&self, mailbox: MailboxId, turn: Turn);

    /// A poll of the mailbox ended with nothing before its time was over; `floor` is the shortest time that
    /// should be between two of that kind.
    fn polled_in_vain(&self, mailbox: MailboxId, floor: Duration, now: Timestamp);

    /// Resolves when messages came into mailboxes whose clients are called rather than waited for, or were
    /// there when the store was opened: which mailboxes these are. Each is named again only after something
    /// came again. For one deliverer.
    async fn arrivals(&self) -> Vec<MailboxId>;

    /// How a mailbox stands towards a deliverer.
    fn standing(&self, mailbox: MailboxId, patience: Patience, now: Timestamp) -> Standing;

    /// The oldest message of a mailbox that no poll has, to be delivered. The bell rings when a poll takes
    /// the turn, or the mailbox ends. Also says what expired on the occasion.
    ///
    /// What the answer to a poll carried to its end counts as acknowledged then, as with a next poll, unless
    /// the client acknowledges explicitly.
    async fn take_delivery(
        &self,
        mailbox: MailboxId,
        bell: &Bell,
        patience: Patience,
        limits: &Limits,
        now: Timestamp,
    ) -> (Due, Lost);

    /// The client accepted a message that was delivered: it leaves, whoever has the turn by now, and the turn is
    /// given back. Returns whether it left by this. A delivery that is dropped instead was not accepted.
    fn accept_delivery(&self, mailbox: MailboxId, delivery: Delivery) -> bool;

    /// Resolves when the message has left its mailbox: whether it was acknowledged.
    async fn left(&self, mailbox: MailboxId, event: EventId) -> bool;

    /// Lets everything expire that is due.
    fn expire(&self, limits: &Limits, now: Timestamp) -> Expired;

    /// At most `most` of the mailboxes that fit, those behind `after`, by growing id; ended ones too, as
    /// long as their dropped messages are kept.
    fn list(&self, filter: Filter<'_>, after: Option<MailboxId>, most: usize) -> Vec<MailboxReport>;

    /// What an operator sees of one mailbox, live or ended.
    fn report(&self, mailbox: MailboxId) -> Result<MailboxReport, Gone>;

    /// At most `most` of the buffered messages, those behind `after`, by growing id. To look hands
    /// nothing out, and acknowledges nothing.
    async fn messages(
        &self,
        mailbox: MailboxId,
        after: EventId,
        most: usize,
    ) -> Result<Vec<PeekedMessage>, Gone>;

    /// At most `most` of the dropped messages that are kept, those behind `after`, by growing id; of an
    /// ended mailbox too.
    async fn dropped(&self, mailbox: MailboxId, after: EventId, most: usize)
    -> Result<Vec<PeekedDrop>, Gone>;

    /// Offers the dropped messages of a live mailbox again, in the order in which they came, under new ids
    /// and with new life times, and rings the poll that waits there. Nothing makes room for them; those
    /// that find none stay where they are.
    async fn replay(
        &self,
        mailbox: MailboxId,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Replay, ReplayError>;

    /// Drops everything that is buffered in a live mailbox, as purged.
    async fn purge(&self, mailbox: MailboxId, limits: &Limits, now: Timestamp) -> Result<Lost, Gone>;

    /// What users set for themselves.
    fn clients(&self) -> &Clients;

    /// What is in the store.
    fn totals(&self) -> StoreTotals;

    /// How the store is.
    fn status(&self) -> StoreStatus;

    /// Keeps what was promised, and ends: another process may open it then. What is asked of it afterwards changes
    /// nothing that is kept.
    async fn close(&self);

    /// When the oldest buffered message came. Looks at every mailbox: for a scrape, not for a request.
    fn oldest(&self) -> Option<Timestamp>;
}

/// Under what a principal's URL is found: without scheme, default port, query, [case](fold_case) and closing slash, and its path
/// in the [normal form](normal_path).
pub fn principal_key(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.strip_suffix(":80").unwrap_or(authority);
    fold_case(&format!("{authority}{}", normal_path(path).trim_end_matches('/')))
}

/// What counts as one address: of IPv6 the network of 64 bits, since whoever has one has all its addresses
/// (RFC 6177).
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            const NETWORK: u128 = !0 << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::principal_key;

    #[test]
    fn principals_are_compared_without_what_does_not_matter() {
        let key = principal_key("http://im.example.com/instmsg/aliases/kari");
        for same in [
            "http://IM.example.com:80/instmsg/aliases/Kari/",
            "im.example.com/instmsg/aliases/kari",
            "HTTP://im.example.com/instmsg/aliases/kari",
            "http://im.example.com/instmsg/aliases/k%61ri",
            "http://im.example.com/instmsg/aliases/kari?x",
            "http://im.example.com//instmsg/x/../aliases/./kari#y",
        ] {
            assert_eq!(principal_key(same), key, "{same}");
        }
        for other in [
            "http://im.example.com:8080/instmsg/aliases/kari",
            "http://im.example.com/instmsg/aliases/karin",
            "http://im.example.com/instmsg/aliases/\u{212a}ari",
        ] {
            assert_ne!(principal_key(other), key, "{other}");
        }
    }
}
