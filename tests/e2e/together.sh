# Eight runs at once on one store, of two manifests that share stages, while gc removes and while
# one of them is killed with -9 now and then: each that was let end has the right bytes, each stage
# is made once for all, and the store and the ledger verify. Usage: together.sh BIN ROOT [ROUNDS].
. "$2/tests/e2e/e2e_lib.sh"
. "$2/tests/e2e/fault_lib.sh"
rounds=${3:-2}
to_memory
probe_pipeline
sed 's/^name: probes/name: others/; s/n: 1 }/n: 2 }/' m.yaml >others.yaml
expect 0 fm run others.yaml
cp -a out/others/made before.others

# start NUMBER: one of the eight, with a delivery of its own.
start() {
    local manifest=m.yaml
    [ $(($1 % 2)) -eq 0 ] || manifest=others.yaml
    setsid "$BIN/fmforge" run $manifest --out "out$1" --reports "reports$1" >"run$1.txt" 2>&1 &
    pids[$1]=$!
}

delivered() { # NUMBER: what it has to deliver is there
    if [ $(($1 % 2)) -eq 0 ]; then
        diff -r "out$1/probes/made" before.text
    else
        diff -r "out$1/others/made" before.others
    fi
}

ended=0 killed=0 executed=0 round=0
counts() {
    echo "together: $round rounds of eight: $ended runs ended well with $executed executions," \
        "$killed killed"
}
for ((round = 0; round < rounds; round++)); do
    chmod -R u+w .fmforge out? 2>/dev/null
    rm -rf .fmforge out? reports?
    [ $((round % 2)) -eq 0 ] || cp -a before.second/.fmforge .
    victim=$((round % 3 == 2 ? RANDOM % 8 : 8))
    pids=()
    for i in 0 1 2 3 4 5 6 7; do start $i; done
    if [ $((round % 3)) -ne 0 ]; then
        timeout 60 "$BIN/fmforge" gc --keep 1 --delete >gc.txt 2>&1
        # Before the first run is recorded there is nothing that says what is needed.
        [ $? -eq 0 ] || grep -qe 'nothing is removed' -e 'no fmforge store here' -e '"version"' gc.txt ||
            bad "round $round: gc beside eight runs" gc.txt
    fi
    if [ $victim -lt 8 ]; then
        sleep "0.0$((RANDOM % 90 + 10))"
        kill -9 -- "-${pids[victim]}" 2>/dev/null && killed=$((killed + 1))
    fi
    for i in 0 1 2 3 4 5 6 7; do
        wait "${pids[i]}" 2>/dev/null
        rc=$?
        if [ $i -eq $victim ] && [ $rc -ne 0 ]; then continue; fi
        [ $rc -eq 0 ] || { bad "round $round: run $i of eight ends with $rc" "run$i.txt"; continue; }
        delivered $i >found.txt 2>&1 || bad "round $round: run $i delivered something else" found.txt
        ended=$((ended + 1))
    done
    # One is there for both manifests, two for each: three, and those of a killed run again.
    made=$(cat run?.txt | grep -c ': done in')
    executed=$((executed + made))
    [ "$made" -le 3 ] || [ $((round % 3)) -ne 0 ] ||
        { cat run?.txt >found.txt; bad "round $round: three stages, $made executions" found.txt; }
    expect 0 fm verify
    rm -rf out reports
    expect 0 fm run m.yaml
    is_right "round $round"
done
[ "$n_bad" -eq 0 ] || die "$n_bad findings"
counts >&2
echo ok
