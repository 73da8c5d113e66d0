# What of a store is lost or in the way is named with what helps, and is mended when that is done.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo text >in.txt
cat >m.yaml <<'X'
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text }, with: { n: 1 } }
deliver: { two.text: made }
X
expect 0 fm run m.yaml

# A recipe: nothing reads it while its result is there, so the next recorded run puts it again.
key=$(find .fmforge/actions -type f -printf '%f\n' | sort | head -n 1)
recipe=.fmforge/objects/${key:0:2}/$key.zst
for how in missing damaged; do
    if [ $how = missing ]; then rm -f "$recipe"; else flip_bit "$recipe" 20; fi
    expect 1 fm verify
    has stdout.txt "$key"
    has stdout.txt 'fmforge run --record'
    expect 0 fm run m.yaml --record
    expect 0 fm verify
done

# A record that is whole but names another output than the statement of its execution.
action=.fmforge/actions/${key:0:2}/$key
cp "$action" saved
other=$(find .fmforge/actions -type f -printf '%f\n' | sort | tail -n 1)
line=$(sed -n "1s/\"id\":\"[0-9a-f]*\"/\"id\":\"$other\"/1p" "$action")
chmod u+w "$action"
printf '%s\n%s\n' "$line" "$(printf %s "$line" | sha256sum | cut -c1-64)" >"$action"
expect 1 fm verify
has stdout.txt "its statement says"
cp saved "$action"
expect 0 fm verify

# Runs whose ref is gone are not lost without a word.
tip=$(git -C .fmforge/ledger.git rev-parse refs/prov/probes)
git -C .fmforge/ledger.git update-ref -d refs/prov/probes
expect 0 fm verify
has stdout.txt '3 of these runs on no ref'
git -C .fmforge/ledger.git update-ref refs/prov/probes "$tip"
expect 0 fm verify
grep -q 'no ref' stdout.txt && die "every run has a ref"
# One under another's name: the ledger is named, too.
git -C .fmforge/ledger.git update-ref refs/prov/pzobes "$tip"
expect 1 fm verify
has stdout.txt 'ref refs/prov/pzobes of .fmforge/ledger.git points to run'
# What is no text any more is said all the same.
git -C .fmforge/ledger.git pack-refs --all
cp .fmforge/ledger.git/packed-refs saved-refs
LC_ALL=C sed -i '1s/fully/f\xf5lly/' .fmforge/ledger.git/packed-refs
expect 1 fm gc --keep 1
has stderr.txt 'ledger.git'
has stderr.txt 'f\xf5lly'
cp saved-refs .fmforge/ledger.git/packed-refs
git -C .fmforge/ledger.git update-ref -d refs/prov/pzobes

# What a killed fmforge left of a small file that it wrote goes with gc, and not while it is written.
mkdir -p .fmforge/state
head -c 50000 /dev/zero >.fmforge/memo.tmp-aB3dE9
echo x >.fmforge/last/probes.json.tmp-aB3dE9
echo x >.fmforge/state/12ab.tmp-aB3dE9
touch -d '2 hours ago' .fmforge/memo.tmp-aB3dE9 .fmforge/*/*.tmp-aB3dE9
echo x >.fmforge/memo.tmp-youngX
before=$(find .fmforge -type f -printf '%b\n' | awk '{ s += $1 } END { print s * 512 }')
expect 0 fm gc --json
[ "$(tr -d ' ,' <stdout.txt | sed -n 's/^"before"://p')" = "$before" ] || die "gc counts other bytes"
expect 0 fm gc --delete
[ -z "$(find .fmforge -name '*.tmp-aB3dE9')" ] || die "leftovers stay"
[ -e .fmforge/memo.tmp-youngX ] || die "what is being written is gone"
[ -e .fmforge/last/probes.json ] || die "last/ is gone"

# While gc has the store the others say what they wait for, and what is short is not worth a word.
touch .fmforge/locks/gc
for command in 'run m.yaml' 'plan m.yaml' verify "audit out/probes/made" 'why one m.yaml'; do
    flock .fmforge/locks/gc sleep 2.5 & # a run waits a second before it is known to be one
    sleep 0.1
    # shellcheck disable=SC2086
    expect 0 fm $command
    has stderr.txt 'gc removes from .fmforge: waiting for it'
    [ "$(grep -c waiting stderr.txt)" = 1 ] || die "$command says it again and again"
    wait
done
flock .fmforge/locks/gc sleep 0.4 &
sleep 0.1
expect 0 fm verify
[ ! -s stderr.txt ] || die "a short wait is said: $(cat stderr.txt)"
wait

# A store that is removed during a run: the run fails, and leaves nothing that is in the way.
sed 's/probes$/slow/; s/{ n: 1 }/{ does: steps, n: 20 }/; s/made/slow.made/' m.yaml >slow.yaml
fm run slow.yaml >stdout.txt 2>stderr.txt &
for _ in $(seq 100); do
    [ -z "$(find .fmforge/work -name '*.json')" ] || break
    sleep 0.02
done
rm -rf .fmforge
wait $! && die "a run without its store ends well"
[ ! -e .fmforge ] || die "left: $(find .fmforge)"
expect 0 fm run slow.yaml
# What is left all the same is named with what helps.
rm .fmforge/version
expect 2 fm run slow.yaml
has stderr.txt 'rm -r .fmforge'
has stderr.txt 'another --home'
rm -r .fmforge
expect 0 fm run slow.yaml
echo ok
