#!/bin/sh
# root.sh DIRECTORY: makes the Debian root that the package tests boot. Takes some minutes; target/ keeps it.
set -eu
directory=$1
command -v debootstrap >/dev/null || { echo "root.sh: debootstrap is missing: make test-packages installs it" >&2; exit 1; }
mkdir -p "$(dirname "$directory")"
root=$(mktemp -d "$directory.XXXXXX")
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
mv "$root" "$directory"
