#!/bin/sh
# Kills the gateway under load, with kill -9, a thousand times (or as often as the argument says): what was
# acknowledged must be delivered, in order, and nothing twice. See tests/disk/crash.rs.
set -eu

cd "$(dirname "$0")/.."
POLLGATE_CRASH_CYCLES="${1:-1000}" cargo test --release --locked --test disk -- --nocapture kill_9
