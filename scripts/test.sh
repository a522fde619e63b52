#!/usr/bin/env bash
# Sets up, builds and tests blip2 from a bare checkout, then runs each fuzz target for a minute (BLIP2_FUZZ_SECONDS; 0:
# not at all). Arguments go to ctest, e.g. scripts/test.sh -R Random, and leave out the fuzzing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
scripts/build.sh
ctest --test-dir "${BLIP2_BUILD:-build}" --output-on-failure --no-tests=error -j2 "$@"

seconds=${BLIP2_FUZZ_SECONDS:-60}
if [ $# = 0 ] && [ "$seconds" != 0 ]; then scripts/fuzz.sh "$seconds"; fi
