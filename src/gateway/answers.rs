//! Answers whose body says something of a subscription: its id, or how long its lease is.
//!
//! The body passes as it comes; what is kept of it is bounded. The lease was granted with the head of the answer, and
//! the mailbox is found by its token before its id is known.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Gateway;
use crate::clock;
use crate::dialect::Dialect;
use crate::http1::{Allowance, FieldList};
use crate::mailbox::MailboxId;

/// Whose lease was granted by the head of an answer.
#[derive(Debug)]
pub struct Granted {
    /// Which mailboxes.
    pub mailboxes: Vec<MailboxId>,
    /// In which dialect the answer is.
    pub dialect: Dialect,
    /// How long the lease is, as far as the head says it.
    pub lease: Duration,
    /// How many bytes of the body are read.
    pub most: usize,
}

/// An answer whose body is being read as it passes.
#[derive(Debug)]
pub struct PassingAnswer {
    granted: Granted,
    fields: FieldList,
    content: Vec<u8>,
    room: Allowance,
}

impl PassingAnswer {
    /// An answer with these fields.
    pub fn new(gateway: &Gateway, granted: Granted, fields: FieldList) -> Self {
        Self { granted, fields, content: Vec::new(), room: gateway.client_room(Arc::default()) }
    }

    /// More of its body passes. Whether that can be kept.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let fits =
            self.content.len() + piece.len() <= self.granted.most && self.room.take(piece.len()).is_ok();
        if fits {
            self.content.extend_from_slice(piece);
        } else {
            tracing::warn!(mailboxes = ?self.granted.mailboxes, "the answer is too large to look for an id in it");
        }
        fits
    }

    /// Its body is complete. When this returns the mailboxes are found by what it says.
    pub fn end(self, gateway: &Arc<Gateway>) {
        let Self { granted: Granted { mailboxes, dialect, lease, .. }, fields, content, .. } = self;
        let grant = dialect.read_answer(&fields, &content);
        if grant.subscription_id.is_none() && grant.lease.is_none() {
            tracing::debug!(?mailboxes, "the body of the answer says nothing of the subscription");
            return;
        }
        let lease_ends = clock::now() + gateway.lease(grant.lease, Some(lease), &dialect);
        for mailbox in mailboxes {
            let (gateway, id) = (gateway.clone(), grant.subscription_id.clone());
            let told = async move {
                if gateway.store.grant(mailbox, id.as_deref(), lease_ends).await.is_err() {
                    tracing::warn!(%mailbox, "the upstream granted a lease too late");
                }
            };
            let mut told = Box::pin(told);
            // A store changes what it finds at once, and waits only until that is written.
            if pin!(&mut told).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
                tokio::spawn(told);
            }
        }
    }
}
