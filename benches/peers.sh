#!/bin/sh
# Measures Pollgate beside its peers, in one run: nchan, nginx, HAProxy and bare pingora. Prints a table.
#
#     benches/peers.sh [flow] [hold] [proxy] [rounds=N]
#
# Peers that are missing are installed, as root and with apt-get; elsewhere they are named and left out.
set -eu
cd "$(dirname "$0")/.."
# Where Debian has the servers; not on the path of everyone.
PATH="$PATH:/usr/sbin"

POLICY=/usr/sbin/policy-rc.d

install_peers() {
    # The services that come with the packages stay down: invoke-rc.d(8) asks this program.
    own_policy=''
    if [ ! -e "$POLICY" ]; then
        own_policy=yes
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    # shellcheck disable=SC2086 # one word a package
    apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        echo "peers: that failed; what is missing is left out" >&2
    if [ "$own_policy" ]; then
        rm -f "$POLICY"
        trap - EXIT INT TERM
        return
    fi
    # Somebody else's policy may have let them start. They were not there before, so nobody relies on them.
    for service in $services; do
        service "$service" stop >/dev/null 2>&1 || true
    done
}

missing=''
services=''
command -v nginx >/dev/null 2>&1 || { missing="$missing nginx" services="$services nginx"; }
[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing="$missing libnginx-mod-nchan"
command -v haproxy >/dev/null 2>&1 || { missing="$missing haproxy" services="$services haproxy"; }
if [ -n "$missing" ]; then
    echo "peers: missing:$missing" >&2
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "peers: left out; to have them: sudo apt-get install$missing" >&2
    else
        echo "peers: installing them with apt-get; their services are kept from starting" >&2
        install_peers
    fi
fi

sh tests/setup.sh
exec cargo bench --quiet --locked --bench end_to_end -- peers "$@"
