//! Who may use whom: the table that `src/lib.rs` speaks of, held against the `use` lines and paths.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module, and the modules of this crate that it may name beside itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("mailbox", &[]),
    ("clock", &["mailbox"]),
    ("watched", &["mailbox"]),
    ("http1", &["clock"]),
    ("store", &["clock", "mailbox"]),
    ("dialect", &["mailbox", "http1"]),
    ("config", &["auth", "dialect", "mailbox", "tls", "watched"]),
    ("registry", &["config", "mailbox"]),
    ("telemetry", &["clock", "mailbox", "store", "dialect", "config"]),
    (
        "gateway",
        &["auth", "clock", "mailbox", "http1", "store", "dialect", "config", "telemetry", "tls", "watched"],
    ),
    ("admin", &["clock", "mailbox", "http1", "store", "dialect", "config", "telemetry"]),
    ("reload", &["clock", "config", "gateway", "telemetry"]),
    ("demo", &["app", "clock", "config", "dialect", "http1", "mailbox"]),
    ("auth", &["mailbox", "watched"]),
    ("tls", &["clock", "mailbox", "watched"]),
    ("agent", &["auth", "clock", "dialect", "http1", "mailbox", "telemetry", "tls"]),
    ("doctor", &["auth", "clock", "mailbox", "http1", "store", "dialect", "config", "tls", "gateway"]),
    ("app", EVERYONE),
    ("cli", EVERYONE),
    ("lib", EVERYONE),
    ("main", EVERYONE),
];

const EVERYONE: &[&str] = &[
    "admin",
    "agent",
    "auth",
    "app",
    "cli",
    "clock",
    "config",
    "demo",
    "dialect",
    "doctor",
    "gateway",
    "http1",
    "mailbox",
    "registry",
    "reload",
    "store",
    "telemetry",
    "tls",
    "watched",
];

/// Each foreign crate that only some may name.
const ONLY: &[(&str, &[&str])] = &[
    ("pingora_core", &["gateway"]),
    ("pingora_load_balancing", &["gateway"]),
    ("pingora_pool", &["gateway"]),
    ("tokio_rustls", &["tls", "gateway"]),
    ("clap", &["cli", "main"]),
    ("prometheus", &["telemetry", "agent"]),
    ("anyhow", &["app", "cli", "demo"]),
    ("rand", &["gateway", "agent"]),
];

/// What the core must not name at all.
const NOT_IN_THE_CORE: &[&str] =
    &["tokio", "serde", "http", "tracing", "async_trait", "rand", "pingora_core"];

struct Source {
    module: String,
    path: PathBuf,
    /// Without comments and without its tests.
    code: String,
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let tests: Vec<PathBuf> = files.iter().flat_map(|path| test_modules(path)).collect();
    files.retain(|path| !tests.iter().any(|test| path.starts_with(test) || path.with_extension("") == *test));
    files.into_iter().map(|path| read(&root, path)).collect()
}

/// Where the modules are, without extension, that this file declares for tests only.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file).unwrap();
    let home = match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && let Some(declaration) = lines.next().and_then(|line| line.strip_suffix(';'))
            && let Some((_, name)) = declaration.split_once("mod ")
        {
            found.push(home.join(name));
        }
    }
    found
}

fn read(root: &Path, path: PathBuf) -> Source {
    let inside = path.strip_prefix(root).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    let module = first.trim_end_matches(".rs").to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    Source { module, path, code }
}

/// The words that stand directly behind `before` in the code.
fn words_after<'a>(code: &'a str, before: &str) -> BTreeSet<&'a str> {
    code.split(before)
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn modules_use_only_whom_they_may() {
    for source in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else {
            panic!("{}: the module {} is not in the table", source.path.display(), source.module);
        };
        let used = words_after(&source.code, "crate::");
        assert!(!used.contains(""), "{}: name the module in each `use crate::` line", source.path.display());
        for other in used.iter().filter(|other| **other != source.module) {
            assert!(allowed.contains(other), "{} must not use {other}", source.path.display());
        }
    }
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    for source in sources() {
        for (name, homes) in ONLY {
            let at_home = homes.contains(&source.module.as_str());
            assert!(at_home || !names_crate(&source.code, name), "{} names {name}", source.path.display());
        }
        if source.module == "mailbox" {
            for name in NOT_IN_THE_CORE {
                assert!(!names_crate(&source.code, name), "{} names {name}", source.path.display());
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for source in sources() {
        let text = std::fs::read_to_string(&source.path).unwrap();
        assert!(text.starts_with("//! "), "{} has no module documentation", source.path.display());
    }
}
