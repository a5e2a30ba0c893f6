# shellcheck shell=sh disable=SC2034,SC2154
# The part of repository.sh for apt, sourced by it.

echo "-- an empty Debian"
show good
empty debian 198.51.100.2
installed() { [ "$(inside dpkg-query -W -f '${Version}' ztnode)" = "$1-1" ]; }
trusted() { inside sh -c 'ls /etc/apt/trusted.gpg /etc/apt/trusted.gpg.d/* 2>/dev/null | xargs sha256sum'; }
apt() { inside env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Update::Error-Mode=any "$@"; }
apt_installs() { apt update && apt install ztnode; }

trusted >"$work/trusted"
wrong_machines
too_early
apt clean
check "the one line installs" one_line
inside curl -fsSL -o /root/install.sh $url/install.sh
check "what is there" installed $older
check "with its program" is_old /usr/sbin
check "it runs" inside systemctl is-active ztnode.service
check "joins" joins
mine=$(address)
trusted >"$work/trusted.now"
check "no key is trusted for other sources" cmp "$work/trusted" "$work/trusted.now"
check "the key is named by its source alone" inside grep -q '^deb \[signed-by=/usr/share/keyrings/ztnode-archive-keyring.asc ' /etc/apt/sources.list.d/ztnode.list

echo "-- upgrade and downgrade"
check "a new version comes into the repository" repository "$good" ours@ztnode.invalid
before=$(main_pid)
check "the one line again upgrades" one_line
check "to the new version" installed "$version"
check "it runs anew" back_after "$before"
check "the same node, in its network" keeps_going
check "--version goes back" script --version $older
check "to the older version" installed $older
check "with its program" is_old /usr/sbin
check "the same node, in its network" keeps_going

echo "-- what is refused"
spoil_all "$version"
for kind in $hostile; do
    show "$kind"
    # What was fetched before, and was good, would be used again.
    apt clean
    inside sh -c 'rm -rf /var/lib/apt/lists/*'
    refuses "$kind" 'nothing was changed\|are what they were' script
    if [ "$kind" != tampered-package ]; then check "apt itself refuses it" not apt update; fi
    check "nor does it install from it" not apt_installs
    check "the version is what it was" installed $older
done
show good
check "apt upgrades from the good one" apt_installs
check "to the new version" installed "$version"
check "the same node, in its network" keeps_going

echo "-- another key"
cp -a "$good" "$work/rotated"
PACKAGES=none
check "both keys sign for a while" repository "$work/rotated" ours@ztnode.invalid next@ztnode.invalid
show rotated
check "machines that know the first one go on" apt update
check "and get the second one" apt upgrade
cp -a "$work/rotated" "$work/rotated2"
check "then the second one alone signs" repository "$work/rotated2" next@ztnode.invalid
show rotated2
check "machines go on" apt update
refuses "a script that knows the first key alone" 'fetch install.sh anew' script
check "the one line goes on" one_line
PACKAGES=$packages

echo "-- removal and purge"
check "is removed" one_line --uninstall
check "nothing runs" not inside sh -c "cat /proc/[0-9]*/comm | grep -qx ztnode"
check "no source and no key is left" not inside sh -c 'ls /etc/apt/sources.list.d/ztnode* /usr/share/keyrings/ztnode* 2>/dev/null | grep .'
check "the identity stays" inside test -s /var/lib/ztnode/identity.secret
check "a second time says so" not one_line --uninstall
cp "$work/output" "$work/said"
check "in words" grep -q 'not installed' "$work/said"
check "installs again" one_line
check "the same node, in its network" keeps_going
check "is removed and purged" one_line --uninstall --purge
check "nothing is left" not inside sh -c 'ls -d /var/lib/ztnode /etc/apt/sources.list.d/ztnode* /usr/share/keyrings/ztnode* /usr/sbin/ztnode 2>/dev/null | grep .'

echo "-- the tarball"
mkdir -p "$machine/var/lib/ztnode"
cp "$lab_home/planet" "$machine/var/lib/ztnode/planet"
check "installs" one_line --tarball --version $older
mine=$(address)
check "upgrades" one_line --tarball
check "as the same node" same_address "$mine"
refuses "a package beside it" 'below /usr/local already' one_line
for kind in tampered-package tampered-release unsigned expired foreign; do
    show "$kind"
    refuses "$kind" 'nothing was changed' script --tarball
done
show good
check "is removed and purged" one_line --uninstall --purge
check "nothing is left" not inside sh -c 'ls -d /var/lib/ztnode /usr/local/sbin/ztnode /usr/local/share/ztnode 2>/dev/null | grep .'
check_watched debian
off
