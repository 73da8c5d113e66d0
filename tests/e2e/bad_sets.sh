# Sets that do not fit together: golden and validation rows that are trained on, empty splits, labels
# that are never taught. Each is an error with lines, or a finding in the page.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
cat >sets.yaml <<'YAML'
fmforge: 1
name: sets
toolkits: [tiny-0.1]
vars: { leaks: refuse, share: 0.2, rows: data/rows.jsonl, golden: data/golden, length: 128 }
stages:
  data:
    run: prep
    inputs: { raw: $rows, golden: $golden, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: $share, leaks: $leaks, max_length: $length, long_rows: cut, pack_length: 128, seed: 5 }
YAML
sed 's/raw: $rows,/& valid: valid.jsonl,/' sets.yaml >held.yaml
page=reports/sets/index.html

# The cells of the row of the page's tables that begins with this text.
row() {
    tr -d '\n' <$page | sed 's|<tr|\n&|g; s|&quot;|"|g' | grep -F -- ">$1<" | head -n 1 |
        sed 's|</t[dh]>|;|g; s|<[^>]*>||g'
}
shows() { # TEXT REST
    case $(row "$1") in
    "$1;$2"*) ;;
    *) die "the page has \"$(row "$1")\", expected \"$1;$2\"" ;;
    esac
}
hides() { ! grep -qF -- "$1" $page || die "the page has \"$1\""; }

# Golden rows 5 and 6 are trained on, 6 with other case and marks; row 7 nearly is.
mkdir leaky new
cp data/golden/set.json leaky
cp data/golden/set.json new
{
    cat data/golden/rows.jsonl
    sed -n 1p data/rows.jsonl
    sed -n 2p data/rows.jsonl |
        sed 's/Tell me the colour of a banana\./TELL me: the colour\xe2\x80\xa6 of a \xe2\x80\x9cBANANA\xe2\x80\x9d!!/'
    sed -n 4p data/rows.jsonl | sed 's/What colour is the coal?/What colour is the coal today?/'
} >leaky/rows.jsonl
expect 1 fm run sets.yaml --set vars.golden=leaky
has stderr.txt 'golden: 2 prompts are also training prompts (leaky/rows.jsonl:5 = data/rows.jsonl:1, leaky/rows.jsonl:6 = data/rows.jsonl:2)'
has stderr.txt 'leaks: drop'
expect 0 fm run sets.yaml --set vars.golden=leaky --set vars.leaks=drop
shows 'golden: training row left out, its prompt is measured' '2;raw:1 = golden:5, raw:2 = golden:6'
shows 'golden: near repeat of a training row, kept' '2;golden:2 near raw:5, golden:7 near raw:4'
shows 'left out: prompt of the golden set' '2;0'
shows 'rows read' '25;3'
shows 'samples written' '23;3'
expect 0 fm run sets.yaml
shows 'golden: near repeat of a training row, kept' '1;golden:2 near raw:2'
shows 'left out: prompt of the golden set' '0;0'
expect 1 fm run sets.yaml --set vars.leaks=drop --set vars.rows=data/golden/rows.jsonl
has stderr.txt 'every training row (4) has a prompt of the golden set'

# A golden row as the first turn of a longer row, and one under another system message.
add_turn='s/]$/, {"role": "user", "content": "And then?"}, {"role": "assistant", "content": "No more."}]/'
other_system='s/Name the colour. Answer in JSON: colour./You know all colours./'
{
    cat data/rows.jsonl
    sed -n 1p data/golden/rows.jsonl | sed "$add_turn"
    sed -n 3p data/golden/rows.jsonl | sed "$other_system"
} >turns.jsonl
n=$(wc -l <data/rows.jsonl)
expect 1 fm run sets.yaml --set vars.rows=turns.jsonl
has stderr.txt "golden: 2 prompts are also training prompts (data/golden/rows.jsonl:1 = turns.jsonl:$((n + 1)) (turn 1 of 2), data/golden/rows.jsonl:3 = turns.jsonl:$((n + 2)) (another system message))"
expect 0 fm run sets.yaml --set vars.rows=turns.jsonl --set vars.leaks=drop
shows 'golden: training row left out, its prompt is measured' "2;raw:$((n + 1)) = golden:1, raw:$((n + 2)) = golden:3"

# Validation rows that are trained on, or that are measured.
head -n 3 data/rows.jsonl >valid.jsonl
expect 0 fm run held.yaml
shows 'valid: prompt is also a training prompt, kept' '3;valid:1 = raw:1, valid:2 = raw:2, valid:3 = raw:3'
cp data/golden/rows.jsonl valid.jsonl
expect 0 fm run held.yaml
shows 'golden: prompt is also a validation prompt, kept' '4;golden:1 = valid:1, golden:2 = valid:2,'

# Empty splits.
expect 0 fm run sets.yaml --set vars.share=0.0001
shows 'valid: no row was held out: nothing will show overfitting' '0;valid_fraction 0.0001 of 28 rows'
expect 0 fm run sets.yaml --set vars.share=0
shows 'valid: no row was held out: nothing will show overfitting' '0;valid_fraction 0 of 28 rows'
head -n 3 data/rows.jsonl >three.jsonl
expect 1 fm run sets.yaml --set vars.share=0.9 --set vars.rows=three.jsonl
has stderr.txt 'no training row is left: all 3 were held out; lower valid_fraction or add rows'
# Sets that are none: what one needs, and whose fault it is.
mkdir none empty
expect 1 fm run sets.yaml --set vars.golden=none
has stderr.txt 'prep: none/set.json: no such file: a golden set is a file of rows alone, or a folder with one and a set.json'
cp data/golden/set.json empty
: >empty/rows.jsonl
expect 1 fm run sets.yaml --set vars.golden=empty
has stderr.txt 'prep: empty/rows.jsonl: no row in it: expected one JSON array of messages a line'
sed 's/"answer" *: *"json"/"answer": "xml"/' data/golden/set.json >none/set.json
expect 1 fm run sets.yaml --set vars.golden=none
has stderr.txt 'prep: none/set.json: key "answer": expected text or json, found "xml"'
cp data/golden/set.json none
sed '2s/"{.*}"}]/"no JSON"}]/' data/golden/rows.jsonl >none/rows.jsonl
expect 1 fm run sets.yaml --set vars.golden=none
has stderr.txt 'prep: none/rows.jsonl:2: expected answer: '

printf '\n \n' >valid.jsonl
expect 1 fm run held.yaml
has stderr.txt 'valid.jsonl: no row in it: expected one JSON array of messages a line'
printf 'x\n[]\n' >valid.jsonl
expect 1 fm run held.yaml
has stderr.txt 'valid.jsonl:2: column 1: the array holds no message'
: >none.jsonl
expect 1 fm run sets.yaml --set vars.rows=none.jsonl
has stderr.txt 'none.jsonl: no row in it'
many=$(yes 'of all the many things' | head -n 20 | tr '\n' ' ')
sed -n 1p data/rows.jsonl | sed "s/What colour/What, $many, colour/" >valid.jsonl
expect 0 fm run held.yaml
shows 'valid: no row is left after the cut to max_length' '1;all of them'
expect 1 fm run sets.yaml --set vars.length=20
has stderr.txt 'no training row is left after cutting to max_length 20'

# Labels that no training row has.
sed 's/purple/magenta/; s/orange/ornage/' data/golden/rows.jsonl >new/rows.jsonl
expect 0 fm run sets.yaml --set vars.golden=new
shows 'golden: label of "colour" that no training row has' \
    '2;"magenta" (1 row), "ornage" (1 row; known is "orange")'
hides 'valid: label'
sed -n 1p data/rows.jsonl | sed 's/apple/teapot/; s/red/rde/' >valid.jsonl
expect 0 fm run held.yaml
shows 'valid: label of "colour" that no training row has' '1;"rde" (1 row; known is "red")'
hides 'golden: label'

# A golden set that is measured by, and prep does not know: remarked by plan, run and page, each time.
sed 's/raw: $rows, golden: $golden,/raw: $rows,/; s/^name: sets/name: unset/' sets.yaml >unset.yaml
expect 0 fm run unset.yaml
! grep -q remark stderr.txt || die "a remark without a golden set"
cat >>unset.yaml <<'YAML'
  near: { run: lookup, inputs: { golden: $golden, rows: $rows } }
YAML
text='data has no input golden: rows that are measured are not looked for among the training rows; write `golden: data/golden`, as near has it, below its inputs'
expect 0 fm plan unset.yaml
has stderr.txt "remark: $text"
has stdout.txt 'cached  data'
expect 0 fm run unset.yaml
has stderr.txt "remark: $text"
has stdout.txt '1 executed, 1 cached' # no key has it
page=reports/unset/index.html
grep -q 'has no input golden: rows that are measured' $page || die "the page does not remark it"
for _ in engine instant; do
    expect 0 fm run unset.yaml
    has stdout.txt 'nothing to do'
    cat stdout.txt stderr.txt >both.txt
    [ "$(grep -cF "remark: $text" both.txt)" -eq 1 ] || die "remarked otherwise than once"
done
expect 0 fm plan unset.yaml
has stderr.txt "remark: $text"
sed -i 's/raw: $rows,/& golden: $golden,/' unset.yaml
expect 0 fm run unset.yaml
! grep -q remark stderr.txt || die "a remark with the golden set"
expect 0 fm run unset.yaml
has stdout.txt 'nothing to do'
echo ok
