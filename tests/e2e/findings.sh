# What stages found odd is said on the terminal, at the head of the page with a link to its section, and
# beside the golden results; a page without findings has not the word. What failed stands there, too.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
page=reports/tiny_task/index.html
sed -i '/ raw:/s/golden: data.golden, //; s/raw: data.rows.jsonl,/& golden: data\/golden, valid: valid.jsonl,/
    s/valid_fraction: 0.2, //; s/epochs: 2/epochs: 1/' task.yaml
head_has() { # TEXT: it stands above the sections.
    sed -n '/^<body>/,/<main>/p' $page >head.txt
    has head.txt "$1"
}
open_has() { # ID TITLE: its findings are the first thing in a section, and it is not folded.
    tr -d '\n' <$page | grep -qF "<section id=\"$1\"><h2>$2</h2><p class=\"lead\">" || die "$2 is folded"
    tr -d '\n' <$page | sed "s|.*<section id=\"$1\">||; s|</h3>.*||" | grep -q '<h3>Findings$' ||
        die "the findings of $2 are not its beginning"
}

# Sound rows: nothing is found, and the page does not say that it is nothing.
sed '1,4d; /Tell/d' data/rows.jsonl >rows.txt
sed -n '1p;3p' data/rows.jsonl >valid.jsonl
mv rows.txt data/rows.jsonl
expect 0 fm run task.yaml
has stderr.txt ', 0 findings'
! grep -qE 'Findings|What to look at' $page || die "the page of sound rows has findings"
! grep -qE '[1-9] finding|  finding: ' stdout.txt stderr.txt || die "sound rows have findings"

# Odd ones: a golden row among the validation rows.
head -n 1 data/golden/rows.jsonl >>valid.jsonl
expect 0 fm run task.yaml
has stderr.txt ', 1 finding'
text='golden: prompt is also a validation prompt, kept (1): golden:1 = valid:3'
has stderr.txt "  finding: $text"
has stdout.txt "report $page (1 finding)"
head_has "<li class=\"warn\"><a href=\"#stage-1\">data[toolkit=tiny-0.1]</a> $text</li>"
has $page 'has 1 finding of data[toolkit=tiny-0.1], which read the same set'
open_has stage-1 'data[toolkit=tiny-0.1]'

# What train warns of is a finding as well. A finding of the rows behind a cached result stays in the page.
sed 's/ valid: data.valid,//' task.yaml >alone.yaml
expect 0 fm run alone.yaml
text='valid: no rows: nothing shows overfitting, the last adapter is kept'
has stderr.txt "  finding: $text"
has stdout.txt '(2 findings)'
head_has "<a href=\"#stage-2\">adapter[toolkit=tiny-0.1]</a> $text</li>"
head_has 'golden: prompt is also a validation prompt'
open_has stage-2 'adapter[toolkit=tiny-0.1]'
sed 's/epochs: 1,/& keep: last, learning_rate: 0.3, clip: 0,/' task.yaml >loops.yaml
expect 0 fm run loops.yaml
head_has '</a> valid: answer that loops: are the steps too few, or is learning_rate too high? ('
sed 's/max_length: 128/max_length: 60, long_rows: cut/' task.yaml >cut.yaml
expect 0 fm run cut.yaml
head_has '</a> train: sample cut when it was prepared ('

# What eval leaves out of a metric is a finding as well.
cp -r data/golden long
sed -n 1p data/golden/rows.jsonl |
    sed "s/white/$(yes 'of all the many things' | head -n 30 | tr '\n' ' ')/" >>long/rows.jsonl
sed '/run: eval/,/with:/s/data.golden/long/' task.yaml >long.yaml
expect 0 fm run long.yaml
head_has "</a> golden: row that does not fit the model&#39;s context with its answer: left out of expected_token_probability (1)</li>"

# Many: the first are named, the others counted. A label is one line, whatever is in it.
{
    for n in 1 2 3 4 5 6 7 8; do
        echo "[{\"role\": \"user\", \"content\": \"Is it $n?\"}, {\"role\": \"assistant\", \"content\": \" \"}]"
    done
    sed -n 1p data/rows.jsonl
    sed -n 1p data/rows.jsonl | sed 's/"content": "{.*/"content": "{\\"colour\\": \\"r\\\\u001be\\\\nd\\"}"}]/'
    sed -n 1p data/rows.jsonl
    cat data/golden/rows.jsonl
} >valid.jsonl
expect 0 fm run task.yaml
[ "$(grep -c '^  finding: ' stderr.txt)" = 5 ] || { cat stderr.txt >&2; die "not five findings are named"; }
has stderr.txt ' more: the page has all'
! grep -q "$(printf '\033')" stderr.txt || die "a finding wrote an escape to the terminal"

# What failed and what does not hold stand there first.
sed -i 's/gates: .*/gates: [ "rows >= 9" ]/' task.yaml
expect 3 fm run task.yaml --record
head_has '<li class="bad"><a href="#gates">quality[toolkit=tiny-0.1]</a> gate rows &gt;= 9 does not hold: rows is 4</li>'
echo ok
