# Every kind of broken manifest: exit 2, file:line:column, and nothing started.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab prep train

# refuse NAME LINE TOKEN TEXT: m.yaml is refused where TOKEN stands in that line, with that text.
refuse() {
    local rc column
    timeout 10 "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt
    rc=$?
    [ "$rc" -eq 2 ] || { cat stderr.txt >&2; die "$1: exit $rc, expected 2"; }
    column=$(awk -v line="$2" -v token="$3" 'NR == line { print index($0, token) }' m.yaml)
    has stderr.txt "m.yaml:$2:$column: "
    has stderr.txt "$4"
    [ -z "$(find .fmforge -path '*actions/*' -type f 2>/dev/null)" ] || die "$1: an action was stored"
    [ -z "$(find .fmforge -path '*objects/*' -type f 2>/dev/null)" ] || die "$1: an object was stored"
}

echo text >text.txt
good() {
    cat <<'EOF'
fmforge: 1
name: m
stages:
  vocab: { run: vocab, inputs: { text: text.txt }, with: { vocab: 400 } }
EOF
}

good | sed 's/^stages:/stagess:/' >m.yaml
refuse "unknown key" 3 stagess 'did you mean `stages`'
good | sed 's/vocab: 400/vocabs: 400/' >m.yaml
refuse "unknown parameter" 4 vocabs 'did you mean `vocab`'
good | sed 's/vocab: 400/vocab: many/' >m.yaml
refuse "wrong type" 4 many 'expected'
good | sed 's/vocab: 400/vocab: 7/' >m.yaml
refuse "out of range" 4 '7 }' '400'
good | sed 's/run: vocab,/run: vocap,/' >m.yaml
refuse "unknown stage" 4 vocap 'did you mean `vocab`'
good | sed 's/text.txt/absent.txt/' >m.yaml
refuse "missing file" 4 absent.txt 'no such file'
good | sed 's/inputs: { text:/inputs: { texts:/' >m.yaml
refuse "unknown port" 4 texts 'did you mean `text`'
good | sed 's/inputs: { text: text.txt }, //' >m.yaml
refuse "no input" 4 vocab 'text'
good | sed 's/^name: m/name: my-task/' >m.yaml
refuse "a hyphen in the name" 2 my-task 'hyphen'
{ good; echo '  vocab: { run: vocab, inputs: { text: text.txt } }'; } >m.yaml
refuse "duplicate stage" 5 vocab 'vocab'
{ good; echo 'name: again'; } >m.yaml
refuse "duplicate key" 5 name 'name'
{ good; echo 'deliver: { vocap: x }'; } >m.yaml
refuse "delivery of nothing" 5 vocap 'vocab'
{ good; echo 'matrix: { rank: [] }'; } >m.yaml
refuse "an axis without values" 5 '[]' 'rank'
good | sed 's/ }$/, limits: { secods: 5 } }/' >m.yaml
refuse "an unknown limit" 4 secods 'did you mean `seconds`'
good | sed 's/ }$/, limits: { seconds: 1h } }/' >m.yaml
refuse "a time that is no number" 4 1h 'limit `seconds`: expected a whole number from 1 to'
good | sed 's/ }$/, limits: { seconds: 0 } }/' >m.yaml
refuse "no time at all" 4 '0 } }' 'found `0`'
good | sed 's/ }$/, limits: { memory: 8 GB } }/' >m.yaml
refuse "no such unit" 4 '8 GB' 'expected bytes such as 512M or 8G'
good | sed 's/ }$/, limits: { memory: 4K } }/' >m.yaml
refuse "too little memory" 4 4K 'at least 1M'
good | sed 's/ }$/, limits: { retries: [1] } }/' >m.yaml
refuse "a list of retries" 4 '[1]' 'found a list'
good | sed 's/ }$/, limits: { grace: $seed } }/' >m.yaml
refuse "a variable as a limit" 4 '$seed' 'limits take no variables'
good | sed 's/ }$/, limits: 5 }/' >m.yaml
refuse "limits that are no mapping" 4 '5 }' 'limits of stage vocab must be a mapping'
{ good; echo 'remote: { url: "ftp://h/x" }'; } >m.yaml
refuse "a remote of another kind" 5 '"ftp' 'remote `url`: expected http://HOST'
{ good; echo 'remote: { url: http://h, mode: write }'; } >m.yaml
refuse "a mode that is none" 5 'write }' 'remote `mode`: expected read or readwrite, found `write`'
{ good; echo 'remote: { url: "http://me:secret@h" }'; } >m.yaml
refuse "a login in a manifest" 5 '"http:' 'a login does not belong into a manifest'
! grep -q secret stderr.txt || die "the password is repeated"
{ good; echo 'stage2: [1'; } >m.yaml
expect 2 fm run m.yaml
has stderr.txt 'm.yaml:'

cat >m.yaml <<'EOF'
fmforge: 1
name: m
stages:
  a: { run: train, inputs: { train: d.train, base: text.txt, init: b.checkpoint } }
  b: { run: train, inputs: { train: d.train, base: text.txt, init: a.checkpoint } }
  d: { run: prep, inputs: { raw: text.txt, tokenizer: text.txt, template: text.txt } }
EOF
refuse "a cycle" 4 a: 'a -> b -> a'
sed -i 's/init: b.checkpoint/init: d.train/' m.yaml
expect 2 fm run m.yaml
has stderr.txt 'm.yaml:4:'
has stderr.txt 'tokens'
sed -i 's/init: d.train/init: d.checkpoint/' m.yaml
refuse "an output that is not there" 4 d.checkpoint 'd has no output'

# A file that has a stage's name in front of its dot is not that stage's output.
cp text.txt vocab.txt
good | sed 's/text.txt/vocab.txt/' >m.yaml
refuse "a file named like its stage" 4 vocab: 'for the file or folder vocab.txt write ./vocab.txt'
good | sed 's/text.txt/.\/vocab.txt/' >m.yaml
expect 0 fm plan m.yaml

cat >m.yaml <<'EOF'
a: &a [x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
EOF
refuse "an alias bomb" 1 '&a' 'anchor'
head -c 1000000 /dev/zero | tr '\0' '[' >m.yaml
expect 2 timeout 10 "$BIN/fmforge" run m.yaml
has stderr.txt 'm.yaml:1:'
head -c 1000000 /dev/zero | tr '\0' ' ' >m.yaml
expect 2 timeout 10 "$BIN/fmforge" run m.yaml
head -c 3000000 /dev/zero | tr '\0' '#' >m.yaml
expect 2 timeout 10 "$BIN/fmforge" run m.yaml
has stderr.txt 'limit'
good | sed 's/^name: m/name: m\xff/' >m.yaml
expect 2 fm run m.yaml
has stderr.txt 'm.yaml:2:'
has stderr.txt 'UTF-8'
: >m.yaml
expect 2 fm run m.yaml
expect 2 fm run absent.yaml
has stderr.txt absent.yaml
expect 2 fm run
expect 2 fm rum m.yaml
echo ok
