# Inputs that are edited at any moment of a run: what is published is what its key says, and what
# else the run has to do it does.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs

manifest() { # STAGES
    { printf 'fmforge: 1\nname: probes\nstages:\n'; printf '  %s\n' "$@"; } >m.yaml
}
early() { # NAME N [INPUT]
    echo "$1: { run: probe, inputs: { text: ${3:-in.txt} }, with: { does: early, n: $2 } }"
}
start() { # ARGUMENT...: a run in the background
    setsid "$BIN/fmforge" run m.yaml "$@" >out1.txt 2>err1.txt &
    pid=$!
}
ended() { # STATUS: of the run in the background
    wait "$pid"
    local rc=$?
    [ $rc -eq "$1" ] || { cat out1.txt err1.txt >&2; die "the run ends with $rc, expected $1"; }
}
wait_for() { # COMMAND...
    for _ in $(seq 1000); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.01
    done
    die "never: $*"
}
early_is_read() { compgen -G '.fmforge/work/*/early'; }
anew() { chmod -R u+w .fmforge 2>/dev/null; rm -rf .fmforge out reports; }
made() { # TEXT: the output of the newest run of `one`, as the store has it
    local id
    id=$(fm run m.yaml --json 2>stderr.txt | tr -d ' \n' | grep -o '"name":"text","kind":"[a-z]*","id":"[0-9a-f]*"' | tail -n 1)
    id=${id##*id\":\"}
    fm cat "${id%\"}" >made.txt || die "there is no output"
    [ "$(cat made.txt)" = "$1" ] || die "the output is $(cat made.txt), expected $1"
}

# Between the plan and its start: the stage has the lock of its new key, so that two runs do not
# share a work folder, and `why` speaks of that key.
echo AAAA >in.txt
echo slow >slow.txt
manifest "$(early first 12 slow.txt)" "$(early one 12)"
start -j1
wait_for early_is_read
echo BBBB >in.txt
wait_for grep -q 'first: done' err1.txt
manifest "$(early one 12)"
expect 0 fm run m.yaml
has stderr.txt 'another run is making it'
has stdout.txt 'nothing to do'
ended 0
expect 0 fm run m.yaml
made BBBB

# After waiting for it, its result is there.
anew
start
wait_for early_is_read
expect 0 fm run m.yaml --json
has stderr.txt 'another run is making it'
tr -d ' \n' <stdout.txt >json.txt
has json.txt '"status":"reused","why":"samerecipe,itsresultisthere"'
ended 0

# An input that is gone when its stage is to start: that stage fails, and the rest goes on.
anew
echo b >b.txt
manifest "$(early one 6)" "$(early two 0 b.txt)" "$(early three 0 one.text)"
echo 'deliver: { three.text: three.txt }' >>m.yaml
start -j1
wait_for early_is_read
mv b.txt x
ended 1
has err1.txt 'two: failed: m.yaml:5:'
cmp out/probes/three.txt in.txt || die "three is not delivered"
mv x b.txt
expect 0 fm run m.yaml
has stdout.txt '1 executed, 2 cached'
echo ok
