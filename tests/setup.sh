#!/bin/sh
# Installs the system packages that the build needs and that are missing: with apt-get, as root.
# Elsewhere it says what is missing, and ends with an error.
set -eu

missing=''
command -v cmake >/dev/null 2>&1 || missing="$missing cmake"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0

echo "setup: the build needs these packages, which are missing:$missing" >&2
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: please install them, for example: sudo apt-get install$missing" >&2
    exit 1
fi
echo "setup: installing them with apt-get" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # one word a package
apt-get install -y -qq --no-install-recommends $missing >/dev/null
