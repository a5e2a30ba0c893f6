#!/bin/sh
# The RPM packages. Their scriptlets ask for nothing that Debian has not, so Debian's rpm installs them here.
. "$(dirname "$0")/lib.sh"

machine rpm
tools
own_planet /var/lib/ztnode
cp "$packages"/*.rpm "$machine/root/"
boot
package=$(cd "$machine/root" && ls ztnode-[0-9]*.rpm)
names=$(cd "$machine/root" && ls ztnode-zerotier-names-*.rpm)
# Debian's own files are not in rpm's database.
rpm() { inside rpm --nodeps "$@"; }

check "installs" rpm -i "/root/$package"
cp "$work/output" "$work/said"
check "and names the rule for firewalls" grep -q 'UDP port.*: ztnode-cli firewall' "$work/said"
check "says what it is made of" made_of "$machine/usr/share/doc/ztnode/ztnode.cdx.json"
check "is enabled" inside systemctl is-enabled ztnode.service
check "is running" inside systemctl is-active ztnode.service
check "the control API answers as soon as it is installed" inside ztnode-cli info
mine=$(address)
before=$(main_pid)
check "upgrades" rpm -U --force "/root/$package"
check "the new version runs" back_after "$before"
check "as the same node" same_address "$mine"
check "is whole" inside rpm -V --nodeps ztnode
check "the old names install" rpm -i "/root/$names"
check "zerotier-cli answers" inside zerotier-cli info
check "zerotier-one.service is the service" inside systemctl is-active zerotier-one.service
check "the old home leads to the new one" inside test -s /var/lib/zerotier-one/authtoken.secret
check "the old names go" rpm -e ztnode-zerotier-names
check "without a trace" not inside sh -c 'ls -d /usr/sbin/zerotier* /var/lib/zerotier-one 2>/dev/null | grep .'
check "is removed" rpm -e ztnode
check "nothing runs" not inside sh -c 'cat /proc/[0-9]*/comm | grep -qx ztnode'
check "the identity stays" inside test -s /var/lib/ztnode/identity.secret
check "installs again" rpm -i "/root/$package"
check "as the same node" same_address "$mine"
off
