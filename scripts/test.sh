#!/usr/bin/env bash
# Sets up, builds and tests blip2 from a bare checkout. Arguments go to ctest, e.g. scripts/test.sh -R Random
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
scripts/build.sh
exec ctest --test-dir "${BLIP2_BUILD:-build}" --output-on-failure --no-tests=error -j2 "$@"
