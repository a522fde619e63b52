#!/usr/bin/env bash
# What scripts/setup.sh says to a wrong argument, run from a copy so that this checkout remembers nothing of it.
set -euo pipefail
setup=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts" && pwd)/setup.sh
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/scripts" "$copy/empty"
cp "$setup" "$copy/scripts/setup.sh"

# says CODE TEXT ARGUMENTS...: the script ends with CODE and prints TEXT.
says() {
  local expected=$1 text=$2 code=0 output
  shift 2
  output=$(bash "$copy/scripts/setup.sh" "$@" 2>&1) || code=$?
  if [ $code != "$expected" ] || ! grep -qF -- "$text" <<<"$output"; then
    printf 'setup.sh %s should end with %s and say: %s\nand ended with %s and said:\n%s\n' \
      "$*" "$expected" "$text" $code "$output"
    exit 1
  fi
}

says 0 'usage: scripts/setup.sh' --help
says 1 "setup: unknown argument '--fast'" --fast
says 1 'setup: --libtorch expects a path' --libtorch
says 1 "setup: --libtorch expects a LibTorch folder with lib/libtorch_cpu.so or share/cmake/Torch, and '$copy/empty' has neither" \
  --libtorch "$copy/empty"
[ ! -e "$copy/.cache" ] || { echo "a refused LibTorch was remembered" && exit 1; }
