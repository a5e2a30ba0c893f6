#!/bin/sh
# The image, run as its Containerfile says for a controller and root: no TUN, no capabilities, an ordinary user, nothing
# writable but the home. Its file system is run as it is; podman.sh runs the image.
. "$(dirname "$0")/lib.sh"

root=$work/image
home=$work/home
cp -r "$packages/oci/root" "$root"
mkdir -p "$home" "$root/var/lib/ztnode"
tool() { "$root/usr/bin/ztnode-cli" "-D$home" "$@"; }

check "says what it is made of" made_of "$root/usr/share/doc/ztnode/ztnode.cdx.json"
check "a planet of its own" tool root init --endpoint 192.0.2.1/9993
chown -R 9993:9993 "$home"
# What a container engine does with `--cap-drop ALL --read-only` and a volume; each step becomes the next.
unshare --net --mount sh -c '
    ip link set lo up
    mount --make-rprivate /
    mount --bind "$1" "$1"
    mount -o remount,ro,bind "$1"
    mount --bind "$2" "$1/var/lib/ztnode"
    exec env -i PATH=/usr/sbin:/usr/bin \
        setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+sys_chroot \
        chroot --userspec=9993:9993 --groups= "$1" /usr/bin/ztnode-cli container' container "$root" "$home" >"$root.console" 2>&1 &
ztnode=$!
end_container() { [ -z "$ztnode" ] || kill -9 "$ztnode" 2>/dev/null || true; }
on_exit=end_container
check "answers" eventually 10 tool info
check "runs as the ordinary user" grep -qx 'Uid:.9993.9993.9993.9993' "/proc/$ztnode/status"
check "without capabilities" grep -qx 'CapEff:.0000000000000000' "/proc/$ztnode/status"
check "and cannot get any" grep -qx 'CapPrm:.0000000000000000' "/proc/$ztnode/status"
check "has no TUN device" test ! -e "/proc/$ztnode/root/dev/net/tun"
check "is a root" sh -c "'$root/usr/bin/ztnode-cli' '-D$home' root show | grep -q 192.0.2.1"
check "is a controller" tool network create --name test --route 10.77.0.0/24 --pool 10.77.0.1-10.77.0.9
kill -TERM "$ztnode"
check "stops on SIGTERM" eventually 2 not test -e "$home/zerotier-one.pid"
ztnode=
