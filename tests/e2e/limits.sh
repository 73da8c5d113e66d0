# Time, memory and retries of a stage: what passes a limit is stopped and says which, and the same
# command goes on from the checkpoint. Limits are in no key.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo text >in.txt
truncate -s 96M big.bin

manifest() { # DOES N LIMITS [INPUTS]
    cat <<X
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt${4:-} }, with: { does: $1, n: $2 }, limits: { $3 } }
X
}
statement() { git -C .fmforge/ledger.git show refs/prov/probes:stages/one/statement.json; }

# Time: stopped at a step, goes on from there, and makes the same as one that was not stopped.
manifest steps 30 'seconds: 1' >m.yaml
expect 1 fm run m.yaml
has stderr.txt 'it ran for 1.'
has stderr.txt 'limits.seconds is 1 (1.0 s); it was stopped, and the same command goes on from its last checkpoint'
has stderr.txt 'probe: interrupted'
expect 0 fm verify
manifest steps 30 'seconds: 100' >m.yaml
expect 0 fm run m.yaml
sed -n 's/^  probe: began at step //p' stderr.txt >began.txt
[ "$(cat began.txt)" -ge 1 ] || die "it began at step $(cat began.txt) of 30"
expect 0 fm run m.yaml --home other --out other.out --reports other.reports
[ "$(cat .fmforge/actions/*/* | grep -o '"id":"[0-9a-f]*"')" = \
  "$(cat other/actions/*/* | grep -o '"id":"[0-9a-f]*"')" ] || die "a stopped stage made other bytes"
manifest steps 30 'memory: 1G' >m.yaml
expect_to_run "" m.yaml

# With retries one command is enough.
manifest steps 35 'seconds: 1, retries: 50' >m.yaml
expect 0 fm run m.yaml
has stderr.txt 'trying again: 1 of 50'
n=$(sed -n 's/^  after \([0-9]*\) retr.*/\1/p' stderr.txt)
[ "${n:-0}" -ge 1 ] || die "it does not say how many retries it took"
statement | grep -q '"retries":'"$n" || die "the statement does not count the retries"
git -C .fmforge/ledger.git show refs/prov/probes:run.json | grep -q '"retries": *'"$n" ||
    die "run.json does not count the retries"

# One that does not listen is killed after its grace.
manifest hang 400 'seconds: 1, grace: 1' >m.yaml
expect 1 fm run m.yaml
has stderr.txt 'it did not end in the 1 s of limits.grace and was killed'
has stderr.txt 'was killed by signal 9'
expect 0 fm verify

# Also while gc has the store and the result of another stage waits for it: here for 60 seconds.
cat >m.yaml <<'X'
fmforge: 1
name: waits
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: steps, n: 31 } }
  two: { run: probe, inputs: { text: in.txt }, with: { does: hang, n: 2000 }, limits: { seconds: 3, grace: 0 } }
  three: { run: probe, inputs: { text: in.txt }, with: { does: steps, n: 3000 } }
X
"$BIN/fmforge" run m.yaml -j 3 >stdout.txt 2>stderr.txt &
pid=$! holder=
living() { # how many of its stages have not ended
    local child n=0
    for child in $(pgrep -P $pid); do grep -q '^State:.*Z' "/proc/$child/status" 2>/dev/null || n=$((n + 1)); done
    echo $n
}
waits() { # COMMAND...: until it succeeds
    for _ in $(seq 300); do "$@" && return; sleep 0.1; done
    kill -9 $pid $holder
    die "not while gc works: $*: $(cat stderr.txt)"
}
living_are() { [ "$(living)" = "$1" ]; }
waits living_are 3
(exec 9>>.fmforge/locks/gc && flock 9 && exec sleep 60) &
holder=$!
waits grep -q 'gc removes from this store: waiting for it' stderr.txt
waits living_are 1
kill -0 $holder || die "the limit was kept only when gc had ended"
kill -INT $pid
waits grep -q 'interrupted: waiting for the running stages' stderr.txt
waits living_are 0
kill -INT $pid
wait $pid
rc=$?
kill $holder || die "it came to its end only when gc had ended"
wait $holder 2>/dev/null
[ $rc -eq 130 ] || die "exit $rc after two interrupts: $(cat stderr.txt)"
has stderr.txt 'three: interrupted after'
expect 0 fm verify

# One that has ended meanwhile passes no limit.
cat >m.yaml <<'X'
fmforge: 1
name: ended
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: steps, n: 32 } }
  two: { run: probe, inputs: { text: in.txt }, with: { does: late, n: 36 }, limits: { seconds: 5 } }
X
"$BIN/fmforge" run m.yaml -j 2 >stdout.txt 2>stderr.txt &
pid=$!
waits living_are 2
(exec 9>>.fmforge/locks/gc && flock 9 && exec sleep 60) &
holder=$!
waits grep -q 'gc removes from this store: waiting for it' stderr.txt
sleep 5
kill $holder || die "gc had ended"
wait $holder 2>/dev/null
wait $pid && die "a failed stage failed no run"
has stderr.txt 'two: failed'
has stderr.txt 'too late'
grep -q 'limits.seconds is' stderr.txt && die "it had ended, and passed its limit: $(cat stderr.txt)"
expect 0 fm verify

# Memory: what it takes counts, what it maps does not.
manifest eat 600 'memory: 128M' >m.yaml
expect 1 fm run m.yaml
has stderr.txt 'of memory, limits.memory is 128 MiB'
has stderr.txt 'goes on from its last checkpoint'
expect 0 fm verify
manifest eat 64 'memory: 128M' >m.yaml
expect 0 fm run m.yaml
manifest map 10 'memory: 48M' ', more: big.bin' >m.yaml
expect 0 fm run m.yaml

# Retries: as many as are allowed and no more.
manifest fail 1 'retries: 1' >m.yaml
expect 0 fm run m.yaml
has stderr.txt 'try 1 fails'
manifest fail 3 'retries: 1' >m.yaml
expect 1 fm run m.yaml
has stderr.txt 'try 2 fails'
! grep -q 'try 3' stderr.txt || die "it was tried more often than allowed"
manifest die 2 'retries: 2' >m.yaml
expect 0 fm run m.yaml
has stderr.txt 'was killed by signal 9'
has stderr.txt 'after 2 retries'

# Of a long last line the beginning and the end are said.
long=$(printf 'a%.0s' $(seq 200))/$(printf 'b%.0s' $(seq 200))
manifest read 1 'retries: 0' | sed "s|does: read|does: read, path: in.txt/$long|" >m.yaml
expect 1 fm run m.yaml
has stderr.txt "stage-probe exited with status 1: probe: in.txt/aaa"
has stderr.txt 'aaa ... bbb'
grep -qE 'exited with status 1: .*bbb: no such file' stderr.txt || die "the end of the stage's last line is not said"
expect 0 fm verify
echo ok
