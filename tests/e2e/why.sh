# why: before a run and after it, of what would run and of what is there: the first field that differs, old and
# new, the way it came, what it costs; which run made a result, and why it ran then.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
newest() { git -C .fmforge/ledger.git rev-parse "refs/prov/tiny_task${1:-}"; }
says() { # STAGE LINE...: each is a whole line of what why says, as a pattern of grep -E
    local stage=$1
    shift
    expect 0 fm why "$stage" task.yaml
    for line in "$@"; do
        grep -qE -- "^$line\$" stdout.txt || die "why $stage does not say \"$line\": $(cat stdout.txt)"
    done
}
ID='[0-9a-f]+'
TIME='[0-9-]{10} [0-9:]{8} UTC'

# Never made: the stage itself, and one that waits for it through another.
says data 'data\[toolkit=tiny-0.1\]: runs: never made here' "  key $ID" '  time unknown; with the 3 after it that would run: 4 of unknown time' \
    "  input raw: data/rows.jsonl $ID"
says package 'package\[toolkit=tiny-0.1\]: runs: input adapter comes from adapter\[toolkit=tiny-0.1\], which runs' \
    '  adapter\[toolkit=tiny-0.1\]: runs: input train comes from data\[toolkit=tiny-0.1\], which runs' \
    '  data\[toolkit=tiny-0.1\]: runs: never made here' '  time unknown'
[ ! -e .fmforge ] || die "why made a store"

# There: which run made it, when, from what.
expect 0 fm run task.yaml
first=$(newest)
says adapter 'adapter\[toolkit=tiny-0.1\]: does not run: same recipe, its result is there' "  key $ID" \
    "  made $TIME in [0-9.]+ m?s by run ${first:0:12} of tiny_task: never made here" \
    "  input train: data\[toolkit=tiny-0.1\].train $ID" "  input base: tiny-0.1/base $ID"

# A parameter: before the run the difference and the cost, after it the same as what made the result.
sed -i 's/epochs: 2/epochs: 3/' task.yaml
says adapter 'adapter\[toolkit=tiny-0.1\]: runs: config.epochs 2 -> 3' '  config.epochs: 2 -> 3' \
    '  took [0-9.]+ m?s; with the 2 after it that would run: [0-9.]+ m?s'
says quality '  adapter\[toolkit=tiny-0.1\]: runs: config.epochs 2 -> 3' '  took [0-9.]+ m?s; with the 1 after it that would run: .*'
expect 0 fm run task.yaml
second=$(newest)
says adapter "  made $TIME in [0-9.]+ m?s by run ${second:0:12} of tiny_task: config.epochs 2 -> 3" \
    "  since run ${first:0:12}:" '  config.epochs: 2 -> 3'
says package "  inputs.adapter: \"$ID\" -> \"$ID\"  through adapter\[toolkit=tiny-0.1\].checkpoint"
says data "  made $TIME in [0-9.]+ m?s by run ${first:0:12} of tiny_task: never made here"

# Runs that reuse it do not claim it; what was made before is there again, with the run of then.
expect 0 fm run task.yaml --record
expect 0 fm run task.yaml --record
says adapter "  made $TIME in .* by run ${second:0:12} of tiny_task: .*"
sed -i 's/epochs: 3/epochs: 2/' task.yaml
says adapter 'adapter\[toolkit=tiny-0.1\]: does not run: same recipe, its result is there' \
    "  made $TIME in .* by run ${first:0:12} of tiny_task: never made here" '  since its newest run:' '  config.epochs: 3 -> 2'

# An input, a signature: through which file or facet.
cp data/rows.jsonl rows.saved
sed -i 1d data/rows.jsonl
says data "data\[toolkit=tiny-0.1\]: runs: inputs.raw \"$ID..\" -> \"$ID..\" \(data/rows.jsonl\)" \
    "  inputs.raw: \"$ID\" -> \"$ID\"  through data/rows.jsonl"
cp rows.saved data/rows.jsonl
sed -i "s/^signature: .*/signature: $(printf '%040d' 7)/" tiny-0.1/toolkit.yaml
says package "  inputs.signature: \"$ID\" -> \"$ID\"  through tiny-0.1/signature"
says adapter 'adapter\[toolkit=tiny-0.1\]: does not run: .*'

# Two causes at once: what waits for another and has one of its own says both, so that it is known to run.
sed -i 1d data/rows.jsonl
sed 's/epochs: 2/epochs: 6/' task.yaml >both.yaml
expect 0 fm plan both.yaml
grep -qE '^run     adapter\[toolkit=tiny-0.1\]  *config.epochs 3 -> 6, and input train comes from data\[toolkit=tiny-0.1\], which runs; took' stdout.txt ||
    die "plan says of two causes: $(cat stdout.txt)"
cp rows.saved data/rows.jsonl

# A run that made it and lost its record: the next one that has it says so.
sed -i 's/epochs: 2/epochs: 4/' task.yaml
cp -r .fmforge/ledger.git ledger.saved
expect 0 fm run task.yaml
chmod -R u+w .fmforge ledger.saved
rm -rf .fmforge/ledger.git && mv ledger.saved .fmforge/ledger.git
says adapter "  made $TIME in .* by a run of tiny_task that is not in the ledger"
expect 0 fm run task.yaml --record
says adapter "  made $TIME in .* by run $(newest | cut -c1-12) of tiny_task: same recipe, its result is there" \
    "  since run $(newest '^' | cut -c1-12):" '  config.epochs: [23] -> 4'

# A failure, a stage that is not there, and a result that is gone.
echo '[{"role": "user"' >>data/rows.jsonl
expect 1 fm run task.yaml
says data '  its last attempt failed: .*rows.jsonl.*'
expect 2 fm why nothing task.yaml
has stderr.txt 'task.yaml has no stage `nothing`'
cp rows.saved data/rows.jsonl
rm -rf .fmforge/actions
says data 'data\[toolkit=tiny-0.1\]: runs: same recipe, but its result is gone'
echo ok
