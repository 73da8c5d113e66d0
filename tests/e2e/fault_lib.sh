# What the campaigns of faults share; sourced after e2e_lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# Goes to a folder in memory: most of the time would go into fsync on a disk.
to_memory() {
    here=$(mktemp -d /dev/shm/fmforge-XXXXXX 2>/dev/null) || return 0
    trap 'cd /; chmod -R u+w "$here"; rm -rf "$here"' EXIT
    cd "$here" || exit 1
}

# preloaded NAME: the path of a library for LD_PRELOAD that make has built beside the programs.
preloaded() {
    [ -f "$BIN/../probe/$1.so" ] || die "there is no $1.so beside $BIN"
    realpath "$BIN/../probe/$1.so"
}

# A pipeline of two probes in m.yaml, and two states to begin from: before.fresh is nothing,
# before.second a store and a delivery of other bytes. want.txt and before.text are what is right.
probe_pipeline() {
    probe_programs
    cat >m.yaml <<'X'
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text, more: one.folder }, with: { n: 1 } }
deliver: { two.folder: made }
X
    mkdir before.fresh before.second
    echo other >in.txt
    expect 0 fm run m.yaml
    cp -a .fmforge out reports before.second
    rm -rf .fmforge out reports
    echo text >in.txt
    expect 0 fm run m.yaml
    artifacts >want.txt
    cp -a out/probes/made before.text
}

artifacts() { git -C .fmforge/ledger.git show refs/prov/probes:artifacts.sha256; }

back_to() { # STATE: before.STATE, and nothing else
    chmod -R u+w .fmforge out 2>/dev/null
    rm -rf .fmforge out reports
    cp -a "before.$1/." .
}

# Each campaign says its counts at the end, and how far it came when it is ended (TERM).
trap 'counts >&2; echo "ended before its end, with $n_bad findings" >&2; exit 143' TERM

n_bad=0
bad() { # WHAT FILE: says it, and goes on: one run shows all there is
    printf 'case: %s\n' "$1" >&2
    head -c 2000 "$2" >&2
    n_bad=$((n_bad + 1))
}

# After whatever happened: everything is whole, and the next run makes the same.
next_run_is_good() { # WHAT
    if [ -f .fmforge/version ]; then
        timeout 60 "$BIN/fmforge" verify >verify.txt 2>&1 ||
            { bad "$1: the store does not verify" verify.txt; return 1; }
    fi
    timeout 60 "$BIN/fmforge" run m.yaml >again.txt 2>&1 ||
        { bad "$1: the next run fails" again.txt; return 1; }
    is_right "$1" || return 1
    # The next one that writes removes what a killed one left.
    timeout 60 "$BIN/fmforge" run m.yaml --record >again.txt 2>&1
    find .fmforge/tmp out -mindepth 1 \( -name 's-*' -o -name '*part' -o -name '*.tmp-*' \) >found.txt
    [ ! -s found.txt ] || { bad "$1: something was left" found.txt; return 1; }
}

is_right() { # WHAT: the newest run in the ledger and the delivery are those of want.txt
    artifacts >found.txt 2>&1
    cmp -s found.txt want.txt || { bad "$1: the ledger's newest run has other bytes" found.txt; return 1; }
    diff -r out/probes/made before.text >found.txt || { bad "$1: another delivery" found.txt; return 1; }
}
