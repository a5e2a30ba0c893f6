# shellcheck shell=sh
# A repository (archive.sh), on the loopback of a machine that is plugged in (controller.sh, sourced before), and a capture of all
# that leaves it. Whoever sources this calls end_served on exit ($on_exit).
#
#   serve NAMESPACE       serve what the link $served leads to, as $url
#   watch NAMESPACE       capture; "check_watched NAMESPACE" says that nothing went to an address that is not the test's own
# shellcheck disable=SC2154

url=http://127.0.0.1:8080
served=$work/served
servers=
. "$here/archive.sh"

serve() {
    ip netns exec "$space-$1" python3 -m http.server 8080 --bind 127.0.0.1 --directory "$served" >"$work/served.log" 2>&1 &
    servers="$servers $!"
    eventually 10 ip netns exec "$space-$1" curl -fs -o /dev/null $url/
}

# Without a way out, what leaves would be seen by nobody.
watch() {
    ip -n "$space-$1" route add default via 198.51.100.1
    ip netns exec "$space-$1" tcpdump -i any -n -U -w "$work/$1.pcap" >"$work/$1.tcpdump" 2>&1 &
    servers="$servers $!"
    eventually 10 grep -q 'listening on' "$work/$1.tcpdump"
}

strangers() {
    tcpdump -n -r "$work/$1.pcap" \
        '(ip and not (dst net 198.51.100.0/24 or dst net 127.0.0.0/8 or dst net 10.88.0.0/24 or dst net 224.0.0.0/4 or dst host 255.255.255.255))
        or (ip6 and not (dst net fe80::/10 or dst net ff00::/8 or dst host ::1))' 2>/dev/null
}
only_the_probe() { [ "$(strangers "$1" | wc -l)" = 1 ] && strangers "$1" | grep -q '203\.0\.113\.77'; }
check_watched() {
    # The capture works: it shows this one.
    ip netns exec "$space-$1" bash -c 'echo probe >/dev/udp/203.0.113.77/9993'
    check "not one datagram went to a stranger, a public root or another" eventually 10 only_the_probe "$1"
    check "and some went to the root of this test" sh -c "tcpdump -n -c 1 -r '$work/$1.pcap' 'udp and dst host 198.51.100.1 and port 9993' 2>/dev/null | grep ."
}

end_served() {
    # shellcheck disable=SC2086
    [ -z "$servers" ] || kill $servers 2>/dev/null || true
    gpgconf --kill all 2>/dev/null || true
}
