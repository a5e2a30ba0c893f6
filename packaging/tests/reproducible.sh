#!/bin/bash
# The packages, built a second time in another folder, with another home of cargo's: the same bytes, and no path of this machine.
# `make test-reproducible` builds the first ones.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
packages=$top/target/packages
work=$(mktemp -d /var/tmp/ztnode-again.XXXXXX)
trap 'rm -rf "$work"' EXIT
checks=0
check() {
    what=$1
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output"; echo "FAILED: $what" >&2; exit 1; }
    checks=$((checks + 1))
    echo "ok   $what"
}

again=$work/another/folder
mkdir -p "$again/target" "$work/cargo"
(cd "$top" && git ls-files -coz --exclude-standard | xargs -0 tar -c --ignore-failed-read 2>/dev/null) | tar -x -C "$again"
# The tools that make packages are the same ones, and crates need not come once more.
ln -s "$top/target/tools" "$again/target/tools"
for name in registry config.toml credentials.toml; do
    [ ! -e "${CARGO_HOME:-$HOME/.cargo}/$name" ] || ln -s "${CARGO_HOME:-$HOME/.cargo}/$name" "$work/cargo/$name"
done
SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
check "builds in another folder" env -u CARGO_TARGET_DIR CARGO_HOME="$work/cargo" "$again/packaging/build.sh"
for file in "$packages"/*.deb "$packages"/*.rpm "$packages"/*.tar.gz; do
    check "the same bytes: $(basename "$file")" cmp "$file" "$again/target/packages/$(basename "$file")"
done
no_path() { ! LC_ALL=C grep -aoE "(${CARGO_HOME:-$HOME/.cargo}|$top|$work)[A-Za-z0-9./_-]*" "$packages/stage/$1"; }
for program in sbin/ztnode bin/ztnode-cli; do check "no path of this machine is in $program" no_path $program; done
echo "$checks passed, 0 failed"
