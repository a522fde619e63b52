#!/usr/bin/env bash
# What scripts/setup.sh says to a wrong argument, run from a copy so that this checkout remembers nothing of it, and
# which folders the build takes for a LibTorch.
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
says 1 "setup: --libtorch expects a LibTorch folder with lib/libtorch_cpu.so, and '$copy/empty' has none" \
  --libtorch "$copy/empty"
[ ! -e "$copy/.cache" ] || { echo "a refused LibTorch was remembered" && exit 1; }

# configure FOLDER: a project that has the folder remembered.
mkdir -p "$copy/libtorch/lib" "$copy/project"
touch "$copy/libtorch/lib/libtorch_cpu.so"
printf 'cmake_minimum_required(VERSION 3.22)\nproject(any LANGUAGES NONE)\ninclude("%s/src/cmake/Blip2Torch.cmake")\n' \
  "$(dirname "$(dirname "$setup")")" >"$copy/project/CMakeLists.txt"
configure() {
  cmake -S "$copy/project" -B "$copy/project/build" -G Ninja "-DBLIP2_LIBTORCH_DEFAULT=$1" 2>&1
}
if ! output=$(configure "$copy/libtorch") || ! grep -qF "LibTorch: $copy/libtorch" <<<"$output"; then
  printf 'a LibTorch without a CMake package of its own should do; cmake said:\n%s\n' "$output"
  exit 1
fi
if output=$(configure "$copy/empty") || ! grep -qF "'$copy/empty'" <<<"$output"; then
  printf 'a folder without LibTorch should be named; cmake said:\n%s\n' "$output"
  exit 1
fi
