#!/bin/sh
# A minute of fuzzing, shared by all targets; what is new in it goes to tests/fuzz/found, which git ignores. Without
# nightly Rust or cargo-fuzz it says so and runs the corpus instead.
set -eu
cd "$(dirname "$0")/.."
targets="classifier head registry"
seconds=${FUZZ_SECONDS:-20}

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "no nightly Rust here (rustup toolchain install nightly): the corpus only"
    exec cargo test --quiet --locked --test fuzz_corpus
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "no cargo-fuzz here (cargo install cargo-fuzz): the corpus only"
    exec cargo test --quiet --locked --test fuzz_corpus
fi
for target in $targets; do
    echo "== $target, $seconds s"
    mkdir -p "tests/fuzz/found/$target"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" \
        "tests/fuzz/found/$target" "tests/fuzz/corpus/$target" -- -max_total_time="$seconds" -max_len=65536
done
