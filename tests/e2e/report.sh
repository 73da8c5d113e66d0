# The page of a run: every number that a metric's cell shows is the ledger's, and nothing is fetched.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/^name: tiny_task/&\ndescription: Names "colours" <b>\&/' task.yaml
expect 0 fm run task.yaml
has stdout.txt 'report reports/tiny_task/index.html'
[ "$(sed -n 's/^\(  [a-z_0-9]* *\)[0-9][0-9.e-]*$/\1/p' stdout.txt | awk '{ print length($0) }' | sort -u | wc -l)" = 1 ] ||
    { cat stdout.txt >&2; die "the metrics do not stand below each other"; }
page=reports/tiny_task/index.html

# The cells of a stage's metrics: from the page, and from the object that the ledger names.
cells_of() { # STAGE FILE
    tr '<' '\n' <"$2" | grep -F "data-key=\"$1/" |
        sed 's|.*data-key="[^"]*/\([^"/]*\)".*|\1 &|; s|^\([^ ]*\) .*data-value="\([^"]*\)".*|\1 \2|' |
        sort -u
}
for stage in 'quality[toolkit=tiny-0.1]' 'adapter[toolkit=tiny-0.1]'; do
    fetch "$(artifact "${stage%%[*}/metrics")" metrics.json
    tr ',{}' '\n\n\n' <metrics.json | sed -n 's/^"\([^"]*\)":\([-0-9.e+]*\)$/\1 \2/p' | sort >ledger.txt
    cells_of "$stage" "$page" >page.txt
    [ -s ledger.txt ] || die "no metrics in the ledger's object"
    cmp ledger.txt page.txt || die "$stage: the page does not show the ledger's numbers"
done
id=$(artifact adapter/checkpoint)
has $page "$id"
has $page "$(git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task)"
has $page 'Names &quot;colours&quot; &lt;b&gt;&amp;'
! grep -qE 'https?:|<script|src=|href="[^#d]|url\(' $page || die "the page fetches something or runs a script"

! grep -q 'cannot be drawn' $page || die "a stage's block has not the form that stages/kit/blocks.h says"

# Base against adapter: every golden metric of both, a share with its interval, as each stage's own
# report has it.
tr -d '\n' <$page | grep -q 'beside<' && die "a column is called beside"
sed '/^  quality:/i\
  bare:\
    run: eval\
    inputs: { golden: data/golden, base: toolkit.base, tokenizer: toolkit.tokenizer, template: toolkit.template }\
    with: { max_new_tokens: 8 }' task.yaml | sed 's/golden: data.golden, adapter/against: bare.answers, &/' >both.yaml
expect 0 fm run both.yaml
tr -d '\n' <$page | sed 's/<wbr>//g; s/<section/\n&/g; s/<h3>/\n&/g' >parts.txt
grep '^<h3>On data/golden' parts.txt | sed 's/<tr>/\n&/g' >golden.txt
has golden.txt '>bare[toolkit=tiny-0.1]</th><th scope="col" class="num">quality[toolkit=tiny-0.1]</th>'
for stage in bare quality; do
    fetch "$(artifact $stage/metrics)" metrics.json
    fetch "$(artifact $stage/report)" report.json
    for name in json_valid exact_match colour_match leaf_f1; do
        ends=$(tr '[' '\n' <report.json | sed -n "s/^\"$name\",\([^]]*\)\].*/\1/p" | head -n 1 | cut -d, -f2,3)
        [ "${#ends}" -gt 3 ] || die "$stage: no interval of $name in its report"
        grep ">$name</th>" golden.txt | grep -q "data-key=\"$stage\[[^>]*>[^<]*<span class=\"interval\"><span data-value=\"${ends%,*}\">[^<]*</span> to <span data-value=\"${ends#*,}\">" ||
            { cat golden.txt >&2; die "$stage: $name has not the interval $ends"; }
    done
    grep '>expected_token_probability</th>' golden.txt |
        grep -qF "data-value=\"$(metric expected_token_probability metrics.json)\" data-key=\"$stage[" ||
        die "the golden sets have no expected_token_probability of $stage"
    ! grep -E '>(rows|expected_token_probability)</th>' golden.txt | grep -q interval ||
        die "what is no share has an interval"
done
grep '^<h3>Metrics' parts.txt | grep -q '>against</th><th[^>]*>against: 95 % from</th><th[^>]*>against: to</th>' ||
    die "the metrics of quality have no interval of what it is put against"
grep '^<h3>Metrics' parts.txt | head -n 1 | grep -q 'against' && die "who stands against nothing has a column for it"
rm -r .fmforge reports out
expect 0 fm run task.yaml

# Drawn again from the ledger alone: the same bytes. Nothing to do: not touched.
cp $page first.html
rm -r reports
expect 0 fm report tiny_task
cmp first.html $page || die "report draws another page than run"
expect 0 fm run task.yaml
! grep -q 'report' stdout.txt || die "a run that did nothing draws a page"

# An object that is gone is said in its place; an unwritable folder is an error that names it.
rm -f "$(find .fmforge/objects -name "$(artifact quality/report).zst")"
expect 0 fm report --run last --reports elsewhere
has elsewhere/tiny_task/index.html 'cannot give this stage'
touch file
expect 1 fm report --reports file
has stderr.txt 'file: cannot make the folder'
expect 1 fm report nosuch
has stderr.txt 'no run of nosuch'
echo ok
