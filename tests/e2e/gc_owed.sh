# What killed runs have made and no commit has: gc keeps it, and the run that has it too records it.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo text >other.txt
echo slow >slow.txt
echo long >nnnnn.txt
manifest() { # NAME TEXT SECOND-STAGE
    printf 'fmforge: 1\nname: %s\nstages:\n  one: { run: probe, inputs: { text: %s.txt }, with: { path: %s } }\n' \
        "$1" "${1:0:5}" "$2"
    [ -z "${3:-}" ] || printf '  two: { run: probe, inputs: { text: one.text }, with: { %s } }\n' "$3"
}
manifest slow a 'does: steps, n: 4000' >slow.yaml
manifest slow a >slow_one.yaml
manifest slow b >slow_b.yaml
manifest other c >other.yaml
age() { find .fmforge/actions .fmforge/logs .fmforge/owed -type f -exec touch -d "$1" {} +; }
kill_slow() { # as soon as its first stage is published
    setsid "$BIN/fmforge" run slow.yaml >slow.out 2>&1 &
    local pid=$!
    for _ in $(seq 300); do
        compgen -G '.fmforge/actions/*/*' >/dev/null && break
        sleep 0.05
    done
    sleep 0.3
    kill -9 -- "-$pid"
    wait "$pid" 2>/dev/null
    compgen -G '.fmforge/owed/slow.*' >/dev/null || die "nothing is owed: $(cat slow.out)"
}

# Killed; another pipeline is recorded later.
kill_slow
age '4 hours ago'
expect 0 fm run other.yaml
expect 0 fm gc --keep 1 --delete
expect_to_run two slow.yaml
id=$(sha256sum <slow.txt | cut -c1-64)
[ -f ".fmforge/objects/${id:0:2}/$id.zst" ] || die "what it has read is gone"
# The same pipeline with another result is no reason to forget it.
expect 0 fm run slow_b.yaml
expect 0 fm gc --keep 1 --delete
expect_to_run two slow.yaml
# A run that finds it makes nothing, and records it.
expect 0 fm run slow_one.yaml
has stdout.txt 'recorded as'
! compgen -G '.fmforge/owed/slow*' >/dev/null || die "it is owed still"
expect 0 fm run slow_one.yaml
! grep -q 'recorded as' stdout.txt || die "it is recorded twice"

# The mark of an earlier build does not say for what it is.
rm -rf .fmforge
kill_slow
rm .fmforge/owed/slow.*
: >.fmforge/owed/slow
age '4 hours ago'
expect 0 fm run other.yaml
expect 0 fm gc --keep 1 --delete
expect_to_run two slow.yaml
expect 0 fm run slow_one.yaml
has stdout.txt 'recorded as'
[ ! -e .fmforge/owed/slow ] || die "an earlier build's mark is left"

# After --work-days nobody waits for it any more.
rm -rf .fmforge
kill_slow
age '31 days ago'
expect 0 fm run other.yaml
expect 0 fm gc --keep 1 --delete --work-days 32
expect_to_run two slow.yaml
expect 0 fm gc --keep 1 --delete
expect_to_run 'one two' slow.yaml

# A run that has its commit, and ends, while gc reads: here as gc reads the ledger under its lock.
rm -rf .fmforge
mv programs/fmforge-ledger programs/real
cat >programs/fmforge-ledger <<X
#!/bin/bash
here=$PWD
if [ "\$1" = commit ] && [ -e \$here/hold_commit ]; then
    rm \$here/hold_commit
    touch \$here/at_commit
    for _ in {1..200}; do [ -e \$here/go ] && break; sleep 0.05; done
fi
if [ "\$1" = log ] && [ -e \$here/armed ]; then
    echo x >>\$here/armed
    if [ "\$(wc -l <\$here/armed)" = 2 ]; then
        "\$here/programs/real" "\$@" >\$here/saved
        touch \$here/go
        for _ in {1..200}; do [ -e \$here/ended ] && break; sleep 0.05; done
        exec cat \$here/saved
    fi
fi
exec "\$here/programs/real" "\$@"
X
chmod +x programs/fmforge-ledger
touch hold_commit
{ "$BIN/fmforge" run slow_one.yaml >late.out 2>&1; touch ended; } &
for _ in $(seq 200); do [ -e at_commit ] && break; sleep 0.05; done
[ -e at_commit ] || die "the run came to no commit: $(cat late.out)"
age '4 hours ago'
expect 0 fm run slow_b.yaml # last/slow.json has its keys now
touch armed
expect 0 fm gc --keep 1 --delete
wait
has late.out 'recorded as'
[ "$(wc -l <armed)" = 2 ] || die "gc read the ledger $(wc -l <armed) times"
rm armed
expect_to_run '' slow_one.yaml
expect 0 fm verify

# What cannot be read does not count as not there.
ln -s loop.json .fmforge/last/loop.json
expect 1 fm gc --delete
has stderr.txt 'last/loop.json'
rm .fmforge/last/loop.json

# The longest name, pinned and not pinned.
name=$(printf 'n%.0s' {1..128})
manifest "$name" a >long.yaml
expect 0 fm run long.yaml --record
expect 0 fm gc --pin last
has stdout.txt "$name"
expect 0 fm gc --unpin last
has stdout.txt "$name"
has stdout.txt 'not pinned any more'
echo ok
