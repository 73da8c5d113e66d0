# Adapters and a base go out to PEFT and MLX and come back: the same bytes. What cannot be represented,
# or is damaged, is refused by name, with nothing written and no memory taken for it.
. "$2/tests/e2e/e2e_lib.sh"
need_stages import import_adapter export_torch export_peft export_mlx pretrain train
tiny_files
cat >open.yaml <<'EOF'
fmforge: 1
name: tiny_task
stages:
  vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 400 } }
  base:
    run: pretrain
    inputs: { text: data/text.txt, tokenizer: vocab.tokenizer, shape: data/shape.json }
    with: { tokens: 4000, qat_tokens: 4000, batch_tokens: 512, sequence_length: 64, evaluations: 1 }
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: vocab.tokenizer, template: data/template.json }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128 }
  adapter:
    run: train
    inputs: { train: data.train, valid: data.valid, base: base.base }
    with: { epochs: 2, rank: 6, alpha: 7.7, batch_size: 4 }
  peft: { run: export_peft, inputs: { base: base.base, adapter: adapter.checkpoint } }
  mlx: { run: export_mlx, inputs: { base: base.base, adapter: adapter.checkpoint } }
  pt: { run: export_torch, inputs: { base: base.base, adapter: adapter.checkpoint }, with: { alpha: 7.7 } }
  final: { run: export_torch, inputs: { base: base.base, adapter: adapter.checkpoint } }
  from_peft: { run: import_adapter, inputs: { base: base.base, peft: peft.peft }, with: { rank: 6 } }
  from_mlx: { run: import_adapter, inputs: { base: base.base, mlx: mlx.mlx } }
  from_pt: { run: import_adapter, inputs: { base: base.base, pt: pt.pt }, with: { alpha: 7.7 } }
  from_final: { run: import_adapter, inputs: { base: base.base, pt: final.pt } }
  whole: { run: export_mlx, inputs: { base: base.base, adapter: adapter.checkpoint }, with: { what: base } }
  whole_back: { run: import, inputs: { mlx: whole.mlx, shape: data/shape.json } }
  again: { run: export_mlx, inputs: { base: whole_back.base, adapter: whole_back.adapter }, with: { what: base } }
  again_back: { run: import, inputs: { mlx: again.mlx, shape: data/shape.json } }
  here:
    run: eval
    inputs: { golden: data/golden, base: base.base, adapter: adapter.checkpoint, tokenizer: vocab.tokenizer,
              template: data/template.json }
    with: { max_new_tokens: 8 }
  read_by_toolkit:
    run: eval
    inputs: { golden: data/golden, base: base.base, adapter: from_final.adapter, tokenizer: vocab.tokenizer,
              template: data/template.json }
    with: { max_new_tokens: 8 }
  there:
    run: eval
    inputs: { golden: data/golden, base: whole_back.base, adapter: whole_back.adapter, tokenizer: vocab.tokenizer,
              template: data/template.json }
    with: { max_new_tokens: 8 }
deliver: { peft.peft: peft, whole.mlx: mlx, pt.pt: adapter-final.pt, base.base: base.safetensors }
EOF
expect 0 fm run open.yaml
for from in from_peft from_mlx from_pt; do
    [ "$(artifact $from/adapter)" = "$(artifact adapter/checkpoint)" ] ||
        die "$from: the adapter came back with other bytes"
done
# adapter-final.pt says no alpha, and the toolkit multiplies by 1/2: another scale is in its B.
probability() { fetch "$(artifact "$1/metrics")" m.json && metric expected_token_probability m.json; }
awk -v a="$(probability here)" -v b="$(probability read_by_toolkit)" \
    'BEGIN { exit !(a > 0 && (a - b) / a < 1e-4 && (b - a) / a < 1e-4) }' ||
    die "adapter-final.pt read with half the rank: $(probability read_by_toolkit), trained: $(probability here)"
# MLX keeps the scale of a quantiser, not its range: the base comes back with a range of that scale,
# computes the same, and from then on has the same bytes.
[ "$(artifact there/answers)" = "$(artifact here/answers)" ] || die "the base of MLX answers otherwise"
[ "$(artifact again_back/base)" = "$(artifact whole_back/base)" ] || die "the base came back with other bytes"
[ "$(artifact again_back/adapter)" = "$(artifact whole_back/adapter)" ] || die "its adapter came back with other bytes"
fetch "$(artifact whole_back/metrics)" m.json
for found in '"adapter_in_file":1' '"adapter_rank":6' '"adapter_is_zero":0' '"rounded_tensors":0' '"tensors_bf16":0'; do
    has m.json "$found"
done

# A card is one of an adapter, in whatever form.
for form in peft adapter-final.pt; do
    expect 0 fm card out/tiny_task/$form
    has stdout.txt 'base_model_relation: adapter'
done
expect 2 fm card out/tiny_task/mlx
has stderr.txt 'is of kind mlx, what: base, not an adapter alone: expected a package or an adapter'
expect 2 fm card out/tiny_task/base.safetensors
has stderr.txt 'is of kind base, not an adapter alone'

# By hand from here on, with files that are spoiled one at a time, in 256 MiB of address space, which the good
# ones fit into; a sanitized program cannot be held to a limit.
base=out/tiny_task/base.safetensors
echo '{"alpha":0,"missing":"refuse","rank":0,"seed":1}' >adapter.json
echo '{"what":"base"}' >what.json
echo '{"alpha":0,"quantise":"never","seed":1}' >base.json
limit=unlimited
{ (ulimit -v 262144 && "$BIN/stage-import_adapter" --help) && limit=262144; } >/dev/null 2>&1
limited() { (ulimit -v "$limit" && exec "$@"); }
adapter() { # PORT=PATH... OPTIONS...
    local ins=() out=(--out metrics=made.metrics --out report=made.report --out adapter=made.safetensors)
    while [[ ${1:-} == [a-z]* ]]; do ins+=(--in "$1"); shift; done
    [ $# -gt 0 ] || set -- --config adapter.json
    limited "$BIN/stage-import_adapter" --threads 1 --in "base=$base" "${ins[@]}" "${out[@]}" "$@"
}
whole() { # PORT=PATH...
    local ins=() out=(--out metrics=made.metrics --out report=made.report --out adapter=made.adapter)
    while [[ ${1:-} == [a-z]* ]]; do ins+=(--in "$1"); shift; done
    limited "$BIN/stage-import" --threads 1 --in shape=data/shape.json "${ins[@]}" "${out[@]}" \
        --out base=made.safetensors --config base.json
}
# refused TEXT COMMAND...: fails, says so, and writes nothing.
refused() {
    local text=$1
    shift
    expect "${STATUS:-1}" "$@"
    has stderr.txt "$text"
    [ -z "$(ls -d made.* 2>/dev/null)" ] || die "$*: refused, but wrote $(ls -d made.*)"
}
copy() { # FROM: a delivered folder, as ./bad
    rm -rf bad
    cp -r "out/tiny_task/$1" bad
    chmod -R u+w bad
}
spoil() { # FROM FILE SED: the same, one of its files edited
    copy "$1"
    cp "bad/$2" before
    sed -i "$3" "bad/$2"
    cmp -s before "bad/$2" && die "$1/$2: $3 changes nothing"
}
patch() { # FILE OFFSET BYTES as printf has them
    # shellcheck disable=SC2059
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
values=adapter_model.safetensors
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
for format in peft mlx; do
    expect 0 adapter "$format=out/tiny_task/$format"
    cmp -s made.safetensors adapter.safetensors || die "$format: by hand the adapter comes out with other bytes"
    rm -r made.*
    copy $format
    patch "bad/$values" 0 '\0\0\0\0\0\0\0\020' # a header of 2^60 bytes
    refused 'header of 1152921504606846976 bytes in a file of' adapter "$format=bad"
    copy $format
    patch "bad/$values" $(($(stat -c %s "bad/$values") - 4)) '\0\0\300\177' # NaN
    refused 'has a value that is not finite' adapter "$format=bad"
    spoil $format $values 's/mlp\.down_proj\.lora/mlp.dawn_proj.lora/'
    refused 'is no LoRA tensor of this shape' adapter "$format=bad"
    has stderr.txt 'mlp.down_proj.lora_'
    has stderr.txt 'is missing'
    spoil $format $values 's/"shape":\[6,64\]/"shape":[48,8]/'
    refused '[48, 8], expected [6, 64]' adapter "$format=bad"
    rm "bad/$values"
    refused "$values" adapter "$format=bad"
    refused 'expected the folder with adapter_config.json' adapter "$format=adapter.json"
    values=adapters.safetensors
done

# Other ranks: of the file's config, and of the stage's.
spoil peft adapter_config.json 's/"r": 6/"r": 8/'
refused 'is F32 [6, 32], expected [8, 32]' adapter peft=bad
spoil peft adapter_config.json 's/"r": 6/"r": 1024/'
refused 'expected [1024, 32]' adapter peft=bad
spoil peft adapter_config.json 's/"r": 6/"r": 1000000/'
refused 'LORA_RANK_MAX is 1024' adapter peft=bad
spoil mlx adapter_config.json 's/"rank": 6/"rank": 8/'
refused 'is F32 [32, 6], expected [32, 8]' adapter mlx=bad
echo '{"alpha":0,"missing":"refuse","rank":32,"seed":1}' >rank.json
STATUS=2 refused 'the adapter has rank 6, but rank 32 is asked for' adapter peft=out/tiny_task/peft --config rank.json
echo '{"alpha":3,"missing":"refuse","rank":0,"seed":1}' >alpha.json
STATUS=2 refused 'but alpha 3 is asked for' adapter mlx=out/tiny_task/mlx --config alpha.json

# What PEFT and MLX can say and this cannot.
while IFS='|' read -r edit text; do
    spoil peft adapter_config.json "$edit"
    refused "$text" adapter peft=bad
done <<'EOF'
s/"use_dora": false/"use_dora": true/|use_dora: DoRA scales every output
s/"bias": "none"/"bias": "all"/|bias is not "none"
s/"modules_to_save": null/"modules_to_save": ["lm_head"]/|modules_to_save: whole modules are no low-rank change
s/"r": 6/"r": 6, "rank_pattern": {"q_proj": 4}/|rank_pattern: "q_proj" differs from 6
s/"r": 6/"r": 6, "alpha_pattern": {"q_proj": 4}/|alpha_pattern: "q_proj" differs from 7.7
s/"init_lora_weights": true/"init_lora_weights": "pissa"/|init_lora_weights is "pissa"
s/"r": 6/"r": 6, "use_new_thing": 1/|use_new_thing: this key is not known here
s/"LORA"/"IA3"/|peft_type is "IA3"
EOF
spoil mlx adapter_config.json 's/"lora",/"dora",/'
refused 'fine_tune_type is dora, expected lora' adapter mlx=bad
spoil mlx adapter_config.json 's/"scale"/"alpha"/'
refused 'lora_parameters: scale is missing' adapter mlx=bad

STATUS=2 refused 'inputs pt, peft and mlx: one of them, found 0' adapter

# adapter-final.pt of another shape, and a base that is no adapter.
sed 's/"ffn": *[0-9]*/"ffn": 80/' data/shape.json >other.json
cat >other.yaml <<'EOF'
fmforge: 1
name: other
stages:
  base: { run: pretrain, inputs: { shape: other.json }, with: { mode: random } }
deliver: { base.base: base.safetensors }
EOF
expect 0 fm run other.yaml
base=out/other/base.safetensors
refused ', expected [80, 6]' adapter pt=out/tiny_task/adapter-final.pt
refused '[6, 64], expected [6, 80]' adapter peft=out/tiny_task/peft
base=out/tiny_task/base.safetensors
refused 'not a zip file' adapter pt=$base

# Another base of the same shape: the file says for which one it was made.
cat >other.yaml <<'EOF'
fmforge: 1
name: other
stages:
  base: { run: pretrain, inputs: { shape: data/shape.json }, with: { mode: random } }
deliver: { base.base: base.safetensors }
EOF
expect 0 fm run other.yaml
base=out/other/base.safetensors
STATUS=2 refused 'the adapter was trained on base' adapter mlx=out/tiny_task/mlx
sed 's/"kv_quant": true/"kv_quant": false/' data/shape.json >other.json
sed -i 's|data/shape.json|other.json|' other.yaml
expect 0 fm run other.yaml
STATUS=2 refused 'afm7 always quantises keys and values' "$BIN/stage-export_mlx" --config what.json \
    --in "base=$base" --out mlx=made.mlx --out metrics=made.metrics --out report=made.report

# A base of MLX.
STATUS=2 refused 'inputs pt and mlx: one of them has to be given, not both' \
    whole mlx=out/tiny_task/mlx pt=out/tiny_task/adapter-final.pt
while IFS='|' read -r edit text; do
    spoil mlx config.json "$edit"
    refused "$text" whole mlx=bad
done <<'EOF'
s/"rope_theta": 500000,//|rope_theta is absent, which means 50000, the shape has 500000
s/"hidden_dim": 32/"hidden_dim": 64/|hidden_dim is 64, the shape has 32
s/"num_heads": 4/"num_heads": "4"/|num_heads is no number, the shape has 4
s/"afm7"/"llama"/|model_type is "llama", expected "afm7"
s/"vocab_size"/"quantization": {"bits": 4}, "vocab_size"/|quantization: MLX has rounded these weights
EOF
copy mlx
patch bad/model.safetensors 0 '\0\0\0\0\0\0\0\020'
refused 'header of 1152921504606846976 bytes in a file of' whole mlx=bad
copy mlx
patch bad/model.safetensors $(($(stat -c %s bad/model.safetensors) / 2)) '\0\0\300\177\0\0\300\177\0\0\300\177'
refused 'a value is not finite' whole mlx=bad
spoil mlx model.safetensors 's/model\.layers\.0\.mlp\.up_proj/model.layers.0.mlp.op_proj/'
refused 'mlx: 2 tensors do not fit the shape: model.layers.0.mlp.up_proj.weight is missing' whole mlx=bad
has stderr.txt 'model.layers.0.mlp.op_proj.weight is no tensor of this shape'
spoil mlx model.safetensors 's/"shape":\[400,32\]/"shape":[200,64]/'
refused 'model.embedding.weight is F32 [200, 64], expected [400, 32]' whole mlx=bad
spoil mlx adapter_config.json 's/"rank": 6/"rank": 8/'
refused 'expected [32, 8]' whole mlx=bad
copy mlx
rm bad/model.safetensors
refused 'no file model*.safetensors in this folder' whole mlx=bad
# The file alone: the same base.
expect 0 whole mlx=out/tiny_task/mlx/model.safetensors
[ "$(sha256sum made.safetensors | cut -c1-64)" = "$(artifact whole_back/base)" ] || die "the file alone gives another base"
has stderr.txt 'no adapter in the file: a fresh one'
rm made.*
# Adapter tensors among those of the base: kept as well.
copy mlx
cp bad/adapters.safetensors bad/model-2.safetensors
refused 'there is an adapter in the base and another one in bad/adapters.safetensors' whole mlx=bad
rm bad/adapters.safetensors
echo '{"alpha":7.7,"quantise":"never","seed":1}' >base.json
expect 0 whole mlx=bad
has stderr.txt 'its adapter is kept'
[ "$(sha256sum made.adapter | cut -c1-64)" = "$(artifact whole_back/adapter)" ] || die "the adapter inside the base is another"
rm made.*
copy mlx
cp bad/model.safetensors bad/model-00002-of-00002.safetensors
refused 'model.embedding.weight is in two files' whole mlx=bad
echo ok
