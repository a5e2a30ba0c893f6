#!/bin/sh
# make.sh DIRECTORY KEY …: puts the packages of target/packages into a repository and signs it. `make repo` calls this.
#
# The directory is served as it is, by any web server or bucket: `deb` for apt, `rpm` for dnf, `tarballs`, and install.sh,
# which finds out which of them a machine takes. What is in it already stays, older versions too. KEY … are secret keys of
# gpg ($GNUPGHOME); all of them sign, and all of them are trusted from then on: see "Another key" in docs/installation.md.
#
#   URL        where it will be served: install.sh then needs no --from, and there are files for cloud-init
#   PACKAGES   folder of the packages to add; default target/packages; none: only sign anew
#   VALID      days until what is signed now is refused; default 14
#   NOW        seconds since 1970, in place of the clock: for tests
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)

die() { printf 'repo: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s\n' "$*"; }

[ $# -ge 2 ] || { echo 'Usage: make repo DIR=… KEY="KEY …" [URL=https://…] [PACKAGES=…|none] [VALID=DAYS]' >&2; exit 2; }
for program in apt-ftparchive createrepo_c dpkg-deb gpg rpmbuild; do
    command -v $program >/dev/null || die "$program is missing: \`make repo\` installs it"
done
directory=$1
shift
packages=${PACKAGES:-$top/target/packages}
url=${URL:-} url=${url%/}
now=${NOW:-$(date +%s)} clock=${NOW:+--faked-system-time=$NOW!}
valid=${VALID:-14}
case $valid in
'' | *[!0-9]* | 0) die "VALID=$valid is not a number of days" ;;
esac
case $url in
'' | http://* | https://*) ;;
*) die "URL=$url is neither https:// nor http://" ;;
esac
# It becomes text in scripts and settings.
case $url in
*[!A-Za-z0-9:/._~%@+-]*) die "URL=$url has characters that would have to be escaped" ;;
esac

gpg() {
    # shellcheck disable=SC2086
    command gpg --batch --yes --no-tty --quiet --no-auto-key-retrieve --trust-model always $clock "$@" || die "gpg $1 failed"
}

# The fingerprints of the keys.
fingerprints=
for key in "$@"; do
    found=$(gpg --with-colons --list-secret-keys "$key" 2>/dev/null | awk -F: '$1 == "fpr" { print $10; exit }')
    [ -n "$found" ] || die "gpg has no secret key $key (GNUPGHOME=${GNUPGHOME:-~/.gnupg}); make one: gpg --quick-gen-key 'NAME <MAIL>' rsa3072 sign 3y"
    fingerprints="$fingerprints $found"
done
fingerprints=${fingerprints# }
signers=
for key in $fingerprints; do signers="$signers --local-user $key"; done
# sign ARGUMENTS: a signature by each key. It ends with what it signs, so that whoever checks nothing but signatures refuses
# an old index, too.
# shellcheck disable=SC2086
sign() { gpg --digest-algo SHA256 --default-sig-expire "seconds=$((valid * 86400))" $signers "$@"; }

mkdir -p "$directory/deb/pool" "$directory/rpm/packages" "$directory/tarballs"
directory=$(CDPATH='' cd -- "$directory" && pwd)
work=$(mktemp -d "$directory/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# put FILE PLACE: into the directory, in one step.
put() {
    mkdir -p "$(dirname "$directory/$2")"
    chmod 644 "$1"
    mv -f "$1" "$directory/$2"
}
# add FILE PLACE: a package. One that was there under this name stays what it was: machines have its checksum.
add() {
    if [ -e "$directory/$2" ]; then
        cmp -s "$1" "$directory/$2" ||
            die "$2 is in the repository already, with other bytes: a release never changes; build another version, or delete that one"
        return 0
    fi
    cp "$1" "$work/package"
    put "$work/package" "$2"
}

if [ "$packages" != none ]; then
    set -- "$packages"/*.deb "$packages"/*.rpm "$packages"/*.tar.gz
    for file in "$@"; do
        [ -e "$file" ] || continue
        case $file in
        *.deb) add "$file" "deb/pool/$(basename "$file")" ;;
        *.rpm) add "$file" "rpm/packages/$(basename "$file")" ;;
        *.tar.gz) add "$file" "tarballs/$(basename "$file")" ;;
        esac
    done
fi
[ -n "$(find "$directory/deb/pool" "$directory/rpm/packages" "$directory/tarballs" -type f | head -1)" ] ||
    die "there are no packages in $packages: \`make packages\` builds them"

say "keys"
keyring=ztnode-archive-keyring
# shellcheck disable=SC2086
gpg --armor --export --export-options export-minimal $fingerprints >"$work/$keyring.asc"
# Packages that bring the keys, so that machines with one of them get the others. Built anew when the keys are others.
if ! cmp -s "$work/$keyring.asc" "$directory/$keyring.asc" || ! ls "$directory/deb/pool/$keyring"_* >/dev/null 2>&1; then
    version=$(date -u -d "@$now" +%Y%m%d.%H%M%S)
    SOURCE_DATE_EPOCH=$now
    export SOURCE_DATE_EPOCH
    mkdir -p "$work/keys/DEBIAN" "$work/keys/usr/share/keyrings"
    cp "$work/$keyring.asc" "$work/keys/usr/share/keyrings/"
    cat >"$work/keys/DEBIAN/control" <<CONTROL
Package: $keyring
Version: $version
Architecture: all
Section: misc
Priority: optional
Maintainer: ztnode maintainers <maintainers@ztnode.invalid>
Description: keys of the repository that ztnode comes from
 Trusted for that repository alone, whose line in apt's sources names them.
CONTROL
    dpkg-deb --build --root-owner-group "$work/keys" "$work/${keyring}_${version}_all.deb" >/dev/null
    put "$work/${keyring}_${version}_all.deb" "deb/pool/${keyring}_${version}_all.deb"
    cat >"$work/keys.spec" <<SPEC
Name: $keyring
Version: $version
Release: 1
Summary: Keys of the repository that ztnode comes from
License: MIT OR Apache-2.0
BuildArch: noarch
%description
Trusted for that repository alone, whose settings name them.
%install
install -D -m 644 $work/$keyring.asc %{buildroot}/etc/pki/rpm-gpg/RPM-GPG-KEY-ztnode
%files
/etc/pki/rpm-gpg/RPM-GPG-KEY-ztnode
SPEC
    rpmbuild --quiet -bb --define "_topdir $work/rpmbuild" --define "_rpmdir $work" --define '_binary_payload w9.gzdio' \
        --define '_buildhost localhost' "$work/keys.spec" >"$work/rpmbuild.log" 2>&1 || die "rpmbuild: $(tail -3 "$work/rpmbuild.log")"
    put "$work/noarch/$keyring-$version-1.noarch.rpm" "rpm/packages/$keyring-$version-1.noarch.rpm"
fi

say "deb"
# Where apt looks: suite stable, component main.
mkdir -p "$work/dists/main"
architectures=$(find "$directory/deb/pool" -name 'ztnode_*.deb' -exec dpkg-deb -f {} Architecture \; | sort -u | tr '\n' ' ')
for architecture in $architectures; do
    binary=main/binary-$architecture
    mkdir -p "$work/dists/$binary/by-hash/SHA256"
    (cd "$directory/deb" && apt-ftparchive --arch "$architecture" packages pool) >"$work/dists/$binary/Packages"
    gzip -9nk "$work/dists/$binary/Packages"
done
apt-ftparchive -o APT::FTPArchive::Release::Origin=ztnode -o APT::FTPArchive::Release::Label=ztnode \
    -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
    -o APT::FTPArchive::Release::Architectures="$architectures" -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Acquire-By-Hash=yes -o APT::FTPArchive::MD5=no -o APT::FTPArchive::SHA1=no \
    release "$work/dists" | sed '/^Date: /d' >"$work/Release"
{
    echo "Date: $(LC_ALL=C date -u -d "@$now" '+%a, %d %b %Y %H:%M:%S UTC')"
    echo "Valid-Until: $(LC_ALL=C date -u -d "@$((now + valid * 86400))" '+%a, %d %b %Y %H:%M:%S UTC')"
    cat "$work/Release"
} >"$work/dists/Release"
sign --clearsign --output "$work/dists/InRelease" "$work/dists/Release"
sign --armor --detach-sign --output "$work/dists/Release.gpg" "$work/dists/Release"
# What the new index names comes before it; what the last ones named stays a while, for those who have them.
for architecture in $architectures; do
    binary=main/binary-$architecture
    for file in Packages.gz Packages; do
        cp "$work/dists/$binary/$file" "$work/by-hash"
        put "$work/by-hash" "deb/dists/stable/$binary/by-hash/SHA256/$(sha256sum "$work/dists/$binary/$file" | cut -d' ' -f1)"
        put "$work/dists/$binary/$file" "deb/dists/stable/$binary/$file"
    done
done
for file in Release.gpg Release InRelease; do put "$work/dists/$file" "deb/dists/stable/$file"; done
find "$directory/deb/dists" -path '*/by-hash/*' -type f -mtime "+$valid" -delete

say "rpm"
mkdir "$work/rpm"
ln -s "$directory/rpm/packages" "$work/rpm/packages"
createrepo_c --quiet --no-database --checksum sha256 --set-timestamp-to-revision --revision "$now" "$work/rpm"
sign --armor --detach-sign --output "$work/rpm/repodata/repomd.xml.asc" "$work/rpm/repodata/repomd.xml"
for file in "$work"/rpm/repodata/*; do
    case $file in
    */repomd.xml*) ;;
    *) put "$file" "rpm/repodata/$(basename "$file")" ;;
    esac
done
for file in repomd.xml.asc repomd.xml; do put "$work/rpm/repodata/$file" "rpm/repodata/$file"; done
find "$directory/rpm/repodata" -type f -mtime "+$valid" ! -name 'repomd.xml*' -delete
chmod 755 "$directory" "$directory/rpm/repodata"

say "install.sh and checksums"
processors=$(find "$directory/tarballs" -name 'ztnode-*-linux.tar.gz' | sed 's/.*-\([^-]*\)-linux.tar.gz/\1/' | sort -u | tr '\n' ' ')
awk -v url="$url" -v fingerprints="$fingerprints" -v processors="${processors% }" -v keys="$work/$keyring.asc" '
    /^@KEYS@$/ { while ((getline line <keys) > 0) print line; next }
    { gsub(/@URL@/, url); gsub(/@FINGERPRINTS@/, fingerprints); gsub(/@PROCESSORS@/, processors); print }
' "$here/install.sh" >"$work/install.sh"
put "$work/install.sh" install.sh
put "$work/$keyring.asc" "$keyring.asc"
# User-data for clouds, with all but the network, and the identity or token, filled in.
if [ -n "$url" ]; then
    text=$(awk '{ printf "%s\\\\n", $0 }' "$directory/$keyring.asc")
    for example in "$top"/packaging/cloud-init/*.yaml; do
        sed "s|REPOSITORY|$url|; s|\"KEY\"|\"$text\"|" "$example" >"$work/example"
        put "$work/example" "cloud-init/$(basename "$example")"
    done
fi
(cd "$directory" && find deb/pool rpm/packages tarballs -type f | sort | xargs sha256sum -- install.sh "$keyring.asc") >"$work/SHA256SUMS"
sign --armor --detach-sign --output "$work/SHA256SUMS.asc" "$work/SHA256SUMS"
sign --armor --detach-sign --output "$work/install.sh.asc" "$directory/install.sh"
for file in install.sh.asc SHA256SUMS.asc SHA256SUMS; do put "$work/$file" "$file"; done

say "$directory: signed until $(LC_ALL=C date -u -d "@$((now + valid * 86400))" '+%d %B %Y %H:%M UTC'), by $fingerprints"
