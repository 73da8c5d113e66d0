# The tool: the answer alone on stdout, the same from the package and from its checkpoint.
. "$2/tests/e2e/e2e_lib.sh"
need_stages generate
tiny_toolkit
sed -i 's/epochs: 2/epochs: 30, learning_rate: 5e-3/' task.yaml
expect 0 fm run task.yaml
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
# The checkpoint has the values of the package already: no answer can differ.
has stderr.txt 'largest error of fp16 0'

ask() { # ADAPTER PROMPT
    expect 0 fm generate --toolkit tiny-0.1 --adapter "$1" \
        --system "Name the colour. Answer in JSON: colour." --prompt "$2" --max-new-tokens 12
    cat stdout.txt
}
n_different=0
base=$(fm generate --toolkit tiny-0.1 --prompt "What colour is the apple?" --max-new-tokens 12)
for thing in apple banana leaf coal; do
    package=$(ask "$PACKAGE" "What colour is the $thing?") || exit 1
    trained=$(ask adapter.safetensors "What colour is the $thing?") || exit 1
    [ "$package" = "$trained" ] || die "package: $package, checkpoint: $trained"
    [ "$package" != "$base" ] && n_different=$((n_different + 1))
done
[ "$n_different" -gt 0 ] || die "the adapter answers as the base does"

# Threads and kernels change nothing.
[ "$(fm generate --toolkit tiny-0.1 --adapter "$PACKAGE" --prompt "Red?" --threads 1)" = \
    "$(fm generate --toolkit tiny-0.1 --adapter "$PACKAGE" --prompt "Red?" --threads 2)" ] ||
    die "threads change the answer"

# Refused: a package for another base, no prompt, a special piece in the prompt.
expect 2 fm generate --toolkit tiny-0.1 --adapter "$PACKAGE"
expect 2 fm generate --toolkit tiny-0.1 --adapter "$PACKAGE" --prompt "x<turn_end>"
# Without --toolkit the package's signature would have to be that of a shipped toolkit.
expect 2 fm generate --adapter "$PACKAGE" --prompt x
cp -r "$PACKAGE" cut.fmadapter
chmod -R u+w cut.fmadapter
head -c 1000 "$PACKAGE/adapter_weights.bin" >cut.fmadapter/adapter_weights.bin
expect 1 fm generate --toolkit tiny-0.1 --adapter cut.fmadapter --prompt x
has stderr.txt 'record'
echo ok
