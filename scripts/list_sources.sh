#!/usr/bin/env bash
# Prints the files of the tree ROOT (default: this checkout), one a line, relative to it: what git tracks or would
# track, or every file outside build folders where there is no repository.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

if [ -e .git ] && git ls-files >/dev/null 2>&1; then
  # A file that was deleted but not yet committed is still listed.
  git ls-files --cached --others --exclude-standard | sort -u | while IFS= read -r file; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done
else
  find . -type f -not -path './build*' -not -path './.*' -printf '%P\n' | sort
fi
