#!/bin/sh
# The repository and its install.sh, from empty machines: install, join, upgrade, downgrade, remove and purge, by apt, by dnf, by
# rpm and by the tarball; what is tampered with, too old or signed by somebody else is refused; another key takes over.
. "$(dirname "$0")/lib.sh"
. "$here/controller.sh"
. "$here/served.sh"

end_test() {
    end_served
    end_lab
}
on_exit=end_test

version=$(basename "$programs" | cut -d- -f2)
processor=$(basename "$programs" | cut -d- -f3)
older=0.0.9

echo "-- repositories"
# The packages under an older version.
mkdir "$work/older"
dpkg-deb -R "$packages"/ztnode_*.deb "$work/older/deb"
sed -i "s/^Version: .*/Version: $older-1/" "$work/older/deb/DEBIAN/control"
dpkg-deb --build --root-owner-group "$work/older/deb" "$work/older/ztnode_$older-1_$(dpkg --print-architecture).deb" >/dev/null
rm -r "$work/older/deb"
(cd "$top" && target/tools/bin/cargo-generate-rpm generate-rpm --package packaging/generate --arch "$processor" \
    --payload-compress none --set-metadata "version = \"$older\"" --output "$work/older/")
cp -r "$programs" "$work/older/ztnode-$older-$processor-linux"
tar -C "$work/older" -czf "$work/older/ztnode-$older-$processor-linux.tar.gz" "ztnode-$older-$processor-linux"
rm -r "$work/older/ztnode-$older-$processor-linux"

key ours
key next
key foreign
good=$work/good
PACKAGES=$work/older
check "one with an older version" repository "$good" ours@ztnode.invalid
check "it is signed" sh -c "gpg --batch --verify '$good/deb/dists/stable/InRelease' && gpg --batch --verify '$good/install.sh.asc' '$good/install.sh'"
check "for 14 days" sh -c "test \$((\$(date -d \"\$(sed -n 's/^Valid-Until: //p' '$good/deb/dists/stable/Release')\" +%s) - \$(date +%s))) -gt \$((14 * 86400 - 900))"
check "its index is there by its hash" sh -c "cd '$good/deb/dists/stable/main/'binary-* && test -e by-hash/SHA256/\$(sha256sum Packages | cut -d' ' -f1)"
check "all files have checksums" sh -c "cd '$good' && sha256sum --quiet -c SHA256SUMS"
mkdir "$work/changed"
for file in "$work/older/"*.deb; do (cat "$file" && echo) >"$work/changed/$(basename "$file")"; done
PACKAGES=$work/changed
check "packages of a release never change" not repository "$good" ours@ztnode.invalid
PACKAGES=$packages
check "nor is it signed by a key that is not there" not repository "$work/none" nobody@ztnode.invalid

# spoil NAME COMMAND …: the repository, with something done to it.
spoil() {
    cp -a "$good" "$work/$1"
    name=$1
    shift
    (cd "$work/$name" && "$@")
}
# One octet in the middle is another.
flip() {
    for file in "$@"; do
        at_half=$(($(stat -c %s "$file") / 2))
        octet=$(od -An -tu1 -j $at_half -N 1 "$file" | tr -d ' ')
        # shellcheck disable=SC2059
        printf "\\$(printf %o $(((octet + 1) % 256)))" | dd of="$file" bs=1 seek=$at_half conv=notrunc status=none
    done
}
# The index names another package, of the same version.
swap() {
    find deb -path '*binary-*' -type f | while read -r file; do
        case $file in
        *.gz) gzip -dc "$file" | sed 's/^SHA256: ..../SHA256: 0000/' | gzip -9n >x && mv x "$file" ;;
        *) if gzip -t "$file" 2>/dev/null; then gzip -dc "$file" | sed 's/^SHA256: ..../SHA256: 0000/' | gzip -9n >x && mv x "$file"; else sed -i 's/^SHA256: ..../SHA256: 0000/' "$file"; fi ;;
        esac
    done
    flip rpm/repodata/*-primary.xml.*
}
tamper() { flip deb/pool/ztnode_"$version"* rpm/packages/ztnode-"$version"* tarballs/ztnode-"$version"*; }
unsign() { rm deb/dists/stable/InRelease deb/dists/stable/Release.gpg rpm/repodata/repomd.xml.asc SHA256SUMS.asc; }
spoil_all() {
    spoil tampered-package tamper
    spoil tampered-index swap
    spoil tampered-release flip deb/dists/stable/InRelease deb/dists/stable/Release rpm/repodata/repomd.xml SHA256SUMS
    spoil unsigned unsign
    (
        PACKAGES=none
        spoil foreign repository . foreign@ztnode.invalid
        NOW=$(($(date +%s) - 15 * 86400))
        spoil expired repository . ours@ztnode.invalid
    ) >"$work/spoilt" 2>&1
}
hostile="tampered-package tampered-index tampered-release unsigned expired foreign"
show() { ln -sfn "$1" "$served"; }

echo "-- a root with a controller"
start_lab

# empty NAME ADDRESS: a machine with nothing of ours but a planet, that sees no repository but this one.
empty() {
    machine "$1"
    plug "$1" "$2"
    mkdir -p "$machine/var/lib/ztnode"
    cp "$lab_home/planet" "$machine/var/lib/ztnode/planet"
    rm -f "$machine/etc/apt/sources.list" "$machine"/etc/apt/sources.list.d/*
    watch "$1"
    serve "$1"
    boot_plugged "$1"
}
# The line of the documentation.
one_line() { inside sh -euc "curl -fsSL $url/install.sh | sh -s -- $*"; }
# The script that was fetched when all was well.
script() { inside sh /root/install.sh "$@"; }
# All that the script might change.
state() {
    inside sh -c 'find /etc /usr/sbin /usr/bin /usr/local /usr/share/keyrings /var/lib/dpkg/status -xdev -type f -exec sha256sum {} + |
        sort -k 2; rpm -qa | sort'
}
unchanged() { state >"$work/state.now" && diff "$work/state" "$work/state.now"; }
# refuses WHAT WORDS COMMAND …: it fails, says that, and nothing has changed.
refuses() {
    what=$1 words=$2
    shift 2
    state >"$work/state"
    check "$what is refused" not "$@"
    cp "$work/output" "$work/said"
    check "in words" grep -i "$words" "$work/said"
    check "and nothing changed" unchanged
}
joins() { inside ztnode-cli join "$(lab token create "$network")" --wait=60; }
keeps_going() { eventually 30 is_member && same_address "$mine"; }

# distribution ID LIKE: the machine says it is that.
distribution() {
    rm -f "$machine/etc/os-release"
    printf 'ID=%s\nID_LIKE="%s"\nPRETTY_NAME="%s in a test"\n' "$1" "$2" "$1" >"$machine/etc/os-release"
}
wrong_machines() {
    cp -P --remove-destination "$machine/etc/os-release" "$work/os-release"
    distribution plan9 ''
    refuses "an unknown distribution" 'plan9.*nothing was changed' one_line
    rm -f "$machine/etc/os-release"
    cp -P "$work/os-release" "$machine/etc/os-release"
    mkdir -p "$machine/root/fake"
    printf '#!/bin/sh\necho riscv64\n' >"$machine/root/fake/uname"
    chmod 755 "$machine/root/fake/uname"
    refuses "an unknown processor" 'riscv64.*nothing was changed' \
        inside sh -euc "PATH=/root/fake:\$PATH; curl -fsSL $url/install.sh | sh"
    refuses "a wrong switch" 'not known' one_line --prefx
}

. "$here/repository-deb.sh"
. "$here/repository-rpm.sh"
