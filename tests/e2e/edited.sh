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
has_work() { # PATTERN [FOLDER]: below work/ in the store of a folder
    find "${2:-.}/.fmforge/work" -mindepth 1 -name "$1" 2>/dev/null | grep -q .
}
has_checkpoint() { has_work early "$@"; } # [FOLDER]: the stage `early` has begun
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
manifest "$(early first 6 slow.txt)" "$(early one 12)"
start -j1
wait_for has_checkpoint
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
wait_for has_checkpoint
expect 0 fm run m.yaml --json
has stderr.txt "another run is making it, process $pid; waiting"
tr -d ' \n' <stdout.txt >json.txt
has json.txt '"status":"reused","why":"samerecipe,itsresultisthere"'
ended 0

# An input that is gone when its stage is to start: that stage fails, and the rest goes on.
anew
echo b >b.txt
manifest "$(early one 6)" "$(early two 0 b.txt)" "$(early three 0 one.text)"
echo 'deliver: { three.text: three.txt }' >>m.yaml
start -j1
wait_for has_checkpoint
mv b.txt x
ended 1
has err1.txt 'two: failed: m.yaml:5:'
cmp out/probes/three.txt in.txt || die "three is not delivered"
expect 0 fm log --run last
grep -q '^    reason  m.yaml:5:.*b.txt' stdout.txt || die "log does not say why it failed: $(cat stdout.txt)"
mv x b.txt
expect 0 fm run m.yaml
has stdout.txt '1 executed, 2 cached'

# Edited while its stage runs and put back before it ends: the bytes are those of the key again, and
# the stage has read others. However it is done: in place, with its old time, a file in a folder.
put_back() { # FILE: begins to hold something else before the stage reads it, and ends as it was
    wait_for has_work '*.json'
    cp -p "$1" kept
    cp other "$1"
    wait_for has_checkpoint
    cp ${how:+"$how"} kept "$1"
}
echo BBBB >other
echo AAAA >in.txt
manifest "$(early one 5)"
for how in '' -p; do
    anew
    start
    put_back in.txt
    ended 1
    has err1.txt 'input text (in.txt) was written while the stage ran, and has the same bytes again'
    expect 0 fm run m.yaml
    made AAAA
    fm verify >verify.txt || die "the store does not verify"
done

# A second name (a backup by hard links) and other permissions change the time of a file's state too, but
# write nothing.
anew
start
wait_for has_checkpoint
ln in.txt linked
chmod 600 kept in.txt
ln programs/stage-probe linked.program
ended 0
made AAAA
rm linked linked.program
mkdir in
echo more >in/a.txt
manifest "one: { run: probe, inputs: { text: in.txt, also: in }, with: { does: early, n: 5 } }"
anew
start
put_back in/a.txt
ended 1
has err1.txt 'input also (in/a.txt) was written while the stage ran'
anew
start
wait_for has_checkpoint
echo other >in/b.txt
rm in/b.txt
ended 1
has err1.txt 'input also (in) was written while the stage ran'
expect 0 fm run m.yaml

# Its program and its libraries: replaced before it starts, while it runs, and put back meanwhile.
anew
manifest "$(early one 5)"
start
wait_for has_checkpoint
cp programs/stage-probe other.program
mv other.program programs/stage-probe
ended 1
has err1.txt 'was written while the stage ran, and has the same bytes again'
cat >programs/stage-lib <<X
#!$(realpath /bin/sh)
[ "\$1" != --describe ] || {
    echo '{"schema":1,"name":"lib","summary":"Copies a file.","tool":false,"portable":true,'
    echo '"inputs":[{"name":"text","kind":"text"}],"outputs":[{"name":"text","kind":"text"}],'
    echo '"params":[],"libraries":["libx","sh","sleep"],"library_paths":{"libx":"$PWD/libx",'
    echo '"sh":"$(realpath /bin/sh)","sleep":"$(realpath "$(command -v sleep)")"}}'
    exit
}
while [ \$# -gt 0 ]; do
    case \$1 in
    --in) in=\${2#*=} ;;
    --out) out=\${2#*=} ;;
    --work) echo >\$2/early ;;
    esac
    shift 2
done
$(realpath "$(command -v sleep)") 0.6
read -r line <\$in
echo \$line >\$out
X
chmod +x programs/stage-lib
lib='lib: { run: lib, inputs: { text: in.txt } }'
echo one >libx
anew
manifest "$(early one 5)" "$lib"
start -j1
wait_for has_checkpoint
echo two >libx
ended 1
has err1.txt "lib: failed: a library of the stage: $PWD/libx was replaced since this run began"
anew
manifest "$lib"
start
wait_for has_checkpoint
echo six >libx
ended 1
has err1.txt "$PWD/libx was replaced while it ran: its result is not kept"
start
wait_for has_checkpoint
cp libx kept
echo one >libx
cp kept libx
ended 1
has err1.txt "its program or a library ($PWD/libx) was written while the stage ran"
expect 0 fm run m.yaml

# Edited, the run stopped or killed, and put back: the checkpoint is that of other inputs.
manifest "$(early one 5)"
for how in INT KILL; do
    anew
    echo CCCC >in.txt
    start
    wait_for has_work '*.json'
    cp -p in.txt kept
    echo DDDD >in.txt
    wait_for has_checkpoint
    kill -$how -- "-$pid"
    wait "$pid" 2>/dev/null
    has_checkpoint || die "there is no checkpoint after $how"
    cp -p kept in.txt
    expect 0 fm run m.yaml
    has stderr.txt 'one: begins anew: what an earlier run left of it is not used: in.txt was written since'
    made CCCC
done

# Nobody edited anything: it goes on, also in another place and in a copy; not in a copy that is
# edited, nor where nothing says what its inputs were.
goes_on() { # FOLDER
    expect 0 fm run m.yaml -C "$1"
    has stderr.txt '  probe: goes on'
}
anew
mkdir here
cp in.txt here
echo same >here/also.txt
manifest "one: { run: probe, inputs: { text: in.txt, also: also.txt }, with: { does: early, n: 9 } }"
mv m.yaml here
start -C here
wait_for has_checkpoint here
kill -KILL -- "-$pid"
wait "$pid" 2>/dev/null
cp -a here copy
cp -a here edited
echo same >edited/also.txt
cp -a here unknown
find unknown/.fmforge/work -name '*.seen' -delete
goes_on copy
mv here there
goes_on there
for folder in edited unknown; do
    expect 0 fm run m.yaml -C $folder
    has stderr.txt 'one: begins anew: what an earlier run left of it is not used: '
done
has_work '*' there && die "something is left in work/"

# A folder in which runs write is no input: it would be another after each.
anew
refused() { # INPUT HELD ARGUMENT...: and nothing is run
    manifest "one: { run: probe, inputs: { text: in.txt, also: $1 } }"
    expect 2 fm run m.yaml "${@:3}"
    has stderr.txt "m.yaml:4:52: input \`also\`: the folder $1 holds $2, which runs write to"
    ! compgen -G '.fmforge/logs/*' && ! compgen -G '*/*/logs/*' || die "it runs with $1"
}
refused . .fmforge
refused .fmforge .fmforge
refused "$PWD/in/.." .fmforge
refused in in/home --home in/home
refused in in/below/out/ --out in/below/out/
refused in in/reports --reports in/reports
mkdir -p out/other
echo made >out/other/a.txt
manifest "one: { run: probe, inputs: { text: in.txt, also: out/other } }"
expect 0 fm run m.yaml
echo ok
