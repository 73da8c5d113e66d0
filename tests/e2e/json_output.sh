# What every command prints with --json, and every event of a run, fits its schema in pipeline/schema/.
. "$2/tests/e2e/e2e_lib.sh"
command -v python3 >/dev/null || skip "there is no python3"
SCHEMA=$ROOT/pipeline/schema
CHECK=$ROOT/tests/e2e/json_check.py
: >checked.txt

# The checker says what the official tests say.
SUITE=$ROOT/../shared/data/json_schema/draft7
if [ -d "$SUITE" ]; then
    python3 "$CHECK" --suite "$SUITE" additionalItems.json additionalProperties.json allOf.json anyOf.json const.json \
        enum.json exclusiveMaximum.json exclusiveMinimum.json if-then-else.json items.json maxItems.json \
        maximum.json minItems.json minLength.json minProperties.json minimum.json not.json oneOf.json pattern.json \
        patternProperties.json properties.json propertyNames.json required.json type.json uniqueItems.json >suite.txt ||
        die "the checker is wrong: $(cat suite.txt)"
fi
echo '{"schema": "fmforge.pin/1", "commit": 1}' | python3 "$CHECK" "$SCHEMA/pin.schema.json" >bad.txt && die "it takes anything"
has bad.txt '/commit: expected string, found 1'
has bad.txt 'pinned is missing'
echo '{"unheard": 1}' >unheard.schema.json
echo 1 | python3 "$CHECK" unheard.schema.json 2>bad.txt
[ $? = 2 ] || die "a word that is not known is passed over"

fits() { # STATUS SCHEMA COMMAND...: exit status, and what it prints fits
    local status=$1 name=$2
    shift 2
    expect "$status" fm "$@" --json
    python3 "$CHECK" "$SCHEMA/$name.schema.json" stdout.txt >problems.txt || die "$*: $(head -n 5 problems.txt)"
    [ "$name" != inspect ] && ! grep -q "\"fmforge.$name/1\"" stdout.txt && die "$*: it does not name its schema"
    echo "$1" >>checked.txt
    echo "$name" >>schemas.txt
}
stream() { # FILE: every line is an event, numbered from 1 within a run
    python3 "$CHECK" --lines "$SCHEMA/event.schema.json" "$1" >problems.txt || die "$1: $(head -n 5 problems.txt)"
    sed 's/.*"event":"\([a-z_]*\)".*/\1/' "$1" | sort -u >>events.txt
}
events_are() { # FILE NAMES...: these, in this order, without those of progress
    local file=$1 found
    shift
    found=$(sed 's/.*"event":"\([a-z_]*\)".*/\1/' "$file" | grep -v stage_progress | tr '\n' ' ')
    [ "$found" = "$* " ] || die "$file has $found"
}

tiny_toolkit
fits 0 plan plan task.yaml
fits 0 why why package task.yaml
[ ! -e .fmforge ] || die "plan or why made a store"
fits 0 run run task.yaml --events first.jsonl
stream first.jsonl
events_are first.jsonl run_started stage_planned stage_planned stage_planned stage_planned \
    stage_started stage_finished stage_started stage_finished stage_started stage_finished gate \
    stage_started stage_finished delivered run_recorded run_finished
grep '"stage_finished"' first.jsonl | grep '"run":"eval"' | grep -q '"metrics":{"colour_match"' || die "no metrics"
[ "$(grep -c '"peak_bytes":[1-9]' first.jsonl)" = 4 ] || die "a finished stage has no peak memory"
commit=$(git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task)
has first.jsonl "\"commit\":\"$commit\",\"event\":\"run_recorded\""

# Appended to; on standard output nothing else; a file that cannot be, or two things on stdout, are refused.
cp first.jsonl both.jsonl
expect 0 fm run task.yaml --events both.jsonl
tail -n +$(($(wc -l <first.jsonl) + 1)) both.jsonl >second.jsonl
stream second.jsonl
events_are second.jsonl run_started stage_planned stage_planned stage_planned stage_planned \
    stage_cached stage_cached stage_cached gate stage_cached delivered run_recorded run_finished
expect 0 fm run task.yaml --events - --record
cp stdout.txt dash.jsonl
stream dash.jsonl
has stderr.txt 'tiny_task: recorded as'
expect 2 fm run task.yaml --events - --json
has stderr.txt 'both print on standard output'
expect 2 fm run task.yaml --events absent/events.jsonl
has stderr.txt 'expected a file or a named pipe'
[ "$(fm log | wc -l)" = 3 ] || die "a refused run was recorded"

# Whoever reads slowly, leaves or never comes: the run is what it would have been.
mkfifo pipe
fm run task.yaml --events - --set vars.seed=6 2>left.txt | head -n 1 >left.jsonl
[ "${PIPESTATUS[0]}" = 0 ] || die "a reader that left failed the run"
has left.txt 'events: not all of them were taken: standard output: its reader is gone'
has left.txt 'tiny_task: recorded as'
expect 0 fm run task.yaml --events pipe --set vars.seed=7
(exec 3<pipe; sleep 4) & sleep 0.2
expect 0 fm run task.yaml --events pipe --set vars.seed=8
wait
if [ -e /dev/full ]; then
    expect 0 fm run task.yaml --events /dev/full
    has stderr.txt 'No space left'
fi

# What goes wrong is told, too.
sed 's/rows >= 4/rows >= 400/' task.yaml >gate.yaml
fits 3 run run gate.yaml --events gate.jsonl
stream gate.jsonl
has gate.jsonl '"event":"stage_blocked"'
has gate.jsonl '"exit":3'
fits 0 why why adapter task.yaml --set vars.seed=9
fits 0 why why package task.yaml --set vars.seed=9
has stdout.txt '"why": "config.seed 5 -> 9"' # of the stage that it waits for in the end
cp data/rows.jsonl kept.jsonl
echo '[{"role": "user"' >>data/rows.jsonl
fits 1 run run task.yaml --events failed.jsonl
stream failed.jsonl
has failed.jsonl '"event":"stage_failed"'
fits 0 why why data task.yaml
has stdout.txt '"failed": {'
cp kept.jsonl data/rows.jsonl
sed 's/^fmforge: 1/&\nskip_without: [absent.jsonl]/' task.yaml >skip.yaml
for command in run plan 'why data' graph; do fits 0 skipped ${command%% *} ${command#"${command%% *}"} skip.yaml; done
fm run skip.yaml --events skip.jsonl >/dev/null || die "a skipped run fails"
stream skip.jsonl
fm run absent.yaml --events error.jsonl 2>/dev/null && die "an absent manifest runs"
stream error.jsonl
events_are error.jsonl run_finished
sed -i 's/epochs: 2/epochs: 1/' task.yaml
mkdir blocked
echo >blocked/out
fm run task.yaml --out blocked/out --events refused.jsonl 2>/dev/null && die "it runs for a delivery that cannot be"
stream refused.jsonl
events_are refused.jsonl run_started stage_planned stage_planned stage_planned stage_planned run_finished
expect 0 fm run task.yaml
fits 1 run run task.yaml --out blocked/out --events delivery.jsonl
stream delivery.jsonl
has delivery.jsonl '"event":"delivery_failed"'

# Every other command.
fits 0 run run task.yaml
fits 0 log log
fits 0 run log --run last
fits 0 log log nothing_of_this_name
fits 0 diff diff last~1 last
fits 0 diff diff last last
fits 0 graph graph task.yaml
fits 0 report report
fits 0 accept accept last
fits 0 verify verify
fits 0 audit audit "$PACKAGE"
echo unheard >unheard.txt
fits 4 audit audit unheard.txt
fits 0 audit audit data/rows.jsonl
fits 0 gc gc
fits 0 gc gc --keep 1 --budget 1G --delete
fits 0 pin gc --pin last
fits 0 pin gc --unpin last
fits 0 reproduce reproduce last
fits 0 inspect inspect "$PACKAGE"
fits 0 inspect inspect tiny-0.1
mkdir nightly && sed 's/^name: .*/name: tiny_night/; s/rows >= 4"/rows >= 4", "exact_match drop <= 0.1"/' task.yaml >nightly/task.yaml
cp skip.yaml nightly/
fits 0 nightly nightly nightly
cp nightly/task.yaml nightly/broken.yaml && sed -i 's/epochs/epoch/' nightly/broken.yaml
fits 1 nightly nightly nightly
flip_bit "$PACKAGE/adapter_weights.bin" 5000
fits 1 audit audit "$PACKAGE"
chmod u+w -R .fmforge
object=$(find .fmforge/objects -name '*.zst' | sort | head -n 1)
flip_bit "$object" 20
fits 1 verify verify

# Nothing was forgotten: every command that --help lists, every schema, every event.
fm --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort -u >commands.txt
sort -u checked.txt >done.txt
# bom and card have the forms of others (exports.sh); cat prints the bytes of an object.
sed -i -E "/^(bom|card|cat)$/d" commands.txt
[ -z "$(comm -23 commands.txt done.txt)" ] || die "without a schema: $(comm -23 commands.txt done.txt | tr '\n' ' ')"
find "$SCHEMA" -name '*.schema.json' -printf '%f\n' | sed 's/\.schema\.json//' | grep -vxE 'common|event' | sort >files.txt
sort -u schemas.txt >used.txt
[ -z "$(comm -23 files.txt used.txt)" ] || die "no command prints $(comm -23 files.txt used.txt | tr '\n' ' ')"
grep -o '"const": "[a-z_]*"$' "$SCHEMA/event.schema.json" | cut -d'"' -f4 | sort >names.txt
missing=$(sort -u events.txt | comm -23 names.txt - | grep -vxE 'lost|stage_retried|stage_progress' | tr '\n' ' ')
[ -z "$missing" ] || die "no run has told $missing" # limits.sh retries; a unit test loses
echo ok
