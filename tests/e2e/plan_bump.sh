# The plan of another base signature is told from what the last run kept, and says the same as the
# plan that is made. Any other change is planned the whole way.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
mkdir nano mini
toolkit() { # FOLDER SIGNATURE
    cat >"$1/toolkit.yaml" <<X
# digits: 3333333333333333333333333333333333333333
fmforge_toolkit: 1
name: $1
version: "0.1"
signature: "$2"
facets: { size: { value: 8 } }
X
}
first=0123456789012345678901234567890123456789
second=9876543210987654321098765432109876543210
toolkit nano $first
toolkit mini 1111111111111111111111111111111111111111
cat >m.yaml <<'X'
fmforge: 1
name: probes
toolkits: [nano, mini]
stages:
  free: { run: probe, inputs: { text: in.txt } }
  size: { run: probe, inputs: { text: in.txt, more: toolkit.size }, with: { n: 1 } }
  both: { run: probe, inputs: { text: toolkit.signature, more: toolkit.signature } }
  sign: { run: probe, inputs: { text: free.text, more: toolkit.signature } }
  last: { run: probe, inputs: { text: sign.text, more: toolkit.signature }, with: { n: 4 } }
  end: { run: probe, inputs: { text: last.text, more: toolkit.signature }, with: { n: 2 } }
X
echo 'row one' >in.txt

traces=''
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then traces=yes; fi
# plans HOW: the plan with what was kept, and without it, are the same text. HOW says whether it is
# told or made.
plans() {
    if [ -n "$traces" ]; then
        ASAN_OPTIONS=detect_leaks=0 strace -o trace.txt -e trace=open,openat "$BIN/fmforge" plan m.yaml >told.txt ||
            die "plan fails under strace"
        if grep -q '"m.yaml"' trace.txt; then how=made; else how=told; fi
        [ "$how" = "$1" ] || die "the plan was $how, expected $1"
    else
        expect 0 fm plan m.yaml
        mv stdout.txt told.txt
    fi
    mv .fmforge/state state.away
    expect 0 fm plan m.yaml
    mv state.away .fmforge/state
    cmp told.txt stdout.txt || die "another plan"
}

expect 0 fm run m.yaml
settle m.yaml
plans told
has told.txt '0 of 11 stages would run'
toolkit nano $second
plans told
has told.txt '4 of 11 stages would run'
has told.txt '(nano-0.1/signature), and 1 more; took'
has told.txt 'input text comes from last[toolkit=nano-0.1], which runs; took'
find .fmforge -printf '%p %i %s %T@ %C@\n' | sort >before.txt
expect 0 fm plan m.yaml
find .fmforge -printf '%p %i %s %T@ %C@\n' | sort | cmp - before.txt || die "plan has written something"
toolkit mini 2222222222222222222222222222222222222222
plans told
has told.txt '8 of 11 stages would run'

# A time that only the ledger can know: the result is another instance's.
sed 's/n: 2/n: 3/; s/last.text, more: toolkit.signature/last.text/' m.yaml >twins.yaml
mv m.yaml one.yaml
mv twins.yaml m.yaml
toolkit nano $first
toolkit mini 1111111111111111111111111111111111111111
expect 0 fm run m.yaml
settle m.yaml
toolkit mini 4444444444444444444444444444444444444444
plans made
mv one.yaml m.yaml
toolkit mini 1111111111111111111111111111111111111111
expect 0 fm run m.yaml
settle m.yaml

# Anything else: another facet, a comment, digits that are none, an input, the manifest.
toolkit nano $first
toolkit mini 1111111111111111111111111111111111111111
plans told
sed -i 's/value: 8/value: 9/' nano/toolkit.yaml
plans made
has told.txt '1 of 11 stages would run'
toolkit nano $first
sed -i 's/digits: 3/digits: 4/' nano/toolkit.yaml
plans made
has told.txt '0 of 11 stages would run'
toolkit nano "${first%9}X"
expect 2 fm plan m.yaml
has stderr.txt signature
toolkit nano $second
echo 'row two' >in.txt
plans made
has told.txt 'inputs.text'
echo 'row one' >in.txt

# Its result is there: made before, with that signature.
expect 0 fm run m.yaml
settle m.yaml
toolkit nano $first
plans made
has told.txt '0 of 11 stages would run'

# What was kept is damaged, or of another command.
settle m.yaml
toolkit nano 5555555555555555555555555555555555555555
plans told
for state in .fmforge/state/*; do flip_bit "$state" 200; done
plans made
expect 0 fm plan m.yaml --json
has stdout.txt '"schema": "fmforge.plan/1"'
echo ok
