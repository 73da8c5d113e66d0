#!/bin/bash
# Runs the end-to-end cases. Usage: e2e_run.sh BIN_FOLDER [CASE...]
#
# A case is tests/e2e/NAME.sh. It runs in a fresh folder as `bash NAME.sh BIN ROOT` and may have
# beside it NAME.stdout, NAME.stderr (line patterns: * and ? as in a shell; a line "..." stands for
# any number of lines) and NAME.exit (a number; 0 when absent). Without NAME.stdout it prints
# "ok" and nothing else: one that ended early did not. Exit 77 means skipped; the last line on stderr is the reason.
# Closes with "e2e: N passed, N failed, N skipped". Two cases run at a time.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(cd "$1" && pwd) || exit 2
shift
export LC_ALL=C

# Does the file match the pattern file? Backtracks only at "..." lines.
# shellcheck disable=SC2053
matches() {
    local -a have want
    mapfile -t have <"$1"
    mapfile -t want <"$2"
    local h=0 w=0 back_h=-1 back_w=-1
    while [ "$h" -lt "${#have[@]}" ]; do
        if [ "$w" -lt "${#want[@]}" ] && [ "${want[w]}" = ... ]; then
            back_w=$w back_h=$h w=$((w + 1))
        elif [ "$w" -lt "${#want[@]}" ] && [[ ${have[h]} == ${want[w]} ]]; then
            h=$((h + 1)) w=$((w + 1))
        elif [ "$back_w" -ge 0 ]; then
            back_h=$((back_h + 1)) h=$back_h w=$((back_w + 1))
        else
            return 1
        fi
    done
    while [ "$w" -lt "${#want[@]}" ] && [ "${want[w]}" = ... ]; do w=$((w + 1)); done
    [ "$w" -eq "${#want[@]}" ]
}

run_case() { # SCRIPT RESULT_FILE
    local script=$1 result=$2 name folder rc status=0 bad="" wanted=$ok says='"ok"'
    name=$(basename "$script" .sh)
    folder=$(mktemp -d) || return
    mkdir "$folder/here"
    (cd "$folder/here" && timeout -k 10 600 bash "$script" "$bin" "$root" \
        >"$folder/stdout" 2>"$folder/stderr" </dev/null)
    rc=$?
    [ -f "${script%.sh}.exit" ] && status=$(cat "${script%.sh}.exit")
    if [ "$rc" -eq 77 ]; then
        printf 'skipped %s: %s\n' "$name" "$(tail -n 1 "$folder/stderr")" >"$result"
    else
        [ "$rc" -eq "$status" ] || bad="exit $rc, expected $status"
        [ -f "${script%.sh}.stdout" ] && wanted=${script%.sh}.stdout says="as in $name.stdout"
        matches "$folder/stdout" "$wanted" || bad="${bad:+$bad; }stdout is not $says"
        if [ -f "${script%.sh}.stderr" ] && ! matches "$folder/stderr" "${script%.sh}.stderr"; then
            bad="${bad:+$bad; }stderr is not as in $name.stderr"
        fi
        if [ -z "$bad" ]; then
            printf 'passed %s\n' "$name" >"$result"
        else
            { printf 'failed %s: %s\n' "$name" "$bad"
              echo "--- stdout"; tail -n 40 "$folder/stdout"
              echo "--- stderr"; tail -n 60 "$folder/stderr"; } >"$result"
        fi
    fi
    chmod -R u+w "$folder" 2>/dev/null
    rm -rf "$folder"
}

if [ $# -gt 0 ]; then
    cases=()
    for name in "$@"; do cases+=("$root/tests/e2e/$name.sh"); done
else
    mapfile -t cases < <(find "$root/tests/e2e" -maxdepth 1 -name '*.sh' ! -name e2e_run.sh ! -name '*_lib.sh' | sort)
fi

results=$(mktemp -d) || exit 1
ok=$results/.ok
echo ok >"$ok"
trap 'rm -rf "$results"' EXIT
running=0
for script in "${cases[@]}"; do
    run_case "$script" "$results/$(basename "$script" .sh)" &
    running=$((running + 1))
    if [ "$running" -ge 2 ]; then
        wait -n
        running=$((running - 1))
    fi
done
wait

passed=0 failed=0 skipped=0
for script in "${cases[@]}"; do
    result=$results/$(basename "$script" .sh)
    case $(head -c 6 "$result" 2>/dev/null) in
    passed) passed=$((passed + 1)) ;;
    skippe) skipped=$((skipped + 1)); cat "$result" ;;
    failed) failed=$((failed + 1)); cat "$result"; echo ;;
    *) failed=$((failed + 1)); echo "failed $(basename "$script"): no result" ;;
    esac
done
printf 'e2e: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
