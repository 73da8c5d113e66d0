# Every kind of broken manifest: exit 2, file:line:column, and nothing started.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab prep train

# refuse NAME "LINE:COLUMN" TEXT: m.yaml is refused there with that text.
refuse() {
    local rc
    timeout 10 "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt
    rc=$?
    [ "$rc" -eq 2 ] || { cat stderr.txt >&2; die "$1: exit $rc, expected 2"; }
    has stderr.txt "m.yaml:$2: "
    has stderr.txt "$3"
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
refuse "unknown key" 3:1 'stages'
good | sed 's/with: { vocab: 400 }/with: { vocabs: 400 }/' >m.yaml
refuse "unknown parameter" 4:60 'vocab'
good | sed 's/vocab: 400/vocab: many/' >m.yaml
refuse "wrong type" 4:67 'many'
good | sed 's/vocab: 400/vocab: 7/' >m.yaml
refuse "out of range" 4:67 '400'
good | sed 's/run: vocab,/run: vocap,/' >m.yaml
refuse "unknown stage" 4:17 'vocab'
good | sed 's/text.txt/absent.txt/' >m.yaml
refuse "missing file" 4:42 'absent.txt'
good | sed 's/inputs: { text:/inputs: { texts:/' >m.yaml
refuse "unknown port" 4:34 'text'
good | sed 's/^name: m/name: my-task/' >m.yaml
refuse "a hyphen in the name" 2:7 'my-task'
{ good; echo '  vocab: { run: vocab, inputs: { text: text.txt } }'; } >m.yaml
refuse "duplicate stage" 5:3 'vocab'
{ good; echo 'name: again'; } >m.yaml
refuse "duplicate key" 5:1 'name'
cat >m.yaml <<'EOF'
fmforge: 1
name: m
stages:
  a: { run: train, inputs: { train: b.train, base: text.txt } }
  b: { run: prep, inputs: { raw: text.txt, tokenizer: text.txt, template: a.report } }
EOF
timeout 10 "$BIN/fmforge" run m.yaml >stdout.txt 2>stderr.txt
[ $? -eq 2 ] || die "a cycle or a wrong kind was not refused"
cat >m.yaml <<'EOF'
fmforge: 1
name: m
stages:
  a: { run: train, inputs: { train: d.train, base: text.txt, init: b.checkpoint } }
  b: { run: train, inputs: { train: d.train, base: text.txt, init: a.checkpoint } }
  d: { run: prep, inputs: { raw: text.txt, tokenizer: text.txt, template: text.txt } }
EOF
refuse "a cycle" '[45]:' 'cycle' 2>/dev/null || true
has stderr.txt 'm.yaml:'
grep -qi 'circle\|cycle\|itself' stderr.txt || { cat stderr.txt >&2; die "a cycle is not named"; }

cat >m.yaml <<'EOF'
a: &a [x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
EOF
refuse "an alias bomb" 1:4 'anchor'
head -c 1000000 /dev/zero | tr '\0' '[' >m.yaml
refuse "a megabyte of brackets" 1 ''
good | sed 's/^name: m/name: m\xff/' >m.yaml
refuse "invalid UTF-8" 2 'UTF-8'
: >m.yaml
expect 2 fm run m.yaml
expect 2 fm run absent.yaml
has stderr.txt absent.yaml
expect 2 fm run
expect 2 fm rum m.yaml
echo ok
