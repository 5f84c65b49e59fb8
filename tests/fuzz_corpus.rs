//! The fuzzer's corpus as a plain test: each file through what the fuzzer would try on it. `make fuzz` looks for
//! more.

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;

fn each(target: &str, attempt: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let path = entry.expect("a file").path();
        // Shown if it fails.
        eprintln!("{}", path.display());
        attempt(&std::fs::read(path).expect("a file"));
        tried += 1;
    }
    assert!(tried >= 5, "{target}: {tried} files");
}

#[test]
fn bodies_of_callbacks() {
    each("classifier", targets::classifier);
}

#[test]
fn heads_of_requests() {
    each("head", targets::head);
}

#[test]
fn registration_files() {
    each("registry", targets::registry);
}
