# shellcheck shell=sh
# Repositories made by ../repo/make.sh, with keys of the test, and what can be wrong with one. Sourced after checks.sh; $url is where
# they will be served, $good is one that is as it should be.
#
#   key NAME                     a key to sign with
#   repository DIRECTORY KEY …   make or renew one; PACKAGES and NOW as make.sh has them
#   spoil_all VERSION            $work/KIND for every KIND of $hostile: $good, with something done to it
#   refuses WHAT WORDS COMMAND … the command fails, says that, and has changed nothing: "state" prints all that it might
# shellcheck disable=SC2034,SC2154

GNUPGHOME=$work/gnupg
export GNUPGHOME
mkdir -m 700 "$GNUPGHOME"
good=$work/good
hostile="tampered-package tampered-index tampered-release unsigned expired foreign"

# The key is older than the indexes that are made to be too old.
key() {
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --faked-system-time "$(($(date +%s) - 90 * 86400))" \
        --quick-gen-key "$1 <$1@ztnode.invalid>" rsa3072 sign never 2>/dev/null
}

repository() {
    directory=$1
    shift
    URL=$url NOW=${NOW:-} PACKAGES=${PACKAGES:-$packages} "$top/packaging/repo/make.sh" "$directory" "$@"
}

# spoil NAME COMMAND …: the repository, with something done to it.
spoil() {
    rm -rf "${work:?}/$1"
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
        if gzip -t "$file" 2>/dev/null; then
            gzip -dc "$file" | sed 's/^SHA256: ..../SHA256: 0000/' | gzip -9n >x && mv x "$file"
        else
            sed -i 's/^SHA256: ..../SHA256: 0000/' "$file"
        fi
    done
    flip rpm/repodata/*-primary.xml.*
}
tamper() { flip deb/pool/ztnode_"$1"* rpm/packages/ztnode-"$1"* tarballs/ztnode-"$1"*; }
unsign() { rm deb/dists/stable/InRelease deb/dists/stable/Release.gpg rpm/repodata/repomd.xml.asc SHA256SUMS.asc; }
spoil_all() {
    spoil tampered-package tamper "$1"
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

unchanged() { state >"$work/state.now" && diff "$work/state" "$work/state.now"; }
refuses() {
    what=$1 words=$2
    shift 2
    state >"$work/state"
    check "$what is refused" not "$@"
    cp "$work/output" "$work/said"
    check "in words" grep -i "$words" "$work/said"
    check "and nothing changed" unchanged
}
