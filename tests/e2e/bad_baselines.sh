# Baselines that do not fit: another metric, another set, another manifest, damaged. A drop gate and the
# nightly say what is wrong and what to do, on the terminal and in the page.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/gates: .*/gates: [ "leaf_f1 drop <= 0.01" ]/' task.yaml
mkdir nightly
cp task.yaml nightly
stage='quality[toolkit=tiny-0.1]'
baseline="golden/baselines/tiny_task/$stage.json"

# says STATUS TEXT: what run says in the gate's line and in its page, and what the nightly says in both.
n=0
says() {
    n=$((n + 1))
    rm -rf reports
    expect "$1" fm run task.yaml --record
    has stdout.txt "($2"
    expect "$1" fm nightly nightly --date "2026-01-0$n"
    has reports/tiny_task/index.html "$2"
    has "reports/nightly/2026-01-0$n/index.html" "$2"
    has "reports/nightly/2026-01-0$n/junit.xml" "$2"
    [ "$1" -eq 0 ] || has stdout.txt "tiny_task: $stage: gate leaf_f1 drop <= 0.01: $2"
}
says 0 'no baseline yet: fmforge accept RUN makes one'
has stdout.txt "tiny_task: $stage: not compared: no baseline yet"

expect 0 fm accept last --name tiny_task
has "$baseline" '"manifest": "tiny_task"'
cp "$baseline" good.json
expect 0 fm run task.yaml
has stdout.txt 'holds'

sed 's/leaf_f1/laef_f1/' good.json >"$baseline"
says 3 "$baseline: the baseline has no metric \`leaf_f1\`: name another, or remove the baseline and accept a run; there are "
has stdout.txt 'json_valid, laef_f1; did you mean `laef_f1`?'
has stdout.txt "tiny_task: $stage: laef_f1 was 0 and is not there any more"

# In percent, by hand: refused where the run has a share; 0 may be a count, and is said.
share='"expected_token_probability": '
sed "s/$share[0-9.]*/${share}55/" good.json >"$baseline"
expect 0 fm run task.yaml --record
expect 1 fm nightly nightly --date 2026-02-01
percent="$baseline: metrics: \"expected_token_probability\" is 55, and 0.00"
has stdout.txt "error       nightly/task.yaml: $percent"
has stdout.txt 'in this run: expected a share from 0 to 1, where 0.5 is 50 %: put it back with git'
has reports/nightly/2026-02-01/index.html 'expected a share from 0 to 1'
sed 's/leaf_f1 drop <= 0.01/expected_token_probability drop <= 0.01/' task.yaml >percent.yaml
expect 3 fm run percent.yaml
has stdout.txt "was 55        FAILS ($percent"
sed 's/"colour_match": 0/"colour_match": 40/' good.json >"$baseline"
expect 0 fm nightly nightly --date 2026-02-01
has stdout.txt "tiny_task: $stage: colour_match is 0 and was 40 ($baseline): shown, not compared: a share goes from 0 to 1"
sed 's/leaf_f1 drop <= 0.01/laef_f1 >= 0/' task.yaml >mistyped.yaml
expect 3 fm run mistyped.yaml
has stdout.txt 'FAILS (there is no metric `laef_f1`; there are colour_match, '
has stdout.txt 'leaf_f1, rows; did you mean `leaf_f1`?)'

sed 's/"golden": "......../"golden": "00000000/' good.json >"$baseline"
says 0 'its baseline was accepted on another golden set: fmforge accept RUN'
has stdout.txt "tiny_task: $stage: not compared: its baseline was accepted on another golden set"

# One that is copied from another manifest or instance, where the golden set may be the same.
sed 's/"manifest": "tiny_task"/"manifest": "other"/' good.json >"$baseline"
says 3 "its baseline cannot be read: $baseline: a baseline of the manifest other, not of tiny_task"
has stdout.txt 'error       nightly/task.yaml'
sed 's/"instance": "quality/"instance": "bare/' good.json >"$baseline"
says 3 "its baseline cannot be read: $baseline: a baseline of the instance bare[toolkit=tiny-0.1], not of $stage"
grep -v '"manifest"\|"instance"' good.json >"$baseline" # of an earlier version
expect 0 fm run task.yaml
has stdout.txt 'holds'

head -c 150 good.json >"$baseline"
says 3 "its baseline cannot be read: $baseline: "
: >"$baseline"
says 3 "its baseline cannot be read: $baseline: 1:1: expected a JSON value"
has stdout.txt 'put it back with git, or remove it and accept a run'
sed 's/"leaf_f1": 0/"leaf_f1": "high"/' good.json >"$baseline"
expect 3 fm run task.yaml
has stdout.txt 'metrics: "leaf_f1" is no number'

# What it says to do works.
rm "$baseline"
expect 0 fm run task.yaml --record
expect 0 fm accept last --name tiny_task
cmp <(grep -v '"[0-9a-f]*"$' good.json) <(grep -v '"[0-9a-f]*"$' "$baseline") || die "another baseline"
expect 0 fm run task.yaml
has stdout.txt 'holds'

# A run with nothing to do prints the same, and sees that a baseline is another, or none.
settle task.yaml
has stdout.txt 'holds'
sed 's/"leaf_f1": 0/"leaf_f1": 9/' "$baseline" >high.json
cp "$baseline" good.json
cp high.json "$baseline"
expect 3 fm run task.yaml
has stdout.txt 'FAILS'
cp good.json "$baseline"
settle task.yaml
rm "$baseline"
expect 0 fm run task.yaml
has stdout.txt 'no baseline'
settle task.yaml
cp high.json "$baseline"
expect 3 fm run task.yaml
echo ok
