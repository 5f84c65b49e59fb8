//! Who is connected, and how much of the gateway each address has.
//!
//! One address may be a whole office behind a NAT, so that its share is large; it is never all there is.
//! Of IPv6, what counts is the network of 64 bits: whoever has one has all its addresses (RFC 6177).
//!
//! What is kept follows who is here: an address without a connection takes no memory, but for a while, and in a
//! table that has an end, if it asked so much that it would gain by coming back as a stranger.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lru::LruCache;

use super::pace::{Bucket, Rate, TooFast};
use crate::clock;
use crate::config::EdgeLimits;
use crate::http1::Budget;
use crate::store::network_of;

/// How many addresses are remembered that left before their bucket was full again. Each takes less than a
/// hundred bytes.
const REMEMBERED: usize = 65_536;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of all clients.
    pub connections: u64,
    /// File descriptors of all clients.
    pub descriptors: u64,
    /// Connections of one address.
    pub connections_per_address: u64,
    /// Held polls of one address.
    pub held_polls_per_address: u64,
    /// Requests of one address.
    pub rate_per_address: Rate,
}

impl From<&EdgeLimits> for Bounds {
    /// As they are set; the settings know nothing of descriptors.
    fn from(limits: &EdgeLimits) -> Self {
        let &EdgeLimits { connections, connections_per_address, held_polls_per_address, .. } = limits;
        let rate_per_address = Rate {
            per_second: limits.requests_per_second_per_address,
            burst: limits.request_burst_per_address,
        };
        let descriptors = u64::MAX;
        Self { connections, descriptors, connections_per_address, held_polls_per_address, rate_per_address }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There is no room for anybody.
    #[error("too many connections")]
    House,
    /// There is no more room for this address.
    #[error("too many connections from this address")]
    Address,
}

impl Full {
    /// The reason's word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Full::House => "all",
            Full::Address => "address",
        }
    }
}

/// Counts who comes and goes.
#[derive(Debug)]
pub struct Doors {
    counts: Mutex<Counts>,
    /// What the buckets' times count from.
    opened: Instant,
}

#[derive(Debug)]
struct Counts {
    connections: u64,
    /// One a connection, and more for some.
    descriptors: u64,
    /// Only those who are here: nobody can make it larger than there are connections.
    by_address: HashMap<IpAddr, Arc<Share>>,
    /// When the buckets of those are full who are gone, the longest gone first.
    gone: LruCache<IpAddr, u64>,
}

/// What one address has.
#[derive(Debug)]
struct Share {
    address: IpAddr,
    /// How many count on it; changed under the lock only.
    holders: AtomicU64,
    connections: AtomicU64,
    held_polls: AtomicU64,
    /// What the bodies of its requests take in memory.
    bodies: Arc<Budget>,
    requests: Bucket,
}

/// An address's share, which is counted on until this goes.
#[derive(Debug)]
struct Holder {
    doors: Arc<Doors>,
    share: Arc<Share>,
}

/// A connection that was let in; it is counted until this goes.
#[derive(Debug)]
pub struct Guest {
    own: Holder,
    /// How many file descriptors it takes.
    descriptors: u64,
    /// For whom it speaks, if it is a proxy.
    behind: Option<Box<Holder>>,
}

/// A poll that may be held; it is counted until this goes.
#[derive(Debug)]
pub struct Seat(Arc<Share>);

impl Default for Doors {
    fn default() -> Self {
        let counts = Counts {
            connections: 0,
            descriptors: 0,
            by_address: HashMap::new(),
            gone: LruCache::unbounded(),
        };
        Self { counts: Mutex::new(counts), opened: clock::instant() }
    }
}

impl Doors {
    /// Lets a connection in, or says why not.
    pub fn enter(self: &Arc<Self>, peer: IpAddr, bounds: Bounds) -> Result<Guest, Full> {
        let mut counts = self.counts();
        if counts.connections >= bounds.connections || counts.descriptors >= bounds.descriptors {
            return Err(Full::House);
        }
        let share = counts.share(network_of(peer));
        // Changed under the lock only.
        if share.connections.load(Relaxed) >= bounds.connections_per_address {
            return Err(Full::Address);
        }
        share.connections.fetch_add(1, Relaxed);
        share.holders.fetch_add(1, Relaxed);
        counts.connections += 1;
        counts.descriptors += 1;
        drop(counts);
        Ok(Guest { own: Holder { doors: self.clone(), share }, descriptors: 1, behind: None })
    }

    /// The share of an address that has no connection of its own.
    fn hold(self: &Arc<Self>, address: IpAddr) -> Holder {
        let mut counts = self.counts();
        let share = counts.share(address);
        // Under the lock: who goes at this moment must not take it away.
        share.holders.fetch_add(1, Relaxed);
        drop(counts);
        Holder { doors: self.clone(), share }
    }

    fn now(&self) -> u64 {
        let since = clock::instant().saturating_duration_since(self.opened);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    fn connections(&self) -> u64 {
        self.counts().connections
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn share(&mut self, address: IpAddr) -> Arc<Share> {
        let gone = &mut self.gone;
        let new = || {
            Arc::new(Share {
                address,
                holders: AtomicU64::new(0),
                connections: AtomicU64::new(0),
                held_polls: AtomicU64::new(0),
                bodies: Arc::default(),
                requests: Bucket::full_at(gone.pop(&address).unwrap_or(0)),
            })
        };
        self.by_address.entry(address).or_insert_with(new).clone()
    }

    /// Forgets an address that nobody counts on any more, but for what it asked lately.
    fn forget(&mut self, share: &Share, now: u64) {
        self.by_address.remove(&share.address);
        // Two for each that comes: in time all go whose buckets are full.
        for _ in 0..2 {
            if self.gone.peek_lru().is_some_and(|(_, full)| *full <= now) {
                self.gone.pop_lru();
            }
        }
        if share.requests.full() > now {
            self.gone.push(share.address, share.requests.full());
            if self.gone.len() > REMEMBERED {
                self.gone.pop_lru();
            }
        }
    }
}

impl Guest {
    /// What comes next comes from this address, whose share counts.
    pub fn speak_for(&mut self, client: IpAddr) {
        let address = network_of(client);
        if self.share().address != address {
            let is_itself = self.own.share.address == address;
            self.behind = (!is_itself).then(|| Box::new(self.own.doors.hold(address)));
        }
    }

    /// It takes so many file descriptors from now on, for its own connection and whatever belongs to it. Who
    /// is here is not sent away for that; who comes may find no room.
    pub fn takes_descriptors(&mut self, descriptors: u64) {
        let mut counts = self.own.doors.counts();
        counts.descriptors = counts.descriptors - self.descriptors + descriptors;
        drop(counts);
        self.descriptors = descriptors;
    }

    fn share(&self) -> &Arc<Share> {
        &self.behind.as_deref().unwrap_or(&self.own).share
    }

    /// What the bodies of this address take in memory.
    pub fn bodies(&self) -> Arc<Budget> {
        self.share().bodies.clone()
    }

    /// A place to wait in, if this address has one left.
    pub fn seat(&self, bounds: Bounds) -> Option<Seat> {
        let share = self.share();
        let taken = share.held_polls.fetch_add(1, Relaxed);
        // Dropped at once where there is no room: it takes back what was just added.
        let seat = Seat(share.clone());
        (taken < bounds.held_polls_per_address).then_some(seat)
    }

    /// Counts a request, unless this address asks too fast.
    pub fn ask(&self, bounds: Bounds) -> Result<(), TooFast> {
        self.share().requests.take(bounds.rate_per_address, self.own.doors.now())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.own.doors.counts();
        counts.connections -= 1;
        counts.descriptors -= self.descriptors;
        drop(counts);
        self.own.share.connections.fetch_sub(1, Relaxed);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut counts = self.doors.counts();
        if self.share.holders.fetch_sub(1, Relaxed) == 1 {
            counts.forget(&self.share, self.doors.now());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.held_polls.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 4,
        descriptors: 6,
        connections_per_address: 2,
        held_polls_per_address: 1,
        rate_per_address: Rate { per_second: 1, burst: 2 },
    };

    fn enter(doors: &Arc<Doors>, peer: &str) -> Result<Guest, Full> {
        doors.enter(peer.parse().unwrap(), BOUNDS)
    }

    #[test]
    fn no_address_has_more_than_its_share_and_all_together_no_more_than_there_is() {
        let doors = Arc::new(Doors::default());
        let mut guests = Vec::new();
        for (peer, full) in [
            ("10.0.0.1", None),
            ("::ffff:10.0.0.1", None),
            ("10.0.0.1", Some(Full::Address)),
            ("2001:db8::1", None),
            ("2001:db8::ffff:1", None),
            ("2001:db8:0:1::1", Some(Full::House)),
        ] {
            let entered = enter(&doors, peer);
            assert_eq!(entered.as_ref().err().copied(), full, "{peer}");
            guests.extend(entered);
        }
        assert_eq!(doors.connections(), 4);
        guests.remove(0);
        assert_eq!(enter(&doors, "2001:db8::2").unwrap_err(), Full::Address);
        enter(&doors, "10.0.0.1").unwrap();
        drop(guests);
        assert_eq!(doors.connections(), 0);
        assert!(doors.counts().by_address.is_empty());
    }

    #[test]
    fn a_client_with_more_descriptors_leaves_room_for_fewer() {
        let doors = Arc::new(Doors::default());
        let mut first = enter(&doors, "10.0.0.1").unwrap();
        first.takes_descriptors(5);
        let second = enter(&doors, "10.0.0.2").unwrap();
        assert_eq!(enter(&doors, "10.0.0.3").unwrap_err(), Full::House);
        drop(first);
        let _third = enter(&doors, "10.0.0.3").unwrap();
        assert_eq!(doors.counts().descriptors, 2);
        drop(second);
        assert_eq!(doors.counts().descriptors, 1);
    }

    #[test]
    fn an_address_holds_no_more_polls_than_it_may() {
        let doors = Arc::new(Doors::default());
        let guests = [enter(&doors, "10.0.0.1").unwrap(), enter(&doors, "10.0.0.1").unwrap()];
        let other = enter(&doors, "10.0.0.2").unwrap();
        let seat = guests[0].seat(BOUNDS).unwrap();
        assert!(guests.iter().all(|guest| guest.seat(BOUNDS).is_none()));
        assert!(other.seat(BOUNDS).is_some());
        drop(seat);
        assert!(guests[1].seat(BOUNDS).is_some());
    }

    #[test]
    fn who_asked_too_fast_gains_nothing_by_coming_back() {
        let doors = Arc::new(Doors::default());
        let guest = enter(&doors, "2001:db8::1").unwrap();
        // The clock runs on meanwhile, but not for a second.
        guest.ask(BOUNDS).unwrap();
        guest.ask(BOUNDS).unwrap();
        assert!(guest.ask(BOUNDS).is_err());
        enter(&doors, "10.0.0.1").unwrap().ask(BOUNDS).unwrap();
        drop(guest);
        assert!(doors.counts().by_address.is_empty());
        assert!(enter(&doors, "2001:db8::2").unwrap().ask(BOUNDS).is_err());
    }

    #[test]
    fn those_who_are_gone_are_remembered_as_long_as_they_gain_by_it_and_as_far_as_there_is_room() {
        let doors = Arc::new(Doors::default());
        let mut counts = doors.counts();
        let leave = |counts: &mut Counts, n: u32, full: u64, now: u64| {
            let share = counts.share(IpAddr::from(n.to_be_bytes()));
            share.requests.take(Rate { per_second: 1, burst: u64::MAX }, full - 1_000_000_000).unwrap();
            counts.forget(&share, now);
        };
        const LATER: u64 = 1 << 40;
        for n in 0..70_000 {
            leave(&mut counts, n, LATER, 0);
        }
        assert_eq!((counts.gone.len(), counts.by_address.len()), (REMEMBERED, 0));
        // When their buckets are full, each that leaves takes two of them along.
        for n in 0..40_000 {
            leave(&mut counts, n, LATER, LATER + 1);
        }
        assert_eq!(counts.gone.len(), 0);
    }

    #[test]
    fn a_proxy_speaks_for_others_each_with_a_share_of_its_own() {
        let doors = Arc::new(Doors::default());
        let mut proxy = enter(&doors, "10.0.0.1").unwrap();
        let (kari, alan) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        proxy.speak_for(kari);
        let seat = proxy.seat(BOUNDS).unwrap();
        assert!(proxy.seat(BOUNDS).is_none());
        proxy.ask(BOUNDS).unwrap();
        proxy.ask(BOUNDS).unwrap();
        proxy.speak_for(alan);
        assert!(proxy.ask(BOUNDS).is_ok() && proxy.seat(BOUNDS).is_some());
        // It is the same share that kari has directly.
        proxy.speak_for(kari);
        assert!(enter(&doors, "192.0.2.1").unwrap().ask(BOUNDS).is_err());
        proxy.speak_for("10.0.0.1".parse().unwrap());
        assert!(proxy.ask(BOUNDS).is_ok());
        drop((seat, proxy));
        assert!(doors.counts().by_address.is_empty());
    }
}
