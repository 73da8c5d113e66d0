# diff names what differs between two recorded runs and nothing else; graph draws what is made from what.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
expect 0 fm graph task.yaml
[ ! -e .fmforge ] || die "graph made a store"
grep -q '"adapter\[toolkit=tiny-0.1\]".*#fff2cc' stdout.txt || die "a stage that would run is not yellow"
expect 0 fm run task.yaml
# graph: every stage, source and delivery once; each input an edge that names its port.
expect 0 fm graph task.yaml
[ "$(grep -c 'shape=box' stdout.txt)" = 4 ] || die "not four stages"
[ "$(grep -c '#d9ead3' stdout.txt)" = 4 ] || die "not four cached stages"
has stdout.txt '"source data/rows.jsonl" -> "data[toolkit=tiny-0.1]" [label="raw"];'
has stdout.txt '"data[toolkit=tiny-0.1]" -> "adapter[toolkit=tiny-0.1]" [label="train"];'
has stdout.txt '"quality[toolkit=tiny-0.1]" -> "package[toolkit=tiny-0.1]" [label="", style=dashed];'
has stdout.txt 'shape=folder'
if command -v dot >/dev/null; then dot -Tsvg stdout.txt >graph.svg || die "dot does not read it"; fi
expect 0 fm graph task.yaml --json
[ "$(grep -c '"type": "source"' stdout.txt)" = 7 ] || die "not seven sources"
expect 2 fm graph
expect 2 fm graph none.yaml
expect 0 fm graph --help

# diff: misuse.
expect 2 fm diff last
expect 2 fm diff last nonsense
expect 1 fm diff last last~1
has stderr.txt 'last~1: there is 1 run only'
expect 1 fm diff last last --home none
[ ! -e none ] || die "diff made a store"
expect 2 fm diff last 'last~x'
expect 1 fm diff last abcdef0123456
mkdir newer && echo 'fmforge store 9' >newer/version
expect 2 fm diff last last --home newer
expect 0 fm diff --help
expect 0 fm diff last last
has stdout.txt 'the same in 4 stages'

# One parameter of one stage: that, and what came of it.
sed -i 's/epochs: 2/epochs: 3/' task.yaml
expect 0 fm run task.yaml
expect 0 fm diff last~1 last
grep -Eq '^  config.epochs +2 -> 3$' stdout.txt || die "the parameter is not named"
grep -Eq '^  metric valid_loss .* -> .*\(-' stdout.txt || die "the loss is not compared"
grep -Eq '^  inputs.adapter .*adapter\[toolkit=tiny-0.1\].checkpoint' stdout.txt || die "the input is not named"
grep -q '^data' stdout.txt && die "a stage that is the same is listed"
has stdout.txt '3 of 4 stages differ'
# log shows a run whole: inputs, outputs, config, metrics.
expect 0 fm log --run last
for line in 'config  .*epochs 3,.*rank 8' 'metrics .*valid_loss [0-9.]*' '<- train  .*data\[toolkit=tiny-0.1\].train' '-> checkpoint [0-9a-f]{64}'; do
    grep -Eq -- "^    $line" stdout.txt || die "log does not show $line: $(cat stdout.txt)"
done
expect 0 fm log --run last --json
has stdout.txt '"epochs": 3'
has stdout.txt '"valid_loss": '
old=$(fm log --run last~1 | sed -n '1s/^run \([0-9a-f]*\) .*/\1/p')
expect 0 fm diff "$old" last --json
cp stdout.txt by_id.json
expect 0 fm diff last~1 last --json
cmp -s stdout.txt by_id.json || die "an id and last~1 are not the same"
has stdout.txt '"field": "config.epochs"'
has stdout.txt '"status": "same"'

# A row less, a gate that fails, a stage of another name; and back again the other way round.
sed -i 1d data/rows.jsonl
sed -i 's/rows >= 4/rows >= 400/' task.yaml
expect 3 fm run task.yaml
expect 0 fm diff last~1 last
has stdout.txt 'inputs.raw'
grep -Eq '^  status +"?made"? -> "?blocked"?' stdout.txt || die "the blocked package is not named"
grep -q 'gate of quality.*rows >= 400  - -> 4 fails' stdout.txt || die "the gate is not compared"
has stdout.txt '"ok" -> "gates"'
sed -i 's/rows >= 400/rows >= 4/; s/^  data:/  rows:/; s/data\.train/rows.train/; s/data\.valid/rows.valid/' task.yaml
expect 0 fm run task.yaml --set vars.seed=6
expect 0 fm diff last~1 last
has stdout.txt 'rows[toolkit=tiny-0.1]: in the new run only'
has stdout.txt 'data[toolkit=tiny-0.1]: in the old run only'
has stdout.txt '["vars.seed=6"]'

# Metrics that the store has lost are said to be gone, not taken for the same.
find .fmforge/actions .fmforge/logs -type f -exec touch -d '1 hour ago' {} +
expect 0 fm run task.yaml --set vars.seed=7
expect 0 fm gc --keep 1 --delete
expect 0 fm diff last~1 last
has stdout.txt 'does not have the metrics of both runs any more'
expect 0 fm diff last~1 last --json
has stdout.txt '"metrics_gone": true'
echo ok
