# The Nth allocation of a program fails, or it and all after it: of the engine and of its ledger
# program, their libraries (zstd, libyaml, cJSON, libgit2, libcrypto) and libc. Each time: exit 0
# with the right bytes, or exit 1 and a message that says memory; the store and the ledger verify,
# and the next run makes the same. Usage: allocations.sh BIN ROOT [POINTS [one|after]]: how many
# allocations of each command fail, evenly spread (all with a large number); only one of the two ways.
. "$2/tests/e2e/e2e_lib.sh"
. "$2/tests/e2e/fault_lib.sh"
points=${3:-2} ways=${4:-one after}
is_built_with asan && skip "the address sanitizer has an allocator of its own"
is_built_with tsan && skip "the thread sanitizer has an allocator of its own"
shim=$(preloaded fault_memory)
to_memory
probe_pipeline

faulty() { # PROGRAM AT COMMAND...
    local program=$1 at=$2
    shift 2
    FAULT_LOG=fault.log FAULT_PROGRAM=$program FAULT_AT=$at LD_PRELOAD=$shim \
        timeout 60 "$BIN/fmforge" "$@" >stdout.txt 2>stderr.txt
}

failed=0 tolerated=0
counts() {
    echo "allocations: $failed commands ended for lack of memory, $tolerated did not mind; all went on"
}
one_fault() { # STATE PROGRAM AT COMMAND...
    local state=$1 program=$2 at=$3 rc what
    shift 3
    back_to "$state"
    rm -f fault.log
    faulty "$program" "$at" "$@"
    rc=$?
    [ -f fault.log ] || return 0
    what="$state, $program, $*${FAULT_ON:+, from then on}: allocation $at ($(head -n 1 fault.log))"
    case $rc in
    0) tolerated=$((tolerated + 1)) ;;
    1)
        failed=$((failed + 1))
        # What libgit2 says when zlib has none.
        grep -qi -e memory -e 'failed to initialize zlib' stderr.txt stdout.txt ||
            { bad "$what: it does not say memory" stderr.txt; return; }
        ;;
    *) bad "$what: exit $rc" stderr.txt; return ;;
    esac
    next_run_is_good "$what"
}

# A state in which everything is made: what verify, gc and plan look at.
back_to second
expect 0 fm run m.yaml
mkdir before.made
cp -a .fmforge out reports before.made

campaign() { # STATE PROGRAM COMMAND...
    local state=$1 program=$2 n step at
    shift 2
    back_to "$state"
    rm -f fault.log
    faulty "$program" 0 "$@"
    n=$(sed -n 's/^calls //p' fault.log 2>/dev/null | sort -n | tail -n 1)
    [ "${n:-0}" -gt 100 ] || die "only ${n:-0} allocations of $program in $*: the library is not loaded"
    step=$(((n + points - 1) / points))
    # Each run of this test begins elsewhere; a failure names the allocation.
    for ((at = 1 + RANDOM % step; at <= n; at += step)); do
        one_fault "$state" "$program" "$at" "$@"
    done
}

for way in $ways; do
    if [ "$way" = after ]; then export FAULT_ON=1; else unset FAULT_ON; fi
    for program in fmforge fmforge-ledger; do
        campaign fresh $program run m.yaml
        campaign second $program run m.yaml
        campaign made $program gc --keep 1 --delete
        campaign made $program verify
    done
    campaign made fmforge plan m.yaml
done
[ "$failed" -gt 0 ] || die "no failed allocation failed a command"
[ "$n_bad" -eq 0 ] || die "$n_bad findings"
counts >&2
echo ok
