#!/bin/sh
# What `make test-packages` runs: every package, in a Debian booted with systemd. Arguments choose some of the tests.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- old-names deb tarball rpm start oci podman schemas terraform cloud-init repository clones
for test in "$@"; do
    printf '\n==== %s\n' "$test"
    "./$test.sh"
done
