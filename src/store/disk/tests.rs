use super::tables::{self, FORMAT, Put, Table, meta};
use super::*;
use crate::store::Caps;
use crate::store::contract::store_contract;

mod faults;
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
