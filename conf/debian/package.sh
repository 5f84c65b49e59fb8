#!/bin/sh
# Makes the Debian package of a program that is built already, and prints where it is:
#
#   package.sh           of target/release, as small as it gets, in target/debian
#   package.sh --fast    of target/debug, for tests: soon there however large, in target/package/debian
#
# cargo-deb is installed into target/tools if it is missing.
set -eu
cd "$(dirname "$0")/../.."

case ${1:-} in
'') program=target/release/pollgate ;;
--fast) program=target/debug/pollgate ;;
*)
    echo "usage: package.sh [--fast]" >&2
    exit 2
    ;;
esac
sh conf/debian/cargo_deb.sh
PATH="$PATH:$PWD/target/tools/bin"

rm -rf target/package
mkdir -p target/package
"$program" man target/package/man
"$program" completion bash >target/package/pollgate.bash
"$program" completion zsh >target/package/_pollgate
"$program" completion fish >target/package/pollgate.fish

if [ "$program" = target/debug/pollgate ]; then
    # Not among the packages that are given away: cargo-deb deletes the last one of them before it makes the next.
    mkdir target/package/debug
    ln -s ../../debug/pollgate target/package/debug/pollgate
    CARGO_TARGET_DIR=target/package cargo-deb --quiet --no-build --locked --no-dbgsym --strip --fast --profile dev
else
    cargo-deb --quiet --no-build --locked --no-dbgsym
fi
