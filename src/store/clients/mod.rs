//! The connection settings that users wrote for themselves, and whether they still count.
//!
//! To the white paper an administrator's policy and a user's own setting write the same place, and the
//! last one written wins. Here they are in two places, so each write gets a number, larger than all before:
//! a user's setting when it is written, a policy when the gateway first [sees](Clients::see_policies) it
//! with this content, which is at the start, when it follows another configuration, and before a setting is
//! written. Of the two the larger number wins. So
//! - a policy that is written again without a change is no later than before, whatever else the file says;
//! - a policy that was taken away and comes back is written then;
//! - a policy that begins to apply only because another went away is as old as it was;
//! - no clock has a say, and a restart changes nothing: numbers are kept as durably as messages.
//!
//! A setting that a policy overrules stays, for the client may sign in from where another policy applies.

mod book;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::Receipt;
use crate::mailbox::{OwnSettings, Timestamp};

pub(super) use book::{Book, Change};

/// A user's own setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSetting {
    /// Which write it was.
    pub number: u64,
    /// Whose it is, as it was written down; compared by [`principal_key`](super::principal_key).
    pub principal: Box<str>,
    /// What was chosen.
    pub own: OwnSettings,
    /// When it was written, by the wall clock: for people.
    pub written: Timestamp,
}

/// Why a user's setting was not written, or not for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// As many principals as may have a setting.
    #[error("too many principals have a setting of their own")]
    TooMany,
    /// The store cannot keep it at this moment. It may come through nevertheless.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Keeps what changes beyond the process.
pub(super) trait Keep: fmt::Debug + Send + Sync {
    /// Whether anything can be kept at this moment.
    fn is_able(&self) -> bool;

    /// Keeps changes, in the order of the calls. It is called under a lock, and does nothing that could wait.
    fn keep(&self, changes: Vec<Change>) -> Receipt;
}

/// What a store keeps no longer than the process lives.
#[derive(Debug)]
pub(super) struct InMemory;

impl Keep for InMemory {
    fn is_able(&self) -> bool {
        true
    }

    fn keep(&self, _: Vec<Change>) -> Receipt {
        Receipt::nothing()
    }
}

/// Every user's own setting.
#[derive(Debug)]
pub struct Clients {
    book: Mutex<Book>,
    keep: Box<dyn Keep>,
}

impl Clients {
    pub(super) fn new(book: Book, keep: impl Keep + 'static) -> Self {
        Self { book: Mutex::new(book), keep: Box::new(keep) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policies as they are now, each as a text that is another when its content is. It is asked for
    /// them under the lock, so that nobody who asked earlier takes them back.
    pub fn see_policies(&self, now: impl FnOnce() -> Vec<String>) {
        let mut book = self.book();
        let changes = book.see(&now());
        if !changes.is_empty() {
            // Whatever is written later goes to the disk later too: nobody needs to wait for this.
            self.keep.keep(changes).ignore();
        }
    }

    /// Writes a user's setting in the place of an older one, while at most so many principals have one.
    pub async fn write(
        &self,
        principal: &str,
        own: OwnSettings,
        most: u64,
        wall: Timestamp,
    ) -> Result<ClientSetting, WriteError> {
        if !self.keep.is_able() {
            return Err(WriteError::Unavailable);
        }
        let (written, receipt) = {
            let mut book = self.book();
            let (written, changes) = book.write(principal, own, most, wall).ok_or(WriteError::TooMany)?;
            (written, self.keep.keep(changes))
        };
        receipt.kept().await.map_err(|_| WriteError::Unavailable)?;
        Ok(written)
    }

    /// Removes a user's setting; whether there was one.
    pub async fn remove(&self, principal: &str) -> Result<bool, WriteError> {
        if !self.keep.is_able() {
            return Err(WriteError::Unavailable);
        }
        let receipt = {
            let changes = self.book().remove(principal);
            if changes.is_empty() {
                return Ok(false);
            }
            self.keep.keep(changes)
        };
        receipt.kept().await.map_err(|_| WriteError::Unavailable)?;
        Ok(true)
    }

    /// A user's setting, whether it counts or not.
    pub fn get(&self, principal: &str) -> Option<ClientSetting> {
        self.book().get(principal)
    }

    /// At most `most` of the settings, those behind `after`, in the order in which they were written.
    pub fn list(&self, after: Option<u64>, most: usize) -> Vec<ClientSetting> {
        self.book().list(after, most)
    }

    /// Whether a policy was written later than a setting, and counts in its place. One that was never seen
    /// was written just now.
    pub fn is_overruled(&self, setting: &ClientSetting, policy: &str) -> bool {
        self.book().number_of(policy).is_none_or(|policy| policy > setting.number)
    }
}
