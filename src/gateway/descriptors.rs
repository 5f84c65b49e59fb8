//! How many clients the process has file descriptors for.
//!
//! Clients take one each, and must not take the last: the upstream, its callbacks, deliveries, operators and the
//! store need some too. So a part of them is not for clients, and whoever comes when the rest is taken is told so,
//! with a descriptor that is left for it.

use rlimit::Resource;

/// The fewest that are kept from clients.
const FEWEST_KEPT: u64 = 32;

/// The most: each of up to as many proxied requests and deliveries.
const MOST_KEPT: u64 = 8192;

/// For how many clients there are descriptors, with as many as the process may have now.
pub fn for_clients() -> u64 {
    // Where that cannot be asked there is no bound but the settings'.
    Resource::NOFILE.get_soft().map_or(u64::MAX, clients_within)
}

/// For how many clients there are descriptors, with so many in all: at least one.
pub fn clients_within(descriptors: u64) -> u64 {
    let kept = (descriptors / 4).clamp(FEWEST_KEPT, MOST_KEPT);
    descriptors.saturating_sub(kept).max(1)
}

#[cfg(test)]
mod tests {
    use super::clients_within;

    #[test]
    fn clients_never_have_all() {
        for (descriptors, clients) in [
            (0, 1),
            (32, 1),
            (64, 32),
            (1024, 768),
            (32_768, 24_576),
            (524_288, 516_096),
            (u64::MAX, u64::MAX - 8192),
        ] {
            assert_eq!(clients_within(descriptors), clients, "{descriptors}");
        }
    }
}
