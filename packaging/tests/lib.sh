# shellcheck shell=sh
# Debian machines to install packages on: a root made by debootstrap, booted with systemd in nspawn, in a network of its
# own. Nothing in it can reach the internet, and it has a planet of its own before a node first starts in it.
# All commands are for the machine that was made or chosen last; $machine is its root directory.
#
#   machine NAME          a fresh root (not booted)
#   discard               the machine, which is off
#   copy NAME             the machine, which is off, as another: its whole root directory, and an ID of its own
#   at NAME               choose another machine; those that run run on
#   boot [ARGUMENTS]      boot it (arguments for systemd-nspawn), until systemd has settled, or only answers ($unsettled)
#   inside COMMAND …      run a command in it
#   off                   shut it down
# And what checks.sh has.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
packages=${PACKAGES:-$top/target/packages}
# Another script makes another root.
image=$top/target/debian-root-$(cksum <"$here/root.sh" | cut -d' ' -f1)
work=$(mktemp -d /var/tmp/ztnode-packages.XXXXXX)
machine='' spawned='' leader=''
. "$here/checks.sh"
. "$here/checkers.sh"

leave() {
    status=$?
    trap - EXIT
    for console in "$work"/*.console; do
        [ "$status" = 0 ] || [ ! -s "$console" ] || { echo "-- console of $(basename "$console" .console):"; cat "$console"; }
    done
    for running in "$work"/*.running; do
        [ -e "$running" ] || continue
        at "$(basename "$running" .running)"
        if [ "$status" != 0 ]; then
            echo "-- journal of the service on $(basename "$machine"):"
            inside journalctl --no-pager -q -n 30 -u ztnode.service 2>/dev/null || true
        fi
        off 2>/dev/null || true
    done
    ${on_exit:-:}
    for layer in "$work"/layers/*; do
        [ -n "${KEEP:-}" ] || [ ! -e "$layer" ] || umount --lazy "$work/$(basename "$layer")" 2>/dev/null || true
    done
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    if [ "$status" = 0 ]; then echo "$checks passed, 0 failed"; else echo "$checks passed, 1 failed"; fi
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT TERM

[ "$(id -u)" = 0 ] || die "booting a machine needs root"
[ -e "$image" ] || "$here/root.sh" "$image"

machine() {
    machine=$work/$1 spawned='' leader=''
    mkdir "$machine"
    mkdir -p "$work/layers/$1/upper" "$work/layers/$1/work"
    # All start from one root, which nobody writes to.
    mount -t overlay -o "lowerdir=$image,upperdir=$work/layers/$1/upper,workdir=$work/layers/$1/work" machine "$machine"
    chmod 755 "$machine"
    own_id
}

discard() {
    umount --lazy "$machine" 2>/dev/null || true
    rm -rf "$machine" "$work/layers/$(basename "$machine")"
}

# Every machine is another. Without an ID it would be a first boot, which asks questions.
own_id() { tr -d - </proc/sys/kernel/random/uuid >"$machine/etc/machine-id"; }

copy() {
    cp -a --reflink=auto "$machine" "$work/$1"
    machine=$work/$1 spawned='' leader=''
    own_id
}

at() {
    machine=$work/$1 spawned='' leader=''
    [ ! -e "$machine.running" ] || read -r spawned leader <"$machine.running"
}

# A planet whose only root is an address for documentation: no public root is ever spoken to.
own_planet() {
    mkdir -p "$machine$1"
    "$machine/usr/local/test/ztnode-cli" "-D$work/root-of-$(basename "$machine")" root init --endpoint 192.0.2.1/9993 >/dev/null
    cp "$work/root-of-$(basename "$machine")/planet" "$machine$1/planet"
}

# The tool from the tarball, where nothing is installed yet.
tools() {
    mkdir -p "$machine/usr/local/test" "$work/root-of-$(basename "$machine")"
    tar -xzf "$packages"/ztnode-*-linux.tar.gz -C "$work" --wildcards '*/bin/ztnode-cli'
    cp "$work"/ztnode-*-linux/bin/ztnode-cli "$machine/usr/local/test/"
}

# spawn ARGUMENTS: starts systemd-nspawn in the background, without machined.
spawn() {
    # nspawn wants the unified hierarchy; this host may show another to everybody else.
    unshare --mount sh -c '
        mount --make-rprivate /
        umount -R /sys/fs/cgroup 2>/dev/null
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        exec env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn "$@"' nspawn \
        --quiet --resolv-conf=off --register=no --keep-unit --console=pipe "$@" </dev/null >"$machine.console" 2>&1 &
    spawned=$!
    echo "$spawned" >"$machine.running"
}

boot() {
    # With the mode that udev gives it where udev runs.
    [ -e "$work/tun" ] || mknod -m 666 "$work/tun" c 10 200
    spawn --directory="$machine" --machine="$(basename "$machine")" --boot --bind="$work/tun:/dev/net/tun" "${@:---private-network}"
    tries=0
    until leader=$(tr -d ' ' <"/proc/$spawned/task/$spawned/children" 2>/dev/null) && [ -n "$leader" ] &&
        [ -S "$machine/run/systemd/private" ] || inside test -S /run/systemd/private 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "the machine does not boot"
        sleep 0.1
    done
    echo "$spawned $leader" >"$machine.running"
    [ -z "${unsettled:-}" ] || return 0
    timeout 60 nsenter --target "$leader" --all -- systemctl is-system-running --wait >/dev/null || {
        [ $? != 124 ] || die "the machine does not come up: $(inside systemctl list-jobs --no-pager)"
    }
}

inside() { nsenter --target "$leader" --all -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

off() {
    [ -n "$spawned" ] || return 0
    inside systemctl poweroff --force >/dev/null 2>&1 || kill "$spawned" 2>/dev/null || true
    wait "$spawned" 2>/dev/null || true
    rm -f "$machine.running"
    spawned='' leader=''
}

# made_of FILE: it is a list of what the programs are made of, as CycloneDX has it, with the database, which is no crate, in it.
made_of() {
    if have_checkers; then valid_list "$1" || return 1; fi
    jq -e '.bomFormat == "CycloneDX" and (.components | any(.name == "sqlite") and any(.name == "tokio" and .hashes and .purl and .licenses))' "$1"
}

main_pid() { inside systemctl show -P MainPID ztnode.service; }
address() { inside ztnode-cli info | cut -d' ' -f3; }

# The service answers, under another process than $1.
back_after() { [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$1" ] && inside systemctl is-active --quiet ztnode.service; }
same_address() { [ "$(address)" = "$1" ] || { address; return 1; }; }
same_address_at() { inside "$1/ztnode-cli" info | grep -q "^200 info $2 "; }
