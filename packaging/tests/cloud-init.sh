#!/bin/sh
# Debian's cloud-init boots machines with the user-data of ../cloud-init, as a cloud would (NoCloud datasource). The
# packages come from a signed repository on the machine's loopback; root and controller run in a namespace next to it.
. "$(dirname "$0")/lib.sh"
. "$here/controller.sh"
. "$here/served.sh"

examples=$top/packaging/cloud-init
# The boot is what is tested: it waits for things that happen below.
unsettled=1

# Runs before the machines are taken away.
end_test() {
    [ "$status" = 0 ] || tail -n 40 "$machine/var/log/cloud-init-output.log" 2>/dev/null || true
    end_served
    end_lab
}
on_exit=end_test

echo "-- user-data is what cloud-init takes"
machine schema
for file in "$examples"/*.yaml; do
    cp "$file" "$machine/root/"
    check "$(basename "$file"): valid" chroot "$machine" cloud-init schema --config-file "/root/$(basename "$file")"
    check "$(basename "$file"): at most ten lines" test "$(wc -l <"$file")" -le 10
done
discard

echo "-- a root with a controller"
start_lab
plug cloud 198.51.100.2
key ours
key foreign
check "a repository" repository "$work/good" ours@ztnode.invalid
check "one that another key signs" repository "$work/foreign" foreign@ztnode.invalid
check "no word to be filled in is left but for the node's own" not grep -E 'REPOSITORY|"KEY"|trusted=yes' -r "$work/good/cloud-init"
ln -s good "$served"
check "is served" serve cloud
check "what leaves is watched" watch cloud

# cloud NAME USER-DATA-FILE: a machine as a cloud's image is, with cloud-init and nothing of ours but a planet.
cloud() {
    machine "$1"
    mkdir -p "$machine/var/lib/ztnode" "$machine/var/lib/cloud/seed/nocloud"
    cp "$lab_home/planet" "$machine/var/lib/ztnode/planet"
    cp "$2" "$machine/var/lib/cloud/seed/nocloud/user-data"
    printf 'instance-id: %s\nlocal-hostname: %s\n' "$1" "$1" >"$machine/var/lib/cloud/seed/nocloud/meta-data"
    # The mirrors of Debian cannot be reached from here, and the network is set up already.
    rm -f "$machine/etc/apt/sources.list" "$machine"/etc/apt/sources.list.d/*
    # The small root has no other locale than this.
    printf 'network: {config: disabled}\napt: {preserve_sources_list: true}\nlocale: C.UTF-8\n' >"$machine/etc/cloud/cloud.cfg.d/99-test.cfg"
    for unit in cloud-init-local cloud-init cloud-config cloud-final; do
        systemctl --root="$machine" enable "$unit.service" >/dev/null 2>&1
    done
    boot_plugged cloud
}

# fill EXAMPLE: the file of the repository with this test's values.
fill() {
    sed "s,37f2b7c94f000001,$network,; s|IDENTITY|${identity:-}|
         s,TOKEN,${token:-},; s,--wait=300,--wait=${patience:-60},; s,--wait\$,--wait=${patience:-60}," "$work/good/cloud-init/$1"
}

named() { lab -j member list "$network" | jq -e --arg name "$1" 'any(.name == $name)'; }
finished() { inside cloud-init status --wait; }
# The boot failed, at the join, with that exit code.
failed_with() {
    ! inside cloud-init status --wait || return 1
    inside grep -q scripts.user /run/cloud-init/result.json && inside grep "^Exit code: $1" /var/log/cloud-init.log
}
log_says() { inside grep -i "$1" /var/log/cloud-init-output.log; }

echo "-- an identity of its own, authorized while the boot waits"
fill generated.yaml >"$work/user-data"
cloud generated "$work/user-data"
check "the node asks, and is authorized at the controller" eventually 240 authorize_asking
check "the boot ends well" finished
check "and the node is a member" is_member
off

echo "-- an identity made beforehand"
identity=$("$programs/bin/ztnode-cli" identity new)
address=$(echo "$identity" | cut -d: -f1)
lab member authorize "$network" "$address" >/dev/null
fill injected.yaml >"$work/user-data"
cloud injected "$work/user-data"
check "the boot ends well" finished
check "the node is the one that was placed" same_address "$address"
check "and a member" is_member
off

echo "-- nobody authorizes it"
patience=10
fill generated.yaml >"$work/user-data"
cloud unauthorized "$work/user-data"
check "the boot says that it failed" failed_with 7
check "and why" log_says 'not authorized; .*member authorize'
off

echo "-- a token"
patience=60
check "user-data is made with it" lab token create "$network" --name cloud --cloud-init --repository "$url" \
    --key "$work/good/ztnode-archive-keyring.asc" --out "$work/user-data"
check "for its owner alone" sh -c "test \$(stat -c %a '$work/user-data') = 600"
token=$(sed -n 's/.*--token \(ztt_[^ ]*\).*/\1/p' "$work/user-data")
machine made
cp "$work/user-data" "$machine/root/"
check "it is what cloud-init takes" chroot "$machine" cloud-init schema --config-file /root/user-data
discard
cloud token "$work/user-data"
check "the boot ends well" finished
check "the node is a member" is_member
check "under the token's name" named cloud
off

echo "-- a wrong token"
# Of the right shape, for the right network.
token=${token%_*}_$(echo "${token##*_}" | tr 0-9 1-90) patience=10
fill token.yaml >"$work/user-data"
cloud wrong "$work/user-data"
check "the boot says that it failed" failed_with 7
check "and why" log_says 'the token was not accepted'
check "the node is no member" not is_member
off

echo "-- a repository that another key signs"
ln -sfn foreign "$served"
fill generated.yaml >"$work/user-data"
cloud stranger "$work/user-data"
check "the boot says that it failed" not finished
check "and why" log_says 'not available\|NO_PUBKEY\|not signed'
check "nothing was installed" not inside sh -c 'command -v ztnode'
off
check_watched cloud
