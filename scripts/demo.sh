#!/usr/bin/env bash
# From nothing to captions: installs what is missing, builds, draws pictures from Tux Paint's stamps, trains a small
# language model, stage 1 and stage 2, examines them on held-out pictures and writes report.html.
# The last line of output is one JSON object.
#
# Usage: scripts/demo.sh [--control] [--output DIR]
#   --control   trains on captions that were shuffled among the pictures: everything must fall to chance
#   --output    where pictures, runs and report go (default build/demo, with --control build/demo_control)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

control=()
output=""
title="blip2 demo"
while [ $# -gt 0 ]; do
  case "$1" in
    --control) control=(--shuffle-captions) title="blip2 demo, control: shuffled captions" ;;
    --output) [ $# -gt 1 ] || { echo "demo.sh: --output needs a folder" >&2; exit 2; }; output="$2"; shift ;;
    --help|-h) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "demo.sh: unknown argument '$1', see scripts/demo.sh --help" >&2; exit 2 ;;
  esac
  shift
done
if [ -z "$output" ]; then
  [ ${#control[@]} -eq 0 ] && output=build/demo || output=build/demo_control
fi

scripts/setup.sh
scripts/build.sh prepare_demo build_vocabulary train_language_model train_stage1 train_stage2 evaluate_demo caption match

bin=${BLIP2_BUILD:-build}/bin
data="$output/data"
$bin/prepare_demo --output "$data" --stamps 64 --single 6000 --train 62000 --held-out 500 --image-size 48 "${control[@]}"
$bin/build_vocabulary --text "$data/captions.txt" --output "$output/vocabulary" --size 2000
held_out="data.validation=$data/held_out.json"

start=$(date +%s)
echo "== language model, on captions alone" >&2
$bin/train_language_model --config configs/demo/language_model.json --output "$output/language_model" \
  --fresh --overwrite "text.file=$data/captions.txt"
echo "== stage 1: what text says about pictures" >&2
$bin/train_stage1 --config configs/demo/stage1.json --output "$output/stage1" \
  --fresh --overwrite "text.tokenizer=$output/vocabulary" "data.train=[\"$data/single.json\",\"$data/train.json\"]" "$held_out"
echo "== stage 2: prompting the frozen language model" >&2
$bin/train_stage2 --config configs/demo/stage2.json --output "$output/stage2" \
  --fresh --overwrite "stage1=$output/stage1" "language_model=$output/language_model" "data.train=[\"$data/train.json\"]" "$held_out"
trained=$(($(date +%s) - start))

echo "== captions of held-out pictures" >&2
$bin/caption --model "$output/stage2" --beams 3 --repetition-penalty 4 "$data"/held_out/0000[0-4].png
$bin/evaluate_demo --stage1 "$output/stage1" --stage2 "$output/stage2" --language-model "$output/language_model" \
  --annotations "$data/held_out.json" --report "$output/report.html" --title "$title" --seconds-before "$trained"
