#!/bin/sh
# Builds the fuzz targets and runs each for a number of seconds: ./run.sh SECONDS [TARGET…]
# Without names it takes every target.
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
# shellcheck disable=SC2046 # Names of programs, which have no blanks.
[ $# -gt 0 ] || set -- $(cd fuzz_targets && ls | sed 's/\.rs$//')

triple=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
# shellcheck disable=SC2046
RUSTC_BOOTSTRAP=1 RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address" \
  cargo build --release --target "$triple" $(printf -- '--bin %s ' "$@")

for name in "$@"; do
  echo "== $name"
  mkdir -p "$target/found/$name" "artifacts/$name"
  "$target/$triple/release/$name" -max_total_time="$seconds" -timeout=60 -print_final_stats=0 -verbosity=0 \
    -artifact_prefix="artifacts/$name/" "$target/found/$name" "corpus/$name"
done
