#!/bin/sh
# Machines made from one image, with one identity: both notice within 30 s and say so, and what follows is what the settings
# of the one that gives way say. The image is the root directory of a machine that was a member of a network.
. "$(dirname "$0")/lib.sh"
. "$here/controller.sh"
on_exit=end_lab

home=/var/lib/ztnode
# What both may take, ms from the moment when the second one serves.
LIMIT=30000

clones() { inside ztnode-cli -j info | jq -e --arg was "${was:-}" ".clones | $1"; }
# When the machine's journal said so, in microseconds of the clock that all machines share, as $moment.
said() {
    moment=$(inside journalctl --no-pager -q -b -o json -u ztnode.service |
        jq -r --arg words "$1" 'select(.MESSAGE | strings | contains($words)).__MONOTONIC_TIMESTAMP' | head -1)
    [ -n "$moment" ]
}
# When the service became ready, likewise, as $ready.
serving() { ready=$(inside systemctl show -P ActiveEnterTimestampMonotonic ztnode.service) && [ "${ready:-0}" != 0 ]; }
# says WORDS: within the limit after $ready.
says() {
    eventually $((LIMIT / 1000)) said "$1" || return 1
    took=$(((moment - ready) / 1000))
    [ $took -le $LIMIT ] || { echo "$took ms"; return 1; }
}
checked_says() {
    check "$1" says "$2"
    printf '     %s ms after the second one served\n' "$took"
}
kept_aside() { inside sh -c "grep -q '^$was:' $home/identity.secret.old-$was.* && stat -c %a $home/identity.secret.old-$was.* | grep -qx 600"; }
another_address() { now=$(address) && [ ${#now} = 10 ] && [ "$now" != "$was" ]; }
asks_as() { lab -j member list "$network" | jq -e --arg address "$1" 'any(.address == $address)'; }

echo "-- a root with a controller"
start_lab
plug one 198.51.100.2
plug two 198.51.100.3

echo "-- the image: a machine that was a member"
machine original
mkdir -p "$machine$home"
cp "$lab_home/planet" "$machine$home/planet"
cp "$packages"/ztnode_*.deb "$machine/root/"
boot_plugged one
check "installs" inside sh -c 'dpkg -i /root/ztnode_*.deb'
was=$(address)
lab member authorize "$network" "$was" >/dev/null
check "joins" inside ztnode-cli join "$network" --wait=30
check "the identity belongs to the machine" clones '.machine == "home" and .seen == []'
off
copy first
at original
copy second
at original
copy third

echo "-- two machines of that image"
at first
boot_plugged one
check "the first is the node of the image" same_address "$was"
check "and says that it came from elsewhere" clones '.machine == "moved"'
check "alone it is a member" eventually 20 is_member
check "and sees no clone" clones '.seen == []'
at second
boot_plugged two
check "the second serves" eventually 10 serving
checked_says "the second says that there is another" "another machine runs with this identity; this one gives way"
at first
checked_says "the first says so too" "another machine runs with this identity; this one keeps it"
check "and shows it" clones '.seen | length == 1 and .[0].givesWay == "other" and .[0].sameMachineId == false'
check "it keeps the identity" same_address "$was"
check "and its network" is_member
at second
check "the second, which started later, takes another" eventually 10 another_address
check "and keeps the old one aside" kept_aside
check "it shows what it was, and is at home now" eventually 10 clones '.formerAddresses == [$was] and .machine == "home" and .seen == []'
check "it asks for the network as the new one" eventually 20 asks_as "$now"
check "and is let in" eventually 5 authorize_asking
check "then it is a member" eventually 20 is_member
second=$now
off

echo "-- the original wakes up beside a copy"
at original
boot_plugged two
check "the original serves" eventually 10 serving
checked_says "it says that there is another" "another machine runs with this identity; this one keeps it"
at first
checked_says "the copy says so too" "another machine runs with this identity; this one gives way"
check "the copy, although it started earlier, takes another" eventually 10 another_address
check "which is not the second's" test "$now" != "$second"
check "and keeps the old one aside" kept_aside
at original
check "the original keeps its identity" same_address "$was"
check "and its network" eventually 20 is_member
at first
off

echo "-- settings that say to go on"
at original
echo '{"settings": {"clones": "warn"}}' >"$machine$home/local.conf"
check "the original takes the setting" inside systemctl restart ztnode.service
check "and shows it" clones '.policy == "warn" and .seen == []'
at third
echo '{"settings": {"clones": "warn"}}' >"$machine$home/local.conf"
boot_plugged one
check "the copy serves" eventually 10 serving
checked_says "the copy says that there is another" "another machine runs with this identity; settings.clones says to go on"
check "and shows it" clones '.seen | length == 1 and .[0].givesWay == "this"'
at original
checked_says "the original says so too" "another machine runs with this identity; both keep it"
check "and shows it" clones '.seen | length == 1 and .[0].givesWay == "other"'
for name in original third; do
    at $name
    check "$name keeps the identity" same_address "$was"
    check "and has put nothing aside" not inside sh -c "ls $home/identity.secret.old-* 2>/dev/null | grep ."
    check "people are told, too" inside sh -c 'ztnode-cli info 2>&1 | grep "another machine runs with this identity"'
done
at third
off
at original
off
