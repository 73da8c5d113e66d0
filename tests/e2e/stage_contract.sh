# What every stage program answers, run by hand without the engine.
. "$2/tests/e2e/e2e_lib.sh"
n=0
for program in "$BIN"/stage-*; do
    n=$((n + 1))
    name=${program##*/stage-}
    expect 0 "$program" --describe
    has stdout.txt "\"name\": \"$name\""
    for key in summary tool portable inputs outputs params libraries; do
        has stdout.txt "\"$key\":"
    done
    cp stdout.txt first.txt
    expect 0 "$program" --describe
    cmp -s stdout.txt first.txt || die "$name describes itself in two ways"
    expect 0 "$program" --help
    has stdout.txt "stage-$name"
    ! grep -E '^.{101}' stdout.txt || die "$name: a line of its help is longer than 100 columns"
    expect 2 "$program" --no-such-option
    expect 2 "$program"
    has stderr.txt "$name: "
    expect 2 "$program" --in no_such_port=x
    # Nothing is written by any of these.
    [ -z "$(find . -type f ! -name stdout.txt ! -name stderr.txt ! -name first.txt)" ] ||
        die "$name left files behind"
done
# The help says what a parameter may be and what it is when nobody sets it.
tr -s '\n ' ' ' < <("$BIN/stage-prep" --help) >help.txt
for text in 'above max_length. [refuse|cut] (default refuse)' 'length. [8..1048576 tokens] (default 512)' \
    'batch. (default true)' 'Seed of the split. [0..9007199254740991] (default 1)'; do
    has help.txt "$text"
done
tr -s '\n ' ' ' < <(fm generate --help) >help.txt
for text in "user's message. (required)" 'none. (default empty)' 'there. [1..1048576 tokens] (default 128)' \
    '[f32|int16|bf16-mixed|bf16|f16-mixed] (default int16)' 'probability. [1e-06..1] (default 1)'; do
    has help.txt "$text"
done
[ "$n" -ge 10 ] || die "only $n stages"
echo ok
