#!/bin/sh
# Installs cargo-deb into target/tools, if it is missing.
set -eu
cd "$(dirname "$0")/../.."

command -v cargo-deb >/dev/null 2>&1 && exit 0
[ ! -x target/tools/bin/cargo-deb ] || exit 0
echo "setup: installing cargo-deb into target/tools" >&2
# What it is built with is not left: it is ten times as large as the tool.
trap 'rm -rf target/tools/build' EXIT
CARGO_TARGET_DIR=target/tools/build cargo install --quiet --locked --root target/tools --version 3.8.0 cargo-deb
