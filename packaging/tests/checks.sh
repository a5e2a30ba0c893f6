# shellcheck shell=sh
# What all tests say and count with. Sourced; $work is a folder that they have made.
#
#   check WHAT COMMAND …  one line of the report; a failing command ends the test
# shellcheck disable=SC2154
set -eu
checks=0

die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        checks=$((checks + 1))
        printf 'ok   %s\n' "$what"
    else
        cat "$work/output"
        die "$what"
    fi
}

not() { ! "$@"; }

# within MILLISECONDS COMMAND …: it must succeed, and fast enough. The time is left in $took.
within() {
    limit=$1
    shift
    began=$(date +%s%N)
    "$@" || return 1
    took=$((($(date +%s%N) - began) / 1000000))
    [ $took -le "$limit" ] || { echo "$took ms"; return 1; }
}

timed() {
    what=$1
    shift
    took=
    check "$what" within "$@"
    printf '     %s ms\n' "$took"
}

# eventually SECONDS COMMAND …: tries it until it succeeds.
eventually() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ] || { "$@"; return 1; }
        sleep 0.1
    done
}
