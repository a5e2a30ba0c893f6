#!/bin/sh
# What a new node starts from, and whether it starts: planets by the environment, by debconf's answer, by a file that lies there;
# /etc/ztnode/start. With the Debian package, the RPM and the tarball.
. "$(dirname "$0")/lib.sh"

machine start
tools
# Three planets: the machine's own, and two to choose from. Their roots are addresses for documentation.
for number in 1 2 3; do
    "$machine/usr/local/test/ztnode-cli" "-D$work/planet$number" root init --endpoint "192.0.2.$number/9993" >/dev/null
    cp "$work/planet$number/planet" "$machine/root/planet$number"
done
echo 'not a planet' >"$machine/root/broken"
cp "$packages"/ztnode_*.deb "$packages"/ztnode-[0-9]*.rpm "$machine/root/"
tar -xzf "$packages"/ztnode-*-linux.tar.gz -C "$machine/root"
mv "$machine"/root/ztnode-*-linux "$machine/root/ztnode"
boot

home=/var/lib/ztnode
deb() { inside env "$@" sh -c 'dpkg -i /root/ztnode_*.deb'; }
# What apt and a shell at a terminal have: the usual frontend and priority.
deb_at_a_terminal() { inside timeout 60 script -qec 'dpkg -i /root/ztnode_*.deb' /dev/null; }
purge() { inside dpkg -P ztnode; }
rpm() { inside env "$@" sh -c 'rpm --nodeps -i /root/ztnode-*.rpm'; }
unrpm() { inside sh -c "rpm --nodeps -e ztnode; rm -rf $home"; }
tarball() { inside env "$@" /root/ztnode/install.sh; }
untarball() { inside /usr/local/share/ztnode/install.sh uninstall --purge; }
runs() { inside systemctl is-active --quiet ztnode.service; }
enabled() { inside systemctl is-enabled --quiet ztnode.service; }
has_identity() { inside test -e $home/identity.secret; }
starts_from() { inside sh -c "cmp $home/planet /root/planet$1" && inside "${2:-/usr/bin}/ztnode-cli" root show | grep -q "192.0.2.$1/9993"; }
said() { grep -q "$1" "$work/said"; }
start_is() { inside sh -c "mkdir -p /etc/ztnode; echo $1 >/etc/ztnode/start"; }

for kind in deb rpm tarball; do
    case $kind in
    deb) remove=purge tool=/usr/bin ;;
    rpm) remove=unrpm tool=/usr/bin ;;
    tarball) remove=untarball tool=/usr/local/bin ;;
    esac
    echo "-- $kind: the environment"
    check "installs" $kind ZTNODE_PLANET=/root/planet2
    check "runs" runs
    check "starts from the planet that was chosen" starts_from 2 $tool
    check "goes" $remove
    sum=$(sha256sum <"$machine/root/planet3" | cut -d' ' -f1)
    check "installs with a hash" $kind "ZTNODE_PLANET=/root/planet3#sha256=$sum"
    check "starts from that one" starts_from 3 $tool
    check "goes again" $remove
    # rpm itself does not fail by what a script says.
    if $kind ZTNODE_PLANET=/root/broken >"$work/said" 2>&1 && [ $kind != rpm ]; then die "a broken planet is taken"; fi
    check "a broken planet is refused" said '/root/broken.*nothing was changed'
    check "and nothing starts" not runs
    check "not at the next boot either" not enabled
    check "and no node was made" not has_identity
    if [ $kind = deb ]; then
        cp "$work/planet1/planet" "$machine/root/broken"
        check "goes on when the file is right" inside env ZTNODE_PLANET=/root/broken dpkg --configure ztnode
        check "and runs" runs
        check "from that one" starts_from 1
        echo 'not a planet' >"$machine/root/broken"
    fi
    [ $kind = tarball ] || check "goes once more" $remove

    echo "-- $kind: without a first start"
    start_is no
    check "installs" $kind ZTNODE_PLANET=/root/planet1
    cp "$work/output" "$work/said"
    check "and says so" said 'not started'
    check "does not run" not runs
    check "no node was made" not has_identity
    check "starts at the next boot" enabled
    if [ $kind = deb ]; then
        check "an upgrade does not start it" deb A=
        check "still" not runs
        check "nor is a node made" not has_identity
    fi
    check "starts when it is told to" inside systemctl start ztnode.service
    check "from the planet that was chosen" starts_from 1 $tool
    if [ $kind = deb ]; then
        before=$(main_pid)
        check "an upgrade restarts what runs" deb A=
        check "the new version runs" back_after "$before"
    fi
    check "goes" $remove
    start_is maybe
    check "installs where nobody understands the file" $kind ZTNODE_PLANET=/root/planet1
    cp "$work/output" "$work/said"
    check "says so" said 'neither yes nor no'
    check "and does not run" not runs
    check "goes" $remove
    inside rm -r /etc/ztnode
done

echo "-- debconf"
answer() { inside sh -c "echo 'ztnode ztnode/planet string $1' | debconf-set-selections"; }
answer /root/planet2
check "asks nothing, by the usual frontend" deb_at_a_terminal
check "nothing" not grep -qi 'planet to start from' "$work/output"
check "starts from the planet of the answer" starts_from 2
check "runs" runs
check "is asked anew" inside sh -c "echo 'ztnode ztnode/planet string /root/planet3' | debconf-set-selections && \
    DEBIAN_FRONTEND=noninteractive dpkg-reconfigure ztnode"
check "and starts from that" starts_from 3
inside sh -c 'echo "ztnode ztnode/planet string /root/broken" | debconf-set-selections'
check "an upgrade does not ask" deb A=
check "and keeps its planet" starts_from 3
check "goes" purge
check "and forgets the answer" not inside sh -c 'debconf-show ztnode | grep .'
answer /root/planet2
inside sh -c "mkdir -p $home && cp /root/planet1 $home/planet"
check "installs over a planet that lies there" deb A=
check "and uses that" starts_from 1
check "goes" purge
inside sh -c "mkdir -p $home && cp /root/planet1 $home/planet"
check "installs over it, told otherwise" deb ZTNODE_PLANET=/root/planet2
check "and uses what it was told" starts_from 2
off
