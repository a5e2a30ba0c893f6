#!/bin/sh
# Every script of the repository, by shellcheck: those that are shipped, those that build and those that test. RPM's have no first
# line that says so.
set -eu
cd "$(dirname "$0")/../.."
command -v shellcheck >/dev/null || { echo "FAILED: shellcheck is missing: make check-packages installs it" >&2; exit 1; }
scripts=$(grep -rlE '^#!/bin/(ba)?sh|^# shellcheck shell=' .ci fuzz/run.sh packaging)
# shellcheck disable=SC2086 # No name has a blank in it.
shellcheck --severity=warning --external-sources --source-path=packaging/tests $scripts
shellcheck --severity=warning --shell=sh packaging/rpm/*
echo "ok   $(echo "$scripts" | wc -l) scripts and $(find packaging/rpm -type f | wc -l) of RPM's"
