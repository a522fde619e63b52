#!/usr/bin/env bash
# The one build that test.sh and demo.sh share: Release into build/ (or $BLIP2_BUILD). Run scripts/setup.sh first.
#   scripts/build.sh [-DOPTION=VALUE...] [TARGET...]     no target: everything
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${BLIP2_BUILD:-build}
options=()
targets=()
for argument in "$@"; do
  case $argument in
    -D*) options+=("$argument") ;;
    *) targets+=("$argument") ;;
  esac
done

# A compiler that parses LibTorch's headers takes up to 2 GB: as many jobs as the cores and the memory allow.
jobs=$(awk '/^MemAvailable/ {print int($2 / 2000000) + 1}' /proc/meminfo)
cores=$(nproc)
[ "$jobs" -le "$cores" ] || jobs=$cores

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release --log-level=WARNING "${options[@]}"
cmake --build "$build" --parallel "$jobs" --target "${targets[@]:-all}"
