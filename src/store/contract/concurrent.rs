//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::JoinSet;

use super::Ground;
use super::ground::{bodies, rung};
use crate::mailbox::{Class, Outcome, Refusal};
use crate::store::{EndedBy, OfferError, Taken};

/// Nothing lost, nothing out of order, nothing twice.
pub(crate) async fn a_thousand_mailboxes_at_once(ground: Ground) {
    const MAILBOXES: usize = 1_000;
    const MESSAGES: usize = 20;
    let ground = Arc::new(ground);
    let mut mailboxes = Vec::new();
    for _ in 0..MAILBOXES {
        mailboxes.push(ground.mailbox().await);
    }
    let mut tasks = JoinSet::new();
    for mailbox in mailboxes {
        let publisher = ground.clone();
        tasks.spawn(async move {
            for n in 0..MESSAGES {
                publisher.offer(mailbox, &n.to_string()).await;
            }
        });
        let client = ground.clone();
        tasks.spawn(async move {
            let mut seen = Vec::new();
            let mut last = None;
            while seen.len() < MESSAGES {
                let (turn, bell) = client.begin(mailbox, last);
                let (batch, mut settlement) = loop {
                    match client.take(mailbox, turn).await {
                        Taken::Nothing => rung(&bell).await,
                        Taken::Batch(batch, settlement) => break (batch, settlement),
                        other => panic!("{other:?}"),
                    }
                };
                settlement.settle(Outcome::Written);
                last = batch.messages.last().map(|m| m.id).or(last);
                seen.extend(bodies(&batch));
            }
            client.begin(mailbox, last);
            let expected: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
            assert_eq!(seen, expected);
        });
    }
    tasks.join_all().await;
    let totals = ground.store.totals();
    assert_eq!((totals.messages, totals.bytes), (0, 0));
}

/// Mailboxes end while messages are offered to them and taken from them.
pub(crate) async fn what_was_accepted_is_taken_or_counted_as_lost(ground: Ground) {
    let ground = Arc::new(ground);
    let (accepted, acknowledged, lost) = <(Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let mailbox = ground.mailbox().await;
        for _ in 0..2 {
            let (ground, accepted) = (ground.clone(), accepted.clone());
            tasks.spawn(async move {
                loop {
                    match ground.offer_as(mailbox, "x", Class::Message).await {
                        Ok(offered) => match offered.outcome {
                            Ok(_) => _ = accepted.fetch_add(1, Relaxed),
                            Err(refusal) => assert_eq!(refusal, Refusal::Full),
                        },
                        Err(error) => return assert_eq!(error, OfferError::Gone(crate::store::Gone)),
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        let (polls, acknowledged, lost) = (ground.clone(), acknowledged.clone(), lost.clone());
        tasks.spawn(async move {
            let mut last = None;
            for _ in 0..20 {
                let bell = Default::default();
                let (turn, left) = polls.store.begin_poll(mailbox, last.into(), &bell).unwrap();
                acknowledged.fetch_add(left, Relaxed);
                if let Taken::Batch(batch, mut settlement) = polls.take(mailbox, turn).await {
                    // Never acknowledged without being asked: what is not, is abandoned at the end.
                    last = batch.messages.last().map(|m| m.id).or(last);
                    settlement.settle(Outcome::Broken);
                }
                tokio::task::yield_now().await;
            }
            let abandoned = polls.store.end(mailbox, EndedBy::Other, &polls.limits, polls.now).await.unwrap();
            lost.fetch_add(abandoned.lost.total(), Relaxed);
        });
    }
    tasks.join_all().await;
    assert_eq!(accepted.load(Relaxed), acknowledged.load(Relaxed) + lost.load(Relaxed));
    let totals = ground.store.totals();
    assert_eq!((totals.mailboxes, totals.messages, totals.bytes), (0, 0, 0));
}
