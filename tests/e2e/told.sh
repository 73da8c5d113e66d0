# The page says what the last run's exit status said, also of a run that made nothing: one that is judged
# otherwise than the run before is recorded, one that failed or was interrupted draws its page alone.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/gates: .*/gates: [ "rows >= 4", "leaf_f1 drop <= 0.01" ]/' task.yaml
page=reports/tiny_task/index.html
baseline='golden/baselines/tiny_task/quality[toolkit=tiny-0.1].json'
badge() { sed -n 's|^<span class="badge [a-z]*">\([^<]*\)</span></div>$|\1|p' $page; }
commits() { git -C .fmforge/ledger.git rev-list --count refs/prov/tiny_task; }
# says STATUS BADGE COMMITS: what a run exits with, what its page says, how many runs are recorded then.
says() {
    expect "$1" fm run "${4:-task.yaml}"
    [ "$(badge)" = "$2" ] || { cat stdout.txt stderr.txt >&2; die "the page says \"$(badge)\", expected \"$2\""; }
    [ "$(commits)" = "$3" ] || die "$(commits) runs are recorded, expected $3"
}
says 0 ok 1
expect 0 fm accept last --name tiny_task
says 0 ok 2 # it is compared with a baseline now
has stdout.txt 'nothing to do'
has stdout.txt 'recorded as'
has $page '<td class="short good">holds</td>'
says 0 ok 2
settle task.yaml

# The baseline becomes another while nothing has to be made.
cp "$baseline" good.json
sed 's/leaf_f1/other_f1/' good.json >"$baseline"
says 3 'a gate does not hold' 3
has stdout.txt "report $page"
has $page 'the baseline has no metric `leaf_f1`'
[ "$(git -C .fmforge/ledger.git show refs/prov/tiny_task:run.json | grep -c '"status": "gates"')" = 1 ] || die "the record says something else"
says 3 'a gate does not hold' 3 # it has been said
cp good.json "$baseline"
says 0 ok 4
settle task.yaml
[ "$(badge)" = ok ] || die "a run with nothing to do changed the page"

# The gate becomes another.
sed 's/rows >= 4/rows >= 5/' task.yaml >more.yaml
# It can be judged before the run: plan and why say what will be held back, and why.
expect 0 fm plan more.yaml
has stdout.txt 'gate quality[toolkit=tiny-0.1]: rows >= 5: found 4 against 5, does not hold'
grep -q '^held    package\[toolkit=tiny-0.1\]  *a gate of quality\[toolkit=tiny-0.1\] does not hold$' stdout.txt || die "plan: $(cat stdout.txt)"
has stdout.txt '0 of 4 stages would run, 1 would be held back by a gate'
expect 0 fm why package more.yaml
has stdout.txt 'package[toolkit=tiny-0.1]: held back: a gate of quality[toolkit=tiny-0.1] does not hold'
has stdout.txt 'gate quality[toolkit=tiny-0.1]: rows >= 5: found 4 against 5, does not hold'
expect 0 fm why quality more.yaml
has stdout.txt '  gate rows >= 5: found 4 against 5, does not hold'
has stdout.txt '  gate leaf_f1 drop <= 0.01: found 0'
if command -v python3 >/dev/null; then
    for command in plan 'why package' 'why quality'; do
        expect 0 fm $command more.yaml --json
        python3 "$ROOT/tests/e2e/json_check.py" "$ROOT/pipeline/schema/${command%% *}.schema.json" stdout.txt >problems.txt ||
            die "$command --json: $(cat problems.txt)"
    done
fi
# What would run and is held back is not counted, and costs nothing.
sed 's/name: $name }/name: $name, author: "Ann" }/' more.yaml >both.yaml
expect 0 fm plan both.yaml
has stdout.txt '0 of 4 stages would run, 1 would be held back by a gate'
expect 0 fm why package both.yaml
has stdout.txt '  without that package[toolkit=tiny-0.1]: runs: config.author "" -> "Ann"'
expect 0 fm plan task.yaml
! grep -q held stdout.txt || die "plan holds something back: $(cat stdout.txt)"
says 3 'a gate does not hold' 5 more.yaml
expect 0 fm log --run last
has stdout.txt '    gate rows >= 5: found 4 against 5, does not hold'
says 0 ok 6

# A run that fails before any stage ends is in no commit, and its page says why it failed.
sed 's/max_length: 128/max_length: 16/' task.yaml >fails.yaml
says 1 failed 6 fails.yaml
has stdout.txt "report $page"
has $page '<div><dt>ledger commit</dt><dd class="warn">none: nothing was made</dd></div>'
sed -n '/^<body>/,/<main>/p' $page | grep -q '<li class="bad"><a href="#stages">data\[toolkit=tiny-0.1\]</a> stage-prep exited with status 1' ||
    die "the page does not say why"
tail -n 1 .fmforge/runs.log | grep -q '"failed"' || die "the run is not in runs.log"
says 1 failed 6 fails.yaml
expect 1 fm run fails.yaml --json
has stdout.txt '"commit": null'
has stdout.txt "\"report\": \"$page\""
expect 0 fm report tiny_task # of what is recorded
[ "$(badge)" = ok ] || die "report does not draw the recorded run"
says 1 failed 6 fails.yaml
says 0 ok 7 # nothing to do, and the page does not keep the failure
says 0 ok 7
settle task.yaml

# The same of one that is interrupted; a memory that is gone or damaged costs nothing.
sed 's/epochs: 2/epochs: 5000, checkpoint_every: 1/' task.yaml >long.yaml
interrupt_training .fmforge long.yaml
[ "$(badge)" = interrupted ] || die "the page says \"$(badge)\" of an interrupted run"
says 0 ok 8
for last in '{}' '[' '{"schema":1,"told":"x"}'; do
    printf %s "$last" >.fmforge/last/tiny_task.json
    says 0 ok 8
done
rm .fmforge/last/tiny_task.json
says 0 ok 8
says 3 'a gate does not hold' 9 more.yaml
rm .fmforge/last/tiny_task.json
says 3 'a gate does not hold' 10 more.yaml # it cannot know whether it was told
expect 0 fm verify
echo ok
