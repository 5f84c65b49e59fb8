//! The Debian package: made of the program under test, installed, started, upgraded, and removed without a trace;
//! and what else is given to those who run a gateway, held against the gateway's own settings.
//!
//! Installing needs root, namespaces, an overlay file system and cargo-deb; where one of them is not to be had the
//! test says so and ends. All happens in `install.sh`, in an overlay over this machine's files: nothing is installed
//! on the machine itself, and no process outlives the script.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod examples;

use std::path::Path;
use std::process::{Command, Output};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_pollgate");

/// Longer than all the waits within.
const PATIENCE: &str = "120";

/// What must be there, among other things.
const CONTENTS: [&str; 15] = [
    "./usr/bin/pollgate",
    "./etc/pollgate/pollgate.toml",
    "./usr/lib/systemd/system/pollgate.service",
    "./usr/share/man/man1/pollgate.1.gz",
    "./usr/share/man/man1/pollgate-serve.1.gz",
    "./usr/share/man/man1/pollgate-mailbox-rotate-key.1.gz",
    "./usr/share/bash-completion/completions/pollgate",
    "./usr/share/zsh/vendor-completions/_pollgate",
    "./usr/share/fish/vendor_completions.d/pollgate.fish",
    "./usr/share/pollgate/dialects/websub.toml",
    "./usr/share/pollgate/prometheus/alerts.yml",
    "./usr/share/pollgate/grafana/pollgate.json",
    "./usr/share/doc/pollgate/README.md",
    "./usr/share/doc/pollgate/copyright",
    "./usr/share/doc/pollgate/examples/sidecar.yaml",
];

#[test]
fn it_is_installed_upgraded_and_removed_without_a_trace() {
    if let Some(why) = cannot() {
        return println!("skipped: {why}");
    }
    let made = run(Command::new("sh").args(["conf/debian/package.sh", "--fast"]));
    let package = made.trim();
    let contents = run(Command::new("dpkg-deb").args(["--contents", package]));
    let paths: Vec<&str> = contents.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    for path in CONTENTS {
        assert!(paths.contains(&path), "no {path} in {contents}");
    }
    let configuration = run(Command::new("dpkg-deb").args(["--info", package, "conffiles"]));
    assert_eq!(configuration, "/etc/pollgate/pollgate.toml\n");

    let mut install = Command::new("timeout");
    install.args(["--kill-after=5", PATIENCE, "unshare"]).args(NAMESPACES);
    let result = run(install.args(["sh", "tests/package/install.sh", package]));
    assert!(result == "installed, upgraded and removed\n" || result.starts_with("skipped: "), "{result}");
    print!("{result}");
}

/// With the process namespace ends everything that was started in it.
const NAMESPACES: [&str; 5] = ["--mount", "--net", "--pid", "--fork", "--kill-child"];

/// Why it cannot be done on this machine.
fn cannot() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("packages are installed as root".to_owned());
    }
    if Path::new(PROGRAM) != Path::new(TOP).join("target/debug/pollgate") {
        return Some(format!("the package is made of target/debug/pollgate, not of {PROGRAM}"));
    }
    if !Path::new(TOP).join("target/tools/bin/cargo-deb").exists() && !is_there("cargo-deb") {
        return Some("there is no cargo-deb; conf/debian/cargo_deb.sh installs it".to_owned());
    }
    let tools = ["dpkg", "dpkg-deb", "useradd", "runuser", "setpriv", "ip", "unshare", "timeout"];
    if let Some(missing) = tools.into_iter().find(|tool| !is_there(tool)) {
        return Some(format!("there is no {missing}"));
    }
    let namespaces = output(Command::new("unshare").args(NAMESPACES).arg("true"));
    let said = String::from_utf8_lossy(&namespaces.stderr);
    (!namespaces.status.success()).then(|| format!("no namespaces can be made here: {}", said.trim()))
}

fn is_there(tool: &str) -> bool {
    output(Command::new("sh").args(["-c", &format!("command -v {tool}")])).status.success()
}

fn output(command: &mut Command) -> Output {
    command.current_dir(TOP).output().unwrap()
}

/// What a command prints; it must succeed.
fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
