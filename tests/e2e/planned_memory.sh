# The memory that a stage plans before it starts, beside what it had at its peak.
. "$2/tests/e2e/e2e_lib.sh"
is_built_with asan && skip "the address sanitizer keeps what is freed"
is_built_with tsan && skip "the thread sanitizer has shadows of everything"
need_stages eval speculate perplexity pretrain recover draft sample pissa export_mlx export_torch import_adapter
T=$ROOT/configs/toolkits/nano-1.0
cat "$ROOT"/README.md "$ROOT"/*/README.md | tr -cd '[:print:]\n' >text.txt
head -n 40 text.txt >valid.txt
cat >m.yaml <<Y
fmforge: 1
name: memory
toolkits: [$T]
stages:
  answers:
    run: eval
    inputs: { golden: $ROOT/golden/support_desk, base: toolkit.base, adapter: toolkit.recovery.32,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 4 }
  worth:
    run: speculate
    inputs: { golden: $ROOT/golden/support_desk, base: toolkit.base, adapter: toolkit.recovery.32, draft: toolkit.draft,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 4, rows_max: 10 }
  nats:
    run: perplexity
    inputs: { text: valid.txt, tokenizer: toolkit.tokenizer, base: toolkit.base, adapter: toolkit.recovery.32 }
  dense:
    run: pretrain
    inputs: { text: text.txt, valid: valid.txt, tokenizer: toolkit.tokenizer, shape: toolkit.shape }
    with: { tokens: 2048, qat_tokens: 1, batch_tokens: 2048, evaluations: 1 }
  recovery:
    run: recover
    inputs: { text: text.txt, valid: valid.txt, tokenizer: toolkit.tokenizer, base: toolkit.base }
    with: { rank: 8, tokens: 4096, evaluations: 1 }
  small:
    run: draft
    inputs: { text: text.txt, valid_text: valid.txt, tokenizer: toolkit.tokenizer, base: toolkit.base,
              shape: $ROOT/configs/nano/draft_shape.json }
    with: { tokens: 4096, ce_tokens: 2048, evaluations: 1 }
  random:
    run: pretrain
    inputs: { shape: toolkit.shape }
    with: { mode: random }
  texts:
    run: sample
    inputs: { base: toolkit.base, adapter: toolkit.recovery.32, tokenizer: toolkit.tokenizer }
    with: { tokens: 200, document_tokens: 31 }
  principal:
    run: pissa
    inputs: { base: toolkit.base }
  mlx:
    run: export_mlx
    inputs: { base: toolkit.base, adapter: toolkit.recovery.32 }
    with: { what: base }
  torch:
    run: export_torch
    inputs: { base: toolkit.base, adapter: toolkit.recovery.32 }
    with: { what: merged }
  back:
    run: import_adapter
    inputs: { base: toolkit.base, mlx: mlx.mlx }
Y
expect 0 fm run m.yaml --record -j1 --threads 2
run=$(git -C .fmforge/ledger.git rev-parse refs/prov/memory)
compare() { # STAGE: within a tenth, beside what program, libraries and tokenizer take (9 to 12 MiB)
    local planned peak
    planned=$(sed -n "/^$1.*: done in/,/: done in/s/^  [a-z_]*: memory: \([0-9.]*\) MiB: .*/\1/p" stderr.txt | sort -g | tail -n 1)
    [ -n "$planned" ] || die "$1 does not say its memory: $(cat stderr.txt)"
    peak=$(git -C .fmforge/ledger.git show "$run:stages/$1[toolkit=nano-1.0]/statement.json" |
        grep -o '"peak_bytes":[0-9]*' | cut -d: -f2)
    awk -v planned="$planned" -v peak="$((peak / 1024))" 'BEGIN {
        more = peak / 1024 - planned
        exit !(more > -planned / 10 && more < planned / 10 + 14)
    }' || die "$1 has planned $planned MiB and had $((peak / 1048576)) MiB"
    echo "$1: planned $planned MiB, had $((peak / 1024)) KiB" >&2
}
for stage in answers worth nats dense recovery small random texts principal mlx torch back; do
    compare "$stage"
done
echo ok
