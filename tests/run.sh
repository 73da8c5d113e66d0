#!/bin/bash
# Runs every test: unit programs, end-to-end cases, the tests of lint.
# Usage: run.sh BIN_FOLDER [UNIT_PROGRAM...]      (from the repository root; `make test` calls it)
# Prints failures in full and closes with "N passed, N failed, N skipped"; exit 1 when one failed.
# A unit program counts as the number of its cmocka tests; a program that ends without a summary
# counts as one failure. A skipped test has a reason and is listed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
[ $# -ge 1 ] || { echo "usage: run.sh BIN_FOLDER [UNIT_PROGRAM...]" >&2; exit 2; }
bin=$(cd "$1" && pwd) || exit 2
shift

passed=0 failed=0 skipped=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Sum of the numbers behind a cmocka mark such as "[  PASSED  ] 3 test(s)".
cmocka_sum() {
    sed -nE "s/^\[ +$1 +\] ([0-9]+) test\(s\).*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'
}

run_unit() {
    local program=$1 name log rc p f s
    name=$(basename "$program")
    log=$work/$name.log
    timeout -k 5 "${2:-300}" "$program" >"$log" 2>&1
    rc=$?
    p=$(cmocka_sum PASSED "$log") f=$(cmocka_sum FAILED "$log") s=$(cmocka_sum SKIPPED "$log")
    # cmocka counts skipped tests neither as passed nor as failed.
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$p" -eq 0 ] && [ "$f" -eq 0 ] && [ "$s" -eq 0 ]; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-28s %d passed, %d failed, %d skipped\n' "$name" "$p" "$f" "$s"
    if [ "$f" -gt 0 ]; then
        [ "$rc" -eq 124 ] && echo "$name: stopped: it took too long"
        tail -n 60 "$log"
    elif [ "$s" -gt 0 ]; then
        grep -iE 'skip' "$log" | grep -vE '^\[' | sort -u
    fi
}

for program in "$@"; do run_unit "$program"; done

if bash tests/e2e/e2e_run.sh "$bin" >"$work/e2e.log" 2>&1; then e2e_rc=0; else e2e_rc=1; fi
cat "$work/e2e.log"
closing=$(grep -E '^e2e: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$work/e2e.log" | tail -n 1)
if [ -n "$closing" ]; then
    read -r _ p _ f _ s _ <<<"${closing//,/}"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ "$e2e_rc" -eq 0 ] || [ "$f" -gt 0 ] || failed=$((failed + 1))
else
    failed=$((failed + 1))
    echo "e2e: ended without a result"
fi

bash tests/lint_test.sh >"$work/lint.log" 2>&1
closing=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$work/lint.log" | tail -n 1)
if [ -n "$closing" ]; then
    read -r p _ f _ <<<"${closing//,/}"
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-28s %d passed, %d failed, 0 skipped\n' lint_test "$p" "$f"
    [ "$f" -eq 0 ] || cat "$work/lint.log"
else
    failed=$((failed + 1))
    cat "$work/lint.log"
fi

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
