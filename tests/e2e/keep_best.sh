# keep: best looks at the adapter that the training began with, too: one that nothing improves is kept
# and the stage says so.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
cat >task.yaml <<'EOF'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
stages:
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_length: 128, pack: false, valid_fraction: 0.3 }
  good:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base }
    with: { epochs: 4, rank: 8, batch_size: 4, learning_rate: 3e-3 }
  spoiled:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base, init: good.checkpoint }
    with: { epochs: 2, rank: 8, batch_size: 4, learning_rate: 0.5, clip: 0 }
  kept:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base, init: good.checkpoint }
    with: { epochs: 2, rank: 8, batch_size: 4, learning_rate: 0.5, clip: 0, keep: last }
EOF
expect 0 fm run task.yaml
has stderr.txt '  train: warning: keep: best: the held-out loss was never below the '
has reports/tiny_task/index.html '</a> valid: the held-out loss was never below that before the first step'
has stderr.txt '  train: warning: keep: last: the held-out loss ended at '
has reports/tiny_task/index.html '</a> valid: the held-out loss ended above that before the first step, and keep is last'
[ "$(grep -c 'warning: keep:' stderr.txt)" = 2 ] || die "it warns of the good one: $(cat stderr.txt)"
fetch "$(artifact good/metrics)" good.json
fetch "$(artifact spoiled/metrics)" spoiled.json
[ "$(metric best_step good.json)" -gt 0 ] || die "nothing was learned"
[ "$(metric best_step spoiled.json)" -eq 0 ] || die "a spoiled adapter was kept"
[ "$(metric valid_loss spoiled.json)" = "$(metric valid_loss_before spoiled.json)" ] || die "another loss"
awk -v a="$(metric valid_loss spoiled.json)" -v b="$(metric valid_loss_last spoiled.json)" \
    'BEGIN { exit !(b > a + 0.01) }' || die "the rate did not spoil it: this tests nothing"
[ "$(artifact spoiled/checkpoint)" = "$(artifact good/checkpoint)" ] || die "not the bytes it began with"
echo ok
