#!/usr/bin/env bash
# Checks that every C++ file is as clang-format 14 would write it (.clang-format). --fix rewrites them.
#   scripts/check_format.sh [--fix]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

clang_format=$(command -v clang-format-14 || command -v clang-format) ||
  { echo "check_format: found no clang-format; run scripts/setup.sh" >&2 && exit 1; }
mode=(--dry-run -Werror)
[ "${1:-}" != --fix ] || mode=(-i)
scripts/list_sources.sh | grep -E '\.(h|cpp|cu)$' | xargs -d '\n' "$clang_format" --style=file "${mode[@]}"
