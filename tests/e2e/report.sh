# The page of a run: every number that a metric's cell shows is the ledger's, and nothing is fetched.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/^name: tiny_task/&\ndescription: Names "colours" <b>\&/' task.yaml
expect 0 fm run task.yaml
has stdout.txt 'report reports/tiny_task/index.html'
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
