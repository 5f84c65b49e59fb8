//! What is left of a million messages that were acknowledged.

use std::time::Instant;

use pollgate::store::MailboxStore;

use super::ground::{directory, drain, file_mib, fill, mailboxes, open};
use super::pending::messages;

pub async fn run() {
    let messages = messages();
    println!("drain: {messages} messages of 1000 bytes in 1000 mailboxes, twice");
    let home = directory();
    let store = open(home.path());
    let all = mailboxes(&store, 1000).await;
    for _ in 0..2 {
        fill(&store, &all, messages).await;
        let filled = file_mib(home.path());
        let began = Instant::now();
        assert_eq!(drain(&store, &all).await, messages);
        let drained = began.elapsed().as_secs_f64();
        // A commit behind all that is to be removed.
        fill(&store, &all, 1).await;
        drain(&store, &all).await;
        fill(&store, &all, 1).await;
        drain(&store, &all).await;
        println!("  {filled} MiB with them; {} MiB without, after {drained:.1} s", file_mib(home.path()));
    }
    store.close().await;
    println!("  {} MiB when it was closed", file_mib(home.path()));
}
