# A remote that is dead, hangs, lies or drips: the run is what it is without one, a line says why,
# and it is no slower than one timeout.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo 'some text' >in.txt
manifest() { # URL [MORE]
    cat >m.yaml <<EOF
fmforge: 1
name: m
remote: { url: "$1", mode: readwrite, timeout: 2, wait: 5${2:+, $2} }
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text }, with: { n: 1 } }
EOF
}
lines() { grep -c 'remote' said.txt; }

# made_here MESSAGE [SECONDS]: all of it is made, with one line about the remote, in time.
made_here() {
    local before=$SECONDS
    rm -rf .fmforge
    expect 0 fm run m.yaml
    cp stderr.txt said.txt
    [ $((SECONDS - before)) -le "${2:-20}" ] || die "$1: the run took $((SECONDS - before)) s"
    has stdout.txt 'm: 2 executed, 0 cached, 0 failed, 0 not run'
    has said.txt "$1"
    expect 0 fm verify
}
left_alone() {
    made_here "$@"
    has said.txt 'left alone for the rest of this run'
    [ "$(lines)" = 1 ] || { cat said.txt >&2; die "$1: not one line"; }
}

manifest http://127.0.0.1:1/x
left_alone 'GET http://127.0.0.1:1/x/ac/'
for mode in silent drip close; do
    odd_server $mode
    manifest "$URL/x"
    left_alone "GET $URL/x/ac/"
    odd_stop
done
odd_server endless
manifest "$URL/x"
made_here "one: not taken from the remote: GET $URL/x/ac/"
has said.txt 'more than the 1048576 bytes that it may have'
odd_stop

# Each answer in time, and all of them together more than they are worth.
odd_server lazy
manifest "$URL/x"
for i in 3 4 5 6 7 8; do echo "  s$i: { run: probe, inputs: { text: in.txt }, with: { n: $i } }" >>m.yaml; done
rm -rf .fmforge
expect 0 fm run m.yaml
has stdout.txt 'm: 8 executed'
has stderr.txt 'more than it has saved (remote `timeout`); left alone for the rest of this run'
odd_stop
manifest http://nobody.invalid/x
left_alone 'nobody.invalid'
mv programs/fmforge-remote .
left_alone 'fmforge-remote'
mv fmforge-remote programs
manifest https://127.0.0.1:1/x 'token: NOT_SET_HERE'
left_alone 'm.yaml:3: remote `token`: the environment has no NOT_SET_HERE'
manifest https://127.0.0.1:1/x 'netrc: no/such'
left_alone 'remote `netrc`: no/such cannot be read'

# A server whose answers are wrong. What is wrong is named, and what is right is still taken.
nginx_start more <<'EOF'
location ^~ /moved/ { return 302 http://127.0.0.1:1/elsewhere; }
location ^~ /broken/ { return 500; }
location ^~ /page/ { return 200 "<html>log in</html>"; }
location ^~ /login/ { return 401; }
location ^~ /readonly/ { if ($request_method = PUT) { return 403; } return 404; }
location ^~ /full/ { if ($request_method = PUT) { return 507; } return 404; }
location ^~ /slow/ { alias srv/; limit_rate 20k; }
EOF
manifest "$URL/moved"
made_here "GET $URL/moved/ac/"
has said.txt 'one: not taken from the remote: GET '
has said.txt 'it redirects to http://127.0.0.1:1/elsewhere'
manifest "$URL/broken"
left_alone 'status 500'
manifest "$URL/login"
left_alone 'status 401: it wants a login'
manifest "$URL/page"
made_here 'one: not taken from the remote: ac/'
has said.txt 'no action record: not two complete lines'
for status in readonly full; do
    manifest "$URL/$status"
    made_here "PUT $URL/$status/cas/"
    [ "$(lines)" = 1 ] || { cat said.txt >&2; die "$status: not one line"; }
done

# The server has both results; good puts it right again after one was spoiled.
manifest "$URL"
rm -rf .fmforge
expect 0 fm run m.yaml
[ "$(find srv/ac -type f | wc -l)" = 2 ] || { cat stderr.txt >&2; die "not two records on the server"; }
cp -r srv saved
good() { rm -rf srv/ac srv/cas && cp -r saved/ac saved/cas srv; }
KEY=$(fm plan m.yaml --json | sed -n 's/.*"key": *"\([0-9a-f]*\)".*/\1/p' | head -n 1)
RECORD=srv/ac/$KEY
TEXT=$(sha256sum <in.txt | cut -c1-64)
LISTING=$(sed -n 's/.*"folder":true,"id":"\([0-9a-f]*\)".*/\1/p' "$RECORD")
STATEMENT=$(sed -n '1s/.*"statement":"\([0-9a-f]*\)".*/\1/p' "$RECORD")
sealed() { # LINE: a record whose second line is right
    { printf '%s\n' "$1"; printf '%s' "$1" | sha256sum | cut -c1-64; } >record.txt
    cp record.txt "$RECORD"
}
line() { head -n 1 "$RECORD"; }
# refused MESSAGE: stage one is made here, the other one is fetched as ever.
refused() {
    rm -rf .fmforge
    expect 0 fm run m.yaml
    cp stderr.txt said.txt
    has stderr.txt 'one: not taken from the remote: '
    has stderr.txt "$1"
    has stdout.txt 'm: 1 executed, 1 fetched'
}

good
echo 'some TEXT' >"srv/cas/$TEXT"
refused "cas/$TEXT: its 10 bytes have the SHA-256"
cmp in.txt "srv/cas/$TEXT" || die "the wrong bytes were not put right"
good
truncate -s 10G "srv/cas/$TEXT"
before=$SECONDS
refused "cas/$TEXT: more than the 10 bytes that it may have"
[ $((SECONDS - before)) -lt 20 ] || die "10 GB were read"
good
truncate -s 10G "srv/cas/$STATEMENT"
refused "cas/$STATEMENT: more than the 67108864 bytes"
good
truncate -s 10G "$RECORD"
refused "ac/$KEY: more than the 1048576 bytes"
good
: >"srv/cas/$LISTING"
refused "cas/$LISTING: its 0 bytes have the SHA-256"
good
rm "srv/cas/$STATEMENT"
refused "its record names what is gone: GET $URL/cas/$STATEMENT"
good
flip_bit "$RECORD" 20
refused "ac/$KEY: no action record: line 1 does not have the SHA-256 of line 2"
good
for other in srv/ac/*; do [ "$other" = "$RECORD" ] || cp "$other" other.txt; done
cp other.txt "$RECORD"
refused 'no action record: it is the record of '
good
sealed "$(line | sed 's/"name":"text"/"name":"texts"/')"
refused 'it has an output `texts` of kind text: stage probe declares none'
good
sealed "$(line | sed 's/"name":"folder"/"name":"text"/')"
refused 'it has output `text` twice'
good
sealed "$(line | sed 's/"stage":"probe"/"stage":"train"/')"
refused 'its stage is train, expected probe'
good
sealed "$(line | sed "s/\"statement\":\"$STATEMENT\"/\"statement\":\"$TEXT\"/")"
refused 'statement'
good
sealed "$(line | sed 's/,"statement":"[0-9a-f]*"//')"
refused 'it names no statement'
good
sealed "$(line | sed 's/"bytes":10/"bytes":11/')"
refused 'output `text`: 10 bytes, its record says 11'
good
sealed "$(line | sed 's/"bytes":20/"bytes":19/')"
refused 'output `folder`: 20 bytes, its record says 19'
good # outputs of another action: its statement says so
two=$(sed -n '1s/.*"statement":"\([0-9a-f]*\)".*/\1/p' "$(for f in srv/ac/*; do [ "$f" = "$RECORD" ] || echo "$f"; done)")
sealed "$(line | sed "s/$STATEMENT/$two/")"
refused 'statement: recipe '
claims() { # EXPRESSION OF sed: a statement with other words, and a record that names it
    local id
    sed "$1" "srv/cas/$STATEMENT" >statement.txt
    id=$(sha256sum <statement.txt | cut -c1-64)
    cp statement.txt "srv/cas/$id"
    sealed "$(line | sed "$1; s/$STATEMENT/$id/")"
}
# A path out of the folder, one below a file.
for paths in '../../escape b.txt' 'a a/x' 'b a'; do
    good
    # shellcheck disable=SC2086
    printf "$TEXT  %s\n" $paths >evil.txt
    evil=$(sha256sum <evil.txt | cut -c1-64)
    cp evil.txt "srv/cas/$evil"
    claims "s/$LISTING/$evil/g"
    refused "is no folder's listing"
done
# Nothing of a server reaches a terminal.
good
claims 's/"pipeline":"m"/"pipeline":"\\u001b[31mm"/'
refused 'statement: it has control characters'
good
claims 's/"pipeline":"m"/"pipeline":"m\\nfake"/'
refused 'statement: it has control characters'
[ -z "$(find .. -name escape)" ] || die "a file was written outside"
expect 0 fm verify

# Slower than the work: given up at once, not after the whole of it.
head -c 3000000 /dev/urandom >in.txt
rm -rf .fmforge
expect 0 fm run m.yaml
rm -rf .fmforge
sed -i "s|url: \"$URL\", mode: readwrite|url: \"$URL/slow\", mode: read|" m.yaml
before=$SECONDS
expect 0 fm run m.yaml
[ $((SECONDS - before)) -le 20 ] || die "a slow remote was waited for: $((SECONDS - before)) s"
has stderr.txt 'one: not taken from the remote: GET '
has stderr.txt 'too slow: making it takes less time'
has stdout.txt 'm: 1 executed, 1 fetched' # the bytes that two shares with one are here by then
echo ok
