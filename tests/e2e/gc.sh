# What gc removes and what it keeps, that its bytes are true, and that misuse removes nothing.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
seed() { fm run task.yaml --set "vars.seed=$1" >run.out 2>&1 || die "seed $1: $(cat run.out)"; }
disk() { find .fmforge -type f -printf '%b\n' | awk '{ s += $1 } END { print s * 512 }'; }
number() { tr -d ' ,' <"$2" | sed -n "s/^\"$1\"://p" | head -n 1; } # NAME FILE
count() { find ".fmforge/$1" -type f | wc -l; }
run_id() { fm log --run "$1" | sed -n '1s/^run \([0-9a-f]*\) .*/\1/p'; }
# Times count in seconds: what belongs to a run is clearly older than the next one.
age() { find .fmforge/actions .fmforge/logs -type f -exec touch -d "$1 hours ago" {} +; }

# Misuse: no store is made, nothing is removed.
expect 1 fm gc --home none
has stderr.txt 'there is no fmforge store here'
[ ! -e none ] || die "gc made a store"
mkdir foreign && echo x >foreign/x
expect 1 fm gc --delete --home foreign
[ -f foreign/x ] || die "gc touched a foreign folder"
mkdir newer && echo 'fmforge store 9' >newer/version
expect 2 fm gc --delete --home newer
has stderr.txt 'fmforge store 9'
seed 1
for budget in 20GB -1 many ''; do
    expect 2 fm gc --budget "$budget"
    has stderr.txt '--budget: expected bytes such as'
done
expect 2 fm gc --keep 0
expect 2 fm gc --pin last --delete
expect 2 fm gc stray
expect 0 fm gc --help
has stdout.txt '--budget BYTES'
mv .fmforge/ledger.git away
expect 1 fm gc --delete
has stderr.txt 'no run is recorded'
mv away .fmforge/ledger.git
# A ledger that cannot be read says nothing about what is needed.
tip=$(git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task)
object=.fmforge/ledger.git/objects/${tip:0:2}/${tip:2}
cp "$object" saved
flip_bit "$object" 20
expect 1 fm gc --delete
has stderr.txt ledger
cp saved "$object"
expect 1 fm gc --pin last~7
has stderr.txt 'last~7'
expect 1 fm gc --pin abcdef123456
expect 2 fm gc --unpin last

# Three more runs; the second is pinned. Without --delete nothing changes.
age 4; seed 2
expect 0 fm gc --pin last
has stdout.txt 'pinned'
pinned=$(run_id last)
package=$(folder_id "$PACKAGE")
age 3; seed 3
age 2; seed 4
age 1
find .fmforge -type f ! -path '*/locks/*' | sort >before.txt
expect 0 fm gc --keep 1 --json
foretold=$(number freed stdout.txt)
find .fmforge -type f ! -path '*/locks/*' | sort | cmp -s - before.txt || die "a dry run changed the store"
[ "$foretold" -gt 0 ] || die "nothing would go"
before=$(disk)
expect 0 fm gc --keep 1 --delete --json
freed=$(number freed stdout.txt)
[ "$freed" = "$foretold" ] || die "$foretold bytes were foretold, $freed went"
[ $((before - $(disk))) = "$freed" ] || die "$freed bytes are reported, $((before - $(disk))) are free"
[ "$(number after stdout.txt)" = "$(disk)" ] || die "another size than $(disk) is reported"
expect 0 fm verify
has stdout.txt '4 runs on 1 ref,'
[ "$(grep -c '"why": "pinned"' <<<"$(fm gc --keep 1 --json)")" = 1 ] || die "the pin is not reported"
expect 0 fm gc --keep 1 --json
[ "$(number freed stdout.txt)" = 0 ] || die "a second gc finds more"
statuses task.yaml --set vars.seed=4 | grep -q ' run$' && die "the newest run is not kept"
statuses task.yaml --set vars.seed=2 | grep -q ' run$' && die "the pinned run is not kept"
[ "$(statuses task.yaml --set vars.seed=3 | grep -c ' run$')" -ge 2 ] || die "an old run is kept"
expect 0 fm audit "$PACKAGE"
expect 0 fm run task.yaml --set vars.seed=2
[ "$(folder_id "$PACKAGE")" = "$package" ] || die "the pinned run gives another package"

# That run found everything and left no commit; it is needed all the same, also without its pin.
expect 0 fm gc --unpin "$pinned"
# A pin is known by its name; one that was damaged is taken off like any other.
mkdir -p .fmforge/pins
printf 'tiny\362task\n' >".fmforge/pins/$(git --git-dir=.fmforge/ledger.git rev-parse "$pinned")"
expect 0 fm gc --unpin "$pinned" --json
has stdout.txt '"pinned": false'
age 1
expect 0 fm gc --keep 1 --delete
statuses task.yaml --set vars.seed=2 | grep -q ' run$' && die "what the last run used is gone"
expect 0 fm verify

# Rubbish: a dead process's folder, a result of no run, checkpoints and words of a key nobody has.
nobody=$(printf nobody | sha256sum | cut -c1-64)
works=.fmforge/work # where checkpoints are
mkdir -p .fmforge/tmp/s-999999-0 "$works/$nobody" .fmforge/failed .fmforge/quarantine
head -c 50000 /dev/urandom >.fmforge/tmp/s-999999-0/1
head -c 60000 /dev/urandom >"$works/$nobody/train.ckpt"
for f in "work/$nobody.json" "failed/$nobody.json" "logs/$nobody.log"; do echo '{}' >".fmforge/$f"; done
mkdir -p ".fmforge/objects/${nobody:0:2}"
printf nobody | zstd -q >".fmforge/objects/${nobody:0:2}/$nobody.zst"
find .fmforge -name "*$nobody*" -exec touch -d '40 days ago' {} +
touch -d '40 days ago' "$works/$nobody/train.ckpt"
expect 0 fm gc --keep 1 --delete --json
[ "$(number freed stdout.txt)" -ge 110000 ] || die "the rubbish is not counted"
[ -z "$(find .fmforge -path .fmforge/locks -prune -o -name "*$nobody*" -print)" ] || die "rubbish is left"
[ ! -e .fmforge/tmp/s-999999-0 ] || die "the dead folder is left"
# Checkpoints are an interrupted or killed run's, and stay: it may have come before the newest run.
mkdir "$works/$nobody"
echo x >"$works/$nobody/train.ckpt"
for age in 0 29; do
    find "$works/$nobody" -exec touch -d "$age days ago" {} +
    expect 0 fm gc --keep 1 --delete
    [ -f "$works/$nobody/train.ckpt" ] || die "a killed run's checkpoints are gone after $age days"
done
expect 0 fm gc --keep 1 --delete --work-days 28
[ ! -e "$works/$nobody" ] || die "--work-days leaves old checkpoints"
expect 2 fm gc --work-days -1

# The budget takes raw copies, and what it cannot hold it says.
[ "$(count raw)" -gt 0 ] || die "there are no raw copies"
size=$(disk)
expect 0 fm gc --keep 1 --delete --budget $((size - 1))
[ "$(disk)" -lt "$size" ] || die "the budget took nothing"
[ "$(count raw)" -gt 0 ] || die "the budget took more raw copies than it had to"
expect 1 fm gc --keep 1 --delete --budget 4K
has stdout.txt 'does not hold'
[ "$(count raw)" = 0 ] || die "raw copies are left above the budget"
expect 0 fm run task.yaml --set vars.seed=2
has stdout.txt 'nothing to do'
rm -rf out
expect 0 fm run task.yaml --set vars.seed=2
[ "$(folder_id "$PACKAGE")" = "$package" ] || die "without raw copies the package is another"
sed -i 's/max_new_tokens: 8/max_new_tokens: 7/' task.yaml
expect 0 fm run task.yaml --set vars.seed=2
expect 0 fm verify
echo ok
