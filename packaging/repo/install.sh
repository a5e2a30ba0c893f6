#!/bin/sh
# Installs, upgrades and removes ztnode, from the repository that this script came with:
#
#   curl -fsSL @URL@/install.sh | sudo sh
#
# The repository's keys are in here. Whoever has this script as its maker signed it needs to trust nothing else: all that is
# fetched is checked with the keys, by whatever way it came. Keys: @FINGERPRINTS@
# shellcheck disable=SC1090,SC2043,SC2194 # os-release is the machine's; what stands between @ is filled in.
set -eu

usage() {
    cat <<'TEXT'
Usage: install.sh [switches]      install, or upgrade what is there
       install.sh --uninstall     remove it; identity and networks stay, unless --purge
  --version V      this version instead of the newest, older ones too
  --tarball        the programs below /usr/local, on any Linux, instead of a package
  --from URL       the repository, where it is not @URL@
  --purge          with --uninstall: identity, networks and settings are deleted
Run it again to upgrade.
TEXT
}

say() { printf 'ztnode: %s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'install.sh: %s\n\n' "$*" >&2; usage >&2; exit 2; }

keys() {
    cat <<'KEYS'
@KEYS@
KEYS
}

apt_list=/etc/apt/sources.list.d/ztnode.list
apt_keys=/usr/share/keyrings/ztnode-archive-keyring.asc
rpm_repo=/etc/yum.repos.d/ztnode.repo
rpm_keys=/etc/pki/rpm-gpg/RPM-GPG-KEY-ztnode

# What the distribution takes, as $way: apt, dnf, rpm (packages without a repository) or tarball.
find_way() {
    [ -z "$tarball" ] || { way=tarball; return 0; }
    name='' ids=''
    for file in /etc/os-release /usr/lib/os-release; do
        [ -r "$file" ] || continue
        name=$(. "$file" && echo "${PRETTY_NAME:-${NAME:-${ID:-}}}")
        ids=$(. "$file" && echo "${ID:-} ${ID_LIKE:-}")
        break
    done
    way=
    for id in $ids; do
        case $id in
        debian | ubuntu | raspbian | linuxmint | pop | kali | devuan) way=apt ;;
        fedora | rhel | centos | rocky | almalinux | ol | amzn) way=dnf ;;
        suse | sles | opensuse*) way=rpm ;;
        *) continue ;;
        esac
        break
    done
    [ -n "$way" ] || die "no package for this distribution (${name:-without /etc/os-release}); nothing was changed. --tarball installs below /usr/local on any Linux"
    case $way in
    apt) command -v apt-get >/dev/null || die "$name without apt-get; nothing was changed" ;;
    dnf)
        dnf=$(command -v dnf || command -v yum) || die "$name without dnf; nothing was changed"
        # An image-based system takes packages another way.
        [ ! -e /run/ostree-booted ] || die "$name takes no packages while it runs; nothing was changed. --tarball installs below /usr/local"
        ;;
    esac
}

# The processor, as packages are named for it.
find_processor() {
    processor=$(uname -m)
    case $processor in
    amd64) processor=x86_64 ;;
    arm64) processor=aarch64 ;;
    esac
    case $processor in
    x86_64) deb_architecture=amd64 ;;
    aarch64) deb_architecture=arm64 ;;
    *) deb_architecture=$processor ;;
    esac
    case " @PROCESSORS@ " in
    *" $processor "*) ;;
    *) die "no package for this processor ($processor; there are some for @PROCESSORS@); nothing was changed" ;;
    esac
    if [ "$way" = apt ] && [ "$(dpkg --print-architecture)" != "$deb_architecture" ]; then
        die "the distribution's packages are for $(dpkg --print-architecture), the processor is $processor; nothing was changed"
    fi
}

# fetch PATH FILE
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --proto '=http,https' --retry 2 -o "$2" "$from/$1" </dev/null
    else
        wget -q -O "$2" "$from/$1" </dev/null
    fi || die "$from/$1 cannot be fetched; nothing was changed"
}

# verify FILE [SIGNATURE]: one of the keys signed it, and the signature has not expired. Without a second file it is signed in itself.
verify() {
    if [ $# = 2 ]; then set -- "$2" "$1"; fi
    status=$(gpgv --status-fd 1 --keyring "$work/keys.gpg" "$@" 2>/dev/null) || :
    for key in @FINGERPRINTS@; do
        # Between GOODSIG and VALIDSIG there is nothing where a signature is good; EXPSIG and others come in place of GOODSIG.
        if printf '%s\n' "$status" | awk -v key="$key" '
            $2 == "NEWSIG" { good = 0 }
            $2 == "GOODSIG" { good = 1 }
            $2 == "VALIDSIG" && good && $NF == key { found = 1 }
            END { exit !found }'; then
            return 0
        fi
    done
    case $status in
    *EXPSIG*) die "$from: what is there was signed too long ago; nothing was changed. Somebody may be showing old versions; otherwise its maintainer has to sign it anew" ;;
    *EXPKEYSIG* | *NO_PUBKEY*) die "$from: not signed by the keys of this script, @FINGERPRINTS@; nothing was changed. If the key was replaced, fetch install.sh anew" ;;
    *) die "$from: the signature is wrong; nothing was changed" ;;
    esac
}

# Fetches the list of all files and its signature.
fetch_checksums() {
    fetch SHA256SUMS "$work/SHA256SUMS"
    fetch SHA256SUMS.asc "$work/SHA256SUMS.asc"
    verify "$work/SHA256SUMS" "$work/SHA256SUMS.asc"
}

# fetch_package PREFIX SUFFIX: PREFIX-VERSION-SUFFIX of the wanted version, checked, as $package.
fetch_package() {
    found=$(sed -n "s|^[0-9a-f]*  \($1${version:-[0-9][^/]*}$2\)\$|\1|p" "$work/SHA256SUMS" | grep -v zerotier-names | sort -V | tail -1)
    [ -n "$found" ] || die "$from has no ${version:-package}${version:+ of ztnode} for this machine; nothing was changed"
    package=$work/$(basename "$found")
    fetch "$found" "$package"
    (cd "$work" && grep "  $found\$" SHA256SUMS | sed 's|  .*/|  |' | sha256sum -c - >/dev/null 2>&1) ||
        die "$from/$found: its checksum is wrong; nothing was changed"
}

# keep FILE: what it was, should the installation fail.
keep() {
    kept="$kept $1"
    [ ! -e "$1" ] || cp -p "$1" "$work/kept-$(basename "$1")"
}
put_back() {
    for file in $kept; do
        if [ -e "$work/kept-$(basename "$file")" ]; then cp -p "$work/kept-$(basename "$file")" "$file"; else rm -f "$file"; fi
    done
}
failed() {
    put_back
    die "$*; the machine's sources of packages are what they were"
}

install_apt() {
    fetch deb/dists/stable/InRelease "$work/InRelease"
    verify "$work/InRelease"
    keep $apt_list
    keep $apt_keys
    mkdir -p /usr/share/keyrings
    keys >$apt_keys
    chmod 644 $apt_keys
    echo "deb [signed-by=$apt_keys arch=$deb_architecture] $from/deb stable main" >$apt_list
    # This source alone: others may be broken.
    apt-get -q -o Dir::Etc::sourcelist=$apt_list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \
        -o APT::Update::Error-Mode=any update </dev/null || failed "apt-get update refused $from/deb"
    wanted=ztnode
    case $version in
    '') ;;
    *-*) wanted=ztnode=$version ;;
    *) wanted="ztnode=$version-*" ;;
    esac
    DEBIAN_FRONTEND=noninteractive apt-get -q -y ${version:+--allow-downgrades} -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold install "$wanted" ztnode-archive-keyring </dev/null || failed "apt-get install $wanted failed"
}

install_dnf() {
    fetch rpm/repodata/repomd.xml "$work/repomd.xml"
    fetch rpm/repodata/repomd.xml.asc "$work/repomd.xml.asc"
    verify "$work/repomd.xml" "$work/repomd.xml.asc"
    keep $rpm_repo
    keep $rpm_keys
    mkdir -p "$(dirname $rpm_keys)" "$(dirname $rpm_repo)"
    keys >$rpm_keys
    # gpgcheck would put the key among those that all packages are checked with. The signed index has each package's checksum.
    cat >$rpm_repo <<REPO
[ztnode]
name=ztnode
baseurl=$from/rpm
enabled=1
repo_gpgcheck=1
gpgcheck=0
gpgkey=file://$rpm_keys
metadata_expire=6h
skip_if_unavailable=0
REPO
    chmod 644 $rpm_repo $rpm_keys
    wanted=ztnode
    [ -z "$version" ] || wanted=ztnode-$version
    "$dnf" -y --setopt=ztnode.metadata_expire=0 install "$wanted" ztnode-archive-keyring </dev/null || failed "$dnf install $wanted failed"
    # It leaves an older version alone unless told.
    if [ -z "$version" ]; then "$dnf" -y upgrade ztnode </dev/null || failed "$dnf upgrade ztnode failed"; fi
}

install_rpm() {
    fetch_checksums
    fetch_package rpm/packages/ztnode- "-[0-9]*.$processor.rpm"
    rpm -U --oldpackage --replacepkgs "$package" || die "rpm -U $(basename "$package") failed"
}

install_tarball() {
    fetch_checksums
    fetch_package tarballs/ztnode- "-$processor-linux.tar.gz"
    tar -xzf "$package" -C "$work"
    "${package%.tar.gz}/install.sh"
}

# Which way it was installed here, as $present.
find_present() {
    present=
    if command -v dpkg-query >/dev/null && dpkg-query -W -f '${Status}' ztnode 2>/dev/null | grep -q '^install ok'; then
        present=apt
    elif command -v rpm >/dev/null && rpm -q ztnode >/dev/null 2>&1; then
        present=rpm
    elif [ -x /usr/local/share/ztnode/install.sh ]; then
        present=tarball
    fi
}

uninstall() {
    find_present
    known=
    for file in $apt_list $apt_keys $rpm_repo $rpm_keys; do if [ -e $file ]; then known=1; fi; done
    [ -n "$present$known$purge" ] || die "ztnode is not installed here"
    case $present in
    apt)
        DEBIAN_FRONTEND=noninteractive apt-get -q -y ${purge:+--purge} remove ztnode </dev/null || die "apt-get remove ztnode failed"
        ;;
    rpm)
        for program in dnf yum rpm; do if command -v $program >/dev/null; then break; fi; done
        case $program in
        rpm) rpm -e ztnode ;;
        *) $program -y remove ztnode </dev/null ;;
        esac || die "the removal failed"
        ;;
    tarball) /usr/local/share/ztnode/install.sh uninstall ${purge:+--purge} ;;
    esac
    if command -v dpkg-query >/dev/null; then
        # What was removed before can still be purged.
        if [ -n "$purge" ] && dpkg-query -W ztnode >/dev/null 2>&1; then dpkg --purge ztnode; fi
        if dpkg-query -W ztnode-archive-keyring >/dev/null 2>&1; then dpkg --purge ztnode-archive-keyring; fi
    fi
    if command -v rpm >/dev/null && rpm -q ztnode-archive-keyring >/dev/null 2>&1; then rpm -e ztnode-archive-keyring; fi
    rm -f $apt_list $apt_keys $rpm_repo $rpm_keys
    # A node that was used by the name of zerotier-one is no package's to delete.
    if [ -n "$purge" ] && [ ! -e /var/lib/ztnode/old-name ]; then rm -rf /var/lib/ztnode; fi
    say "removed"
    if [ -d /var/lib/ztnode ]; then say "identity and networks stay in /var/lib/ztnode"; fi
}

main() {
    action=install version='' tarball='' purge='' from=@URL@
    while [ $# -gt 0 ]; do
        case $1 in
        --version=*) version=${1#*=} ;;
        --from=*) from=${1#*=} ;;
        --version | --from)
            [ $# -ge 2 ] || wrong "$1 needs a value"
            if [ "$1" = --version ]; then version=$2; else from=$2; fi
            shift
            ;;
        --tarball) tarball=1 ;;
        --uninstall) action=uninstall ;;
        --purge) purge=1 ;;
        -h | --help | help) usage; exit 0 ;;
        *) wrong "$1 is not known" ;;
        esac
        shift
    done
    [ -z "$purge" ] || [ $action = uninstall ] || wrong "--purge goes with --uninstall"
    case $version in
    *[!0-9A-Za-z.+~-]*) wrong "--version $version is no version" ;;
    esac
    [ "$(id -u)" = 0 ] || die "it must run as root: sudo sh install.sh"
    if [ $action = uninstall ]; then uninstall; exit 0; fi

    from=${from%/}
    case $from in
    http://* | https://*) ;;
    '') wrong "--from URL is needed: this copy does not know where the packages are" ;;
    *) wrong "--from $from is neither https:// nor http://" ;;
    esac
    case $from in
    *[!A-Za-z0-9:/._~%@+-]*) wrong "--from $from has characters that do not belong into it" ;;
    esac
    find_way
    find_processor
    find_present
    case $present/$way in
    /* | apt/apt | rpm/dnf | rpm/rpm | tarball/tarball) ;;
    tarball/*) die "ztnode is installed below /usr/local already; --tarball upgrades it, --uninstall removes it. Nothing was changed" ;;
    *) die "ztnode is installed as a package already; run it without --tarball. Nothing was changed" ;;
    esac
    command -v curl >/dev/null || command -v wget >/dev/null || die "curl or wget is needed to fetch packages; nothing was changed"
    command -v gpgv >/dev/null || die "gpgv is needed to check signatures (package gpgv, gnupg2 or gnupg); nothing was changed"
    work=$(mktemp -d) kept=
    trap 'rm -rf "$work"' EXIT
    trap 'put_back; exit 130' INT TERM HUP
    # gpgv reads keys without the armour only.
    keys | sed -n '/^$/,/^=/{/^$/d;/^=/d;p;}' | base64 -d >"$work/keys.gpg"
    "install_$way"
    program=$(command -v ztnode || echo /usr/local/sbin/ztnode)
    say "$("$program" --version) is installed; ztnode-cli info, then ztnode-cli join NETWORK"
}

# The last line: half a script does nothing.
main "$@"
