# The two commands: `make demo` and `make test`. Both set up what they need first.

.PHONY: demo test bench peers fuzz deb build release fmt check doc setup

# Tests run in parallel with cargo-nextest where it is installed, and with cargo's own runner elsewhere.
RUN_TESTS := $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run --no-fail-fast --status-level slow || echo test --quiet)

## Build the release binary, and see a callback-only server reach a client that can only poll.
demo: release
	./target/release/pollgate demo

## Everything that must hold: format, lints, documentation, tests.
test: setup
	@sh tests/setup_firewall.sh
	@sh tests/setup_tools.sh
	@sh tests/setup_upnp.sh
	cargo fmt --check
	cargo clippy --quiet --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps
	cargo $(RUN_TESTS) --locked
	cargo test --quiet --locked --doc

## The benchmarks: hot paths (criterion), and messages through real sockets.
bench: setup
	cargo bench --locked

## Pollgate beside nchan, nginx, HAProxy and bare pingora, as a table; installs them if it may.
peers:
	sh benches/peers.sh

## A minute of fuzzing, with nightly Rust and cargo-fuzz; without them the fuzzer's corpus.
fuzz:
	sh tests/fuzz.sh

## The Debian package, in target/debian; installs cargo-deb into target/tools if it is missing.
deb: release
	sh conf/debian/package.sh

release: setup
	cargo build --release --locked

## What the build needs beside Rust: a C compiler and cmake, for the proxy's zlib.
setup:
	@sh tests/setup.sh
