//! A whole store from a seed: whatever happens, it agrees with a naive account.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Ground;
use super::ground::{LEASE, s};
use crate::mailbox::{Bound, Class, EventId, MailboxId, Outcome};
use crate::store::{EndedBy, OfferError, Taken};

const STEPS: usize = 3_000;

/// What a mailbox holds, as far as a client and an operator see it.
#[derive(Default)]
struct Account {
    messages: BTreeMap<EventId, u64>,
}

/// Plain messages that never expire: then the account of what was accepted, acknowledged and abandoned is
/// everything there is.
pub(crate) async fn whatever_happens_the_totals_are_right(mut ground: Ground) {
    ground.limits.messages = Bound::AtMost(10);
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut accounts: BTreeMap<MailboxId, Account> = BTreeMap::new();
    let mut dropped = (0, 0);
    let mut newest = EventId(0);
    for step in 0..STEPS {
        let at = format!("seed {seed}, step {step}");
        let chosen = accounts.keys().nth(random.random_range(0..5)).copied();
        match (random.random_range(0..100), chosen) {
            (0..5, _) | (_, None) if accounts.len() < 5 => {
                accounts.insert(ground.mailbox().await, Account::default());
            }
            (5..60, Some(mailbox)) => {
                let body = "x".repeat(random.random_range(1..50));
                let account = accounts.get_mut(&mailbox).unwrap();
                let offered = ground.offer_as(mailbox, &body, Class::Message).await.unwrap();
                assert_eq!(offered.outcome.is_ok(), account.messages.len() < 10, "{at}");
                if let Ok(id) = offered.outcome {
                    assert!(id > newest, "{at}");
                    newest = id;
                    account.messages.insert(id, body.len() as u64);
                }
            }
            (60..95, Some(mailbox)) => {
                let account = accounts.get_mut(&mailbox).unwrap();
                let (turn, _bell) = ground.begin(mailbox, Some(EventId(0)));
                let taken = ground.take(mailbox, turn).await;
                let Taken::Batch(batch, mut settlement) = taken else {
                    assert!(account.messages.is_empty(), "{at}: {taken:?}");
                    continue;
                };
                let ids: Vec<EventId> = batch.messages.iter().map(|m| m.id).collect();
                assert_eq!(ids, account.messages.keys().copied().collect::<Vec<_>>(), "{at}");
                let outcome = if random.random() { Outcome::Written } else { Outcome::Broken };
                settlement.settle(outcome);
                let up_to = ids[random.random_range(0..ids.len())];
                let bell = Default::default();
                let (_, left) = ground.store.begin_poll(mailbox, Some(up_to).into(), &bell).unwrap();
                let before = account.messages.len();
                account.messages.retain(|id, _| *id > up_to);
                assert_eq!(left as usize, before - account.messages.len(), "{at}");
            }
            (95..98, Some(mailbox)) => {
                let account = accounts.remove(&mailbox).unwrap();
                let lost =
                    ground.store.end(mailbox, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
                assert_eq!(lost.lost.total() as usize, account.messages.len(), "{at}");
                dropped.0 += account.messages.len() as u64;
                dropped.1 += account.messages.values().sum::<u64>();
                let late = ground.offer_as(mailbox, "x", Class::Message).await;
                assert!(matches!(late, Err(OfferError::Gone(_))), "{at}");
            }
            _ => {
                ground.expire();
            }
        }
        let totals = ground.store.totals();
        let messages: usize = accounts.values().map(|a| a.messages.len()).sum();
        let bytes: u64 = accounts.values().flat_map(|a| a.messages.values()).sum();
        assert_eq!(
            (totals.mailboxes as usize, totals.messages as usize, totals.bytes),
            (accounts.len(), messages, bytes),
            "{at}"
        );
        assert_eq!((totals.dropped_messages, totals.dropped_bytes), dropped, "{at}");
    }
    // Every lease and every life time is over at last, and nothing stays behind.
    ground.now = ground.now + LEASE + s(100_000);
    ground.expire();
    ground.expire();
    assert_eq!(ground.store.totals(), Default::default(), "seed {seed}");
}
