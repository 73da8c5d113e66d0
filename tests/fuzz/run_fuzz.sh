#!/bin/bash
# Runs libFuzzer on the given parsers, one after another; `make fuzz` calls it.
# Usage: run_fuzz.sh PROGRAM_FOLDER SECONDS PARSER...      (from the repository root)
# New inputs are kept in PROGRAM_FOLDER/PARSER.inputs for the next time; an input that breaks a
# parser is written to PROGRAM_FOLDER/PARSER-crash-..., and the others still run.
set -u
[ $# -ge 3 ] || { echo "usage: run_fuzz.sh PROGRAM_FOLDER SECONDS PARSER..." >&2; exit 2; }
folder=$1 seconds=$2
shift 2

broken=
for parser in "$@"; do
    inputs=$folder/$parser.inputs log=$folder/$parser.log
    "$folder/expand" "tests/fuzz/corpus/$parser" "$inputs" || exit 1
    if "$folder/${parser}_fuzz" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
        -rss_limit_mb=4096 -artifact_prefix="$folder/$parser-" "$inputs" >"$log" 2>&1; then
        echo "$parser: $(grep -E '^Done ' "$log" | tail -n 1)"
    else
        broken="$broken $parser"
        echo "$parser: broken, see $log"
        tail -n 30 "$log"
    fi
done
[ -z "$broken" ] || { echo "fuzz: broken:$broken"; exit 1; }
