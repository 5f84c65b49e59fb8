//! Recent bodies: most are handed out soon after they came, and need not be read.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::record::Place;
use crate::mailbox::Message;

/// What a message takes beside its bytes: allocations, counters, and the cache's own books.
const OVERHEAD: u64 = 256;

/// Bounded by bytes. It holds what came, and never what was read: that is on its way out.
#[derive(Debug)]
pub(super) struct Bodies(Cache<Place, Arc<Message>, ByBytes>);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Place, Arc<Message>> for ByBytes {
    fn weight(&self, _: &Place, message: &Arc<Message>) -> u64 {
        message.cost() + OVERHEAD
    }
}

impl Bodies {
    pub(super) fn new(bytes: u64) -> Self {
        // For messages of a kilobyte; it is no bound.
        let items = usize::try_from(bytes / 1024).unwrap_or(usize::MAX).max(1);
        Self(Cache::with_weighter(items, bytes, ByBytes))
    }

    pub(super) fn insert(&self, place: Place, message: Arc<Message>) {
        self.0.insert(place, message);
    }

    pub(super) fn get(&self, place: Place) -> Option<Arc<Message>> {
        self.0.get(&place)
    }

    pub(super) fn remove(&self, place: Place) {
        self.0.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::message;

    #[test]
    fn the_cache_is_bounded_by_bytes() {
        let bodies = Bodies::new(100_000);
        let message = Arc::new(message(&"x".repeat(1000), crate::mailbox::Class::Message));
        for place in 0..1000 {
            bodies.insert(Place(place), message.clone());
        }
        let kept = (0..1000).filter(|place| bodies.get(Place(*place)).is_some()).count();
        assert!((40..=80).contains(&kept), "{kept}");
        (0..1000).for_each(|place| bodies.remove(Place(place)));
        assert_eq!((0..1000).filter(|place| bodies.get(Place(*place)).is_some()).count(), 0);
        let none = Bodies::new(0);
        none.insert(Place(1), message);
        assert!(none.get(Place(1)).is_none());
    }
}
