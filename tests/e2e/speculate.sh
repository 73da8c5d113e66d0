# Sampling, and speculative decoding with a draft: the same greedy text, also for every golden row.
. "$2/tests/e2e/e2e_lib.sh"
need_stages generate draft speculate
tiny_toolkit
sed 's/"layers_0": *[0-9]*/"layers_0": 1/; s/"layers_1": *[0-9]*/"layers_1": 1/' data/shape.json >draft_shape.json
sed -i 's/epochs: 2/epochs: 30, learning_rate: 5e-3/' task.yaml
sed -i '/^  package:/i\
  small:\
    run: draft\
    inputs: { train: data.train, valid: data.valid, base: toolkit.base, adapter: adapter.checkpoint,\
              shape: draft_shape.json }\
    with: { epochs: 40, batch_tokens: 256, learning_rate: 3e-3 }\
  stranger:\
    run: draft\
    inputs: { train: data.train, valid: data.valid, base: toolkit.base, adapter: adapter.checkpoint,\
              shape: draft_shape.json }\
    with: { epochs: 1, learning_rate: 1e-8 }\
  worth:\
    run: speculate\
    inputs: { golden: data/golden, base: toolkit.base, adapter: adapter.checkpoint, draft: small.draft,\
              tokenizer: toolkit.tokenizer, template: toolkit.template }\
    with: { max_new_tokens: 12, draft_tokens: 3 }\
    gates: [ "rows >= 4", "acceptance > 0.05", "tokens_per_pass > 1" ]\
  worth_f32:\
    run: speculate\
    inputs: { golden: data/golden, base: toolkit.base, adapter: adapter.checkpoint, draft: small.draft,\
              tokenizer: toolkit.tokenizer, template: toolkit.template }\
    with: { max_new_tokens: 12, draft_tokens: 3, precision: f32 }\
    gates: [ "acceptance > 0.05", "tokens_per_pass > 1" ]' task.yaml
expect 0 fm run task.yaml
page=reports/tiny_task/index.html

# What was measured is no output, but the page has it, also that of a run that reuses the stages.
for _ in first again; do
    [ "$(grep -o '>times_as_fast<' $page | wc -l)" -eq 2 ] || die "the page does not say how fast"
    expect 0 fm run task.yaml --record
done
tr -d '\n' <$page | sed 's|<wbr>||g; s|<h3>|\n&|g; s|<section|\n&|g' | grep '^<h3>On data/golden' >golden.txt
has golden.txt '>quality[toolkit=tiny-0.1]</th>'
! grep -qE 'worth|acceptance|tokens_per_pass' golden.txt || die "the golden results have what a draft is worth"
has $page '<h2>worth[toolkit=tiny-0.1]</h2>'
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
fetch "$(artifact small/draft)" small.safetensors

ask() { # OPTIONS...
    expect 0 fm generate --toolkit tiny-0.1 --adapter adapter.safetensors --max-new-tokens 24 "$@"
    cat stdout.txt
}
for thing in apple leaf coal; do
    alone=$(ask --prompt "What colour is the $thing?") || exit 1
    drafted=$(ask --prompt "What colour is the $thing?" --draft small.safetensors) || exit 1
    has stderr.txt 'tokens per pass of the base'
    [ "$alone" = "$drafted" ] || die "alone: $alone, with a draft: $drafted"
    few=$(ask --prompt "What colour is the $thing?" --temperature 2 --top-k 1 --seed 9) || exit 1
    [ "$alone" = "$few" ] || die "alone: $alone, the likeliest of one: $few"
done

# One that knows nothing of the task changes no answer either, and is told to be of no use.
fetch "$(artifact stranger/draft)" stranger.safetensors
alone=$(ask --prompt "Red?" --draft-confidence 0) || exit 1
drafted=$(ask --prompt "Red?" --draft-confidence 0 --draft stranger.safetensors) || exit 1
[ "$alone" = "$drafted" ] || die "alone: $alone, with a strange draft: $drafted"
has stderr.txt 'does not speed such answers up'
expect 0 fm generate --toolkit tiny-0.1 --adapter adapter.safetensors --max-new-tokens 4 --prompt "Red?" \
    --draft-confidence 0 --draft stranger.safetensors
! grep -q 'does not speed' stderr.txt || die "four tokens are said to judge a draft: $(cat stderr.txt)"

# A draft that is never sure enough proposes nothing, which is not said to be its fault.
expect 0 fm generate --toolkit tiny-0.1 --adapter adapter.safetensors --max-new-tokens 24 --prompt "Red?" \
    --draft-confidence 1 --draft stranger.safetensors
has stderr.txt 'draft: this one proposed nothing'

# A seed is an answer; others give others.
one=$(ask --prompt "Red?" --temperature 3 --seed 1) || exit 1
again=$(ask --prompt "Red?" --temperature 3 --seed 1 --threads 1) || exit 1
[ "$one" = "$again" ] || die "one seed, two answers: $one; $again"
n_different=0
for seed in 2 3 4; do
    [ "$(ask --prompt "Red?" --temperature 3 --seed $seed)" = "$one" ] || n_different=$((n_different + 1))
done
[ "$n_different" -gt 0 ] || die "the seed changes nothing"

expect 2 fm generate --toolkit tiny-0.1 --adapter adapter.safetensors --prompt x --top-p 0
has stderr.txt 'top-p'
expect 2 fm generate --toolkit tiny-0.1 --adapter adapter.safetensors --prompt x --draft-tokens 9
expect 1 fm generate --toolkit tiny-0.1 --prompt x --draft adapter.safetensors
echo ok
