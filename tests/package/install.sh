#!/bin/sh
# Installs the package, starts its gateway as the unit says, upgrades it, and removes it without a trace:
# install.sh PACKAGE, as root and in namespaces of its own for mounts, processes and the network. All is done in an
# overlay over this machine's files that nobody else sees, and that ends with this process, as do all it started.
set -eu

fail() {
    echo "package: $1" >&2
    [ ! -s "${log:-}" ] || cat "$log" >&2
    exit 1
}

# Waits up to ten seconds until a command succeeds.
await() {
    turns=0
    until "$@" >/dev/null 2>&1; do
        turns=$((turns + 1))
        [ "$turns" -lt 200 ] || fail "not within ten seconds: $*"
        sleep 0.05
    done
}

mount --make-rprivate /
scratch=$(mktemp -d)
# The folder itself is outside of what ends with this process.
trap 'umount --lazy "$scratch" 2>/dev/null || true; rmdir "$scratch"' EXIT
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
log=$scratch/log
if ! mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"; then
    echo "skipped: no overlay file system can be mounted here"
    exit 0
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
ip link set lo up

within() {
    chroot "$root" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive PATH=/tmp:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}
dpkg_quietly() {
    within dpkg --force-unsafe-io "$@" >"$scratch/dpkg" 2>&1 || fail "dpkg $*: $(cat "$scratch/dpkg")"
}

# What this machine may have of it, and what keeps services from being stopped where packages only are installed.
rm -rf "$root/var/lib/pollgate" "$root/etc/pollgate" "$root/usr/sbin/policy-rc.d"
# Nobody here looks manual pages up, and to list those of the whole machine anew takes long.
rm -f "$root/var/lib/man-db/auto-update"

# In the place of systemd's: it knows one service, whose processes it finds by their name. What
# is only about files is left to the real one.
mkdir -p "$root/run/systemd/system"
cat >"$root/tmp/systemctl" <<'STUB'
#!/bin/sh
gateways() {
    for process in /proc/[0-9]*; do
        [ "$(cat "$process/comm" 2>/dev/null)" != pollgate ] || echo "${process#/proc/}"
    done
}
case "$*" in
*is-active*) [ -n "$(gateways)" ] ;;
*--signal=QUIT*pollgate*) kill -QUIT $(gateways) ;;
*stop*pollgate*)
    kill -TERM $(gateways)
    while [ -n "$(gateways)" ]; do sleep 0.05; done
    ;;
*preset*) exec /usr/bin/systemctl "$@" ;;
gateways) gateways ;;
esac
STUB
chmod +x "$root/tmp/systemctl"
gateways() {
    within systemctl gateways
}
cp "$1" "$root/tmp/pollgate.deb"

# Every path that is not as on the machine, and what is behind it: a character device is one that was removed.
changes() {
    find "$scratch/upper" -mindepth 1 -printf '%P %y\n' | LC_ALL=C sort
}
changes >"$scratch/before"

dpkg_quietly --install /tmp/pollgate.deb
owner_and_mode() {
    found=$(within stat -c '%U:%G %a' "$1")
    [ "$found" = "$2" ] || fail "$1 is $found"
}
owner_and_mode /var/lib/pollgate 'pollgate:pollgate 700'
owner_and_mode /etc/pollgate 'root:pollgate 750'
owner_and_mode /etc/pollgate/pollgate.toml 'root:pollgate 640'
unit=$root/usr/lib/systemd/system/pollgate.service
[ -e "$unit" ] || unit=$root/lib/systemd/system/pollgate.service
[ -L "$root/etc/systemd/system/multi-user.target.wants/pollgate.service" ] || fail 'the unit is not enabled'
[ -z "$(gateways)" ] || fail 'it runs before it is set up'
if [ -x "$root/usr/bin/systemd-analyze" ]; then
    within systemd-analyze verify --man=no pollgate.service >"$scratch/verified" 2>&1 ||
        fail "the unit is not valid: $(cat "$scratch/verified")"
    # What it warns of counts too, as far as it is ours.
    ! grep pollgate "$scratch/verified" >&2 || fail 'the unit could be better'
fi

# Starts what the unit names, as whom it names, with the capability, the files and the sockets that it leaves.
setting() {
    sed -n "s/^$1=//p" "$unit"
}
[ "$(setting CapabilityBoundingSet) $(setting AmbientCapabilities)" = 'CAP_NET_BIND_SERVICE CAP_NET_BIND_SERVICE' ] ||
    fail 'the unit gives other capabilities'
start() {
    # shellcheck disable=SC2016 # it is for the inner shell
    exec unshare --mount sh -euc '
        # ProtectSystem=strict and StateDirectory: nothing else can be written.
        mount --bind "$1/var/lib/pollgate" "$1/var/lib/pollgate"
        mount -o remount,bind,ro "$1"
        umask "$4"
        port=-all,+net_bind_service
        # The command is words.
        exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/bin setpriv --reuid "$2" --regid "$3" --init-groups \
            --inh-caps $port --ambient-caps $port --bounding-set $port --no-new-privs $5
    ' start "$root" "$(setting User)" "$(setting Group)" "$(setting UMask)" "$(setting ExecStart)"
}
healthy() {
    within runuser -u pollgate -- pollgate healthcheck
}
within runuser -u pollgate -- pollgate check-config >/dev/null 2>"$log" || fail 'its configuration is not valid'
start 2>"$log" &
await healthy
first=$(gateways)
[ "$(within stat -c '%U %a' /var/lib/pollgate/pollgate.redb)" = 'pollgate 600' ] || fail 'its store is not its own'

# An upgrade: a new process with the same sockets.
dpkg_quietly --install /tmp/pollgate.deb
another() {
    second=$(gateways)
    [ -n "$second" ] && [ "$(echo "$second" | wc -l)" = 1 ] && [ "$second" != "$first" ]
}
await another
await healthy
! grep -q 'not handed over' "$log" || fail 'the new one was not given the sockets'

# Removed it is stopped, and what was said and kept is there for another time.
dpkg_quietly --remove pollgate
[ -z "$(gateways)" ] || fail 'it runs without its package'
grep -q stopped "$log" || fail 'it did not end well'
[ -f "$root/etc/pollgate/pollgate.toml" ] || fail 'removed, its configuration is lost'
[ -f "$root/var/lib/pollgate/pollgate.redb" ] || fail 'removed, its messages are lost'

# Purged, all is as before, but for what dpkg and the list of users keep for themselves.
dpkg_quietly --purge pollgate
changes >"$scratch/after"
LC_ALL=C comm -13 "$scratch/before" "$scratch/after" | while read -r path kind; do
    case $path in
    var/lib/dpkg/* | var/log/dpkg.log | etc/passwd- | etc/group- | etc/shadow- | etc/gshadow-) continue ;;
    esac
    if [ "$kind" = c ] || ! { [ -e "/$path" ] || [ -L "/$path" ]; }; then
        echo "$path"
    elif [ "$kind" = f ] && ! cmp -s "/$path" "$scratch/upper/$path"; then
        echo "$path"
    fi
done >"$scratch/left"
[ ! -s "$scratch/left" ] || fail "it left, changed or removed: $(cat "$scratch/left")"
[ -z "$(find "$root/var/lib/dpkg" -name '*pollgate*')" ] || fail 'dpkg remembers it'
echo installed, upgraded and removed
