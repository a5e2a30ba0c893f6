#!/bin/sh
# What `make check-packages` runs, and `make test` with it: all of these tests that needs no packages.
set -eu
cd "$(dirname "$0")"
for test in scripts schemas install-script; do
    printf '\n==== %s\n' "$test"
    "./$test.sh"
done
