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
    expect 2 "$program" --no-such-option
    expect 2 "$program"
    has stderr.txt "$name: "
    expect 2 "$program" --in no_such_port=x
    # Nothing is written by any of these.
    [ -z "$(find . -type f ! -name stdout.txt ! -name stderr.txt ! -name first.txt)" ] ||
        die "$name left files behind"
done
[ "$n" -ge 10 ] || die "only $n stages"
echo ok
