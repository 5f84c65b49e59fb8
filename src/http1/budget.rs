//! How much memory the bodies of requests take together.
//!
//! What counts is what came, and not what was announced: to announce much costs nobody anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the bytes of all bodies that are in memory.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

/// What one body takes of a budget, and of its sender's share of that; given back when this goes.
#[derive(Debug)]
pub struct Allowance {
    budget: Option<(Arc<Budget>, u64)>,
    share: Option<(Arc<Budget>, u64)>,
    taken: u64,
}

/// All bodies together would take more memory than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many request bodies are in memory")]
pub struct NoMemory;

impl Budget {
    /// For one body, as long as all together take at most so many bytes.
    pub fn allowance(self: &Arc<Self>, most: u64) -> Allowance {
        Allowance { budget: Some((self.clone(), most)), share: None, taken: 0 }
    }

    fn take(&self, bytes: u64, most: u64) -> Result<(), NoMemory> {
        let room = |used: u64| used.checked_add(bytes).filter(|after| *after <= most);
        self.0.fetch_update(Relaxed, Relaxed, room).map(drop).map_err(|_| NoMemory)
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Relaxed);
    }

    /// How many bytes are taken.
    pub fn used(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Allowance {
    /// For a body that is bounded otherwise.
    pub fn unlimited() -> Self {
        Self { budget: None, share: None, taken: 0 }
    }

    /// The same for one whose sender takes at most so many bytes with all its bodies.
    pub fn of_sender(mut self, share: Arc<Budget>, most: u64) -> Self {
        self.share = Some((share, most));
        self
    }

    /// Takes so many bytes more.
    pub fn take(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let bytes = bytes as u64;
        if let Some((share, most)) = &self.share {
            share.take(bytes, *most)?;
        }
        if let Some((budget, most)) = &self.budget
            && let Err(none) = budget.take(bytes, *most)
        {
            if let Some((share, _)) = &self.share {
                share.give_back(bytes);
            }
            return Err(none);
        }
        // Without a budget nobody counts.
        self.taken = self.taken.saturating_add(bytes);
        Ok(())
    }

    /// Takes for a piece of a body that is passed on piece by piece: never more than `most` in all, since so much is
    /// held at a time.
    pub fn take_within(&mut self, most: u64, bytes: usize) -> Result<(), NoMemory> {
        let left = usize::try_from(most.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        if left == 0 { Ok(()) } else { self.take(bytes.min(left)) }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        for (budget, _) in [&self.budget, &self.share].into_iter().flatten() {
            budget.give_back(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_take_no_more_than_there_is_and_give_it_back() {
        let budget = Arc::new(Budget::default());
        let (mut one, mut other) = (budget.allowance(10), budget.allowance(10));
        assert_eq!((one.take(6), other.take(5), other.take(4)), (Ok(()), Err(NoMemory), Ok(())));
        assert_eq!(one.take(1), Err(NoMemory));
        assert_eq!(budget.used(), 10);
        drop(one);
        assert_eq!((budget.used(), other.take(6)), (4, Ok(())));
        drop(other);
        assert_eq!(budget.used(), 0);
        let mut passed = budget.allowance(10);
        for _ in 0..9 {
            passed.take_within(4, 3).unwrap();
        }
        assert_eq!(budget.used(), 4);
        assert_eq!(Allowance::unlimited().take(usize::MAX), Ok(()));
    }

    #[test]
    fn a_sender_takes_no_more_than_its_share() {
        let (all, one, other) =
            (Arc::new(Budget::default()), Arc::new(Budget::default()), Arc::new(Budget::default()));
        let mut first = all.allowance(10).of_sender(one.clone(), 6);
        let mut second = all.allowance(10).of_sender(one.clone(), 6);
        assert_eq!((first.take(4), second.take(3), second.take(2)), (Ok(()), Err(NoMemory), Ok(())));
        let mut third = all.allowance(10).of_sender(other.clone(), 6);
        assert_eq!((third.take(5), third.take(4)), (Err(NoMemory), Ok(())));
        assert_eq!((all.used(), one.used(), other.used()), (10, 6, 4), "what was refused took nothing");
        drop((first, second, third));
        assert_eq!((all.used(), one.used(), other.used()), (0, 0, 0));
    }
}
