#!/bin/sh
# The Debian packages: install, run, break, upgrade, remove, reinstall, purge; the old names; beside a zerotier-one.
. "$(dirname "$0")/lib.sh"

deb=$(ls "$packages"/ztnode_*.deb)
names=$(ls "$packages"/ztnode-zerotier-names_*.deb)

echo "-- a new machine"
machine deb
tools
own_planet /var/lib/ztnode
cp "$deb" "$names" "$machine/root/"
boot
# A network of the machine's own controller, as $network: 10.77.0.0/24, or another second octet.
new_network() {
    network=$(inside ztnode-cli -j network create --name test --route "10.${1:-77}.0.0/24" --pool "10.${1:-77}.0.1-10.${1:-77}.0.9" |
        sed -n 's/.*"\(id\|nwid\)": *"\([0-9a-f]\{16\}\)".*/\2/p' | head -1)
}

install() { inside sh -c 'dpkg -i /root/ztnode_*.deb'; }

check "installs" install
cp "$work/output" "$work/said"
check "and names the rule for firewalls" grep -q 'UDP port.*: ztnode-cli firewall' "$work/said"
check "says what it is made of" made_of "$machine/usr/share/doc/ztnode/ztnode.cdx.json"
check "is enabled" inside systemctl is-enabled ztnode.service
check "is running" inside systemctl is-active ztnode.service
check "the control API answers as soon as it is installed" inside ztnode-cli info
mine=$(address)
check "runs as its own user" test "$(inside stat -c %U "/proc/$(main_pid)")" = ztnode
# CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW and no other.
check "with three capabilities" inside grep -qx 'CapBnd:.0000000000003400' "/proc/$(main_pid)/status"
# systemd can only give the right to where it has CAP_SYS_RESOURCE itself. Field 19 of stat; the names of threads have no spaces.
if inside grep -q '^Max nice priority *30 ' "/proc/$(main_pid)/limits"; then
    check "packets go before other work" inside sh -c "cat /proc/$(main_pid)/task/*/stat | grep -q '(packets) \([^ ]* \)\{16\}-10 '"
else
    check "says that packets have no priority here" inside sh -c 'journalctl --no-pager -q -o cat -u ztnode.service | grep "no priority over other work"'
fi
check "the sandbox lets threads change their priority" inside systemd-run --quiet --wait --pipe \
    -p "SystemCallFilter=@system-service" -p "SystemCallFilter=~@privileged @resources" -p "SystemCallFilter=setpriority" \
    -p SystemCallErrorNumber=EPERM sh -c 'test "$(nice -n 5 nice 2>&1)" = 5'
timed "stops in less than 2 s" 2000 inside systemctl stop ztnode.service
timed "is ready in less than 2 s" 2000 inside systemctl start ztnode.service
check "its tools answer then" inside ztnode-cli info
check "says how it is" inside sh -c 'systemctl show -P StatusText ztnode.service | grep .'
check "sandbox: systemd-analyze security at most 2.0" inside systemd-analyze security --no-pager --threshold=20 ztnode.service
sed -n 's/^→ */     /p' "$work/output"

echo "-- a network of its own, over a TAP device in the sandbox"
new_network
check "the controller makes a network" test ${#network} = 16
check "it is joined" inside ztnode-cli join "$network"
check "the member is authorized" eventually 5 inside ztnode-cli member authorize "$network" "$mine"
check "the address is on an interface" eventually 20 inside sh -c 'ip -4 -o address | grep "10\.77\.0\."'

check "a backup goes where the service cannot write" inside ztnode-cli controller backup /root/networks.db
check "and is restored from there" inside ztnode-cli controller restore --yes /root/networks.db
check "with its networks" inside sh -c "ztnode-cli -j network list | grep -q $network"

echo "-- a unit that waits for a network"
unit=ztnode-wait-online@
starting() { [ "$(inside systemctl show -P ActiveState "$1")" = activating ]; }
# The unit's last words are these.
last_words() { inside journalctl --no-pager -q -o cat -u "$1" | grep "$2"; }
check "it returns for a network that is there" inside timeout 10 systemctl start "$unit$network.service"
check "it fails for one that is not joined" not inside timeout 10 systemctl start "${unit}1c33c1ced07ac85d.service"
check "and says so" eventually 5 last_words "${unit}1c33c1ced07ac85d.service" 'not joined.*join 1c33c1ced07ac85d'
first=$network
new_network 78
inside ztnode-cli join "$network" >/dev/null
inside systemctl start --no-block "$unit$network.service"
check "it waits for one that has not let us in" eventually 10 starting "$unit$network.service"
check "and says for what" eventually 10 last_words "$unit$network.service" "not authorized.*member authorize $network $mine"
check "still" starting "$unit$network.service"
inside ztnode-cli member authorize "$network" "$mine" >/dev/null
check "it returns when we are in" eventually 5 inside systemctl is-active "$unit$network.service"
inside ztnode-cli leave "$network" >/dev/null
inside ztnode-cli network delete --yes "$network" >/dev/null
network=$first

echo "-- harm"
before=$(main_pid)
inside kill -9 "$before"
check "comes back after kill -9" eventually 5 back_after "$before"
check "as the same node" same_address "$mine"
check "with its network" eventually 20 inside sh -c 'ip -4 -o address | grep "10\.77\.0\."'
before=$(main_pid)
inside kill -STOP "$before"
check "comes back after SIGSTOP (watchdog)" eventually 40 back_after "$before"
check "as the same node" same_address "$mine"
before=$(main_pid)
check "reloads" inside systemctl reload ztnode.service
check "without a restart" test "$(main_pid)" = "$before"

echo "-- upgrade, removal, purge"
check "upgrades" install
cp "$work/output" "$work/said"
check "and says that no more" not grep -q 'ztnode-cli firewall' "$work/said"
check "the new version runs" back_after "$before"
check "as the same node" same_address "$mine"
timed "is removed" 5000 inside dpkg -r ztnode
check "nothing runs" not inside sh -c "cat /proc/[0-9]*/comm | grep -qx ztnode"
check "the identity is still there" inside test -s /var/lib/ztnode/identity.secret
check "installs again" install
check "as the same node" same_address "$mine"
check "and runs" inside systemctl is-active ztnode.service
check "with its network" eventually 20 inside sh -c 'ip -4 -o address | grep "10\.77\.0\."'

echo "-- the old names"
check "are installed" inside sh -c 'dpkg -i /root/ztnode-zerotier-names_*.deb'
check "zerotier-cli answers" inside zerotier-cli info
check "zerotier-idtool answers" inside zerotier-idtool validate /var/lib/zerotier-one/identity.public
check "zerotier-one.service is the service" inside systemctl is-active zerotier-one.service
check "the old home leads to the new one" inside test -s /var/lib/zerotier-one/authtoken.secret
check "a copy of the old home holds the node" inside sh -c 'cp -a /var/lib/zerotier-one /root/copied && test -s /root/copied/identity.secret && test -s /root/copied/controller.d/controller.sqlite'
check "its group may use the node" inside sh -c 'useradd --groups zerotier-one guest && su -s /bin/sh guest -c "ztnode-cli info"'
check "files can be given to its user" inside sh -c 'touch /root/x && chown zerotier-one:zerotier-one /root/x'
before=$(main_pid)
check "it restarts under its old name" inside systemctl restart zerotier-one.service
check "and is one service" back_after "$before"
check "are removed" inside dpkg -P ztnode-zerotier-names
check "without a trace" not inside sh -c 'ls -d /usr/sbin/zerotier* /var/lib/zerotier-one 2>/dev/null | grep .'
check "and the service runs on" inside systemctl is-active ztnode.service
check "is purged" inside dpkg -P ztnode
check "purge deletes the home" not inside ls -d /var/lib/ztnode
check "but not an identity that was used by the old name" inside test -s /var/lib/zerotier-one/identity.secret
check "and leaves no unit behind" not inside systemctl cat ztnode.service
off

echo "-- an identity placed beforehand, as boot scripts for zerotier-one do"
machine placed
tools
own_planet /var/lib/zerotier-one
mkdir -p "$machine/var/lib/zerotier-one/networks.d"
"$machine/usr/local/test/ztnode-cli" identity new >"$work/identity"
placed=$(cut -d: -f1 "$work/identity")
cut -d: -f1-3 "$work/identity" >"$machine/var/lib/zerotier-one/identity.public"
cp "$work/identity" "$machine/var/lib/zerotier-one/identity.secret"
echo >>"$machine/var/lib/zerotier-one/identity.secret"
chmod 600 "$machine/var/lib/zerotier-one/identity.secret"
cp "$deb" "$names" "$machine/root/"
boot
check "installs with the old names in one step" inside sh -c 'dpkg -i /root/*.deb'
check "is the node that was placed" same_address "$placed"
check "the old home leads to it" inside grep -q "^$placed:" /var/lib/zerotier-one/identity.public
new_network
inside ztnode-cli member authorize "$network" "$placed" >/dev/null
# What such scripts go on with, word for word.
check "its script comes to an end" inside timeout 30 sh -euc "
    test -x /usr/sbin/zerotier-one
    zerotier-cli join $network
    while ! zerotier-cli listnetworks | grep $network | grep OK ; do sleep 1 ; done
    echo secret >/var/lib/zerotier-one/token
    chown zerotier-one:zerotier-one /var/lib/zerotier-one/token
    chmod 0600 /var/lib/zerotier-one/token
    systemctl restart zerotier-one.service
    test \"\$(cut -d: -f1 /var/lib/zerotier-one/identity.public)\" = $placed"
off

echo "-- beside a zerotier-one"
machine beside
tools
own_planet /var/lib/ztnode
mkdir -p "$work/other/DEBIAN" "$work/other/usr/sbin" "$work/other/usr/lib/systemd/system" "$work/other/var/lib/zerotier-one"
printf 'Package: zerotier-one\nVersion: 1.14.1\nArchitecture: all\nMaintainer: test <test@example.invalid>\nDescription: a stand-in\n' \
    >"$work/other/DEBIAN/control"
printf '#!/bin/sh\nexec sleep infinity\n' >"$work/other/usr/sbin/zerotier-one"
chmod 755 "$work/other/usr/sbin/zerotier-one"
ln -s zerotier-one "$work/other/usr/sbin/zerotier-cli"
printf '[Service]\nExecStart=/usr/sbin/zerotier-one\n[Install]\nWantedBy=multi-user.target\n' \
    >"$work/other/usr/lib/systemd/system/zerotier-one.service"
dpkg-deb --build --root-owner-group "$work/other" "$machine/root/zerotier-one.deb" >/dev/null
cp "$deb" "$names" "$machine/root/"
boot
check "a zerotier-one is there" inside sh -c 'dpkg -i /root/zerotier-one.deb && systemctl enable --now zerotier-one'
check "ztnode installs beside it" install
cp "$work/output" "$work/said"
check "and says what to do" grep -q 'ztnode-cli migrate' "$work/said"
check "it is not started" not inside systemctl is-active ztnode.service
check "nor at the next boot" not inside systemctl is-enabled ztnode.service
check "zerotier-one runs on" inside systemctl is-active zerotier-one.service
check "the old names stay with it" not inside sh -c 'dpkg -i /root/ztnode-zerotier-names_*.deb'
check "its files are untouched" inside sh -c 'dpkg --verify zerotier-one && test -d /var/lib/zerotier-one'
check "ztnode is purged" inside dpkg -P ztnode
check "and zerotier-one runs on" inside systemctl is-active zerotier-one.service
off
