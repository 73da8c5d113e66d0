# A run with nothing to do opens neither the manifest nor a stage, and sees every change of what it
# stands on.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
mkdir folder nano marker
echo 'row one' >in.txt
echo a >folder/a.txt
echo words >nano/words.txt
cat >nano/toolkit.yaml <<'X'
fmforge_toolkit: 1
name: nano
version: "0.1"
signature: 0123456789012345678901234567890123456789
facets: { words: words.txt }
X
cat >m.yaml <<'X'
fmforge: 1
name: probes
toolkits: [nano]
vars: { n: 0 }
skip_without: [marker]
stages:
  one: { run: probe, inputs: { text: in.txt, more: folder }, with: { n: $n } }
  two: { run: probe, inputs: { text: one.text, more: toolkit.words } }
deliver: { one.text: one.txt, two.folder: two }
X
expect 0 fm run m.yaml
out=out/probes
[ -f "$out/one.txt" ] || die "nothing was delivered"
lines() { grep -c . .fmforge/runs.log; }

# The whole way and the short one print the same and are both in the log. Only run keeps a state.
expect 0 fm plan m.yaml
expect 0 fm run m.yaml --json
expect 0 fm run m.yaml --record
[ ! -e .fmforge/state ] || die "a state was kept by another command"
sleep 0.05
expect 0 fm run m.yaml
sed 's/ (.*//' stdout.txt >whole.txt
settle m.yaml
sed 's/ (.*//' stdout.txt | cmp - whole.txt || die "it prints something else"
n=$(lines)
is_instant m.yaml || die "it was instant a moment ago"
[ "$(lines)" -eq $((n + 1)) ] || die "the run is not in runs.log"
cmp <(tail -n 1 .fmforge/runs.log | sed 's/"started":"[^"]*"//') \
    <(head -n 1 .fmforge/runs.log | sed 's/"started":"[^"]*"//') || die "another line in runs.log"
expect 0 fm log
has stdout.txt ' UTC  probes: '

# With --json and --record it goes the whole way, and says the rest.
expect 0 fm run m.yaml --json
has stdout.txt '"status": "reused"'
expect 0 fm run m.yaml --record
has stdout.txt 'recorded as'

# noticed WHAT TEXT [ARGUMENT...]: the run looks, and says TEXT; then it settles again.
noticed() {
    local what=$1 text=$2
    shift 2
    rm -rf .fmforge/describe
    expect 0 fm run m.yaml "$@"
    [ -e .fmforge/describe ] || die "not noticed: $what"
    has stdout.txt "$text"
    settle m.yaml
}
same='nothing to do, 2 stages cached'

settle m.yaml
echo '# a comment' >>m.yaml
noticed 'a comment' "$same"
sed -i 's/vars: { n: 0 }/vars: { n: 1 }/' m.yaml
noticed 'a byte of the manifest' '1 executed, 1 cached'
noticed '--set' '1 executed, 1 cached' --set vars.n=2
noticed '--out' '0 executed, 2 cached' --out elsewhere
expect 0 fm run m.yaml --home other.home
has stdout.txt '2 executed'
settle m.yaml

# Inputs: one row in place with size and time as before; a file more, one less, another name.
cp -p in.txt before.txt
printf 'row two\n' >in.txt
touch -r before.txt in.txt
noticed 'a row' '2 executed'
echo b >folder/b.txt
noticed 'a file more' '1 executed'
mv folder/b.txt folder/c.txt
noticed 'another name' '1 executed'
rm folder/c.txt
noticed 'a file less' "$same"
mkdir folder/below
settle m.yaml
echo c >folder/below/c.txt
noticed 'a file below' '1 executed'

# The toolkit: its yaml, and a file of it.
echo '# a comment' >>nano/toolkit.yaml
noticed 'toolkit.yaml' "$same"
echo other >nano/words.txt
noticed 'a facet' '1 executed'

# Programs.
cp "$BIN/stage-probe" probe.new
mv probe.new "$BIN/stage-probe"
noticed 'a stage' "$same"
for program in fmforge fmforge-engine; do
    cp "$BIN/$program" program.new
    mv program.new "$BIN/$program"
    noticed "$program" "$same"
done
mv "$BIN/fmforge-engine" engine.away
expect 1 fm run m.yaml
has stderr.txt "$BIN/fmforge-engine: cannot be started: No such file or directory"
mv engine.away "$BIN/fmforge-engine"
settle m.yaml

# What was delivered.
echo x >>"$out/one.txt"
noticed 'an edited delivery' '0 executed, 2 cached'
cmp "$out/one.txt" in.txt || die "the edited delivery stays"
rm "$out/one.txt"
noticed 'a removed delivery' '0 executed, 2 cached'
chmod -R u+w "$out/nano-0.1"
echo x >"$out/nano-0.1/two/below/more.txt"
noticed 'a file in a delivered folder' '0 executed, 2 cached'
[ ! -e "$out/nano-0.1/two/below/more.txt" ] || die "it is still there"

# The store: an object, an action, what is owed, another run's keys, its version.
text=$(sha256sum <in.txt | cut -c1-64)
rm -f ".fmforge/objects/${text:0:2}/$text.zst"
noticed 'an object' 'executed'
for action in .fmforge/actions/*/*; do rm -f "$action"; done
noticed 'an action' '2 executed'
mkdir -p .fmforge/owed
: >.fmforge/owed/probes
noticed 'a commit that is owed' 'recorded as'
chmod -R u+w .fmforge/objects
rm -r .fmforge/objects
mkdir .fmforge/objects
noticed 'all objects' '2 executed'
echo 'fmforge store 9' >.fmforge/version
expect 2 fm run m.yaml
echo 'fmforge store 2' >.fmforge/version
noticed 'the version' "$same"

# gc that removes nothing of it changes nothing; a run waits for the lock of gc.
(
    flock -x 9
    : >locked
    sleep 0.5
    echo gc >>order.txt
) 9>>.fmforge/locks/gc &
until [ -e locked ]; do sleep 0.02; done
is_instant m.yaml || die "the lock is no reason to look"
echo run >>order.txt
wait
[ "$(tr '\n' ' ' <order.txt)" = 'gc run ' ] || die "a run looked while gc had the lock"

# A folder whose absence skips the manifest; another working folder.
rmdir marker
rm -rf .fmforge/describe
expect 0 fm run m.yaml
has stdout.txt 'skipped: marker is not there'
mkdir marker
settle m.yaml
mkdir sub
cp -rp m.yaml in.txt folder nano marker sub
expect 0 fm run m.yaml -C sub --home ../.fmforge
has stdout.txt 'cached'
[ -f "sub/$out/one.txt" ] || die "another folder was taken for this one"
settle m.yaml

# A state that is damaged, or empty, is none. (Every byte of it: tests/unit/state_file_test.c.)
for state in .fmforge/state/*; do flip_bit "$state" 100; done
noticed 'a flipped state' "$same"
for state in .fmforge/state/*; do : >"$state"; done
noticed 'an empty state' "$same"
rm -rf .fmforge/state
noticed 'no state' "$same"

# A gate or a stage that fails leaves no state that says otherwise.
sed -i 's/with: { n: $n }/with: { does: read, path: secret.txt }/' m.yaml
echo secret >secret.txt
expect 1 fm run m.yaml
expect 1 fm run m.yaml
sed -i 's/with: { does: read, path: secret.txt }/with: { n: $n }/' m.yaml
settle m.yaml

# What it opens, where one can look: no manifest, no record, no object, no other program, and no
# library but libc and what a sanitizer brings.
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    # The leak sanitizer cannot work under strace.
    ASAN_OPTIONS=detect_leaks=0 strace -f -o trace.txt -e trace=open,openat,execve "$BIN/fmforge" run m.yaml >stdout.txt ||
        die "it fails under strace"
    has stdout.txt "$same"
    ! grep -vE '/etc/(ld.so|localtime)|"/proc/self/|/lib(c|m|gcc_s|pthread|dl|rt|stdc\+\+|[a-z]*san)\.so|ENOENT|^[0-9]* +\+\+\+|execve\("[^"]*/fmforge"|\.fmforge/state/|\.fmforge/locks/gc"|\.fmforge/runs\.log"' \
        trace.txt >&2 || die "it opens more than it needs"
fi

# What takes a while to read is named before it is read, and is not read again.
truncate -s 1025M folder/large.bin
sleep 0.05
expect 0 fm run m.yaml
has stderr.txt 'folder/large.bin: reading its 1.0 GiB for their hash'
expect 0 fm plan m.yaml
! grep -q 'large.bin' stderr.txt || die "it is read again: $(cat stderr.txt)"
echo ok
