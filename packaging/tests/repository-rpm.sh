# shellcheck shell=sh disable=SC2034,SC2154
# The part of repository.sh for dnf and rpm, sourced by it. No distribution of theirs can be had here: a Debian says that it is
# one, and has their programs, and a package that provides what its own rpm database does not know.

echo "-- what is as near to an empty Rocky Linux as can be had"
rm -rf "$good"
PACKAGES=$work/older repository "$good" ours@ztnode.invalid >/dev/null
PACKAGES=$packages
show good
empty rocky 198.51.100.3
distribution rocky 'rhel centos fedora'
cat >"$work/base.spec" <<'SPEC'
Name: base
Version: 1
Release: 1
Summary: what a distribution has
License: none
BuildArch: noarch
Provides: /bin/sh
%description
What a distribution has.
%files
SPEC
rpmbuild --quiet -bb --define "_topdir $work/rpmbuild" --define "_rpmdir $machine/root" "$work/base.spec" >/dev/null 2>&1
inside rpm -i --nodeps /root/noarch/base-1-1.noarch.rpm
installed() { [ "$(inside rpm -q --qf '%{VERSION}' ztnode)" = "$1" ]; }

wrong_machines
too_early
check "the one line installs" one_line
inside curl -fsSL -o /root/install.sh $url/install.sh
check "what is there" installed $older
check "with its program" is_old /usr/sbin
check "it runs" inside systemctl is-active ztnode.service
check "joins" joins
mine=$(address)
check "is whole" inside rpm -V ztnode
check "no key is trusted for other packages" not inside sh -c 'rpm -q gpg-pubkey'

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
    inside dnf -q clean metadata packages >/dev/null 2>&1
    refuses "$kind" 'nothing was changed\|are what they were' script
    check "dnf itself refuses it" not inside dnf -y --refresh upgrade ztnode
    check "the version is what it was" installed $older
done
show good
check "dnf upgrades from the good one" inside dnf -y --refresh upgrade
check "to the new version" installed "$version"
check "the same node, in its network" keeps_going

echo "-- another key"
rm -rf "$work/rotated" "$work/rotated2"
cp -a "$good" "$work/rotated"
PACKAGES=none
check "both keys sign for a while" repository "$work/rotated" ours@ztnode.invalid next@ztnode.invalid
show rotated
check "machines that know the first one go on, and get the second one" inside dnf -y --refresh upgrade
cp -a "$work/rotated" "$work/rotated2"
check "then the second one alone signs" repository "$work/rotated2" next@ztnode.invalid
show rotated2
check "machines go on" inside dnf -y --refresh --disablerepo='*' --enablerepo=ztnode makecache
PACKAGES=$packages

echo "-- removal and purge"
check "is removed" one_line --uninstall
check "nothing runs" not inside sh -c "cat /proc/[0-9]*/comm | grep -qx ztnode"
check "no source and no key is left" not inside sh -c 'ls /etc/yum.repos.d/ztnode* /etc/pki/rpm-gpg/*ztnode 2>/dev/null | grep .'
check "the identity stays" inside test -s /var/lib/ztnode/identity.secret
check "installs again" one_line
check "the same node, in its network" keeps_going
check "is removed and purged" one_line --uninstall --purge
check "nothing is left" not inside sh -c 'ls -d /var/lib/ztnode /etc/yum.repos.d/ztnode* /usr/sbin/ztnode 2>/dev/null | grep .'

echo "-- one that takes packages by rpm alone"
show good
distribution opensuse-leap 'suse opensuse'
mkdir -p "$machine/var/lib/ztnode"
cp "$lab_home/planet" "$machine/var/lib/ztnode/planet"
check "installs" script --version $older
mine=$(address)
check "what is there" installed $older
for kind in tampered-package tampered-release unsigned expired foreign; do
    show "$kind"
    refuses "$kind" 'nothing was changed' script
done
show good
check "upgrades" script
check "to the new version" installed "$version"
check "as the same node" same_address "$mine"
check "is removed and purged" script --uninstall --purge
check_watched rocky
off
