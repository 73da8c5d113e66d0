# From a dense base to its tiers: plain rounding, the principal part in an adapter, recovery from
# there; perplexity sees them all; a task from an adapter says how much sooner it is there.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab pretrain pissa recover perplexity sample draft train prep
tiny_files
cat >tiers.yaml <<'EOF'
fmforge: 1
name: tiny_task
stages:
  vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 400 } }
  dense:
    run: pretrain
    inputs: { text: data/text.txt, valid: data/text.txt, tokenizer: vocab.tokenizer, shape: data/shape.json }
    with: { tokens: 20000, qat_tokens: 0, batch_tokens: 512, sequence_length: 64, valid_tokens: 1024, evaluations: 2 }
  more:
    run: pretrain
    inputs: { init: dense.dense, text: data/text.txt, valid: data/text.txt, tokenizer: vocab.tokenizer, shape: data/shape.json }
    with: { tokens: 0, qat_tokens: 10000, batch_tokens: 512, sequence_length: 64, valid_tokens: 1024, evaluations: 2 }
  principal: { run: pissa, inputs: { base: dense.dense }, with: { rank: 8, alpha: 24 } }
  rounded:
    run: pretrain
    inputs: { init: principal.base, adapter: principal.adapter, text: data/text.txt, tokenizer: vocab.tokenizer, shape: data/shape.json }
    with: { tokens: 0, qat_tokens: 0, sequence_length: 64, valid_tokens: 1024 }
  recovery:
    run: recover
    inputs: { text: data/text.txt, valid: data/text.txt, tokenizer: vocab.tokenizer, base: rounded.base, init: principal.adapter }
    with: { rank: 8, tokens: 8000, batch_tokens: 512, window: 64, valid_tokens: 1024 }
  text_dense:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: dense.dense }
    with: { window: 64 }
  text_split:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: principal.base, adapter: principal.adapter }
    with: { window: 64 }
  text_residual:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: principal.base }
    with: { window: 64 }
  text_plain:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: dense.base }
    with: { window: 64 }
  text_grid:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: more.base }
    with: { window: 64 }
    gates: [nats_per_token < text_plain.nats_per_token]
  text_rounded:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: rounded.base, adapter: principal.adapter }
    with: { window: 64 }
    gates: [nats_per_token < text_plain.nats_per_token]
  text_recovery:
    run: perplexity
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, base: rounded.base, adapter: recovery.adapter,
              full: text_dense.metrics, rounded: text_plain.metrics }
    with: { window: 64 }
    gates: [nats_per_token < text_rounded.nats_per_token, share_won_back > 0]
  written:
    run: sample
    inputs: { base: more.base, tokenizer: vocab.tokenizer }
    with: { tokens: 3000, document_tokens: 63, seed: 4 }
  small:
    run: draft
    inputs: { text: written.text, valid_text: data/text.txt, tokenizer: vocab.tokenizer, base: more.base, shape: draft_shape.json }
    with: { tokens: 2000, window: 64, batch_tokens: 256, valid_tokens: 512 }
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: vocab.tokenizer, template: data/template.json }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128 }
  slow:
    run: train
    inputs: { train: data.train, valid: data.valid, base: more.base }
    with: { epochs: 4, rank: 8, batch_size: 4, eval_every: 1 }
  fast:
    run: train
    inputs: { train: data.train, valid: data.valid, base: more.base, against: slow.metrics }
    with: { epochs: 4, rank: 8, batch_size: 4, eval_every: 1, learning_rate: 5e-3 }
    gates: [share_of_against_steps < 1]
EOF
sed 's/"layers_0": *[0-9]*/"layers_0": 1/; s/"layers_1": *[0-9]*/"layers_1": 1/' data/shape.json >draft_shape.json
expect 0 fm run tiers.yaml

# Residual and principal part together are the base they were split from.
fetch "$(artifact text_dense/metrics)" dense.json
fetch "$(artifact text_split/metrics)" split.json
nats() { sed 's/.*"nats_per_token":\([0-9.]*\).*/\1/' "$1"; }
awk -v a="$(nats dense.json)" -v b="$(nats split.json)" \
    'BEGIN { exit !(a > 1 && a - b < 1e-4 && b - a < 1e-4) }' ||
    die "dense $(nats dense.json), split $(nats split.json) nats per token"
fetch "$(artifact text_residual/metrics)" residual.json
awk -v a="$(nats dense.json)" -v b="$(nats residual.json)" 'BEGIN { exit !(b > a + 0.005) }' ||
    die "dense $(nats dense.json), the residual alone $(nats residual.json): pissa moved nothing"

# Bits per byte and nats per token are of the same sum.
awk -F'[:,{}]' '{ for (i = 2; i < NF; i += 2) v[$i] = $(i + 1) }
    END { d = v["\"nats_per_token\""] * v["\"tokens\""] / v["\"bytes\""] / log(2) - v["\"bits_per_byte\""]
          exit !(d < 1e-9 && d > -1e-9) }' dense.json || die "bits per byte: $(cat dense.json)"
# They are nearly all bytes of the text: but for the last, short window and a space per document.
text=$(grep -v '^<|endoftext|>$' data/text.txt | wc -c)
bytes=$(sed 's/.*"bytes":\([0-9]*\).*/\1/' dense.json)
[ "$bytes" -gt $((text * 95 / 100)) ] && [ "$bytes" -lt $((text * 105 / 100)) ] ||
    die "$bytes bytes predicted, the text has $text"

# What is won back is told by the three losses.
fetch "$(artifact text_plain/metrics)" plain.json
fetch "$(artifact text_recovery/metrics)" recovery.json
share=$(sed 's/.*"share_won_back":\([-0-9.e]*\).*/\1/' recovery.json)
awk -v full="$(nats dense.json)" -v rounded="$(nats plain.json)" -v own="$(nats recovery.json)" -v share="$share" \
    'BEGIN { d = (rounded - own) / (rounded - full) - share; exit !(d < 1e-6 && d > -1e-6) }' ||
    die "won back $share of $(nats dense.json) to $(nats plain.json): $(nats recovery.json)"

# What was written does not depend on threads, but on the seed.
fetch "$(artifact written/text)" written.txt
has written.txt '<|endoftext|>'
fetch "$(artifact more/base)" base.safetensors
fetch "$(artifact vocab/tokenizer)" tokenizer.model
for seed in 4 5; do
    echo '{"tokens":3000,"document_tokens":63,"temperature":1,"top_k":0,"top_p":1,"seed":'$seed'}' >sample.json
    expect 0 "$BIN/stage-sample" --config sample.json --in base=base.safetensors --in tokenizer=tokenizer.model \
        --out text=text$seed.txt --out metrics=m$seed.json --out report=r$seed.json --threads 1
done
cmp written.txt text4.txt || die "other bytes with one thread"
! cmp -s text4.txt text5.txt || die "the seed changes nothing"

# The page puts programs of one kind side by side, their curves in one chart.
page=reports/tiny_task/index.html
has $page 'Side by side'
has $page 'Program perplexity'
has $page 'Loss: valid'
has $page 'data-key="fast/share_of_against_steps"'

# Misuse.
sed 's/inputs: { base: dense.dense }, with: { rank: 8, alpha: 24 }/inputs: { base: dense.dense }, with: { rank: 16 }/' tiers.yaml >bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'init: the adapter has rank 16, but rank 8 is asked for'
sed '/^  more:/,$d' tiers.yaml >bad.yaml
cat >>bad.yaml <<'EOF'
  wrong:
    run: pretrain
    inputs: { init: dense.dense, text: data/text.txt, tokenizer: vocab.tokenizer, shape: draft_shape.json }
    with: { sequence_length: 64 }
EOF
expect 1 fm run bad.yaml
has stderr.txt 'init: this base has other dimensions'
sed -i 's/init: dense.dense, text/init: dense.dense, adapter: principal.adapter, text/; s/shape: draft_shape/shape: data\/shape/' bad.yaml
sed -i 's/^  wrong:/  principal: { run: pissa, inputs: { base: dense.dense }, with: { rank: 8 } }\n&/' bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'set tokens: 0 and qat_tokens: 0'
sed 's/full: text_dense.metrics, rounded: text_plain.metrics/full: text_dense.metrics/' tiers.yaml >bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'full is given without rounded'
sed 's/full: text_dense.metrics, rounded: text_plain/full: text_plain.metrics, rounded: text_dense/' tiers.yaml >bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'nothing is lost that could be won back'
sed 's/full: text_dense.metrics, rounded/full: slow.metrics, rounded/' tiers.yaml >bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'full: not the metrics of a perplexity stage'
sed '/^  text_plain:/,/with:/s/window: 64/window: 32/' tiers.yaml >bad.yaml
expect 1 fm run bad.yaml
has stderr.txt 'give both the same text, tokenizer and window'
sed '/^  slow:/,$d' tiers.yaml >bad.yaml
cat >>bad.yaml <<'EOF'
  slow:
    run: train
    inputs: { train: data.train, valid: data.valid, base: more.base }
    with: { epochs: 1, rank: 8 }
  fast:
    run: train
    inputs: { train: data.train, valid: data.train, base: more.base, against: slow.metrics }
    with: { epochs: 1, rank: 8 }
EOF
expect 1 fm run bad.yaml
has stderr.txt 'labelled tokens, these valid rows have '
echo ok
