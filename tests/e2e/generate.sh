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

# An answer that is cut is told, and so are options that change nothing without another one.
short="generate --toolkit tiny-0.1 --prompt Red? --max-new-tokens 3"
plain=$(fm $short) || die "no answer"
expect 0 fm $short
has stderr.txt 'generate: the answer was cut: --max-new-tokens is 3'
! grep -q 'not used' stderr.txt || die "an option that was not given is not used"
expect 0 fm $short --top-k 5 --top-p 0.5 --seed 2 --draft-tokens 2 --draft-confidence 0
[ "$(cat stdout.txt)" = "$plain" ] || die "sampling options change a greedy answer"
has stderr.txt 'generate: not used: --top-k --top-p --seed: at --temperature 0 the likeliest token is taken each time'
has stderr.txt 'generate: not used: --draft-tokens --draft-confidence: there is no --draft'
expect 0 fm $short --seed 2
has stderr.txt 'generate: not used: --seed: at'
expect 0 fm $short --temperature 1 --top-k 5 --top-p 0.5 --seed 2
! grep -q 'not used' stderr.txt || die "a sampled answer says that an option is not used"
expect 0 fm generate --toolkit tiny-0.1 --prompt Red? --max-new-tokens 4096
has stderr.txt "the answer was cut: the model's context of 128 tokens is full"
expect 0 fm generate --toolkit tiny-0.1 --adapter "$PACKAGE" --prompt "What colour is the apple?" \
    --system "Name the colour. Answer in JSON: colour."
! grep -q 'was cut' stderr.txt || die "an answer that ended by itself was cut"

# The answer comes as it grows: each write is a message of its own on such a socket, which holds a few,
# so that the tool still runs when its first bytes are read.
if command -v perl >/dev/null; then
    expect 0 fm generate --toolkit tiny-0.1 --prompt Red? --max-new-tokens 100
    mv stdout.txt whole.txt
    perl -MSocket -e '
        socketpair(my $in, my $out, AF_UNIX, SOCK_SEQPACKET, 0) or die "socketpair: $!";
        setsockopt($out, SOL_SOCKET, SO_SNDBUF, 1) or die "setsockopt: $!";
        my $child = fork;
        if ($child == 0) { open STDOUT, ">&", $out; close $in; close $out; exec @ARGV; die "exec: $!"; }
        close $out;
        my ($n, $text, $piece) = (0, "");
        while (sysread($in, $piece, 65536)) {
            $n++ == 0 and waitpid($child, 1) != 0 and die "the tool ended before its first bytes were read";
            $text .= $piece;
        }
        waitpid($child, 0);
        $? == 0 or die "the tool failed";
        print $text;
        print STDERR "$n pieces\n";' "$BIN/fmforge" generate --toolkit tiny-0.1 --prompt Red? \
        --max-new-tokens 100 >pieces.txt 2>stderr.txt || { cat stderr.txt >&2; die "no pieces"; }
    cmp whole.txt pieces.txt || die "the pieces are not the answer"
    n_pieces=$(sed -n 's/ pieces$//p' stderr.txt)
    [ "$n_pieces" -ge 20 ] || die "an answer of 100 tokens came in $n_pieces pieces"
fi

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
