# shellcheck shell=sh
# A root that is a controller too, for machines that join something: in a network namespace of its own, with a link that
# machines are plugged into. Sourced after lib.sh; whoever starts it calls end_lab on exit ($on_exit).
#
#   start_lab             the root and controller, with a network: $network, 10.88.0.0/24
#   lab COMMAND …         ztnode-cli there
#   plug NAME ADDRESS     a namespace for a machine, on the root's link (198.51.100.0/24, the root is 198.51.100.1)
#   boot_plugged NAME     boot the machine in it
# shellcheck disable=SC2154

tar -xzf "$packages"/ztnode-*-linux.tar.gz -C "$work"
programs=$(echo "$work"/ztnode-*-linux)
space=ztp$$
daemon=
# Every machine gets the planet from here, before its first start.
lab_home=$work/lab

lab() { ip netns exec "$space-lab" "$programs/bin/ztnode-cli" "-D$lab_home" "$@"; }

start_lab() {
    ip netns add "$space-lab"
    ip -n "$space-lab" link set lo up
    ip -n "$space-lab" link add underlay type bridge
    ip -n "$space-lab" address add 198.51.100.1/24 dev underlay
    ip -n "$space-lab" link set underlay up
    mkdir -p "$lab_home"
    lab root init --endpoint 198.51.100.1/9993 >/dev/null
    ip netns exec "$space-lab" "$programs/sbin/ztnode" -U --home "$lab_home" >"$work/lab.log" 2>&1 &
    daemon=$!
    check "the lab's node answers" eventually 5 lab info
    # Not under the user-data's own example ID: that belongs to nobody here.
    network=$(lab -j network create --name boot --route 10.88.0.0/24 --pool 10.88.0.10-10.88.0.99 |
        sed -n 's/.*"\(id\|nwid\)": *"\([0-9a-f]\{16\}\)".*/\2/p' | head -1)
    check "the controller makes a network" test ${#network} = 16
}

end_lab() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    for namespace in /run/netns/"$space"-*; do
        [ ! -e "$namespace" ] || ip netns del "$(basename "$namespace")" || true
    done
}

plug() {
    ip netns add "$space-$1"
    ip -n "$space-lab" link add "$1" type veth peer name underlay netns "$space-$1"
    ip -n "$space-lab" link set "$1" master underlay up
    ip -n "$space-$1" address add "$2/24" dev underlay
    ip -n "$space-$1" link set underlay up
    ip -n "$space-$1" link set lo up
}

# nspawn grants the capability only with a network that it makes itself.
boot_plugged() { boot "--network-namespace-path=/run/netns/$space-$1" --capability=CAP_NET_ADMIN; }

# Authorizes the one member that is not, if there is one.
authorize_asking() {
    asking=$(lab -j member list "$network" | jq -r 'map(select(.authorized | not).address)[0] // empty')
    [ -n "$asking" ] && lab member authorize "$network" "$asking"
}

is_member() { [ "$(inside ztnode-cli get "$network" status)" = OK ]; }
