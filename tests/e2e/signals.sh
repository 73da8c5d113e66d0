# Signals, and what is inherited of them: nohup holds, a run that is told to end does, whatever its stages do.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo text >in.txt

manifest() { # DOES N [LIMITS]
    cat <<Y
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: $1, n: $2 }, limits: { ${3:-} } }
Y
}
# begin COMMAND...: in the background, until its stage runs: PID, STAGE.
begin() {
    "$@" >stdout.txt 2>stderr.txt &
    PID=$!
    for _ in $(seq 300); do
        STAGE=$(pgrep -P "$PID" -f stage-probe) && sleep 0.3 && return
        sleep 0.02
    done
    die "no stage was started: $(cat stderr.txt)"
}
# ends STATUS SECONDS: the run of `begin` comes to its end by itself.
ends() {
    local rc
    for _ in $(seq $(($2 * 20))); do
        kill -0 "$PID" 2>/dev/null || break
        sleep 0.05
    done
    kill -0 "$PID" 2>/dev/null && { kill -9 "$PID"; die "it has not ended after $2 s: $(cat stderr.txt)"; }
    wait "$PID"
    rc=$?
    [ $rc -eq "$1" ] || die "exit $rc, expected $1: $(cat stderr.txt)"
}
goes_on() { # the next run begins where the stage was told to end
    expect 0 fm run m.yaml
    [ "$(sed -n 's/^  probe: began at step //p' stderr.txt)" -ge 1 ] || die "nothing was saved: $(cat stderr.txt)"
}

# Who reads a log sees that a long stage goes on, too.
manifest steps 220 >m.yaml
expect 0 fm run m.yaml
grep -qE '^\[0/1\] one [0-9]+ %.*, 1[0-9]\.?[0-9]* s$' stderr.txt || die "nothing was said for as long as a stage ran: $(cat stderr.txt)"

# Below nohup the end of the terminal is none of ours.
manifest steps 20 >m.yaml
begin sh -c 'trap "" HUP; exec "$0" run m.yaml' "$BIN/fmforge"
kill -HUP "$PID"
ends 0 20

# Otherwise the stages are told in the way that they know, and save what they have.
manifest steps 41 >m.yaml
begin "$BIN/fmforge" run m.yaml
kill -HUP "$PID"
ends 130 20
has stderr.txt '  probe: interrupted'
goes_on

# A stage that was suspended wakes up to save, too.
manifest steps 42 >m.yaml
begin "$BIN/fmforge" run m.yaml
kill -STOP "$STAGE"
kill -TERM "$PID"
ends 130 20
goes_on

# One that does not listen is killed after its grace; nobody has to be there. Ctrl-C says what else there is.
manifest hang 400 'grace: 1' >m.yaml
begin "$BIN/fmforge" run m.yaml
kill -TERM "$PID"
ends 130 10
has stderr.txt 'one: interrupted after'
has stderr.txt '(it did not end in the 1 s of limits.grace and was killed'
begin "$BIN/fmforge" run m.yaml
kill -INT "$PID"
sleep 1.5
kill -0 "$PID" 2>/dev/null || die "Ctrl-C does not wait: $(cat stderr.txt)"
has stderr.txt 'interrupted: waiting for the running stages to save their work; two more signals kill them'
kill -INT "$PID"
sleep 0.1
kill -INT "$PID"
ends 130 10

# A run that only waits for another one's stage has none to wait for.
manifest steps 200 >m.yaml
begin "$BIN/fmforge" run m.yaml
: >other.txt
"$BIN/fmforge" run m.yaml >other_out.txt 2>other.txt &
other=$!
for _ in $(seq 300); do
    grep -q 'another run is making it' other.txt && break
    sleep 0.02
done
kill -INT $other
wait $other
rc=$?
[ $rc -eq 130 ] || die "exit $rc of a run that only waited: $(cat other.txt)"
has other.txt 'interrupted: no stage of this run is running'
! grep -q 'save their work' other.txt || die "it says that it waits for stages: $(cat other.txt)"
kill -INT "$PID"
ends 130 20

# Who started us may have ignored that children end.
manifest copy 1 >m.yaml
expect 0 timeout -s KILL 20 sh -c 'trap "" CHLD; exec "$0" run m.yaml' "$BIN/fmforge"

# A limit of the shell for files is an error with a name.
head -c 300000 /dev/urandom >in.txt
(ulimit -f 64; "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt)
rc=$?
[ $rc -eq 1 ] || die "exit $rc with a limit for files: $(cat stderr.txt)"
expect 0 fm verify
expect 0 fm run m.yaml
echo ok
