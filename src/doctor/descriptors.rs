//! For how many clients there are file descriptors.

use rlimit::Resource;

use super::Finding;
use crate::gateway::descriptors;

const AREA: &str = "descriptors";

/// `running`: how many clients the running gateway has room for, as it says itself.
pub(super) fn look(connections: u64, running: Option<u64>) -> Finding {
    match running {
        // It counts with limits.connections: what it says is less only for lack of descriptors.
        Some(clients) => judge(clients, connections, "the running gateway's limit of file descriptors"),
        // The gateway raises its own limit as far as it may.
        None => match Resource::NOFILE.get_hard() {
            Ok(hard) => judge(
                descriptors::clients_within(hard),
                connections,
                &format!("the limit of {hard} file descriptors, which here is this shell's,"),
            ),
            Err(error) => Finding::skip(
                AREA,
                format!("the limit of file descriptors cannot be asked for: {error}"),
                "Look for `clients` in the gateway's log when it starts.",
            ),
        },
    }
}

fn judge(clients: u64, connections: u64, limit: &str) -> Finding {
    if clients >= connections {
        return Finding::ok(AREA, format!("{limit} allows the {connections} clients of limits.connections"));
    }
    Finding::warn(
        AREA,
        format!("{limit} allows {clients} clients, and not the {connections} of limits.connections"),
        "Raise it (LimitNOFILE= in systemd, `ulimit -n`), or lower limits.connections.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn as_many_as_there_are_connections() {
        assert_eq!(judge(60_000, 60_000, "it").level, Level::Ok);
        let few = judge(768, 60_000, "it");
        assert_eq!(few.seen, "it allows 768 clients, and not the 60000 of limits.connections");
        assert_eq!(look(60_000, Some(768)).level, Level::Warn);
    }
}
