# Two stores share what they make through nginx, set up as pipeline/README.md says.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
nginx_start
mkdir a b c
echo 'some text' | tee a/in.txt b/in.txt >c/in.txt
manifest() { # MODE
    cat <<EOF
fmforge: 1
name: m
remote: { url: "$URL/", mode: $1 }
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text }, with: { does: steps, n: 2 } }
  three: { run: probe, inputs: { text: two.text }, with: { n: 7 } }
deliver: { two.folder: two }
EOF
}
manifest readwrite >a/m.yaml
manifest read >b/m.yaml
requests() { awk -v verb="\"$1" '$6 == verb { n++ } END { print n + 0 }' access.log; }

# Nothing is there yet, and reading makes nothing of it.
expect 0 fm run m.yaml -C b
has stdout.txt 'm: 3 executed, 0 cached'
[ "$(requests PUT)" = 0 ] || die "a store that only reads has written"
[ "$(requests GET)" = 3 ] || die "$(requests GET) questions for three stages"
rm -rf b/.fmforge b/out

# One makes it; the records on the server are the store's own, and every file has its name's bytes.
expect 0 fm run m.yaml -C a
has stdout.txt 'm: 3 executed, 0 cached'
[ "$(find srv/ac -type f | wc -l)" = 3 ] || die "not three records on the server"
(cd srv/cas && for f in *; do [ "$(sha256sum <"$f" | cut -c1-64)" = "$f" ] || exit 1; done) ||
    die "a file on the server is not what its name says"
for key in srv/ac/*; do
    cmp -s "$key" "$(find a/.fmforge/actions -name "$(basename "$key")")" || die "another record was sent"
done
if grep -rq "$PWD/a" srv/cas; then die "the name of a folder of this machine has left"; fi

# The other one takes it: the same bytes, nothing executed, and all of it is recorded.
: >access.log
expect 0 fm run m.yaml -C b
has stdout.txt 'm: 0 executed, 3 fetched, 0 cached, 0 failed, 0 not run'
has stdout.txt 'recorded as'
has stderr.txt "two: fetched from $URL in "
[ "$(requests PUT)$(requests HEAD)" = 00 ] || die "a store that only reads has written"
diff -r a/out b/out || die "another package was fetched"
for folder in a b; do
    git -C "$folder/.fmforge/ledger.git" show refs/prov/m:artifacts.sha256 >"$folder.sums"
done
cmp a.sums b.sums || die "other artifacts were recorded"
git -C b/.fmforge/ledger.git show refs/prov/m:run.json >run.json
[ "$(grep -c "\"origin\": \"$URL\"" run.json)" = 3 ] || die "run.json does not say where it is from"
for stage in one two three; do
    for folder in a b; do
        git -C "$folder/.fmforge/ledger.git" show "refs/prov/m:stages/$stage/statement.json" >"$folder.json"
    done
    cmp a.json b.json || die "the statement of $stage is not that of who made it"
done
expect 0 fm verify -C b
expect 0 fm audit out/m/two -C b
has stdout.txt "    origin   made elsewhere, fetched from $URL"
# No run here made it: it says so, and which one fetched it.
expect 0 fm why two m.yaml -C b
grep -qE "^  made .* UTC in .* elsewhere; fetched by run $(git -C b/.fmforge/ledger.git rev-parse --short=12 refs/prov/m): same recipe, its result is from $URL\$" \
    stdout.txt || die "why says of a fetched result: $(cat stdout.txt)"
sed 's/^name: m/name: n/' b/m.yaml >b/n.yaml
expect 0 fm run n.yaml -C b
expect 0 fm why two n.yaml -C b
grep -qE "^  made .* UTC in .* elsewhere; fetched from $URL\$" stdout.txt || die "why says of what another pipeline fetched: $(cat stdout.txt)"
expect 0 fm why two n.yaml -C b --json
has stdout.txt "\"origin\": \"$URL\""
if command -v python3 >/dev/null; then
    python3 "$ROOT/tests/e2e/json_check.py" "$ROOT/pipeline/schema/why.schema.json" stdout.txt >problems.txt ||
        die "why --json of a fetched result: $(cat problems.txt)"
fi
expect 0 fm gc --delete --keep 1 -C b
expect_to_run '' m.yaml -C b

# A hit here asks nobody; plan and why ask nobody; none of it needs the helper.
: >access.log
mv programs/fmforge-remote .
expect 0 fm run m.yaml -C b
has stdout.txt 'nothing to do, 3 stages cached'
[ ! -s stderr.txt ] || die "a run with nothing to do says $(cat stderr.txt)"
rm -rf b/.fmforge
expect 0 fm plan m.yaml -C b
has stdout.txt '3 of 3 stages would run'
expect 0 fm why two m.yaml -C b
mv fmforge-remote programs
[ ! -s access.log ] || die "the remote was asked: $(cat access.log)"
expect 0 fm run m.yaml --no-remote -C b
has stdout.txt 'm: 3 executed'
[ ! -s access.log ] || die "--no-remote asks the remote"

# Only what is missing is fetched, and only what was made is sent: two is made anew here.
rm -rf b/.fmforge b/out
sed -i 's/n: 2/n: 3/; s/mode: read /mode: readwrite /' b/m.yaml
expect 0 fm run m.yaml -C b
has stdout.txt 'm: 1 executed, 2 fetched, 0 cached'
[ "$(find srv/ac -type f | wc -l)" = 4 ] || die "what was made was not sent, or more than it"

# What came from there is made once more by reproduce, not fetched once more.
: >access.log
expect 0 fm reproduce last -C b
[ ! -s access.log ] || die "reproduce asks the remote"

# Several at a time, two stages of one recipe, and a folder below the url.
for mode in readwrite read; do
    rm -rf c/.fmforge
    cat >c/m.yaml <<EOF
fmforge: 1
name: m
remote: { url: $URL/team, mode: $mode }
stages:
$(for i in 1 2 3 4 5 6; do echo "  s$i: { run: probe, inputs: { text: in.txt }, with: { n: $((i / 2)) } }"; done)
EOF
    expect 0 fm run m.yaml -j 3 -C c
done
has stdout.txt 'm: 0 executed, 4 fetched, 2 cached'
[ "$(find srv/team/ac -type f | wc -l)" = 4 ] || die "not four records in the folder"
echo ok
