//! What a gateway does not start with: it says so in a sentence, and ends with 1.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::gateway::{Gateway, upstream};

/// What `serve` says when it cannot start.
fn refused(state: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pollgate"))
        .args(["serve", "--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--state-dir")
        .arg(state)
        .env_clear()
        .env("POLLGATE_CONFIG", "")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_directory_serves_one_gateway_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let (upstream, _tokens) = upstream();
    let mut gateway = Gateway::start(state.path(), &upstream, &[]);
    let expected = format!(
        "pollgate: {} is in use by another process (process id {})",
        state.path().display(),
        gateway.id()
    );
    assert_eq!(refused(state.path()), expected);
    // Killed, it holds nothing any more.
    gateway.kill();
    Gateway::start(state.path(), &upstream, &[]);
}

#[test]
fn files_that_are_no_store_are_refused() {
    let (upstream, _tokens) = upstream();
    let state = tempfile::tempdir().unwrap();
    drop(Gateway::start(state.path(), &upstream, &[]));
    let file = state.path().join("pollgate.redb");
    let whole = std::fs::read(&file).unwrap();
    for contents in [&b"something else".repeat(1000)[..], &whole[..whole.len() / 2], &whole[..100]] {
        std::fs::write(&file, contents).unwrap();
        let said = refused(state.path());
        let expected = format!(
            "pollgate: {} cannot be read: it is damaged, or no store of Pollgate's (",
            file.display()
        );
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = refused(&file.join("state"));
    assert!(said.starts_with(&format!("pollgate: cannot use the directory {}", file.display())), "{said}");
}
