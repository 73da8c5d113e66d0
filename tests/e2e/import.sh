# A base goes out for PyTorch as dense fp32 and comes back: the same packed bytes, the same adapter.
. "$2/tests/e2e/e2e_lib.sh"
need_stages import export_torch
tiny_toolkit
cat >back.yaml <<'EOF'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
vars: { seed: 5 }
stages:
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128, seed: $seed }
  adapter:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base }
    with: { epochs: 2, rank: 8, batch_size: 4, seed: $seed }
  whole: { run: export_torch, inputs: { base: toolkit.base, adapter: adapter.checkpoint }, with: { what: base } }
  bare: { run: export_torch, inputs: { base: toolkit.base }, with: { what: base } }
  merged: { run: export_torch, inputs: { base: toolkit.base, adapter: adapter.checkpoint }, with: { what: merged } }
  alone: { run: export_torch, inputs: { base: toolkit.base, adapter: adapter.checkpoint } }
  back: { run: import, inputs: { pt: whole.pt, shape: data/shape.json } }
  naked_again: { run: import, inputs: { pt: bare.pt, shape: data/shape.json } }
  melted_again: { run: import, inputs: { pt: merged.pt, shape: data/shape.json } }
  rounded_again: { run: import, inputs: { pt: merged.pt, shape: data/shape.json }, with: { quantise: linears } }
  quality:
    run: eval
    inputs: { golden: data/golden, adapter: adapter.checkpoint, base: toolkit.base, tokenizer: toolkit.tokenizer,
              template: toolkit.template }
    with: { max_new_tokens: 8 }
  melted_answers:
    run: eval
    inputs: { golden: data/golden, base: melted_again.base, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 8 }
EOF
expect 0 fm run back.yaml
base=$(sha256sum tiny-0.1/base.safetensors | cut -c1-64)
[ "$(artifact back/base)" = "$base" ] || die "the base came back with other bytes"
[ "$(artifact naked_again/base)" = "$base" ] || die "the base alone came back with other bytes"
[ "$(artifact back/adapter)" = "$(artifact adapter/checkpoint)" ] || die "the adapter came back with other bytes"
has stderr.txt 'its adapter is kept'
has stderr.txt 'no adapter in the file: a fresh one'
fetch "$(artifact back/metrics)" m.json
has m.json '"adapter_in_file":1'
has m.json '"tensors_bf16":0'
fetch "$(artifact alone/metrics)" m.json
has m.json '"parameters":'

# Merged weights are on no grid and stay as they are; they answer as base and adapter do.
fetch "$(artifact melted_again/metrics)" m.json
has m.json '"tensors_q2":0'
has m.json '"rounded_tensors":0'
fetch "$(artifact rounded_again/metrics)" m.json
has m.json '"rounded_tensors":15'
probability() { fetch "$(artifact "$1/metrics")" m.json && sed 's/.*"expected_token_probability":\([0-9.e-]*\).*/\1/' m.json; }
awk -v a="$(probability quality)" -v b="$(probability melted_answers)" \
    'BEGIN { exit !(a > 0 && (a - b) / a < 1e-4 && (b - a) / a < 1e-4) }' ||
    die "merged: $(probability melted_answers), with the adapter: $(probability quality)"

# Misuse: another shape, a file that is none, one that is cut.
sed 's/"ffn": *[0-9]*/"ffn": 80/' data/shape.json >other.json
cat >bad.yaml <<'EOF'
fmforge: 1
name: bad
toolkits: [tiny-0.1]
stages:
  bare: { run: export_torch, inputs: { base: toolkit.base }, with: { what: base } }
  back: { run: import, inputs: { pt: bare.pt, shape: other.json } }
EOF
expect 1 fm run bad.yaml
has stderr.txt 'tensors do not fit the shape: '
has stderr.txt ', expected [80, '
fetch "$(artifact bare/pt)" bare.pt
head -c 20000 bare.pt >cut.pt
for file in cut.pt data/rows.jsonl; do
    sed -e '/^toolkits/d; /^  bare:/d' -e "s|bare.pt|$file|; s|other.json|data/shape.json|" bad.yaml >worse.yaml
    expect 1 fm run worse.yaml
    has stderr.txt "$file"
done
# One byte of a tensor is another: the zip's checksum says so, before it is taken for a value.
cp bare.pt flipped.pt
at=$(($(stat -c %s bare.pt) / 2))
byte=$(od -An -tu1 -j $at -N 1 bare.pt)
printf "\\x$(printf %02x $((byte ^ 64)))" | dd of=flipped.pt bs=1 seek=$at conv=notrunc 2>/dev/null
cmp -s bare.pt flipped.pt && die "nothing was flipped"
sed -e '/^toolkits/d; /^  bare:/d' -e "s|bare.pt|flipped.pt|; s|other.json|data/shape.json|" bad.yaml >worse.yaml
expect 1 fm run worse.yaml
has stderr.txt 'the file is damaged'
sed 's/what: base/what: merged/' bad.yaml >worse.yaml
expect 1 fm run worse.yaml
has stderr.txt 'what: merged needs the input adapter'
echo ok
