//! Who looks: what may be read, written and bound is a question of that.

use rustix::process::geteuid;

use super::Finding;

const AREA: &str = "user";

pub(super) fn look() -> Finding {
    judge(geteuid().as_raw())
}

fn judge(user: u32) -> Finding {
    let seen = match user {
        0 => "looked as root, who may read, write and bind everything; what a gateway of another user may do shows \
              only if that user runs this"
            .to_owned(),
        user => format!("looked as the user with the id {user}, who should be the gateway's own"),
    };
    Finding::ok(AREA, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_told_that_others_may_less() {
        assert!(judge(0).seen.contains("root"));
        assert!(judge(1000).seen.contains("1000"));
    }
}
