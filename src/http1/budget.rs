//! How much memory the bodies of requests take together.
//!
//! What counts is what came, and not what was announced: to announce much costs nobody anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the bytes of all bodies that are in memory.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

/// What one body takes of a budget; given back when this goes.
#[derive(Debug)]
pub struct Allowance {
    budget: Option<Arc<Budget>>,
    most: u64,
    taken: u64,
}

/// All bodies together would take more memory than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many request bodies are in memory")]
pub struct NoMemory;

impl Budget {
    /// For one body, as long as all together take at most so many bytes.
    pub fn allowance(self: &Arc<Self>, most: u64) -> Allowance {
        Allowance { budget: Some(self.clone()), most, taken: 0 }
    }

    /// How many bytes are taken.
    pub fn used(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Allowance {
    /// For a body that is bounded otherwise.
    pub fn unlimited() -> Self {
        Self { budget: None, most: u64::MAX, taken: 0 }
    }

    /// Takes so many bytes more.
    pub fn take(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let bytes = bytes as u64;
        if let Some(budget) = &self.budget {
            let room = |used: u64| used.checked_add(bytes).filter(|after| *after <= self.most);
            budget.0.fetch_update(Relaxed, Relaxed, room).map_err(|_| NoMemory)?;
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
        if let Some(budget) = &self.budget {
            budget.0.fetch_sub(self.taken, Relaxed);
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
}
