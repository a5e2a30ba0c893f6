#!/bin/sh
# The tarball: install, upgrade, uninstall, purge, another prefix, the old names, wrong use.
. "$(dirname "$0")/lib.sh"

machine tarball
tools
own_planet /var/lib/ztnode
tar -xzf "$packages"/ztnode-*-linux.tar.gz -C "$machine/root"
mv "$machine"/root/ztnode-*-linux "$machine/root/ztnode"
boot

check "is static" inside sh -c '/root/ztnode/sbin/ztnode --version && ! grep -aq ld-linux /root/ztnode/sbin/ztnode'
check "refuses what it does not know" not inside /root/ztnode/install.sh --prefx /usr
check "refuses a relative prefix" not inside /root/ztnode/install.sh --prefix usr
check "has nothing to uninstall" not inside /root/ztnode/install.sh uninstall
check "changed nothing by that" not inside sh -c 'ls -d /usr/local/sbin/ztnode /usr/local/share/ztnode 2>/dev/null | grep .'

check "installs" inside /root/ztnode/install.sh
cp "$work/output" "$work/said"
check "and names the rule for firewalls" grep -q 'UDP port.*: ztnode-cli firewall' "$work/said"
check "says what it is made of" made_of "$machine/root/ztnode/ztnode.cdx.json"
check "runs" inside systemctl is-active ztnode.service
check "will run at the next boot" inside systemctl is-enabled ztnode.service
check "the control API answers as soon as it is installed" inside ztnode-cli info
check "runs as its own user" test "$(inside stat -c %U "/proc/$(main_pid)")" = ztnode
mine=$(address)
timed "stops in less than 2 s" 2000 inside systemctl stop ztnode.service
timed "is ready in less than 2 s" 2000 inside systemctl start ztnode.service
check "manual and completions are there" inside sh -c \
    'ls /usr/local/share/man/man1/ztnode-cli.1.gz /usr/local/share/man/man8/ztnode.8.gz \
        /usr/local/share/bash-completion/completions/ztnode-cli'

before=$(main_pid)
check "installs again: an upgrade, with the old names this time" inside /root/ztnode/install.sh --zerotier-names
check "runs anew" back_after "$before"
check "as the same node" same_address "$mine"
check "zerotier-cli answers" inside zerotier-cli info
check "zerotier-one.service is the service" inside systemctl is-active zerotier-one.service

check "uninstalls by its installed copy" inside /usr/local/share/ztnode/install.sh uninstall
check "nothing runs" not inside sh -c 'cat /proc/[0-9]*/comm | grep -qx ztnode'
check "no file is left but the home" not inside sh -c \
    'find / -xdev \( -path /root -o -path /proc -o -path /var/lib/ztnode -o -path /usr/local/test -o -path /var/log \) -prune \
        -o \( -name "*ztnode*" -o -name "zerotier*" \) -print | grep -v "^/sys\|^/var/lib/private\|^/run" | grep .'
check "the identity stays" inside test -s /var/lib/ztnode/identity.secret
check "uninstalling twice says so" not inside /root/ztnode/install.sh uninstall

check "installs below another prefix" inside /root/ztnode/install.sh --prefix=/opt/ztnode
check "runs from there" inside sh -c 'readlink /proc/$(systemctl show -P MainPID ztnode)/exe | grep -qx /opt/ztnode/sbin/ztnode'
check "as the same node" same_address_at /opt/ztnode/bin "$mine"
check "uninstalls and purges" inside /opt/ztnode/share/ztnode/install.sh uninstall --purge
check "nothing is left" not inside sh -c 'find /opt /var/lib /etc/systemd -name "*ztnode*" | grep .'
check "purging twice is no error" inside /root/ztnode/install.sh uninstall --purge
off
