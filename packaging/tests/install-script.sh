#!/bin/sh
# The repository's install.sh, with packages that hold scripts in place of the programs: by apt, by rpm and by the tarball, in a copy of
# this machine's files that is in memory and has no other packages. repository.sh does it with the real ones, in machines that boot.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
skip() { echo "SKIPPED: $*: install.sh was not tried"; exit 0; }
[ "$(id -u)" = 0 ] || skip "this needs root"
work=$(mktemp -d /var/tmp/ztnode-install.XXXXXX)
. "$here/checks.sh"
url=http://127.0.0.1:8080
packages=none
. "$here/archive.sh"
machine=$work/machine served=$work/served holder='' server=''

leave() {
    status=$?
    trap - EXIT
    # With the first process of its namespace all of it ends, and with the last one the mounts go.
    for process in $server $holder; do kill -9 "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    gpgconf --kill all 2>/dev/null || true
    rm -rf "$work"
    if [ "$status" = 0 ]; then echo "$checks passed, 0 failed"; else echo "$checks passed, 1 failed"; fi
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT TERM

processor=$(uname -m)
architecture=$(dpkg --print-architecture)
# stand_ins VERSION DIRECTORY: a package of each kind, with the scripts that the real ones have.
stand_ins() {
    version=$1 out=$2 tree=$work/tree
    rm -rf "$tree"
    mkdir -p "$out" "$tree/usr/sbin" "$tree/usr/bin" "$tree/usr/lib/systemd/system" "$tree/usr/lib/sysusers.d" "$tree/usr/lib/tmpfiles.d"
    printf '#!/bin/sh\necho "ztnode %s"\n' "$version" >"$tree/usr/sbin/ztnode"
    printf '#!/bin/sh\nexit 0\n' >"$tree/usr/bin/ztnode-cli"
    chmod 755 "$tree/usr/sbin/ztnode" "$tree/usr/bin/ztnode-cli"
    cp "$top"/packaging/systemd/*.service "$tree/usr/lib/systemd/system/"
    cp "$top/packaging/sysusers.d/ztnode.conf" "$tree/usr/lib/sysusers.d/"
    cp "$top/packaging/tmpfiles.d/ztnode.conf" "$tree/usr/lib/tmpfiles.d/"

    name=ztnode-$version-$processor-linux
    mkdir -p "$work/$name/share/doc"
    cp -r "$tree/usr/sbin" "$work/$name/sbin"
    cp -r "$tree/usr/bin" "$work/$name/bin"
    cp "$top/README.md" "$work/$name/share/doc/"
    for folder in systemd sysusers.d tmpfiles.d zerotier-names; do cp -r "$top/packaging/$folder" "$work/$name/"; done
    cp "$top/packaging/tarball/install.sh" "$work/$name/"
    tar -C "$work" -czf "$out/$name.tar.gz" "$name"
    rm -r "${work:?}/$name"

    {
        printf 'Name: ztnode\nVersion: %s\nRelease: 1\nSummary: a stand-in\nLicense: none\nAutoReqProv: no\n' "$version"
        printf '%%description\nA stand-in.\n%%install\ncp -r %s/usr %%{buildroot}/\n%%files\n/usr/*/*\n' "$tree"
        for script in pre post preun postun; do printf '%%%s\n' "$script" && cat "$top/packaging/rpm/$script"; done
    } >"$work/ztnode.spec"
    rpmbuild --quiet -bb --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" --define '_build_id_links none' \
        --target "$processor" "$work/ztnode.spec" >"$work/rpmbuild.log" 2>&1 || { cat "$work/rpmbuild.log"; return 1; }
    mv "$work/rpms/$processor"/*.rpm "$out/"

    mkdir "$tree/DEBIAN"
    for script in config templates prerm postrm postinst; do cp "$top/packaging/deb/$script" "$tree/DEBIAN/"; done
    chmod 755 "$tree"/DEBIAN/*
    chmod 644 "$tree/DEBIAN/templates"
    printf 'Package: ztnode\nVersion: %s-1\nArchitecture: %s\nMaintainer: nobody <nobody@ztnode.invalid>\nDescription: a stand-in\n' \
        "$version" "$architecture" >"$tree/DEBIAN/control"
    dpkg-deb --build --root-owner-group "$tree" "$out/ztnode_$version-1_$architecture.deb"
}

# The machine: whatever is written stays in memory, and goes with the process that holds it.
mkdir "$machine" "$work/memory" "$served.d"
unshare --mount --net --pid --fork sh -euc '
    machine=$1 memory=$2
    mount --make-rprivate /
    mount -t tmpfs -o size=400m memory "$memory"
    mkdir "$memory/upper" "$memory/work"
    mount -t overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" machine "$machine"
    mount --rbind /dev "$machine/dev"
    mount -t proc proc "$machine/proc"
    for folder in tmp run root etc/apt var/lib/dpkg var/lib/apt var/cache/apt var/lib/rpm; do
        mkdir -p "$machine/$folder"
        mount -t tmpfs memory "$machine/$folder"
    done
    chmod 1777 "$machine/tmp"
    cd "$machine/etc/apt"
    mkdir apt.conf.d preferences.d sources.list.d trusted.gpg.d
    cd "$machine/var/lib/dpkg"
    mkdir info updates triggers
    : >status
    : >available
    cd "$machine"
    rm -rf var/lib/ztnode usr/local/share/ztnode usr/sbin/ztnode usr/local/sbin/ztnode usr/share/keyrings/ztnode* etc/ztnode etc/yum.repos.d \
        etc/systemd/system/multi-user.target.wants/ztnode.service
    ip link set lo up
    : >"$memory/ready"
    cd /
    exec sleep infinity' machine "$machine" "$work/memory" >"$work/holder.log" 2>&1 &
holder=$!
# The first process of the namespace, which has the mounts.
first() { first=$(tr -d ' ' <"/proc/$holder/task/$holder/children") && [ -n "$first" ] && nsenter --target "$first" --mount test -e "$work/memory/ready"; }
until first 2>/dev/null; do
    kill -0 "$holder" 2>/dev/null || skip "no copy of this machine's files can be made here ($(tail -1 "$work/holder.log"))"
    sleep 0.1
done
inside() {
    nsenter --target "$first" --mount --net --pid env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 chroot "$machine" "$@"
}
inside dpkg --version >/dev/null 2>&1 || skip "the copy of this machine's files does not work (is /usr a file system of its own?)"

# Chooses what is served. A new folder in the same place: the server's own is never moved.
show() { ln -sfn "$1" "$served.d/now"; }
one_line() { inside sh -euc "curl -fsSL $url/now/install.sh | sh -s -- --from $url/now $*"; }
script() { inside sh /root/install.sh --from "$url/now" "$@"; }
# All that was ever written and is of this kind: the copy has it apart from the machine's own files.
state() {
    nsenter --target "$first" --mount sh -c 'cd "$1" && find upper ../machine/etc/apt ../machine/var/lib/dpkg/status -path upper/var/log -prune \
        -o -path upper/var/cache -prune -o -type f -exec sha256sum {} + | sort -k 2' state "$work/memory"
    inside rpm -qa
}
# What was fetched before, and was good, would be used again.
fetched_anew() { inside sh -c 'rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb'; }
runs_version() { [ "$(inside sh -c ztnode)" = "ztnode $1" ]; }
distribution() { inside sh -c "rm -f /etc/os-release; printf 'ID=%s\nID_LIKE=\"%s\"\nPRETTY_NAME=\"%s in a test\"\n' '$1' '$2' '$1' >/etc/os-release"; }

echo "-- a repository"
check "packages that stand in" stand_ins 0.0.1 "$work/old"
check "and newer ones" stand_ins 0.0.2 "$work/new"
key ours
key foreign
PACKAGES=$work/old
check "is made" repository "$good" ours@ztnode.invalid
PACKAGES=$work/new
check "takes a new version" repository "$good" ours@ztnode.invalid
PACKAGES=$packages
check "is signed" gpg --batch --verify "$good/install.sh.asc" "$good/install.sh"
check "its checksums are right" sh -c "cd '$good' && sha256sum --quiet -c SHA256SUMS"
spoil_all 0.0.2
ln -s "$good" "$work/served"
show "$good"
nsenter --target "$first" --net python3 -m http.server 8080 --bind 127.0.0.1 --directory "$served.d" >"$work/served.log" 2>&1 &
server=$!
check "is served" eventually 30 inside curl -fs -o /dev/null "$url/now/install.sh"
inside curl -fsSL -o /root/install.sh "$url/now/install.sh"

echo "-- apt"
distribution debian ''
for kind in tampered-package tampered-index foreign; do
    show "$work/$kind"
    fetched_anew
    refuses "$kind, where nothing is installed," 'nothing was changed\|are what they were' script
done
show "$good"
check "the older version installs" one_line --version 0.0.1
check "and is there" runs_version 0.0.1
check "its user is there" inside getent passwd ztnode
check "again: an upgrade" one_line
check "to the newer version" runs_version 0.0.2
check "back" script --version 0.0.1
for kind in $hostile; do
    show "$work/$kind"
    fetched_anew
    refuses "$kind" 'nothing was changed\|are what they were' script
done
show "$good"
refuses "a wrong switch" 'not known' script --prefx
check "is removed and purged" one_line --uninstall --purge
check "and nothing is left" not inside sh -c 'ls -d /var/lib/ztnode /etc/apt/sources.list.d/ztnode* /usr/share/keyrings/ztnode* /usr/sbin/ztnode 2>/dev/null | grep .'

echo "-- rpm"
distribution opensuse-leap suse
printf 'Name: base\nVersion: 1\nRelease: 1\nSummary: what a distribution has\nLicense: none\nBuildArch: noarch\nProvides: /bin/sh\n%%description\n.\n%%files\n' >"$work/base.spec"
rpmbuild --quiet -bb --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" "$work/base.spec" >"$work/rpmbuild.log" 2>&1
inside rpm -i --nodeps "$work/rpms/noarch/base-1-1.noarch.rpm"
check "the older version installs" script --version 0.0.1
check "and is there" runs_version 0.0.1
for kind in tampered-package tampered-release unsigned expired foreign; do
    show "$work/$kind"
    refuses "$kind" 'nothing was changed' script
done
show "$good"
check "again: an upgrade" script
check "to the newer version" runs_version 0.0.2
check "is removed and purged" script --uninstall --purge

echo "-- the tarball"
check "the older version installs" script --tarball --version 0.0.1
check "and is there" runs_version 0.0.1
refuses "a package beside it" 'below /usr/local already' script
for kind in tampered-package tampered-release unsigned expired foreign; do
    show "$work/$kind"
    refuses "$kind" 'nothing was changed' script --tarball
done
show "$good"
check "again: an upgrade" script --tarball
check "to the newer version" runs_version 0.0.2
check "is removed and purged" script --uninstall --purge
check "and nothing is left" not inside sh -c 'ls -d /var/lib/ztnode /usr/local/sbin/ztnode /usr/local/share/ztnode 2>/dev/null | grep .'

echo "-- machines that it has nothing for"
distribution plan9 ''
refuses "an unknown distribution" 'plan9.*nothing was changed' script
distribution debian ''
inside sh -c 'mkdir /root/fake && printf "#!/bin/sh\necho riscv64\n" >/root/fake/uname && chmod 755 /root/fake/uname'
refuses "an unknown processor" 'riscv64.*nothing was changed' inside sh -c "PATH=/root/fake:\$PATH; sh /root/install.sh --from $url/now"
