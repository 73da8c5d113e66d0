# The page in a browser: what its DOM holds is what the file holds, and it is as wide as a phone.
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

# A copy with one script asks the browser how wide the page is in 360 px.
sed 's|</body>|<script>document.title = "width " + document.documentElement.scrollWidth</script></body>|' \
    "$page" >wide.html
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
    --window-size=360,800 --dump-dom "file://$PWD/wide.html" >wide.txt 2>browser.log
width=$(sed -n 's|.*<title>width \([0-9]*\)</title>.*|\1|p' wide.txt)
[ -n "$width" ] || die "the browser did not say how wide the page is"
[ "$width" -le 500 ] || die "in a narrow window the page is $width px wide" # chromium's narrowest is 500
echo ok
