#!/bin/sh
# Installs tools that some tests check our files with, if root may; without them those tests say that they are
# skipped. It never fails: the other tests need none of them.
# What makes the package; only root can install one.
if [ "$(id -u)" -eq 0 ] && command -v dpkg >/dev/null 2>&1; then
    sh "$(dirname "$0")/../conf/debian/cargo_deb.sh" ||
        echo "setup: the package is not tested without cargo-deb" >&2
fi

command -v promtool >/dev/null 2>&1 && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: metrics and alerts are not checked without promtool (Debian: prometheus)" >&2
    exit 0
fi
echo "setup: installing promtool (prometheus) with apt-get" >&2
# Only the tool is wanted: the server that comes with it is not started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends prometheus >/dev/null ||
    echo "setup: it could not be installed" >&2
exit 0
