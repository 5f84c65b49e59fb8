//! The files that settings name: whether they can be read, who else may, and what is in those of users.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use crate::auth::htdigest::Users;
use crate::config::Config;

const AREA: &str = "files";

/// Anyone on the machine may read it.
const READ_BY_ALL: u32 = 0o004;

/// Others than the owner may write it.
const WRITTEN_BY_OTHERS: u32 = 0o022;

/// More than any file of users.
const LARGEST: u64 = 64 * 1024 * 1024;

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let (auth, tls) = (&config.auth, config.listen.tls.files());
    let files = [
        ("admin.token_file", config.admin.token_file.as_deref(), true),
        ("auth.users_file", auth.users_file.as_deref(), true),
        ("auth.map_file", auth.map_file.as_deref(), false),
        ("listen.tls.key", tls.map(|(_, key)| key), true),
    ];
    let present = files.into_iter().filter_map(|(key, path, secret)| Some((key, path?, secret)));
    let mut findings: Vec<_> = present.map(|(key, path, secret)| one(key, path, secret)).collect();
    if let Some(path) = &auth.users_file
        && let Ok(text) = read(path)
    {
        let (users, malformed) = Users::read(&text, &auth.realm);
        findings.push(users_of(path, &auth.realm, users.len(), malformed.len()));
    }
    findings
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn one(key: &str, path: &Path, secret: bool) -> Finding {
    match read(path).and_then(|_| std::fs::metadata(path)) {
        Ok(metadata) => permissions(key, path, Metadata::mode(&metadata), secret),
        Err(error) => Finding::fail(
            AREA,
            format!("{key} {} cannot be read: {error}", path.display()),
            "Let the gateway's user read it (chown), or name another file.",
        ),
    }
}

fn permissions(key: &str, path: &Path, mode: u32, secret: bool) -> Finding {
    let file = path.display();
    let bits = format!("(mode {:03o})", mode & 0o777);
    if secret && mode & READ_BY_ALL != 0 {
        let seen = format!("{key} {file} can be read by everybody on this machine {bits}");
        return Finding::warn(AREA, seen, format!("`chmod o-rwx {file}`"));
    }
    if mode & WRITTEN_BY_OTHERS != 0 {
        let seen = format!("{key} {file} can be changed by others than its owner {bits}");
        return Finding::warn(AREA, seen, format!("`chmod go-w {file}`"));
    }
    Finding::ok(AREA, format!("{key} {file} can be read, and by nobody who should not {bits}"))
}

fn users_of(path: &Path, realm: &str, users: usize, malformed: usize) -> Finding {
    let file = path.display();
    match (users, malformed) {
        (0, _) => Finding::warn(
            AREA,
            format!("auth.users_file {file} has no user of the realm {realm}: nobody can poll"),
            "`pollgate user add NAME` adds one; auth.realm must be that of the file.",
        ),
        (_, 1..) => Finding::warn(
            AREA,
            format!("auth.users_file {file} has {malformed} lines that cannot be understood"),
            "`pollgate user list` says which.",
        ),
        (users, 0) => {
            Finding::ok(AREA, format!("auth.users_file {file} has {users} users of the realm {realm}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn who_may_read_and_write() {
        for (mode, secret, level) in [
            (0o100_600, true, Level::Ok),
            (0o100_640, true, Level::Ok),
            (0o100_644, true, Level::Warn),
            (0o100_644, false, Level::Ok),
            (0o100_660, true, Level::Warn),
            (0o100_666, false, Level::Warn),
        ] {
            let finding = permissions("admin.token_file", Path::new("/t"), mode, secret);
            assert_eq!(finding.level, level, "{finding:?}");
        }
    }

    #[test]
    fn files_of_users() {
        for (users, malformed, level) in [(2, 0, Level::Ok), (0, 0, Level::Warn), (2, 1, Level::Warn)] {
            assert_eq!(users_of(Path::new("/u"), "r", users, malformed).level, level);
        }
        assert_eq!(one("auth.map_file", Path::new("/no/such/file"), false).level, Level::Fail);
    }
}
