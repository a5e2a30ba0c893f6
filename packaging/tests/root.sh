#!/bin/sh
# root.sh ARCHIVE: makes the Debian root that the package tests boot, and packs it. Takes a minute; target/ keeps it.
set -eu
archive=$1
for program in debootstrap zstd; do
    command -v $program >/dev/null || { echo "root.sh: $program is missing: make requirements installs it" >&2; exit 1; }
done
root=$(mktemp -d /var/tmp/ztnode-root.XXXXXX)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
echo "== making a Debian root (once)"
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,iputils-ping,ca-certificates,rpm \
    "${DEBIAN_SUITE:-bookworm}" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$root.log" 2>&1 ||
    { tail -20 "$root.log"; exit 1; }
# debootstrap does not know alternatives between packages, which cloud-init's dependencies need.
[ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$root/etc/resolv.conf"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -q --no-install-recommends cloud-init curl dnf >>"$root.log" 2>&1 ||
    { tail -20 "$root.log"; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/etc/resolv.conf" "$root.log"
# Waiting for a network that never comes would only make the tests slow.
ln -sf /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
mkdir -p "$(dirname "$archive")"
tar -C "$root" --zstd -cf "$archive.new" .
mv "$archive.new" "$archive"
