# gc, killed with -9 at random moments and beside running runs: the store verifies, runs go on and
# make the same bytes. More rounds: gc_killed.sh BIN ROOT ROUNDS.
. "$2/tests/e2e/e2e_lib.sh"
rounds=${3:-10}
tiny_toolkit
for seed in 1 2 3; do
    expect 0 fm run task.yaml --set vars.seed=$seed
    find .fmforge/actions .fmforge/logs -type f -exec touch -d '1 hour ago' {} +
done
package=$(folder_id "$PACKAGE")
cp -a .fmforge saved

# Killed: at any moment, and as soon as the first records are gone.
kills=0 half_done=0
for round in $(seq "$rounds"); do
    chmod -R u+w .fmforge && rm -rf .fmforge && cp -a saved .fmforge
    records=(.fmforge/actions/*/*)
    "$BIN/fmforge" gc --keep 1 --delete >gc.out 2>&1 &
    pid=$!
    if [ $((round % 2)) = 0 ]; then
        sleep "0.0$((RANDOM % 60 + 10))"
    else
        began=$SECONDS
        while kill -0 $pid 2>/dev/null && [ $((SECONDS - began)) -lt 60 ]; do
            left=(.fmforge/actions/*/*)
            [ ${#left[@]} -lt ${#records[@]} ] && break
        done
    fi
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
    left=(.fmforge/actions/*/*)
    [ ${#left[@]} -lt ${#records[@]} ] && half_done=$((half_done + 1))
    expect 0 fm verify
    expect 0 fm run task.yaml --set vars.seed=3
    has stdout.txt 'nothing to do'
    expect 0 fm gc --keep 1 --delete
    expect 0 fm verify
done
printf 'killed %d of %d, %d with records gone\n' "$kills" "$rounds" "$half_done" >&2
[ "$half_done" -gt 0 ] || die "no round came to remove a record"

# Beside runs that come, end and are killed; every gc is killed or not.
touch go
runner() { # its seeds never repeat, but those that all share
    local n=0
    while [ -e go ]; do
        n=$((n + 1))
        "$BIN/fmforge" run task.yaml --out "out$1" --reports "reports$1" \
            --set "vars.seed=$((n % 3 == 0 ? 3 : 100 * $1 + n))" >"runner$1.out" 2>&1 &
        if [ $((n % 4)) = 1 ]; then
            sleep "0.$((RANDOM % 6 + 1))"
            kill -9 $! 2>/dev/null
            wait $! 2>/dev/null
        else
            wait $! || { cp "runner$1.out" "failed$1.out"; return; }
        fi
    done
}
runner 1 &
runner 2 &
for _ in $(seq $((rounds * 4))); do
    "$BIN/fmforge" gc --keep 1 --budget 1M --delete >gc.out 2>&1 &
    pid=$!
    if [ $((RANDOM % 2)) = 0 ]; then
        sleep "0.0$((RANDOM % 60 + 10))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
    else
        wait $pid
        rc=$?
        [ $rc -le 1 ] && ! grep -q '^fmforge: ' gc.out || die "gc beside runs: exit $rc: $(cat gc.out)"
    fi
done
rm go
wait
for n in 1 2; do [ ! -f "failed$n.out" ] || die "a run failed beside gc: $(cat "failed$n.out")"; done
expect 0 fm verify
expect 0 fm gc --keep 1 --delete
expect 0 fm verify
expect 0 fm run task.yaml --set vars.seed=3
expect 0 fm run task.yaml --set vars.seed=3
has stdout.txt 'nothing to do'
[ "$(folder_id "$PACKAGE")" = "$package" ] || die "the same seed makes another package"
echo ok
