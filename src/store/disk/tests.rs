use super::tables::{self, FORMAT, Put, Table, meta};
use super::*;
use crate::store::Caps;
use crate::store::contract::store_contract;

mod faults;
mod paths;
mod reading;
mod restart;
mod settings;
mod simulated;

fn options(caps: Caps) -> DiskOptions {
    DiskOptions {
        caps,
        cache_bytes: 64 * 1024 * 1024,
        min_free_bytes: 0,
        clock: Clock::default(),
        on_commit: CommitWatch::default(),
    }
}

mod contract {
    use super::simulated::Disk;
    use super::*;

    fn make(caps: Caps, cache_bytes: u64) -> DiskStore {
        Disk::default().open(DiskOptions { cache_bytes, ..options(caps) })
    }

    mod with_a_cache {
        use super::*;

        store_contract!(|caps| make(caps, 1 << 20));
    }

    mod without_a_cache {
        use super::*;

        store_contract!(|caps| make(caps, 0));
    }
}

#[tokio::test]
async fn a_store_that_was_closed_is_another_ones_to_open() {
    let home = tempfile::tempdir().unwrap();
    let caps = Caps { mailboxes: 10, bytes: 1 << 20 };
    let first = DiskStore::open(home.path(), options(caps)).unwrap();
    assert!(matches!(DiskStore::open(home.path(), options(caps)), Err(OpenError::Held { .. })));
    first.close().await;
    let second = DiskStore::open(home.path(), options(caps));
    assert!(second.is_ok(), "{second:?}");
    drop(first);
    assert!(
        matches!(DiskStore::open(home.path(), options(caps)), Err(OpenError::Held { .. })),
        "it is the second's"
    );
}
