#!/usr/bin/env bash
# Checks what no compiler does: source files up to 400 lines (a header over 150 only warns), no file over 1 MB, no marks
# of unfinished work, no paths of somebody's machine.
#   scripts/check_sources.sh [ROOT]
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${1:-$scripts/..}
cd "$root"
mapfile -t files < <("$scripts/list_sources.sh" .)
failed=0

# refuse SENTENCE: counts and prints.
refuse() {
  echo "$1"
  failed=1
}

for file in "${files[@]}"; do
  bytes=$(stat -c %s "$file")
  [ "$bytes" -le 1000000 ] || refuse "$file: $bytes bytes, expected at most 1000000"
  case $file in
    *.h)
      lines=$(wc -l <"$file")
      [ "$lines" -le 150 ] || echo "$file: warning: $lines lines, a header should have at most 150"
      [ "$lines" -le 400 ] || refuse "$file: $lines lines, expected at most 400"
      ;;
    *.cpp | *.cu | *.py | *.sh)
      lines=$(wc -l <"$file")
      [ "$lines" -le 400 ] || refuse "$file: $lines lines, expected at most 400"
      ;;
  esac
done

# grep_texts PATTERN RULE: no text file but the data of the tests may match. The patterns below do not match themselves.
grep_texts() {
  local found
  found=$(printf '%s\0' "${files[@]}" | grep -zv '^tests/data/' | xargs -0 -r grep -InE "$1" -- /dev/null || true)
  [ -z "$found" ] || refuse "$(sed "s|\$| -- $2|" <<<"$found")"
}
grep_texts '\<(TO[D]O|FIX[M]E)\>' 'no marks of unfinished work'
grep_texts '(^|[^A-Za-z0-9_.}])/(wor[k]|roo[t]|hom[e]|User[s])/' 'no paths of one machine'

[ $failed = 0 ] || {
  echo "check_sources: the lines above break the rules for sources" >&2
  exit 1
}
