#!/usr/bin/env bash
# Builds the fuzz targets with Clang and runs each for some seconds, two at a time. Prints one line for each and fails
# where one found something; the input that did it is kept. What a run learns stays in build-fuzz/corpus for the next.
#   scripts/fuzz.sh [SECONDS]      60 seconds each where nothing is said
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: expected a number of seconds, found '$seconds'" >&2 && exit 2; }
build=${BLIP2_FUZZ_BUILD:-build-fuzz}
data=tests/data

# seeds TARGET: the files that it starts from.
seeds() {
  case $1 in
    safetensors) ls $data/checkpoint/safetensors_bad/*.safetensors ;;
    torch_archive) ls $data/checkpoint/torch_bad/*.bin ;;
    tokenizer_json) ls $data/text/tokenizer_json/*.json ;;
    config) find $data -name '*config.json' -size -4k ;;
  esac
  find "tests/fuzz/seeds/$1" -type f 2>/dev/null || true
}

# fuzz TARGET: one line; not 0 where there is a finding.
fuzz() {
  local target=$1 log=$build/$1.log number=0 seed options=()
  rm -rf "$build/seeds/$target"
  mkdir -p "$build/seeds/$target" "$build/corpus/$target" "$build/findings"
  while read -r seed; do
    cp "$seed" "$build/seeds/$target/$((number += 1))"
  done < <(seeds "$target")
  if [ "$target" = tokenizer_json ]; then  # small ones, each of other parts, one in a line
    sed -nE 's/^.*"tokenizer": ?(\{.*\}), ?"lines".*$/\1/p' $data/text/tokenizer_json/components.jsonl |
      split -l 1 - "$build/seeds/$target/component-"
  fi
  number=$(find "$build/seeds/$target" -type f | wc -l)
  [ ! -e "tests/fuzz/$target.dict" ] || options=(-dict="tests/fuzz/$target.dict")
  # Leaks of a reader that threw are findings too. The largest seed decides how long inputs get.
  if "$build/bin/fuzz_$target" "$build/corpus/$target" "$build/seeds/$target" -max_total_time="$seconds" -timeout=20 \
    "${options[@]}" -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$build/findings/$target-" \
    >"$log" 2>&1; then
    echo "fuzz $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s from $number seeds, nothing found"
  else
    tail -n 60 "$log" >&2
    echo "fuzz $target: FOUND $(sed -n 's/^SUMMARY: *//p; s/^artifact_prefix.*Test unit written to /input /p' "$log" | paste -sd' ') (log: $log)"
    return 1
  fi
}

CXX=clang++ BLIP2_BUILD=$build scripts/build.sh -DBLIP2_FUZZ=ON -DBLIP2_BUILD_EXAMPLES=OFF fuzz_targets
targets=(safetensors torch_archive tokenizer_json config)
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  running=()
  for target in "${targets[@]:i:2}"; do
    fuzz "$target" &
    running+=($!)
  done
  for job in "${running[@]}"; do wait "$job" || failed=1; done
done
exit $failed
