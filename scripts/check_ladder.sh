#!/usr/bin/env bash
# Checks that no room of the library includes what is below it on the ladder. A room is a folder of include/blip2 and of
# src; it may include itself and every room on a higher rung. Prints file:line, the include and the rule, and fails.
#   scripts/check_ladder.sh [ROOT]
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${1:-$scripts/..}
cd "$root"

"$scripts/list_sources.sh" . | { grep -E '^(include/blip2|src)/[^/]+/.*\.(h|hpp|cpp|cc|cu|cuh)$' || true; } | xargs -r -d '\n' awk '
  BEGIN {
    count = split("core dist|image text nn|data vision qformer lm|generate|losses|models|checkpoint|eval|train|trace|examples", rungs, "|")
    for (i = 1; i <= count; i++) {
      many = split(rungs[i], names, " ")
      for (j = 1; j <= many; j++) rung[names[j]] = i
    }
    # Where the ladder alone says too little or too much: the rooms that a room may include beside itself.
    may["dist"] = " core "
    may["checkpoint"] = " core dist "
  }
  function report(rule) {
    printf "%s:%d: %s -- %s\n", FILENAME, FNR, $0, rule
    violations++
  }
  function check(room, other, path,    allowed) {
    if (other == room) return
    if (room in may) {
      if (index(may[room], " " other " ") == 0) report(room " may include only itself and:" may[room])
    } else if (other == "checkpoint" && rung[room] >= rung["models"]) {
      return  # checkpoint knows only named tensors, so the models may know it
    } else if (rung[other] > rung[room]) {
      report(other " is below " room " on the ladder")
    } else if (rung[other] == rung[room]) {
      report(other " stands beside " room " on the ladder, not above it")
    } else if (room == "generate" && other == "lm" && path != "blip2/lm/language_model.h") {
      report("generate knows the language models only through blip2/lm/language_model.h")
    }
  }
  FNR == 1 {
    split(FILENAME, part, "/")
    room = part[1] == "src" ? part[2] : part[3]
    if (!(room in rung)) { report(room " is not a room of the ladder; add it to scripts/check_ladder.sh"); nextfile }
  }
  /^[ \t]*#[ \t]*include[ \t]*["<]/ {
    path = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", path)
    sub(/[">].*/, "", path)
    if (path ~ /(^|\/)\.\.\//) { report("an include names its room, never a parent folder"); next }
    other = path
    ours = sub(/^blip2\//, "", other)
    if (other !~ /\//) next
    sub(/\/.*/, "", other)
    if (other in rung) check(room, other, path)
    else if (ours) report(other " is not a room of the ladder")
  }
  END { exit violations > 0 }
' || {
  echo "check_ladder: the lines above break the include ladder" >&2
  exit 1
}
