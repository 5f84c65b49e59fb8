#!/bin/sh
# Installs what the test in tests/upnp needs, if it is missing: a UPnP device from Debian (with apt-get, as root) and
# a control point from PyPI, in a folder of its own. Where that cannot be done the test is skipped and says so; so
# nothing here is an error.
set -u

folder="${CARGO_TARGET_DIR:-target}/upnp"
control_point='async-upnp-client==0.49.0'

install_device() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo 'setup: the test with a UPnP device is skipped without gmediarender, gstreamer1.0-plugins-base' >&2
        return
    fi
    echo 'setup: installing a UPnP device (gmediarender) with apt-get' >&2
    # Only the tests start it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends gmediarender gstreamer1.0-plugins-base; } >/dev/null 2>&1; then
        echo 'setup: it could not be installed: the test with it is skipped' >&2
    fi
}

install_control_point() {
    echo "setup: installing a control point ($control_point) in $folder" >&2
    if ! { python3 -m venv "$folder.new" &&
        "$folder.new/bin/python" -m pip install -q --disable-pip-version-check "$control_point" &&
        rm -rf "$folder" && mv "$folder.new" "$folder"; } >/dev/null 2>&1; then
        rm -rf "$folder.new"
        echo 'setup: it could not be installed: the test with it is skipped' >&2
    fi
}

command -v gmediarender >/dev/null 2>&1 || install_device
[ -x "$folder/bin/python" ] || install_control_point
exit 0
