# Every parameter of train that may change the adapter does; batches that are accumulated are one batch.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
default="epochs: 2, batch_size: 4, rank: 8, learning_rate: 5e-3, clip: 0.05, keep: last, prompt_dropout: 0.2,
  lead_tokens: 2, lead_weight: 3, prompt_weight: 0.1"
{
    cat <<'EOT'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
stages:
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.2, max_length: 128, pack: false }
EOT
    n=0
    # The last of two equal keys would be refused: what is changed leaves the default.
    while read -r change; do
        key=${change%%:*}
        with=$(printf '%s' "$default" | tr '\n' ' ' | sed "s/\(^\|, *\)$key: [^,]*/\1/; s/^, *//; s/, *,/,/; s/, *\$//")
        printf '  t%02d:\n    run: train\n    inputs: { train: data.train, valid: data.valid, base: toolkit.base }\n' $n
        printf '    with: { %s, %s }\n' "$with" "$change"
        n=$((n + 1))
    done <<'EOT'
seed: 1
seed: 2
epochs: 3
max_steps: 5
learning_rate: 4e-3
warmup_fraction: 0.5
batch_size: 8
batch_size: 8, accumulation: 2
batch_size: 16
alpha: 8
weight_decay: 0.3
beta1: 0.8
beta2: 0.99
eps: 1e-4
clip: 0
prompt_dropout: 0
lead_tokens: 3
lead_weight: 2
prompt_weight: 0
precision: f32
EOT
} >task.yaml
expect 0 fm run task.yaml -j 2
all=$(for i in $(seq -w 0 19); do echo "$(artifact "t$i/checkpoint") t$i"; done)
[ "$(echo "$all" | grep -c '^[0-9a-f]\{64\} ')" -eq 20 ] || { echo "$all" >&2; die "not 20 adapters"; }
[ "$(artifact t07/checkpoint)" = "$(artifact t08/checkpoint)" ] || die "2 x 8 rows are not 16 rows"
same=$(echo "$all" | grep -v ' t08$' | sort | uniq -w 64 -D)
[ -z "$same" ] || { grep -n 'with:' task.yaml >&2; echo "$same" >&2; die "these made the same adapter"; }
echo ok
