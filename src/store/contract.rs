//! What every store must do: one suite, run on all of them.

use std::sync::Arc;

use super::*;
use crate::mailbox::Timestamp;
use crate::store::memory::Caps;

pub(crate) fn new_mailbox(n: u128, lease_ends: Timestamp) -> NewMailbox {
    NewMailbox {
        token: CallbackToken::from_random(n),
        poll_key: PollKey::from_random(1_000_000 + n),
        subscription: Subscription { node: "/node".into(), ..Subscription::default() },
        lease_ends,
    }
}

pub(crate) async fn check<S: MailboxStore>(_make: impl Fn(Caps) -> Arc<S>) {}
