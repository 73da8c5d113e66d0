# The page in a browser: what its DOM holds is what the file holds, its gates are the ledger's, and it is as
# wide as a phone in light and dark.
. "$2/tests/e2e/e2e_lib.sh"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
    skip "there is no chromium"
tiny_toolkit
expect 0 fm run task.yaml
page=$PWD/reports/tiny_task/index.html
values() { tr '<' '\n' | sed -n 's|.*data-value="\([^"]*\)".*|\1|p'; }
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
    --dump-dom "file://$page" >dom.html 2>browser.log || die "the browser failed: $(tail -n 3 browser.log)"
values <dom.html >dom.txt
values <"$page" >file.txt
[ -s dom.txt ] || die "the page shows no number"
cmp dom.txt file.txt || die "the DOM has other numbers than the file"
# The graph that is drawn has each stage of the run, what no stage made, and nothing else; a name that
# two stages have says which.
sed 's/^toolkits: .*/&\nmatrix: { epochs: [1, 2] }/; s/epochs: 2/epochs: $epochs/' task.yaml >two.yaml
expect 0 fm run two.yaml
expect 0 fm report tiny_task --reports pages
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
    --dump-dom "file://$page" >dom.html 2>browser.log || die "the browser failed: $(tail -n 3 browser.log)"
tr '<' '\n' <dom.html | sed -n 's|^g class="node.* data-id="\([^"]*\)".*|\1|p' | sort >nodes.txt
grep -v '^file ' nodes.txt >drawn.txt
git -C .fmforge/ledger.git show refs/prov/tiny_task:run.json | grep -o '"stage": *"[^"]*"' | cut -d'"' -f4 | sort -u >stages.txt
[ "$(wc -l <stages.txt)" = 7 ] || die "the run has not seven stages"
cmp drawn.txt stages.txt || die "the graph has not the stages of the run"
[ "$(grep -c '^file ' nodes.txt)" = 7 ] || die "the graph has not seven sources: $(cat nodes.txt)"
has dom.html '<title>adapter: train epochs=1,toolkit=tiny-0.1</title>'
has dom.html '<title>data: prep</title>'

# Gates in the DOM: one row each, with the value that the ledger has, and its verdict. One does not hold.
sed 's/gates: .*/gates: [ "rows >= 4", "leaf_f1 >= 2" ]/' task.yaml >gates.yaml
expect 3 fm run gates.yaml
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
    --dump-dom "file://$page" >dom.html 2>browser.log || die "the browser failed: $(tail -n 3 browser.log)"
git -C .fmforge/ledger.git show refs/prov/tiny_task:run.json | tr -d '\n' |
    grep -o '"gate": *"[^"]*", *"metric": *"[^"]*", *"value": *[^,]*, *"bound": *[^,]*, *"verdict": *"[^"]*"' |
    sed 's/"gate": *"\([^"]*\)".*"value": *\([^,]*\),.*"verdict": *"\([^"]*\)"/\1|\2|\3/; s/>/\&gt;/' >gates.txt
[ "$(wc -l <gates.txt)" = 2 ] || die "the ledger has not two gates: $(cat gates.txt)"
tr -d '\n' <dom.html | sed 's/<section/\n&/g' | grep '^<section id="gates"' | sed 's/<tr>/\n&/g' >rows.txt
while IFS='|' read -r gate value verdict; do
    grep -F ">$gate</td>" rows.txt | grep -F "data-value=\"$value\"" | grep -qE "class=\"short (good|bad)\">$verdict<" ||
        { cat rows.txt >&2; die "the page has not the gate $gate with $value, $verdict"; }
done <gates.txt
grep -q '<li class="bad">.*gate leaf_f1 &gt;= 2 does not hold' dom.html || die "the gate is not among what to look at"

# In a frame as wide as a phone, in both schemes, with everything unfolded: nothing but what scrolls by
# itself is wider than the page, and the ground is the scheme's.
looks() { # FILE SCHEME(0 dark, 1 light): "WIDTH GROUND"
    { printf '<!DOCTYPE html><iframe width="390" height="800" style="border:0" srcdoc="'
      sed 's/&/\&amp;/g; s/"/\&quot;/g; s/<details>/<details open>/g' "$1"
      cat <<'EOF'
"></iframe><script>onload = () => { const d = document.querySelector('iframe').contentDocument;
document.title = d.documentElement.scrollWidth + ' ' + getComputedStyle(d.body).backgroundColor }</script>
EOF
    } >frame.html
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
        --hide-scrollbars --blink-settings=preferredColorScheme="$2" --dump-dom "file://$PWD/frame.html" 2>browser.log |
        sed -n 's|.*<title>\([^<]*\)</title>.*|\1|p'
}
for file in "$page" pages/tiny_task/index.html; do
    [ "$(looks "$file" 1)" = '390 rgb(255, 255, 255)' ] || die "$file, light: $(looks "$file" 1)"
    [ "$(looks "$file" 0)" = '390 rgb(18, 22, 27)' ] || die "$file, dark: $(looks "$file" 0)"
done
echo ok
