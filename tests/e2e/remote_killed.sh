# Runs that fetch and send are killed with -9, and so are their helpers: the store verifies, what is
# on the server is whole, and the next run ends as ever. An interrupt waits for nobody.
. "$2/tests/e2e/e2e_lib.sh"
command -v pgrep >/dev/null || skip "there is no pgrep"
probe_programs
nginx_start
head -c 3000000 /dev/urandom >in.txt
{
    cat <<EOF
fmforge: 1
name: m
remote: { url: $URL, mode: readwrite, timeout: 30 }
stages:
EOF
    for i in 1 2 3 4; do echo "  s$i: { run: probe, inputs: { text: in.txt }, with: { n: $i } }"; done
    echo '  end: { run: probe, inputs: { text: s4.text }, with: { n: 9 } }'
    echo 'deliver: { end.folder: end }'
} >m.yaml
mkdir whole
cp m.yaml in.txt whole
expect 0 fm run m.yaml -C whole --no-remote
[ ! -e access.log ] || [ ! -s access.log ] || die "--no-remote asks the remote"

# Everything on the server is what its name says, and a record has all that it names.
server_is_whole() {
    local f id
    for f in srv/cas/*; do
        [ ! -e "$f" ] || [ "$(sha256sum <"$f" | cut -c1-64)" = "${f##*/}" ] || die "$f is not whole ($1)"
    done
    for f in srv/ac/*; do
        [ -e "$f" ] || continue
        for id in $(grep -o '"id":"[0-9a-f]*"\|"statement":"[0-9a-f]*"' "$f" | grep -o '[0-9a-f]\{64\}'); do
            [ -f "srv/cas/$id" ] || die "$f names $id, which is not there ($1)"
        done
    done
}
kills=0
# kill_at SECONDS: the run, and with it both helpers.
kill_at() {
    setsid "$BIN/fmforge" run m.yaml >run.out 2>&1 &
    local pid=$!
    sleep "$1"
    if kill -9 "$pid" 2>/dev/null; then kills=$((kills + 1)); fi
    wait "$pid" 2>/dev/null
    for _ in $(seq 100); do
        pgrep -f "$BIN/fmforge-remote" >/dev/null || return 0
        sleep 0.05
    done
    die "a helper outlives the run"
}
for at in 0.05 0.15 0.3 0.5 0.8; do # made and sent
    [ $((RANDOM % 2)) -eq 0 ] || rm -rf .fmforge out
    kill_at $at
    server_is_whole "killed at $at s"
    [ ! -e .fmforge/version ] || expect 0 fm verify
done
expect 0 fm run m.yaml
server_is_whole end
rm -rf .fmforge out srv/ac srv/cas
expect 0 fm run m.yaml
[ "$(find srv/ac -type f | wc -l)" = 5 ] || die "not five records on the server"
for at in 0.03 0.1 0.2 0.3 0.45; do # fetched
    rm -rf .fmforge out
    kill_at $at
    [ ! -e .fmforge/version ] || expect 0 fm verify
    expect 0 fm run m.yaml
    cmp -s <(git -C .fmforge/ledger.git show refs/prov/m:artifacts.sha256) \
        <(git -C whole/.fmforge/ledger.git show refs/prov/m:artifacts.sha256) || die "another run came of it"
    diff -r out whole/out || die "another package came of it"
    expect 0 fm verify
done
[ "$kills" -ge 4 ] || die "only $kills runs were killed"
expect 0 fm gc --delete --keep 1
[ -z "$(find .fmforge/tmp -mindepth 1 -maxdepth 1 -name 's-*')" ] || die "gc left folders of the dead"

# The helper alone dies: a line, and the run goes on without it.
odd_server silent
rm -rf .fmforge out
sed "s|url: [^,]*|url: $URL|" m.yaml >silent.yaml
"$BIN/fmforge" run silent.yaml >run.out 2>&1 &
pid=$!
for _ in $(seq 200); do
    helper=$(pgrep -P "$pid" -f fmforge-remote) && break
    sleep 0.02
done
[ -n "$helper" ] || die "there is no helper"
kill -9 "$helper"
wait "$pid" || { cat run.out >&2; die "the run failed with its helper"; }
has run.out 'fmforge-remote has ended; left alone for the rest of this run'
has run.out '5 executed'

# Interrupted while it waits for an answer: over at once.
rm -rf .fmforge out
before=$SECONDS
setsid "$BIN/fmforge" run silent.yaml >run.out 2>&1 &
pid=$!
for _ in $(seq 200); do
    pgrep -P "$pid" -f fmforge-remote >/dev/null && break
    sleep 0.02
done
sleep 0.2
kill -INT "$pid"
wait "$pid"
rc=$?
[ "$rc" -eq 130 ] || { cat run.out >&2; die "exit $rc after an interrupt, expected 130"; }
[ $((SECONDS - before)) -lt 20 ] || die "an interrupted run waited for the remote"
odd_stop

# What cannot be sent in time is left, and said; the run has ended well before that.
nginx_stop
odd_server stuck
rm -rf .fmforge out
sed "s|url: [^,]*|url: $URL|; s|timeout: 30|timeout: 30, wait: 2|" m.yaml >stuck.yaml
before=$SECONDS
expect 0 fm run stuck.yaml
[ $((SECONDS - before)) -lt 25 ] || die "the run waited $((SECONDS - before)) s for what is sent"
has stdout.txt '5 executed'
has stderr.txt "remote: 5 results were not sent to $URL within 2 s (remote \`wait\`)"
odd_stop
echo ok
