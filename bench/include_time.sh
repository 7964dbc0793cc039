#!/usr/bin/env bash
# Usage: bench/include_time.sh [header [rounds [compiler...]]]
#
# Seconds to compile `#include <tandem/process.hpp>`, and, in turns with it, the standard headers that it brings along
# without the rest. Median of 7 rounds, for each of g++ and clang++ that is there; -O0, once to the syntax check
# and once to an object.
set -euo pipefail

header="${1:-tandem/process.hpp}"
rounds="${2:-7}"
shift $(($# < 2 ? $# : 2))
compilers=("$@")
[[ ${#compilers[@]} -gt 0 ]] || compilers=(g++ clang++-14)

include="$(cd "$(dirname "${BASH_SOURCE[0]}")/../include" && pwd)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# The headers of the standard library and of C that are included by one of ours or of Boost's: `-H` writes a line for
# each file, with as many dots as it is deep.
standard_headers() {
  "$1" -std=c++20 -I"$include" -H -fsyntax-only "$folder/tandem.cpp" 2>"$folder/included" || {
    grep -v '^\.' "$folder/included" >&2
    return 1
  }
  awk -v ours="$include" '
      /^\.+ / {
        depth = length($1); path = $2
        own = index(path, ours "/") == 1 || path ~ /\/boost\//
        is_own[depth] = own
        if (own || !(depth == 1 || is_own[depth - 1])) next
        name = path
        if (!sub(/.*\/c\+\+\/[^\/]*\//, "", name)) sub(/.*\/include\//, "", name)
        sub(/^x86_64-linux-gnu\/|^[a-z0-9_]+-linux-gnu\//, "", name)
        if (!seen[name]++) print "#include <" name ">"
      }' "$folder/included"
}

seconds() {
  local start=$EPOCHREALTIME
  "$@" || exit 1
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}

middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.3f (%.3f .. %.3f)", v[int((NR + 1) / 2)], v[1], v[NR] }'; }

echo "#include <$header>" >"$folder/tandem.cpp"
for compiler in "${compilers[@]}"; do
  command -v "$compiler" >/dev/null || continue
  standard_headers "$compiler" >"$folder/standard.cpp"
  echo "$compiler: <$header> brings $(wc -l <"$folder/standard.cpp") standard headers:" \
    "$(sed 's/#include //' "$folder/standard.cpp" | tr '\n' ' ')"
  for mode in -fsyntax-only -c; do
    output=()
    [[ $mode == -c ]] && output=(-o "$folder/out.o")
    rm -f "$folder"/*.seconds
    for ((round = 0; round < rounds; ++round)); do
      for file in tandem standard; do
        seconds "$compiler" -std=c++20 -O0 -I"$include" $mode "$folder/$file.cpp" "${output[@]}" \
          >>"$folder/$file.seconds"
      done
    done
    printf '  %-14s tandem %s   standard %s   ratio %s\n' "$mode" "$(middle "$folder/tandem.seconds")" \
      "$(middle "$folder/standard.seconds")" \
      "$(awk -v a="$(middle "$folder/tandem.seconds")" -v b="$(middle "$folder/standard.seconds")" \
        'BEGIN { printf "%.2f", a / b }')"
  done
done
