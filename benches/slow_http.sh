#!/bin/sh
# Attacks the release binary with slowhttptest, in all four modes with 1,000 connections, and measures a client
# that means well meanwhile. Prints a table, and fails if that client's p99 is 3 times its quiet value or more.
#
# slowhttptest is installed if it is missing, as root and with apt-get; elsewhere this ends with an error.
set -eu
cd "$(dirname "$0")/.."

if ! command -v slowhttptest >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "slow-http: please install slowhttptest, for example: sudo apt-get install slowhttptest" >&2
        exit 1
    fi
    echo "slow-http: installing slowhttptest with apt-get" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    apt-get install -y -qq --no-install-recommends slowhttptest >/dev/null
fi
sh tests/setup.sh
exec cargo bench --quiet --locked --bench end_to_end -- slow-http "$@"
