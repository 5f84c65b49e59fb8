//! Who is connected, and how much of the gateway each address has.
//!
//! One address may be a whole office behind a NAT, so that its share is large; it is never all there is.
//! Of IPv6, what counts is the network of 64 bits: whoever has one has all its addresses (RFC 6177).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::EdgeLimits;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of all clients.
    pub connections: u64,
    /// Connections of one address.
    pub connections_per_address: u64,
    /// Held polls of one address.
    pub held_polls_per_address: u64,
}

impl From<EdgeLimits> for Bounds {
    fn from(limits: EdgeLimits) -> Self {
        let EdgeLimits { connections, connections_per_address, held_polls_per_address, .. } = limits;
        Self { connections, connections_per_address, held_polls_per_address }
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
#[derive(Debug, Default)]
pub struct Doors(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: u64,
    /// Only those who are here: nobody can make it larger than there are connections.
    by_address: HashMap<IpAddr, Arc<Share>>,
}

/// What one address has.
#[derive(Debug, Default)]
struct Share {
    connections: AtomicU64,
    held_polls: AtomicU64,
}

/// A connection that was let in; it is counted until this goes.
#[derive(Debug)]
pub struct Guest {
    doors: Arc<Doors>,
    address: IpAddr,
    share: Arc<Share>,
}

/// A poll that may be held; it is counted until this goes.
#[derive(Debug)]
pub struct Seat(Arc<Share>);

impl Doors {
    /// Lets a connection in, or says why not.
    pub fn enter(self: &Arc<Self>, peer: IpAddr, bounds: Bounds) -> Result<Guest, Full> {
        let address = who(peer);
        let mut counts = self.counts();
        if counts.connections >= bounds.connections {
            return Err(Full::House);
        }
        let share = counts.by_address.entry(address).or_default().clone();
        // Changed under the lock only.
        if share.connections.load(Relaxed) >= bounds.connections_per_address {
            return Err(Full::Address);
        }
        share.connections.fetch_add(1, Relaxed);
        counts.connections += 1;
        drop(counts);
        Ok(Guest { doors: self.clone(), address, share })
    }

    #[cfg(test)]
    fn connections(&self) -> u64 {
        self.counts().connections
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// A place to wait in, if this address has one left.
    pub fn seat(&self, bounds: Bounds) -> Option<Seat> {
        let taken = self.share.held_polls.fetch_add(1, Relaxed);
        // Dropped at once where there is no room: it takes back what was just added.
        let seat = Seat(self.share.clone());
        (taken < bounds.held_polls_per_address).then_some(seat)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.doors.counts();
        counts.connections -= 1;
        if self.share.connections.fetch_sub(1, Relaxed) == 1 {
            counts.by_address.remove(&self.address);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.held_polls.fetch_sub(1, Relaxed);
    }
}

fn who(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            const NETWORK: u128 = !0 << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { connections: 4, connections_per_address: 2, held_polls_per_address: 1 };

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
}
