#!/bin/sh
# Installs what the tests in tests/firewall need, if it is missing: with apt-get, as root. Where that cannot
# be done, those tests are skipped and say so; so nothing here is an error.
set -u

missing=''
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v nft >/dev/null 2>&1 || missing="$missing nftables"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: the tests with a firewall are skipped without these packages:$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word a package
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1; then
    echo "setup: cannot install$missing: the tests with a firewall are skipped" >&2
fi
exit 0
