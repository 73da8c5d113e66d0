# The Nth file call of the engine, or of its ledger program, fails; the engine is killed at any time.
# Each time: an error that names the path, a store and a ledger that verify, and the next run makes
# the same bytes. Usage: torture.sh BIN ROOT [POINTS [KILLS]]: how many calls of each kind fail, evenly
# spread (all with a large number), and how many runs are killed. `make torture N=1000` does more.
. "$2/tests/e2e/e2e_lib.sh"
points=${3:-2} kills=${4:-6}
shim=$BIN/../probe/fault_calls.so
[ -f "$shim" ] || die "there is no fault_calls.so beside $BIN"
shim=$(realpath "$shim")
# Most of the time would go into fsync on a disk.
if here=$(mktemp -d /dev/shm/fmforge-XXXXXX 2>/dev/null); then
    trap 'cd /; chmod -R u+w "$here"; rm -rf "$here"' EXIT
    cd "$here" || exit 1
fi
probe_programs
grep -q -e __tsan_init "$BIN/fmforge" && skip "the thread sanitizer does not load a library before its own"
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0

cat >m.yaml <<'X'
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text, more: one.folder }, with: { n: 1 } }
deliver: { two.folder: made }
X
artifacts() { git -C .fmforge/ledger.git show refs/prov/probes:artifacts.sha256; }

# before.fresh is nothing, before.second a store and a delivery of other bytes.
mkdir before.fresh before.second
echo other >in.txt
expect 0 fm run m.yaml
cp -a .fmforge out reports before.second
rm -rf .fmforge out reports
echo text >in.txt
expect 0 fm run m.yaml
artifacts >want.txt
back_to() {
    chmod -R u+w .fmforge out 2>/dev/null
    rm -rf .fmforge out reports
    cp -a "before.$1/." .
}

n_bad=0
bad() { # WHAT FILE: says it, and goes on: one run shows all there is
    printf 'case: %s\n' "$1" >&2
    head -c 2000 "$2" >&2
    n_bad=$((n_bad + 1))
}

# After a run that failed, or did not: everything is whole, and the next run makes the same.
next_run_is_good() { # WHAT
    if [ -f .fmforge/version ]; then
        timeout 60 "$BIN/fmforge" verify >verify.txt 2>&1 ||
            { bad "$1: the store does not verify" verify.txt; return; }
    fi
    timeout 60 "$BIN/fmforge" run m.yaml >again.txt 2>&1 ||
        { bad "$1: the next run fails" again.txt; return; }
    artifacts >found.txt 2>&1
    cmp -s found.txt want.txt || { bad "$1: the ledger's newest run has other bytes" found.txt; return; }
    diff -r out/probes/made before.text >found.txt || bad "$1: another delivery" found.txt
    # The next one that writes removes what a killed one left.
    timeout 60 "$BIN/fmforge" run m.yaml --record >again.txt 2>&1
    find .fmforge/tmp out -mindepth 1 \( -name 's-*' -o -name '*part' -o -name '*.tmp-*' \) >found.txt
    [ ! -s found.txt ] || bad "$1: something was left" found.txt
}
cp -a out/probes/made before.text

faulty() { # PROGRAM ERRNO AT
    FAULT_LOG=fault.log FAULT_PROGRAM=$1 FAULT_ERRNO=$2 FAULT_AT=$3 LD_PRELOAD=$shim \
        timeout 60 "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt
}

tolerated=0 failed=0
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

# Delivered, but not safely; and not one commit: both have to be recorded by the next run.
FAULT_PATH=out/probes/ one_fault fresh fmforge 5 1 || die "no call on out/probes/"
for at in 1 3 4; do
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
            back_to "$state"
            rm -f fault.log
            faulty "$program" "$code" 0
            n=$(sed -n 's/^calls //p' fault.log | sort -n | tail -n 1)
            [ "${n:-0}" -gt 10 ] || die "only ${n:-0} calls of $program: the library is not loaded"
            step=$(((n + points - 1) / points))
            # Each run of this test begins elsewhere; a failure names the call.
            for ((at = 1 + RANDOM % step; at <= n; at += step)); do
                one_fault "$state" "$program" "$code" "$at" || true
            done
        done
    done
done
[ "$failed" -gt 0 ] || die "no failed call failed a run"

# Killed at any time; now and then twice in a row.
n=0
back_to fresh
for ((i = 0; i < kills; i++)); do
    [ $((RANDOM % 3)) -eq 0 ] || back_to "$([ $((RANDOM % 2)) -eq 0 ] && echo fresh || echo second)"
    ms=$((RANDOM % 130))
    setsid "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt &
    pid=$!
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 -- "-$pid" 2>/dev/null && n=$((n + 1))
    wait "$pid" 2>/dev/null
    next_run_is_good "killed after $ms ms"
done
[ "$n_bad" -eq 0 ] || die "$n_bad findings"
echo "$failed runs with a failed call, $tolerated did not mind, $n killed" >&2
echo ok
