#!/bin/sh
# Holds one poll for the ten minutes that a poll may be held, through the release binary, with curl as the
# client. Fails unless the answer is 204, after 600 seconds and no more than one beside.
set -eu
cd "$(dirname "$0")/.."

command -v curl >/dev/null 2>&1 || { echo "long-poll: please install curl" >&2; exit 1; }
sh tests/setup.sh
exec cargo bench --quiet --locked --bench end_to_end -- long-poll
