# How likely eval finds the expected answers is the held-out loss of the training on the same rows.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
head -n 12 data/rows.jsonl >valid.jsonl
tail -n +13 data/rows.jsonl >rows.jsonl
cat >task.yaml <<'EOF'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
stages:
  data:
    run: prep
    inputs: { raw: rows.jsonl, valid: valid.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_length: 128, pack: false }
  adapter:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base }
    with: { epochs: 4, rank: 8, batch_size: 4, learning_rate: 3e-3, keep: last }
  quality:
    run: eval
    inputs: { golden: valid.jsonl, adapter: adapter.checkpoint, base: toolkit.base,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 4 }
EOF
expect 0 fm run task.yaml
fetch "$(artifact adapter/metrics)" train.json
fetch "$(artifact quality/metrics)" eval.json
loss=$(metric valid_loss train.json)
likely=$(metric expected_token_probability eval.json)
# Between the two lies the rounding of the adapter to fp16.
awk -v a="$loss" -v b="$likely" 'BEGIN { d = a + log(b); exit !(a > 0.1 && d < 2e-3 && d > -2e-3) }' ||
    die "held-out loss $loss, but the probability of an expected token is $likely"
echo ok
