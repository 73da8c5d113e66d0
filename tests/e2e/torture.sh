# The Nth file call of the engine, or of its ledger program, fails; and they are killed with -9: at
# the Nth call, and at any time, while a run or gc works, alone and beside another run. Each time: an
# error that names the path, a store and a ledger that verify, and the next run makes the same bytes.
# Usage: torture.sh BIN ROOT [POINTS [KILLS]]: how many calls of each kind fail, evenly spread (all
# with a large number), and how often a program is killed. `make torture N=1000` does more.
. "$2/tests/e2e/e2e_lib.sh"
. "$2/tests/e2e/fault_lib.sh"
points=${3:-2} kills=${4:-8}
shim=$(preloaded fault_calls)
is_built_with tsan && skip "the thread sanitizer does not load a library before its own"
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
to_memory
probe_pipeline

failed=0 tolerated=0 at_call=0 at_any=0
counts() {
    echo "calls: $failed runs with a failed call, $tolerated did not mind;" \
        "kills: $at_call at a call, $at_any at any time"
}

faulty() { # PROGRAM ERRNO AT [COMMAND...]
    local program=$1 code=$2 at=$3
    shift 3
    [ $# -gt 0 ] || set -- run m.yaml
    # Bash says "Killed" on the outer stderr.
    (FAULT_LOG=fault.log FAULT_PROGRAM=$program FAULT_ERRNO=$code FAULT_AT=$at LD_PRELOAD=$shim \
        timeout 60 "$BIN/fmforge" "$@" >stdout.txt 2>stderr.txt
        exit $?) 2>/dev/null
}

one_fault() { # STATE PROGRAM ERRNO AT
    local what="$1 $2 errno $3 call $4" rc path reason
    back_to "$1"
    rm -f fault.log
    faulty "$2" "$3" "$4"
    rc=$?
    [ -f fault.log ] || return 1
    what="$what ($(head -n 1 fault.log))"
    path=$(sed -n '1s/^[a-z0-9]* //p' fault.log)
    case $rc in
    0) tolerated=$((tolerated + 1)) ;;
    1)
        failed=$((failed + 1))
        [ "$3" -eq 5 ] && reason='Input/output error' || reason='No space left on device'
        # libgit2 takes an object that cannot be read for one that is not there.
        [ "$2.$3" = fmforge-ledger.5 ] && reason='ledger: '
        grep -q "$reason" stderr.txt ||
            { bad "$what: it does not say $reason" stderr.txt; return; }
        # Its folder may stand for it, and for a part of the ledger the ledger.
        [ "$2" = fmforge-ledger ] && path=ledger
        grep -qF -e "$(basename "$path")" -e "$(basename "$(dirname "$path")")" stderr.txt ||
            { bad "$what: the path is not named" stderr.txt; return; }
        ;;
    *) bad "$what: exit $rc" stderr.txt ; return ;;
    esac
    next_run_is_good "$what"
}

calls_of() { # STATE PROGRAM ERRNO COMMAND...: how many there are
    local n
    back_to "$1"
    rm -f fault.log
    faulty "$2" "$3" 0 "${@:4}"
    n=$(sed -n 's/^calls //p' fault.log | sort -n | tail -n 1)
    [ "${n:-0}" -gt 10 ] || die "only ${n:-0} calls of $2: the library is not loaded"
    echo "$n"
}

# Delivered, but not safely; and not one commit: both have to be recorded by the next run.
FAULT_PATH=out/probes/ one_fault fresh fmforge 5 1 || die "no call on out/probes/"
for at in 2 4 5; do
    FAULT_PATH=.made.fmforge-part one_fault fresh fmforge 5 "$at" || die "no call $at on a delivery"
done
FAULT_PATH=refs/prov/probes.lock one_fault fresh fmforge-ledger 28 1 || die "no lock of the ref"
[ "$failed" -eq 5 ] || die "a delivery or a ledger that cannot be written failed no run"
# The sync of all that was made: what failed to reach the disk is looked at again.
: >home.txt
for at in 1 2 3 4 5 6; do
    FAULT_PATH=/.fmforge one_fault fresh fmforge 28 "$at" || break
    cat fault.log >>home.txt
done
grep -q '^syncfs ' home.txt || die "no sync of the store failed"

for program in fmforge fmforge-ledger; do
    for code in 5 28; do
        for state in fresh second; do
            n=$(calls_of "$state" "$program" "$code" run m.yaml)
            step=$(((n + points - 1) / points))
            # Each run of this test begins elsewhere; a failure names the call.
            for ((at = 1 + RANDOM % step; at <= n; at += step)); do
                one_fault "$state" "$program" "$code" "$at" || true
            done
        done
    done
done
[ "$failed" -gt 0 ] || die "no failed call failed a run"

# Killed at a call. What is left of the engine's ledger program or of its stages ends with it; when
# the ledger program is killed, the engine says so.
back_to second
expect 0 fm run m.yaml
mkdir before.made
cp -a .fmforge out reports before.made
killed_at() { # STATE PROGRAM AT COMMAND...
    local rc what
    back_to "$1"
    rm -f fault.log
    faulty "$2" 0 "$3" "${@:4}"
    rc=$?
    [ -f fault.log ] || return
    what="$1, ${*:4}: $2 killed at call $3 ($(head -n 1 fault.log))"
    at_call=$((at_call + 1))
    if [ "$2" = fmforge-ledger ] && { [ $rc -ne 1 ] || ! grep -q 'signal 9' stderr.txt stdout.txt; }; then
        bad "$what: exit $rc" stderr.txt
        return
    fi
    [ "$2" = fmforge-ledger ] || [ $rc -eq 137 ] || { bad "$what: exit $rc" stderr.txt; return; }
    next_run_is_good "$what"
}
campaign() { # KILLS STATE PROGRAM COMMAND...
    local n step at
    n=$(calls_of "$2" "$3" 5 "${@:4}") || exit 1
    step=$(((n + $1 - 1) / $1))
    for ((at = 1 + RANDOM % step; at <= n; at += step)); do
        killed_at "$2" "$3" "$at" "${@:4}"
    done
}
each=$(((kills + 11) / 12))
for program in fmforge fmforge-ledger; do
    campaign $each fresh $program run m.yaml
    campaign $each second $program run m.yaml
    campaign $each made $program gc --keep 1 --delete
done

# Killed at any time: a run, gc, and a run or gc beside a run of another pipeline on the same store,
# which is not to mind. Now and then twice in a row.
sed 's/^name: probes/name: others/; s/n: 1 }/n: 2 }/' m.yaml >others.yaml
back_to fresh
for ((i = 0; at_call + at_any < kills && i < 2 * kills; i++)); do
    state=$([ $((RANDOM % 2)) -eq 0 ] && echo fresh || echo second)
    command='run m.yaml' other=
    if [ $((i % 4)) -ge 2 ]; then state=made command='gc --keep 1 --delete'; fi
    [ $((RANDOM % 3)) -eq 0 ] || back_to $state
    if [ $((i % 2)) -eq 1 ]; then
        "$BIN/fmforge" run others.yaml --out others --reports others >other.txt 2>&1 &
        other=$!
    fi
    ms=$((RANDOM % 130))
    # shellcheck disable=SC2086
    setsid "$BIN/fmforge" $command >stdout.txt 2>stderr.txt &
    pid=$!
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 -- "-$pid" 2>/dev/null && at_any=$((at_any + 1))
    wait "$pid" 2>/dev/null
    if [ -n "$other" ]; then
        wait "$other" || bad "$command beside a run, killed after $ms ms: the run fails" other.txt
    fi
    next_run_is_good "$command, killed after $ms ms"
done
[ "$n_bad" -eq 0 ] || die "$n_bad findings"
counts >&2
echo ok
