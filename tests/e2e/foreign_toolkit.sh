# The unpacked folder of somebody else as a toolkit: its layout is recognised, its files are taken as
# they are, and one file of it that changes reruns what names it.
. "$2/tests/e2e/e2e_lib.sh"
need_stages import import_draft import_tokenizer export_torch export_peft export_mlx generate inspect
tiny_toolkit
chmod -R u+w data

# What is in it, made here: a base and a draft as PyTorch saves them, and a tokenizer.
cat >draft_shape.json <<'EOT'
{"vocab": 400, "hidden": 16, "layers_0": 2, "layers_1": 0, "heads": 2, "kv_heads": 2, "head_dim": 8,
 "ffn": 32, "rope_theta": 500000, "norm_eps": 1e-5, "context": 128, "kv_quant": false}
EOT
cat >parts.yaml <<'EOT'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
stages:
  base: { run: export_torch, inputs: { base: toolkit.base }, with: { what: base } }
  small: { run: pretrain, inputs: { shape: draft_shape.json }, with: { mode: random, seed: 4 } }
  draft: { run: export_torch, inputs: { base: small.base }, with: { what: base } }
EOT
expect 0 fm run parts.yaml
KIT=kits/adapter_training_toolkit_v26_0_0
mkdir -p $KIT/assets $KIT/export
fetch "$(artifact base/pt)" $KIT/assets/base-model.pt
fetch "$(artifact draft/pt)" $KIT/assets/draft-model.pt
cp tiny-0.1/tokenizer.model $KIT/assets/
echo '{"extra_ids": {"<turn_end>": 5}, "vocab_size": 400, "pad_id": 0}' >$KIT/assets/tokenizer-config.json
echo '{"__tamm_type__": "models:AFMTextV7Config"}' >$KIT/assets/base-model-config.json
echo 'program' >$KIT/assets/draft.mil
sign() { printf '"""Constants."""\nimport os\n\nBASE_SIGNATURE = "%s"  # of the base\n' "$1" >$KIT/export/constants.py; }
ONE=00112233445566778899aabbccddeeff00112233
TWO=ffeeddccbbaa99887766554433221100ffeeddcc
sign $ONE
rm -rf .fmforge

# What is public, as it is shipped: a folder for each version, beside the layout.
public() { # VERSION SIGNATURE
    mkdir -p configs/toolkits/afm-"$1"
    cp data/shape.json data/template.json draft_shape.json configs/toolkits/afm-"$1"/
    cat >configs/toolkits/afm-"$1"/toolkit.yaml <<EOT
fmforge_toolkit: 1
name: afm
version: "$1"
signature: "$2"
os: ["26"]
facets:
  shape: shape.json
  template: template.json
  draft_shape: draft_shape.json
  export: { format: fmadapter, lora_rank: 8, alpha: 4, draft_token_count: 5 }
EOT
}
public 1.0 $ONE
public 2.0 $TWO
sed 's/^versions: .*/versions: [afm-1.0, afm-2.0]/' "$ROOT/configs/toolkits/apple-layout.yaml" \
    >configs/toolkits/apple-layout.yaml
LAYOUT=configs/toolkits/apple-layout.yaml

cat >kit.yaml <<EOT
fmforge: 1
name: tiny_task
toolkits: [$KIT]
stages:
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128, seed: 5 }
  adapter:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base, init: toolkit.recovery }
    with: { epochs: 1, rank: 32, batch_size: 8, seed: 5 }
  quality:
    run: eval
    inputs: { golden: data/golden, adapter: adapter.checkpoint, base: toolkit.base,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 8 }
    gates: [ "rows >= 4" ]
  drafted:
    run: speculate
    inputs: { golden: data/golden, adapter: adapter.checkpoint, base: toolkit.base, draft: toolkit.draft,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 8 }
  package:
    run: export
    needs: [quality]
    inputs: { adapter: adapter.checkpoint, base: toolkit.base, signature: toolkit.signature,
              export: toolkit.export }
    with: { name: \$name }
deliver: { package: \$name.fmadapter }
EOT
sed -i 's/lora_rank: 8, alpha: 4/lora_rank: 32, alpha: 16/' configs/toolkits/afm-*/toolkit.yaml

# plan, run, inspect, why.
expect_to_run "adapter data drafted package quality toolkit.base toolkit.draft toolkit.recovery toolkit.tokenizer" kit.yaml
[ ! -e .fmforge ] || die "plan wrote something"
expect 0 fm run kit.yaml
cp stdout.txt made.txt
cp stderr.txt made_err.txt
# Once more from the record: also when folder, layout and versions are gone or others, as long as the store
# has what was read. What it has not is named.
expect 0 fm reproduce last
has stdout.txt 'every digest the same'
chmod -R u+w .fmforge
mv kits kits.away
mv configs configs.away
expect 4 fm reproduce last
has stdout.txt 'configs/toolkits/afm-2.0/toolkit.yaml: its layout names this version, and it is gone'
mkdir -p configs/toolkits && cp -r configs.away/toolkits/afm-2.0 configs/toolkits
expect 0 fm reproduce last --into again
has stdout.txt 'every digest the same'
work=again/work # where it was laid out
has "$work/$KIT/export/constants.py" "BASE_SIGNATURE = \"$ONE\""
mkdir -p $KIT/assets && echo other >$KIT/assets/tokenizer.model
rm -r configs && cp -r configs.away configs && echo '# a comment' >>configs/toolkits/afm-1.0/toolkit.yaml
expect 0 fm reproduce last
tokenizer=$(sha256sum <kits.away/adapter_training_toolkit_v26_0_0/assets/tokenizer.model | cut -c1-64)
object=$(find .fmforge/objects -name "$tokenizer.zst")
mv "$object" aside
expect 4 fm reproduce last
has stdout.txt "$KIT/assets/tokenizer.model"
has stdout.txt 'what is there now is another, and the store does not have it'
mv aside "$object"
rm -r configs kits && mv kits.away kits && mv configs.away configs
mv made.txt stdout.txt
mv made_err.txt stderr.txt
expect_to_run "" kit.yaml
[ "$(artifact toolkit.base/base)" = "$(sha256sum tiny-0.1/base.safetensors | cut -c1-64)" ] ||
    die "the base came back with other bytes"
has out/tiny_task/afm-1.0/tiny_task.fmadapter/metadata.json '"fmadapter-tiny_task-0011223"'
git -C .fmforge/ledger.git show refs/prov/tiny_task:toolkits/afm-1.0/layout.yaml | cmp - $LAYOUT ||
    die "the ledger has another layout"
git -C .fmforge/ledger.git show refs/prov/tiny_task:toolkits/afm-1.0/toolkit.yaml |
    cmp - configs/toolkits/afm-1.0/toolkit.yaml || die "the ledger has another toolkit.yaml"
fetch "$(artifact toolkit.draft/metrics)" m.json
has m.json '"bf16":0'
has m.json '"tensors":20'
fetch "$(artifact toolkit.tokenizer/metrics)" m.json
has m.json '"ids_checked":2'
expect 0 fm why package kit.yaml
has stdout.txt 'same recipe'
expect 0 fm inspect $KIT/
has stdout.txt "layout                    $LAYOUT"
has stdout.txt "signature                 $ONE"
has stdout.txt 'tokenizer: as many pieces as the vocabulary has'
has stdout.txt "$KIT/assets/draft.mil"
has stdout.txt 'base: the names and dimensions of its shape and no other'
has stdout.txt 'draft: the names and dimensions of its shape and no other'
expect 0 fm inspect $KIT --json
has stdout.txt '"label": "afm-1.0"'

# A run with nothing to do sees whatever could make the folder another toolkit.
sees() { # WHAT
    ! is_instant kit.yaml || die "a run does not see $1"
    settle kit.yaml
}
settle kit.yaml
: >$KIT/export/other.py
sees "a file that a pattern could fit"
rm $KIT/export/other.py
settle kit.yaml
cp $LAYOUT before.layout
echo '# a comment' >>$LAYOUT
sees "the layout"
cp before.layout $LAYOUT
settle kit.yaml
cp -r configs/toolkits/afm-1.0 configs/toolkits/afm-9.0
sees "another toolkit on the shelf"
rm -r configs/toolkits/afm-9.0
echo '# a comment' >>configs/toolkits/afm-2.0/toolkit.yaml
sees "another version"
sed -i '$d' configs/toolkits/afm-2.0/toolkit.yaml
sign $ONE
sees "the file with the signature"

# generate takes the base and the tokenizer that the run has made; without a run it says what to do.
P=out/tiny_task/afm-1.0/tiny_task.fmadapter
expect 0 fm generate --toolkit $KIT --adapter $P --prompt leaf --max-new-tokens 4
cp stdout.txt answer.txt
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
expect 0 fm generate --toolkit $KIT --adapter adapter.safetensors --prompt leaf --max-new-tokens 4
cmp stdout.txt answer.txt || die "the package answers otherwise than its checkpoint"
expect 2 fm generate --toolkit $KIT --prompt leaf --home elsewhere
has stderr.txt 'facet base of toolkit afm-1.0 is made by stage import, and elsewhere does not have it: run a manifest'
[ ! -e elsewhere ] || die "a store was made"

# inspect of each file of PyTorch, and of what goes out to other programs; half a file is named.
cat >out.yaml <<EOT
fmforge: 1
name: tiny_out
toolkits: [$KIT]
stages:
  pt: { run: export_torch, inputs: { base: toolkit.base, adapter: adapter.safetensors } }
  peft: { run: export_peft, inputs: { base: toolkit.base, adapter: adapter.safetensors } }
  mlx: { run: export_mlx, inputs: { base: toolkit.base, adapter: adapter.safetensors } }
  whole: { run: export_mlx, inputs: { base: toolkit.base, adapter: adapter.safetensors }, with: { what: base } }
deliver: { pt.pt: adapter-final.pt, peft.peft: peft, mlx.mlx: mlx, whole.mlx: whole }
EOT
expect 0 fm run out.yaml
made=out/tiny_out/afm-1.0
while IFS='|' read -r path what; do
    expect 0 fm inspect --toolkit $KIT "$path"
    has stdout.txt "$what"
    has stdout.txt 'checked, and found right'
    has stdout.txt 'memory of answering'
    expect 0 fm inspect "$path"
    has stdout.txt "$what"
    has stdout.txt 'give --toolkit DIR'
done <<EOT
$KIT/assets/base-model.pt|a base model, saved by PyTorch
$KIT/assets/draft-model.pt|a draft model, saved by PyTorch
$made/adapter-final.pt|an adapter (LoRA), saved by PyTorch
$made/peft|an adapter (LoRA), of PEFT
$made/mlx|an adapter (LoRA), of MLX
$made/whole|a base model, of MLX
EOT
expect 0 fm inspect --toolkit $KIT $made/adapter-final.pt
has stdout.txt 'rank of its adapter       32; the file says no alpha'
has stdout.txt 'memory of training: rank 32'
expect 1 fm inspect --toolkit "$ROOT/configs/toolkits/nano-1.0" $made/adapter-final.pt
has stderr.txt 'do not fit an adapter of rank 32 of this shape: '
cp $KIT/assets/base-model.pt whole.pt
head -c 30000 whole.pt >$KIT/assets/base-model.pt
expect 1 fm inspect $KIT
has stderr.txt "$KIT/assets/base-model.pt: not a zip file, or cut off"
cp $KIT/assets/draft-model.pt $KIT/assets/base-model.pt
expect 1 fm inspect $KIT
has stderr.txt "$KIT/assets/base-model.pt: expected a base, found draft"
cp whole.pt $KIT/assets/base-model.pt

# One file of the folder: what names it, and no more.
cp -r $KIT whole
sign $TWO
expect_to_run "package" kit.yaml
expect 0 fm run kit.yaml
has out/tiny_task/afm-2.0/tiny_task.fmadapter/metadata.json '"fmadapter-tiny_task-ffeeddc"'
cmp "$P/adapter_weights.bin" out/tiny_task/afm-2.0/tiny_task.fmadapter/adapter_weights.bin ||
    die "another signature changed the weights"
sign $ONE
expect_to_run "" kit.yaml
echo ' ' >>$KIT/assets/tokenizer-config.json
expect_to_run "adapter data drafted package quality toolkit.tokenizer" kit.yaml
expect 0 fm run kit.yaml
has stdout.txt '1 executed, 8 cached'
cp $KIT/assets/base-model.pt $KIT/assets/draft-model.pt
expect_to_run "drafted toolkit.draft" kit.yaml
expect 1 fm run kit.yaml
has stderr.txt 'tensors do not fit the draft'"'"'s shape: embedding.weight is [400, 32], expected [400, 16]; layers.layer_0.'
cp whole/assets/draft-model.pt $KIT/assets/

# Another tokenizer, another generation, another signature, another form of it.
refused() { # STATUS TEXT
    expect "$1" fm run kit.yaml
    has stderr.txt "$2"
    rm -rf $KIT
    cp -r whole $KIT
}
sed -i 's/400/500/' $KIT/assets/tokenizer-config.json
refused 1 "$KIT/assets/tokenizer-config.json: vocab_size: found 500, expected the size of the vocabulary, 400"
sed -i 's/: 5}/: 400}/' $KIT/assets/tokenizer-config.json
refused 1 'extra_ids: <turn_end>: found 400, expected an id of the vocabulary, 0 to 399'
cat >vocab.yaml <<'EOT'
fmforge: 1
name: tiny_vocab
stages: { vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 416 } } }
deliver: { vocab.tokenizer: other.model }
EOT
expect 0 fm run vocab.yaml
cp out/tiny_vocab/other.model $KIT/assets/tokenizer.model
refused 1 "a tokenizer of another size than the vocabulary: it has 416 pieces, the shape says 400"
echo '{"__tamm_type__": "models:AFMTextV9Config"}' >$KIT/assets/base-model-config.json
refused 2 '__tamm_type__ is "models:AFMTextV9Config", expected "models:AFMTextV7Config": it is the toolkit of another generation'
sign 0000000000000000000000000000000000000000
refused 2 "BASE_SIGNATURE is 0000000000000000000000000000000000000000, and no version that $LAYOUT knows has it: afm-1.0 ($ONE), afm-2.0 ($TWO)"
echo 'BASE_SIGNATURE = os.environ["X"]' >$KIT/export/constants.py
refused 2 "$KIT/export/constants.py:1: found BASE_SIGNATURE = os.environ[\"X\"], expected"
rm $KIT/assets/tokenizer.model $KIT/export/constants.py
refused 2 "$LAYOUT looks for assets/base-model.pt, assets/tokenizer.model, export/constants.py: there is no assets/tokenizer.model, export/constants.py"
ln -sf ../../../whole/assets/base-model.pt $KIT/assets/base-model.pt
refused 2 "$KIT/assets/base-model.pt is a symbolic link"
rm $KIT/assets/draft-model.pt
refused 2 "toolkit afm-1.0 has no \`draft\` here: put it at $KIT/assets/draft-model.pt"
sed "s|$KIT|kits/adapter_training_toolkit_v0_2_0|" kit.yaml >beta.yaml
cp -r whole kits/adapter_training_toolkit_v0_2_0
expect 2 fm plan beta.yaml
has stderr.txt 'toolkit 0.1 and 0.2 were betas'
sed -i 's/^versions: .*/versions: [afm-1.0, afm-3.0]/' $LAYOUT
sign $TWO
refused 2 "$LAYOUT:5:21: version afm-3.0: there is no configs/toolkits/afm-3.0/toolkit.yaml"
rm $LAYOUT
refused 2 'no *-layout.yaml in configs/toolkits'
echo ok
