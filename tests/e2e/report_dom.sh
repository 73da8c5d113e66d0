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
# A copy with one script asks the browser how wide the page is in 360 px.
sed 's|</body>|<script>document.title = "width " + document.documentElement.scrollWidth</script></body>|' \
    "$page" >wide.html
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
    --window-size=360,800 --dump-dom "file://$PWD/wide.html" >wide.txt 2>browser.log
width=$(sed -n 's|.*<title>width \([0-9]*\)</title>.*|\1|p' wide.txt)
[ -n "$width" ] || die "the browser did not say how wide the page is"
[ "$width" -le 500 ] || die "in a narrow window the page is $width px wide" # chromium's narrowest is 500
echo ok
