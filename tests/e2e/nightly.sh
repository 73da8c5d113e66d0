# The nightly: accepted baselines, planted regressions that are named with their amount, and a broken
# and a skipped manifest that hide nothing.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
mkdir nightly learned
# Ten of the training rows as a golden set: an adapter that learned them can get worse.
cp data/golden/set.json learned
head -n 10 data/rows.jsonl >learned/rows.jsonl
sed -i 's/epochs: 2,/epochs: 80, learning_rate: 1e-2, keep: last,/; s/prompt_dropout: 0.2, //; s/ gates: .*$//
    s/data.golden/learned/; s/max_new_tokens: 8/max_new_tokens: 16/' task.yaml
grep -q 'epochs: 80' task.yaml || die "the manifest was not changed"
cp task.yaml nightly/task.yaml

# Without a baseline everything is shown and nothing is worse.
expect 0 fm nightly nightly --date 2026-01-31
has stdout.txt 'ok          nightly/task.yaml'
has reports/nightly/2026-01-31/index.html 'no baseline'
has stdout.txt 'tiny_task: quality[toolkit=tiny-0.1]: not compared: no baseline yet (fmforge accept RUN)'
[ -s reports/tiny_task/index.html ] || die "the run drew no page"

# Accepted; then nothing runs, and it is as it was.
expect 0 fm accept last --name tiny_task
has stdout.txt '1 baseline in golden/baselines/tiny_task'
baseline='golden/baselines/tiny_task/quality[toolkit=tiny-0.1].json'
[ -s "$baseline" ] || die "there is no $baseline"
exact=$(sed -n 's/^  "exact_match": \([0-9.]*\),*$/\1/p' "$baseline")
case $exact in
    0 | '') die "the tiny adapter is never right ($exact): nothing could get worse" ;;
esac
expect 0 fm nightly nightly --date 2026-02-01
! grep -qE 'regression|not compared' stdout.txt || die "a rerun of the same is worse"

# Planted: 30 times the learning rate. Beside it a manifest that cannot be read, one whose stage fails
# and one whose data is absent.
sed -i 's/learning_rate: 1e-2/learning_rate: 0.3/' nightly/task.yaml
printf 'fmforge: 1\nname: broken\nstages: [\n' >nightly/a_broken.yaml
sed 's/name: tiny_task/name: fails/; s/max_length: 128/max_length: 16/' task.yaml >nightly/b_fails.yaml
sed 's/name: tiny_task/name: absent/; s/^vars:/skip_without: [nowhere]\nvars:/' task.yaml >nightly/c_absent.yaml
sed 's/name: tiny_task/name: later/; s/^vars:/skip_without: [out\/base_1\/base]\nvars:/' task.yaml >nightly/d_later.yaml
expect 3 fm nightly nightly --date 2026-02-02
has stdout.txt 'error       nightly/a_broken.yaml:'
has stdout.txt 'failed      nightly/b_fails.yaml'
has stdout.txt 'skipped     nightly/c_absent.yaml: nowhere is not there'
has stdout.txt 'skipped     nightly/d_later.yaml: out/base_1/base is not there; the manifest with `name: base_1` delivers to out/base_1'
has stdout.txt "tiny_task: quality[toolkit=tiny-0.1]: exact_match fell from $exact to "
page=reports/nightly/2026-02-02
# A manifest whose metric fell ran well and is not ok: on the terminal, in the page and its count.
grep -qE '^worse       nightly/task.yaml \(.*, [1-9] regression' stdout.txt || die "the worse one stands as ok"
sed 's/<wbr>//g' $page/index.html >page.html
tr -d '\n' <page.html | sed 's/<tr>/\n&/g; s/<div class="tile/\n&/g' >rows.txt
grep 'nightly/task.yaml' rows.txt | head -n 1 | grep -q '<td class="short bad">worse</td>' || die "the page has it as ok"
grep '<dt>ok</dt>' rows.txt | grep -q 'data-value="0"' || die "the page counts a worse manifest as ok"
has $page/junit.xml '<skipped message="nowhere is not there"/>'
has $page/junit.xml 'message="fell from'
has page.html 'nightly/a_broken.yaml'
# The page says why, and leads to the page of each run that has one.
why='data[toolkit=tiny-0.1]: stage-prep exited with status 1: prep: '
has stdout.txt "failed      nightly/b_fails.yaml: $why"
tr -d '\n' <page.html | sed 's/<tr>/\n&/g' | grep 'nightly/b_fails.yaml' | head -n 1 >row.txt
has row.txt "<td class=\"long\">$why"
[ "$(grep -o 'href="[^"]*/index.html"' $page/index.html | sort | tr '\n' ' ')" = \
    'href="../../fails/index.html" href="../../tiny_task/index.html" ' ] || die "other links than to the pages of the runs"
for link in fails tiny_task; do
    grep -q "<a href=\"../../$link/index.html\">nightly/" page.html || die "no link to the page of $link"
    [ -s $page/../../$link/index.html ] || die "the link to $link leads nowhere"
done
[ ! -e $page/../../absent ] || die "a skipped manifest has a page"
if command -v xmllint >/dev/null; then
    expect 0 xmllint --noout $page/junit.xml
fi

# By make, which ends with 2 whatever its recipe ended with, and prints that.
mkdir configs build
ln -s ../nightly configs/nightly
ln -s "$BIN" build/bin
expect 2 env -u MAKEFLAGS -u MAKELEVEL make -f "$ROOT/Makefile" -o all nightly
has stdout.txt "tiny_task: quality[toolkit=tiny-0.1]: exact_match fell from $exact to "
has stderr.txt ': nightly] Error 3'

# Only what is broken: 1. Another golden set is no regression, and it is said.
cp task.yaml nightly/task.yaml
expect 1 fm nightly nightly --date 2026-02-03
rm nightly/[abcd]_*.yaml
sed -i '1d' learned/rows.jsonl
expect 0 fm nightly nightly --date 2026-02-04
has reports/nightly/2026-02-04/index.html 'another golden set'
has stdout.txt 'tiny_task: quality[toolkit=tiny-0.1]: not compared: its baseline was accepted on another golden set'

# A drop gate says itself what is allowed.
git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task >run.id
expect 0 fm accept "$(cat run.id)"
sed -i 's/    with: { max_new_tokens: 16 }/&\n    gates: [ "exact_match drop <= 0.01" ]/' nightly/task.yaml
expect 0 fm nightly nightly --date 2026-02-05
sed -i 's/learning_rate: 1e-2/learning_rate: 0.3/' nightly/task.yaml
expect 3 fm nightly nightly --date 2026-02-06
has stdout.txt '0.01 is allowed'

# What the baseline has and the run has not is worse, and named; a run is accepted once, whole, and ok.
cp task.yaml nightly/task.yaml
sed -i 's/^  quality:/  judged:/; s/needs: .quality./needs: [judged]/' nightly/task.yaml
expect 3 fm nightly nightly --date 2026-02-07
has stdout.txt 'quality[toolkit=tiny-0.1]: exact_match was'
expect 2 fm accept last last --name tiny_task
has stderr.txt 'given twice'
cp task.yaml nightly/task.yaml
sed -i 's/    with: { max_new_tokens: 16 }/&\n    gates: [ "exact_match >= 2" ]/' nightly/task.yaml
expect 3 fm run nightly/task.yaml --record
expect 2 fm accept last --name tiny_task
has stderr.txt 'ended with `gates`'

# Nothing of it is lost or hidden: metrics that the store cannot give, a damaged baseline, bytes that are
# no text, a link that leads nowhere, a folder of pages that cannot be written.
cp task.yaml nightly/task.yaml
printf 'fmforge: 1\nname: x\xff\n' >nightly/$'b\xff.yaml'
ln -s nowhere.yaml nightly/c.yaml
expect 1 fm nightly nightly --date 2026-02-08 --json
has stdout.txt '"exit_status": 1'
has reports/nightly/2026-02-08/junit.xml 'b\xff.yaml'
rm nightly/b* nightly/c.yaml
echo '<<<<<<< HEAD' >"$baseline"
expect 1 fm nightly nightly --date 2026-02-09
has stdout.txt "$baseline"
rm "$baseline"
chmod u+w "$(find .fmforge/objects -name "$(artifact quality/metrics).zst")"
echo junk >"$(find .fmforge/objects -name "$(artifact quality/metrics).zst")"
rm -rf .fmforge/raw
expect 1 fm nightly nightly --date 2026-02-10
has stdout.txt 'cannot give the metrics of quality'
expect 0 fm nightly nightly --date 2026-02-10 # made again
mkdir -p late/nightly/2026-02-11/index.html
expect 1 fm nightly nightly --reports late --date 2026-02-11
has stdout.txt 'nightly/task.yaml ('
has stderr.txt 'the page is not written: late'
touch file
expect 2 fm nightly nightly --reports file --date 2026-02-11
has stderr.txt 'nothing was run, file/nightly/2026-02-11/index.html could not be written: file: not a folder'
[ ! -s stdout.txt ] || die "a night ran whose page cannot be written"

expect 2 fm nightly nowhere
expect 2 fm nightly nightly --date ../../x
for date in 2026-13-45 2026-00-10 2026-02-29 1900-02-29 2026-04-31 2026-01-00; do
    expect 2 fm nightly nightly --date $date
    has stderr.txt "--date: expected e.g. 2026-01-31, found \"$date\""
done
mkdir leap
echo 'fmforge: 2' >leap/bad.yaml
for date in 2024-02-29 2000-02-29; do
    expect 1 fm nightly leap --date $date
    [ -f reports/nightly/$date/index.html ] || die "$date is no date"
done
has stderr.txt 'leap/bad.yaml:1:10: manifest language 2'
! grep -F 'leap/bad.yaml: leap/bad.yaml' stdout.txt stderr.txt || die "a path is named twice"
expect 2 fm nightly nightly --date $'\xff'
expect 2 fm accept
expect 1 fm accept 0123456789ab
echo ok
