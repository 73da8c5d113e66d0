# The tool inspect over what is shipped, over what a run made, and over what it cannot know; and a
# toolkit that waits for its user's files.
. "$2/tests/e2e/e2e_lib.sh"
need_stages inspect
# Not its assets/, which may be there and large.
mkdir -p configs/toolkits/afm-26.0.0
cp -r "$ROOT/configs/nano" "$ROOT/configs/quickstart" configs/
cp -r "$ROOT/configs/toolkits/nano-1.0" "$ROOT/configs/toolkits/nano-1.1" configs/toolkits/
cp "$ROOT"/configs/toolkits/afm-26.0.0/*.* configs/toolkits/afm-26.0.0/
chmod -R u+w configs

# The full model from its shape alone: the sheet, without what depends on the machine.
expect 0 fm inspect configs/toolkits/afm-26.0.0 --threads 2
cat stdout.txt
awk 'length > 100 { print "a line of " length " columns: " $0; bad = 1 } END { exit bad }' stdout.txt ||
    die "a sheet for people is at most 100 wide"
expect 0 fm inspect configs/toolkits/afm-26.0.0 --json
for count in '"frozen": 3111368064' '"layer_0": 50336000' '"layer_1": 49287296' \
    '"embedding": 314572800' '"lora_0": 1245184' '"lora_1": 1097728' '"lora": 66633728' \
    '"modules": 350' '"lora_tensors": 700' '"linears": 280' '"total": 3178001792' \
    '"frozen": 48765952' '"package_weights_bytes": 133312320'; do
    has stdout.txt "$count"
done

# It waits for its user's files: what needs none of them runs, what needs one is told which.
write_manifest() { # TOKENIZER
    cat >waits.yaml <<EOF
fmforge: 1
name: waits
toolkits: [configs/toolkits/afm-26.0.0]
stages:
  data: { run: prep, inputs: { raw: configs/quickstart/hand.jsonl, tokenizer: $1, template: toolkit.template } }
EOF
}
write_manifest toolkit.tokenizer
expect 2 fm run waits.yaml
has stderr.txt 'waits.yaml:5:'
has stderr.txt 'toolkit afm-26.0.0 has no `tokenizer` here: put it at configs/toolkits/afm-26.0.0/assets/tokenizer.model;'
has stderr.txt 'cannot be shipped'
[ ! -e .fmforge/objects ] || [ -z "$(ls -A .fmforge/objects)" ] || die "something ran"
write_manifest configs/toolkits/nano-1.0/tokenizer.model
expect 0 fm run waits.yaml
mkdir configs/toolkits/afm-26.0.0/assets
cp configs/toolkits/nano-1.0/tokenizer.model configs/toolkits/afm-26.0.0/assets/
write_manifest toolkit.tokenizer
expect 0 fm plan waits.yaml
expect 2 fm generate --toolkit configs/toolkits/afm-26.0.0 --prompt x
has stderr.txt 'toolkit afm-26.0.0 has no `base` here: put it at configs/toolkits/afm-26.0.0/assets/base-model.pt;'
cat >>waits.yaml <<'EOF'
  adapter: { run: train, inputs: { train: data.train, base: toolkit.base, init: toolkit.recovery } }
EOF
expect 2 fm run waits.yaml
has stderr.txt 'toolkit afm-26.0.0 has no `base` here: put it at configs/toolkits/afm-26.0.0/assets/base-model.pt;'
expect 0 fm inspect configs/toolkits/afm-26.0.0
has stdout.txt 'KiB  configs/toolkits/afm-26.0.0/assets/tokenizer.model'

# A whole toolkit, its base, its adapters, its draft.
expect 0 fm inspect configs/toolkits/nano-1.0/
has stdout.txt 'recovery: the modules of this shape, trained on this base'
has stdout.txt "signature: the first 40 digits of the base's SHA-256"
expect 0 fm inspect configs/toolkits/nano-1.0/base.safetensors
has stdout.txt 'nano-1.0 in configs/toolkits/nano-1.0'
has stdout.txt 'q2-16x16-v1'
expect 0 fm inspect configs/toolkits/nano-1.0/recovery-r8.safetensors --row-tokens 400 --sequences 2
has stdout.txt 'rank                      8, alpha 4'
has stdout.txt 'nano-1.0 in configs/toolkits/nano-1.0'
has stdout.txt 'rows of at most 400 tokens'
has stdout.txt 'memory of answering: 2 at a time'
expect 0 fm inspect --path configs/toolkits/nano-1.1/draft.safetensors
has stdout.txt 'a draft model'
has stdout.txt 'nano-1.1 in configs/toolkits/nano-1.1'
expect 0 fm inspect configs/nano/shape.json --rank 8
has stdout.txt 'adapter of rank 8'
expect 2 fm inspect configs/toolkits/nano-1.0/recovery-r8.safetensors --toolkit configs/toolkits/nano-1.1
has stderr.txt 'not that of toolkit nano-1.1'

# A package that a run made, and its checkpoint. The plan is what the run reserved, where all tokens are learned
# from and the largest batch is as large as the plan has it; else the run needs less.
tiny_toolkit
expect 0 fm run task.yaml --set stages.adapter.with.prompt_weight=0.1
planned=$(sed -n 's/^.*memory: .*, \([^,]*\) activations, \([^,]*\) scratch.*$/\1 and \2/p' stderr.txt | head -n 1)
[ -n "$planned" ] || die "train did not print its memory"
tokens=$(sed -n 's/^.*memory: .* rows, up to \([0-9]*\) tokens at a time, \1 of them labelled$/\1/p' stderr.txt)
[ -n "$tokens" ] || die "not all tokens of the largest batch are learned from"
expect 0 fm inspect --toolkit tiny-0.1 --micro-batch-tokens "$tokens" "$PACKAGE"
for text in 'a .fmadapter package' 'tiny-0.1 in tiny-0.1' 'every value is finite' \
    'the base signature is 40 lower-case hex digits' 'rank                      8, alpha 4'; do
    has stdout.txt "$text"
done
said=$(sed -n 's/^  activations *//p' stdout.txt | tr -d '\n')
said="$said and $(sed -n 's/^  scratch *//p' stdout.txt | head -n 1)"
[ "$said" = "$planned" ] || die "train reserved $planned, inspect says $said"
expect 0 fm inspect "$PACKAGE"
has stdout.txt 'none in configs/toolkits has this base'
has stdout.txt 'not checked'
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
expect 0 fm inspect adapter.safetensors --toolkit tiny-0.1
has stdout.txt 'tiny-0.1 in tiny-0.1'
expect 0 fm inspect tiny-0.1 --json
has stdout.txt '"what": "toolkit"'

# A package that breaks a rule.
cp -r "$PACKAGE" cut.fmadapter
chmod -R u+w cut.fmadapter
head -c 1000 "$PACKAGE/adapter_weights.bin" >cut.fmadapter/adapter_weights.bin
expect 1 fm inspect cut.fmadapter --toolkit tiny-0.1
has stderr.txt 'cut.fmadapter/adapter_weights.bin'
has stderr.txt 'copy it or make it again'
sed -i 's/"loraRank": 8/"loraRank": 0/' cut.fmadapter/metadata.json
expect 1 fm inspect cut.fmadapter
has stderr.txt 'loraRank is 0: expected 1 to'

# A shape at every limit: counted and planned, though no machine has that much.
cat >large.json <<'EOF'
{"vocab": 1048576, "hidden": 65536, "layers_0": 1024, "layers_1": 1024, "heads": 1024,
 "kv_heads": 1024, "head_dim": 64, "ffn": 262144, "context": 1048576, "rope_theta": 1e9,
 "norm_eps": 1e-5, "kv_quant": true}
EOF
expect 0 fm inspect large.json --rank 1024 --row-tokens 1048576 --rows 4294967295 --sequences 256
has stdout.txt 'more than this machine has'
expect 0 fm inspect large.json --json

# Misuse: what was found, what was expected, what to do.
expect 2 fm inspect
has stderr.txt 'PATH is missing'
expect 2 fm inspect nowhere
has stderr.txt 'nowhere: no such file or folder'
expect 2 fm inspect data other
expect 2 fm inspect data --path data
expect 2 fm inspect data
has stderr.txt 'data: a folder with README.md, golden, '
has stderr.txt "expected a toolkit's folder"
expect 2 fm inspect data/text.txt
has stderr.txt 'neither JSON nor a header of safetensors'
expect 2 fm inspect data/template.json
has stderr.txt 'JSON that is no shape'
printf 'PK\003\004and more of it' >base-model.pt
expect 1 fm inspect base-model.pt
has stderr.txt 'base-model.pt: not a zip file'
for n in 0 7 100 100000; do
    head -c "$n" configs/toolkits/nano-1.0/base.safetensors >cut.safetensors
    expect 1 fm inspect cut.safetensors
    has stderr.txt 'cut.safetensors: '
    has stderr.txt 'copy it or make it again'
done
echo '{"vocab":1}' >bad.json
expect 1 fm inspect bad.json
has stderr.txt 'the key "hidden" is missing'
echo 'name: x' >configs/toolkits/nano-1.1/toolkit.yaml
expect 2 fm inspect configs/toolkits/nano-1.1
has stderr.txt 'configs/toolkits/nano-1.1/toolkit.yaml'
expect 2 fm inspect configs/toolkits/nano-1.0 --toolkit tiny-0.1
expect 2 fm inspect configs/toolkits/nano-1.0 --rank 100000
has stderr.txt 'expected 0 to 1024'
echo ok
