# Standard streams that are closed or full: what could not be printed is said, no file gets it instead.
. "$2/tests/e2e/e2e_lib.sh"
all=$BIN
probe_programs
echo text >in.txt
cat >m.yaml <<'X'
fmforge: 1
name: m
stages:
  one: { run: probe, inputs: { text: in.txt } }
deliver: { one.text: made.txt }
X

# unsaid TEXT STREAM COMMAND...: it ends with 1, since its standard output is STREAM.
unsaid() {
    local text=$1 to=$2 rc
    shift 2
    if [ "$to" = closed ]; then "$@" >&- 2>stderr.txt; else "$@" >"$to" 2>stderr.txt; fi
    rc=$?
    [ "$rc" -eq 1 ] || { cat stderr.txt >&2; die "$*, $to: exit $rc, expected 1"; }
    has stderr.txt "$text"
}

# A run without stderr, then without all three: nothing is in a file of the store that should be empty.
fm run m.yaml >stdout.txt 2>&- || die "a run without stderr: exit $?"
[ -z "$(find .fmforge/locks .fmforge/owed -type f -size +0)" ] || die "a lock has text"
cmp -s in.txt out/m/made.txt || die "another delivery"
echo more >>in.txt
fm run m.yaml <&- >&- 2>&-
[ $? -eq 1 ] || die "a run that could print nothing is content"
[ -z "$(find .fmforge/locks .fmforge/owed -type f -size +0)" ] || die "a lock has text"
cmp -s in.txt out/m/made.txt || die "another delivery"
expect 0 fm verify
settle m.yaml

# Short text, and more than a buffer of it.
cat >many.yaml <<X
fmforge: 1
name: many
matrix: { n: [$(seq -s , 120)] }
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { n: \$n } }
deliver: { one.text: made.txt }
X
expect 0 fm run many.yaml
settle many.yaml
[ "$(wc -c <stdout.txt)" -gt 4096 ] || die "many.yaml prints little"
[ "$("$all/stage-train" --describe | wc -c)" -gt 4096 ] || die "stage-train prints little"
# The line of progress is no wider than a narrow terminal.
if command -v script >/dev/null && command -v stty >/dev/null; then
    sed 's|in.txt }|in.txt }, with: { does: steps, n: 14 }|' m.yaml >slow.yaml
    script -qec "stty cols 15; '$BIN/fmforge' run slow.yaml" narrow.txt >stdout.txt </dev/null ||
        die "a run in a narrow terminal: exit $?"
    tr '\r' '\n' <narrow.txt | grep "$(printf '\033')\\[K\$" | sed "s/$(printf '\033')\\[K//" >lines.txt
    [ -s lines.txt ] || die "no line of progress"
    ! grep -E '.{15}' lines.txt || die "it is wider than the terminal"
fi
streams=(closed)
[ ! -c /dev/full ] || streams+=(/dev/full)
for to in "${streams[@]}"; do
    for command in --help 'plan m.yaml' 'run m.yaml' 'run m.yaml --record' log 'cat --help' 'run many.yaml' \
        'plan many.yaml'; do
        # shellcheck disable=SC2086
        unsaid 'standard output cannot be written' "$to" fm $command
    done
    unsaid 'cannot write to standard output' "$to" "$BIN/stage-probe" --describe
    unsaid 'cannot write to standard output' "$to" "$all/stage-train" --describe
    unsaid 'standard output cannot be written' "$to" "$BIN/fmforge-ledger" --help
done
echo ok
