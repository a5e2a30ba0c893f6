#!/bin/sh
# Installs, upgrades and removes ztnode on any Linux, without a package manager.
set -eu

usage() {
    cat <<'TEXT'
Usage: ./install.sh [install] [switches]    install, or upgrade what is there
       ./install.sh uninstall [--purge]     remove the programs; identity and networks stay, unless --purge
  --prefix DIR       where programs and manual go (/usr/local)
  --zerotier-names   also zerotier-cli, zerotier-idtool and zerotier-one, for scripts that call them
  --no-start         neither enable nor start the service
  --root DIR         below this directory instead of /, for images; nothing is started
The variable ZTNODE_PLANET names the planet to start from, instead of the public roots: a file, or https://…/planet#sha256=HEX.
Where /etc/ztnode/start says no, the service is enabled and starts at the next boot.
After the installation the same script is in PREFIX/share/ztnode.
TEXT
}

say() { printf 'ztnode: %s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'install.sh: %s\n\n' "$*" >&2; usage >&2; exit 2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
action=install prefix="" names="" start=1 root="" purge=""
while [ $# -gt 0 ]; do
    case $1 in
    install | uninstall) action=$1 ;;
    --prefix=*) prefix=${1#*=} ;;
    --root=*) root=${1#*=} ;;
    --prefix | --root)
        [ $# -ge 2 ] || wrong "$1 needs a directory"
        if [ "$1" = --prefix ]; then prefix=$2; else root=$2; fi
        shift
        ;;
    --zerotier-names) names=1 ;;
    --no-start) start= ;;
    --purge) purge=1 ;;
    -h | --help | help) usage; exit 0 ;;
    *) wrong "$1 is not known" ;;
    esac
    shift
done
# The installed copy knows where it is.
if [ -z "$prefix" ]; then
    case $here in
    */share/ztnode) prefix=${here%/share/ztnode} ;;
    *) prefix=/usr/local ;;
    esac
    [ -z "$root" ] || prefix=${prefix#"$root"}
fi
case $prefix in
/*) ;;
*) wrong "--prefix $prefix is not an absolute path" ;;
esac
[ -z "$purge" ] || [ "$action" = uninstall ] || wrong "--purge goes with uninstall"
prefix=${prefix%/} root=${root%/}
[ "$(id -u)" = 0 ] || die "it must run as root: sudo $0 $action"

home=/var/lib/ztnode
old_home=/var/lib/zerotier-one
records=$root$prefix/share/ztnode
# systemd looks for units below /usr and /usr/local; others go to where administrators put theirs.
case $prefix in
/usr | /usr/local) units=$prefix/lib/systemd/system sysusers=$prefix/lib/sysusers.d tmpfiles=$prefix/lib/tmpfiles.d ;;
*) units=/etc/systemd/system sysusers=/etc/sysusers.d tmpfiles=/etc/tmpfiles.d ;;
esac
running_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# A zerotier-one that is not ours, from a package or from source.
zerotier_one() {
    for program in /usr/sbin/zerotier-one /usr/local/sbin/zerotier-one; do
        if [ -x "$root$program" ] && [ "$(basename "$(readlink -f "$root$program")")" != ztnode ]; then return 0; fi
    done
    return 1
}

# put MODE FROM TO: installs a file and writes down that it is ours. Replaced by renaming: the running program stays whole.
put() {
    mkdir -p "$root$(dirname "$3")"
    cp "$2" "$root$3.new"
    chmod "$1" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
    echo "$3" >>"$records/files.new"
}

link() {
    mkdir -p "$root$(dirname "$2")"
    if [ -e "$root$2" ] && ! grep -qxF "$2" "$records/files" 2>/dev/null; then
        die "$2 belongs to somebody else; remove zerotier-one first, or leave --zerotier-names out"
    fi
    ln -sfn "$1" "$root$2"
    echo "$2" >>"$records/files.new"
}

# A unit finds its programs by the usual search path; under another prefix it has to be told.
put_unit() {
    mkdir -p "$root$units"
    sed "s|^\(Exec[A-Za-z]*=+*\)ztnode-cli |\1$prefix/bin/ztnode-cli |
         s|^\(Exec[A-Za-z]*=+*\)ztnode |\1$prefix/sbin/ztnode |" "$1" >"$root$units/$(basename "$1").new"
    chmod 644 "$root$units/$(basename "$1").new"
    mv -f "$root$units/$(basename "$1").new" "$root$units/$(basename "$1")"
    echo "$units/$(basename "$1")" >>"$records/files.new"
}

make_user() {
    if [ -n "$root" ]; then return 0; fi
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$here/sysusers.d/ztnode.conf"
    elif ! grep -q '^ztnode:' /etc/passwd; then
        if command -v useradd >/dev/null; then
            useradd --system --user-group --no-create-home --home-dir $home --shell /usr/sbin/nologin ztnode
        else
            addgroup -S ztnode && adduser -S -D -H -h $home -s /sbin/nologin -G ztnode ztnode
        fi || die "the user ztnode could not be made"
    fi
}

# See packaging of the distributions: an identity placed for a zerotier-one that has never run here is used.
adopt_placed_home() {
    if [ -d "$root$old_home" ] && [ ! -L "$root$old_home" ] && [ -f "$root$old_home/identity.secret" ] &&
        [ ! -e "$root$old_home/zerotier-one.port" ] && [ ! -e "$root$home/identity.secret" ]; then
        mkdir -p "$root$home"
        # The secret comes last, in one step: broken off before, all is done again.
        (cd "$root$old_home" && find . -mindepth 1 -maxdepth 1 ! -name identity.secret -exec cp -a {} "$root$home/" \;)
        : >"$root$home/old-name"
        cp -a "$root$old_home/identity.secret" "$root$home/.identity.secret.new"
        sync
        mv "$root$home/.identity.secret.new" "$root$home/identity.secret"
        mv "$root$old_home" "$root$old_home.taken"
        rm -rf "$root$old_home.taken"
        ln -s ztnode "$root$old_home"
        say "the identity placed in $old_home is used; it is in $home now"
    fi
}

install_it() {
    [ -x "$here/sbin/ztnode" ] || die "$here/sbin/ztnode is not there: run it from the unpacked archive"
    "$here/sbin/ztnode" --version >/dev/null 2>&1 || die "this archive is not for this processor ($(uname -m))"
    if [ -n "$names" ] && zerotier_one; then
        die "zerotier-one is installed and has the names that --zerotier-names makes; remove it first, or leave the switch out"
    fi
    upgrade=
    if [ -e "$records/files" ]; then
        upgrade=1
        # What was chosen at the installation stays chosen.
        if grep -q /zerotier-cli$ "$records/files"; then names=1; fi
    fi
    # The roots that somebody chose, before the node asks any.
    if [ -n "${ZTNODE_PLANET:-}" ]; then
        "$here/bin/ztnode-cli" --home "$root$home" root use "$ZTNODE_PLANET" || die "nothing was installed"
    fi
    mkdir -p "$records"
    : >"$records/files.new"
    make_user
    put 755 "$here/sbin/ztnode" "$prefix/sbin/ztnode"
    put 755 "$here/bin/ztnode-cli" "$prefix/bin/ztnode-cli"
    for unit in "$here"/systemd/*; do put_unit "$unit"; done
    put 644 "$here/sysusers.d/ztnode.conf" "$sysusers/ztnode.conf"
    put 644 "$here/tmpfiles.d/ztnode.conf" "$tmpfiles/ztnode.conf"
    (cd "$here/share" && find . -type f) | sed 's,^\./,,' | while read -r file; do
        put 644 "$here/share/$file" "$prefix/share/$file"
    done
    if [ -n "$names" ]; then
        link ztnode "$prefix/sbin/zerotier-one"
        link ../bin/ztnode-cli "$prefix/sbin/zerotier-cli"
        link ../bin/ztnode-cli "$prefix/sbin/zerotier-idtool"
        link ztnode.service "$units/zerotier-one.service"
        put 644 "$here/zerotier-names/sysusers.conf" "$sysusers/ztnode-zerotier-one.conf"
        put 644 "$here/zerotier-names/ztnode-old-home.service" "$units/ztnode-old-home.service"
        [ "$here" = "$records" ] || put 755 "$here/zerotier-names/old-names" "$prefix/share/ztnode/zerotier-names/old-names"
    fi
    # What an older version had and this one has not.
    if [ -e "$records/files" ]; then
        grep -vxFf "$records/files.new" "$records/files" | while read -r file; do rm -f "$root$file"; done || true
    fi
    [ "$here" = "$records" ] || put 755 "$here/install.sh" "$prefix/share/ztnode/install.sh"
    mv "$records/files.new" "$records/files"

    zerotier_one || adopt_placed_home
    if [ -z "$root" ]; then
        mkdir -p $home
        chown ztnode:ztnode $home
        chmod 750 $home
        if [ -n "$names" ]; then "$here/zerotier-names/old-names" apply; fi
    fi
    start_it
}

start_it() {
    if [ -n "$root" ]; then
        say "installed below $root"
    elif ! running_systemd; then
        say "installed. No systemd runs here; start it as root, it goes over to the user ztnode by itself:"
        say "  $prefix/sbin/ztnode -d --user ztnode --home $home"
    else
        systemctl daemon-reload
        if [ -n "$upgrade" ]; then
            systemctl try-restart ztnode.service || die "the new version did not start; journalctl -u ztnode says why"
            say "upgraded to $("$prefix/sbin/ztnode" --version)"
        elif zerotier_one; then
            say "installed, but zerotier-one is here and uses UDP port 9993: not started."
            say "  In its place, with its address and networks: systemctl disable --now zerotier-one;"
            say "  ztnode-cli migrate --from $old_home; systemctl enable --now ztnode"
            say "  Beside it: another primaryPort in $home/local.conf, then systemctl enable --now ztnode"
        elif [ -z "$start" ]; then
            say "installed; systemctl enable --now ztnode starts it"
        else
            systemctl enable --quiet ztnode.service
            # Who makes an image wants no node in it yet.
            start=$(cat /etc/ztnode/start 2>/dev/null || :)
            case $start in
            '' | yes | no) ;;
            *) say "/etc/ztnode/start says neither yes nor no" >&2 ;;
            esac
            if [ "${start:-yes}" != yes ]; then
                say "/etc/ztnode/start: not started; it starts at the next boot, or by systemctl start ztnode"
                return 0
            fi
            systemctl start ztnode.service || die "installed, but it did not start; journalctl -u ztnode says why"
            say "installed and running; ztnode-cli info, then ztnode-cli join NETWORK"
            say "peers reach it at once where its UDP port comes in (9993, unless local.conf says otherwise): ztnode-cli firewall prints the rules"
        fi
    fi
}

# Removes the directory and those above it as long as they are empty, in a prefix that is ours alone.
tidy() {
    case $prefix in
    /usr | /usr/local) return 0 ;;
    esac
    directory=$1
    while rmdir "$root$directory" 2>/dev/null && [ "$directory" != "$prefix" ]; do directory=$(dirname "$directory"); done
}

uninstall_it() {
    if [ ! -e "$records/files" ]; then
        [ -n "$purge" ] || die "nothing is installed below $prefix ($records/files is not there); was it another --prefix?"
    else
        if running_systemd; then
            systemctl disable --now --quiet ztnode.service 2>/dev/null || true
        fi
        undo_names=$records/zerotier-names/old-names
        if [ -z "$root" ] && [ -x "$undo_names" ]; then "$undo_names" undo; fi
        # The list is read as a whole first: this script is in it.
        sort -r "$records/files" | while read -r file; do
            rm -f "$root$file"
            case $file in
            "$prefix"/*) tidy "$(dirname "$file")" ;;
            esac
        done
        rm -f "$records/files"
        rmdir "$records/zerotier-names" "$records" 2>/dev/null || true
        tidy "$(dirname "${records#"$root"}")"
        if running_systemd; then systemctl daemon-reload; fi
        say "removed"
    fi
    if [ "$(readlink "$root$old_home")" = ztnode ]; then rm -f "$root$old_home"; fi
    if [ -n "$purge" ]; then
        if [ -e "$root$home/old-name" ] && [ ! -e "$root$old_home" ]; then
            mkdir -m 700 "$root$old_home"
            for name in identity.secret identity.public controller.d; do
                if [ -e "$root$home/$name" ]; then mv "$root$home/$name" "$root$old_home/$name"; fi
            done
            say "the identity and the controller's networks are kept in $old_home; delete it to forget them"
        fi
        rm -rf "$root$home"
        say "identity, networks and settings in $home are deleted"
    elif [ -d "$root$home" ]; then
        say "identity, networks and settings stay in $home; uninstall --purge deletes them"
    fi
    exit 0
}

case $action in
install) install_it ;;
uninstall) uninstall_it ;;
esac
