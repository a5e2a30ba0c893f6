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
# Packages of an older version: with the programs of one, where ZTNODE_OLD names the folder they are in; else with today's, so that
# nothing but the packages' own part of an upgrade is seen (the files that versions leave to each other have tests of their own).
old=$work/tree/target/packages/stage
mkdir -p "$work/older" "$old"
for folder in bin sbin share; do cp -r "$packages/stage/$folder" "$old/"; done
if [ -n "${ZTNODE_OLD:-}" ]; then
    echo "     the older version's programs: $ZTNODE_OLD"
    cp "$ZTNODE_OLD/ztnode" "$old/sbin/"
    cp "$ZTNODE_OLD/ztnode-cli" "$old/bin/"
fi
dpkg-deb -R "$packages"/ztnode_*.deb "$work/older/deb"
cp "$old/sbin/ztnode" "$work/older/deb/usr/sbin/"
cp "$old/bin/ztnode-cli" "$work/older/deb/usr/bin/"
sed -i "s/^Version: .*/Version: $older-1/" "$work/older/deb/DEBIAN/control"
(cd "$work/older/deb" && find usr etc -type f -print0 | xargs -0 md5sum) >"$work/older/sums"
mv "$work/older/sums" "$work/older/deb/DEBIAN/md5sums"
dpkg-deb -Znone --build --root-owner-group "$work/older/deb" "$work/older/ztnode_$older-1_$(dpkg --print-architecture).deb" >/dev/null
rm -r "$work/older/deb"
for file in Cargo.toml LICENSE-MIT LICENSE-APACHE packaging; do ln -s "$top/$file" "$work/tree/$file"; done
(cd "$work/tree" && "$top/target/tools/bin/cargo-generate-rpm" generate-rpm --package packaging/generate --arch "$processor" \
    --payload-compress none --set-metadata "version = \"$older\"" --output "$work/older/")
name=ztnode-$older-$processor-linux
cp -r "$programs" "$work/older/$name"
cp "$old/sbin/ztnode" "$work/older/$name/sbin/"
cp "$old/bin/ztnode-cli" "$work/older/$name/bin/"
tar -C "$work/older" -czf "$work/older/$name.tar.gz" "$name"
rm -r "${work:?}/older/$name"

key ours
key next
key foreign
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
    # As installers leave it: rpm looks its own machine up. Whoever looks up anything else is seen, for this name server is a stranger.
    echo "$1" >"$machine/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" >"$machine/etc/hosts"
    echo 'nameserver 203.0.113.53' >"$machine/etc/resolv.conf"
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
# The program that is there is the one of the older version.
is_old() { cmp "$machine$1/ztnode" "$old/sbin/ztnode"; }
# As every version has taken a token.
joins() { inside ztnode-cli join "$network" --token "$(lab token create "$network" 2>/dev/null | sed 's/^ztt_[0-9a-f]\{16\}_/ztt_/')" --wait=60; }
keeps_going() { eventually 30 is_member && same_address "$mine"; }

# distribution ID LIKE: the machine says it is that.
distribution() {
    rm -f "$machine/etc/os-release"
    printf 'ID=%s\nID_LIKE="%s"\nPRETTY_NAME="%s in a test"\n' "$1" "$2" "$1" >"$machine/etc/os-release"
}
# Where nothing is installed there is no source and no key afterwards.
too_early() {
    spoil early tamper $older
    show early
    refuses "a tampered package" 'are what they were' one_line
    show good
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
