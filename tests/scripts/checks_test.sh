#!/usr/bin/env bash
# Proves that the checks in scripts/ fail on what they are there to find: each case lays a small tree, breaks one rule,
# and looks for file, line and rule in what the check prints.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# lay FILE TEXT: a tree with a correct file and this one.
lay() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree/src/qformer" "$(dirname "$tree/$1")"
  printf '#include <vector>\n#include "blip2/nn/attention.h"\n#include "mask.h"\n' >"$tree/src/qformer/qformer.cpp"
  printf '%b' "$2" >"$tree/$1"
}

# refuses CHECK TEXT: the check fails on the tree and says TEXT.
refuses() {
  local output
  if output=$("$scripts/$1" "$tree" 2>&1); then
    echo "$1 accepted a tree that breaks a rule; expected: $2"
    failures=$((failures + 1))
  elif ! grep -qF -- "$2" <<<"$output"; then
    printf '%s should say: %s\nand said:\n%s\n' "$1" "$2" "$output"
    failures=$((failures + 1))
  fi
}

accepts() {
  local output
  output=$("$scripts/$1" "$tree" 2>&1) && return
  printf '%s should accept the tree and said:\n%s\n' "$1" "$output"
  failures=$((failures + 1))
}

lay include/blip2/train/trainer.h '#include "blip2/models/blip2_qformer.h"\n'
accepts check_ladder.sh
lay src/models/blip2_qformer.cpp '#include "blip2/checkpoint/safetensors.h"\n'
accepts check_ladder.sh
lay src/dist/process_group.cpp '#include "blip2/core/error.h"\n'
accepts check_ladder.sh
lay include/blip2/nn/attention.h '#pragma once\n#include "blip2/qformer/qformer.h"\n'
refuses check_ladder.sh 'include/blip2/nn/attention.h:2: #include "blip2/qformer/qformer.h" -- qformer is below nn on the ladder'
lay src/eval/retrieval.cpp '#include <blip2/train/trainer.h>\n'
refuses check_ladder.sh 'src/eval/retrieval.cpp:1: #include <blip2/train/trainer.h> -- train is below eval on the ladder'
lay src/lm/opt.cpp '#include "vision/clip_vit.h"\n'
refuses check_ladder.sh 'vision stands beside lm on the ladder'
lay src/core/config.cpp '#include "blip2/dist/process_group.h"\n'
refuses check_ladder.sh 'dist stands beside core on the ladder'
lay src/checkpoint/lavis.cpp '#include "blip2/models/blip2_qformer.h"\n'
refuses check_ladder.sh 'checkpoint may include only itself and: core dist'
lay src/losses/contrastive.cpp '#include "blip2/checkpoint/safetensors.h"\n'
refuses check_ladder.sh 'checkpoint is below losses on the ladder'
lay src/generate/beam.cpp '#include "blip2/lm/opt.h"\n'
refuses check_ladder.sh 'generate knows the language models only through'
lay src/image/resize.cpp '#include "../text/tokenizer.h"\n'
refuses check_ladder.sh 'an include names its room'
lay src/helpers/strings.cpp '\n'
refuses check_ladder.sh 'helpers is not a room of the ladder'

lay src/core/short.cpp "$(printf 'int x;\\n%.0s' {1..400})"
accepts check_sources.sh
lay src/core/long.cpp "$(printf 'int x;\\n%.0s' {1..401})"
refuses check_sources.sh 'src/core/long.cpp: 401 lines, expected at most 400'
lay include/blip2/core/tall.h "$(printf '\\n%.0s' {1..151})"
accepts check_sources.sh
lay src/core/unfinished.cpp '\n// TO''DO: finish\n'
refuses check_sources.sh 'src/core/unfinished.cpp:2:'
lay src/core/machine.cpp 'const char* path = "/ho''me/me/model";\n'
refuses check_sources.sh 'no paths of one machine'
lay tests/data/big.bin "$(printf '%1000001s' '')"
refuses check_sources.sh 'tests/data/big.bin: 1000001 bytes'

[ $failures = 0 ] || exit 1
