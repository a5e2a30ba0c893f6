#!/bin/bash
# What the old names need besides files, in a mount namespace of its own and without a booted machine: a copy of the old home
# holds everything, and kill -9 before any step of the change from a link loses nothing.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
script=$here/../zerotier-names/old-names

if [ -z "${IN_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "mounting needs root" >&2; exit 1; }
    exec env IN_NAMESPACE=1 unshare --mount --propagation private bash "$0"
fi

checks=0
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
check() {
    what=$1
    shift
    "$@" >/tmp/output 2>&1 || { cat /tmp/output; die "$what"; }
    checks=$((checks + 1))
    [ -n "${quiet:-}" ] || printf 'ok   %s\n' "$what"
}
not() { ! "$@"; }

# Nothing of the machine is touched.
files=$(mktemp -d /var/tmp/old-names.XXXXXX)
trap 'rm -rf "$files"' EXIT
mkdir -p "$files/etc" "$files/bin"
for file in passwd group shadow gshadow login.defs nsswitch.conf ld.so.cache ld.so.conf alternatives; do
    [ ! -e "/etc/$file" ] || cp -a "/etc/$file" "$files/etc/"
done
cp "$script" "$files/old-names"
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /tmp
mount --bind "$files/etc" /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
sed -i '/^ztnode:/d; /^zerotier-one:/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow
groupadd --gid 900 ztnode
useradd --uid 900 --gid 900 --no-create-home ztnode
# The service, as systemd would run it.
cat >"$files/bin/systemctl" <<'SYSTEMCTL'
#!/bin/sh
old=/var/lib/zerotier-one
case "$*" in
"restart ztnode-old-home.service")
    [ ! -L $old ] && [ -z "$(ls -A $old 2>/dev/null)" ] || exit 0
    mkdir -p $old && mount --bind /var/lib/ztnode $old ;;
"stop ztnode-old-home.service") umount --lazy $old ;;
esac
SYSTEMCTL
chmod 755 "$files/bin/systemctl"
export PATH="$files/bin:$PATH"
old_names() { sh "$files/old-names" "$@"; }

home() {
    while umount --lazy /var/lib/zerotier-one 2>/dev/null; do :; done
    rm -rf /var/lib/ztnode /var/lib/zerotier-one
    mkdir -p /var/lib/ztnode/controller.d /var/lib/ztnode/networks.d
    echo secret >/var/lib/ztnode/identity.secret
    echo database >/var/lib/ztnode/controller.d/controller.sqlite
    : >/var/lib/ztnode/networks.d/1c33c1ced07ac85d.conf
    chown -R ztnode:ztnode /var/lib/ztnode
}
whole() { (cd "$1" && grep -qx secret identity.secret && grep -qx database controller.d/controller.sqlite && test -e networks.d/1c33c1ced07ac85d.conf); }
copies() {
    rm -rf /tmp/copy && mkdir /tmp/copy
    cp -r /var/lib/zerotier-one /tmp/copy/r && whole /tmp/copy/r &&
        cp -a /var/lib/zerotier-one /tmp/copy/a && whole /tmp/copy/a &&
        tar -C /var/lib -cf /tmp/copy/tar zerotier-one && tar -C /tmp/copy -xf /tmp/copy/tar && whole /tmp/copy/zerotier-one
}

home
check "the old names come" old_names apply
check "a copy of the old home holds everything" copies
check "what is written there is the node's" sh -c 'echo x >/var/lib/zerotier-one/new && test -s /var/lib/ztnode/new'
check "files given to the old user are the node's" sh -c 'chown -R zerotier-one: /var/lib/zerotier-one && test "$(stat -c %U:%G /var/lib/ztnode/identity.secret)" = ztnode:ztnode'
check "the group of the old name is ours" test "$(getent group zerotier-one | cut -d: -f3)" = 900
check "once more" old_names apply
check "is not mounted twice" test "$(grep -c ' /var/lib/zerotier-one ' /proc/self/mountinfo)" = 1
check "the old names go" old_names undo
check "without a trace" not ls -d /var/lib/zerotier-one
check "the home is whole" whole /var/lib/ztnode

echo "-- from a user of an earlier release"
sed -i '/^zerotier-one:/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow
groupadd --gid 950 zerotier-one
useradd --uid 950 --gid 950 --no-create-home zerotier-one
home
check "the old names come" old_names apply
check "user and group become the node's" test "$(id -u zerotier-one):$(getent group zerotier-one | cut -d: -f3)" = 900:900

echo "-- killed before any step"
quiet=1
for direction in apply "undo link" undo; do
    step=0 finished=
    while [ -z "$finished" ]; do
        step=$((step + 1))
        home
        ln -s ztnode /var/lib/zerotier-one
        [ "$direction" = apply ] || old_names apply >/dev/null
        # shellcheck disable=SC2086
        if { bash -c 'set -o functrace; n=0; trap "n=\$((n + 1)); [ \$n -lt $0 ] || kill -9 \$\$" DEBUG; script=$1; shift; . "$script"' \
            "$step" "$files/old-names" $direction; } >/dev/null 2>&1; then
            finished=1
        fi
        check "the home is whole ($direction, step $step)" whole /var/lib/ztnode
        check "it is done again ($direction, step $step)" old_names $direction
        case $direction in
        apply) check "a copy holds everything (step $step)" copies ;;
        "undo link") check "the link is there (step $step)" test "$(readlink /var/lib/zerotier-one)" = ztnode ;;
        undo) check "nothing is left (step $step)" not ls -d /var/lib/zerotier-one ;;
        esac
        check "the home is whole after that ($direction, step $step)" whole /var/lib/ztnode
        [ $step -lt 500 ] || die "it never ends"
    done
    [ $step -gt 5 ] || die "only $step steps of $direction were tried"
    printf 'ok   %s: %s steps\n' "$direction" "$step"
done
quiet=

echo "-- a zerotier-one's own home"
home
mkdir /var/lib/zerotier-one
echo theirs >/var/lib/zerotier-one/identity.secret
check "the old names come" old_names apply
check "it stays as it is" grep -qx theirs /var/lib/zerotier-one/identity.secret
check "the old names go" old_names undo
check "it stays as it is" grep -qx theirs /var/lib/zerotier-one/identity.secret
check "nor does purge touch it" sh "$here/../deb/postrm" purge
check "it stays as it is" grep -qx theirs /var/lib/zerotier-one/identity.secret

echo "-- purge"
home
old_names apply >/dev/null
old_names undo
check "after the old names were used" sh "$here/../deb/postrm" purge
check "the home is gone" not ls -d /var/lib/ztnode
check "identity and controller are kept under the old name" sh -c 'cd /var/lib/zerotier-one && grep -qx secret identity.secret && grep -qx database controller.d/controller.sqlite'
home
check "without them" sh "$here/../deb/postrm" purge
check "all is gone" not ls -d /var/lib/ztnode /var/lib/zerotier-one
echo "$checks passed, 0 failed"
