# When the machine fails: one clear message, the store still verifies, the next run goes on.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit

# A folder in the way, and a file in the way.
mkdir -p blocked
echo x >blocked/.fmforge
expect 1 fm run task.yaml --home blocked/.fmforge
has stderr.txt blocked/.fmforge
echo x >out
fm run task.yaml >stdout.txt 2>stderr.txt
[ $? -eq 2 ] || die "a file in the place of out/ went unnoticed"
has stderr.txt 'nothing was run, out/'
rm out
expect 0 fm verify
expect 0 fm run task.yaml
expect_to_run "" task.yaml

# A row that is no row: its line and reason, and the stage's name.
cp data/rows.jsonl data/saved
sed -i '5s/^\[/{/' data/rows.jsonl
expect 1 fm run task.yaml
has stderr.txt 'data'
has stderr.txt '5'
expect 0 fm verify
cp data/saved data/rows.jsonl
expect_to_run "" task.yaml

# A damaged base: named, nothing published.
cp -r tiny-0.1 cut-0.1
head -c 2000 tiny-0.1/base.safetensors >cut-0.1/base.safetensors
sed 's/tiny-0.1/cut-0.1/' task.yaml >cut.yaml
expect 1 fm run cut.yaml
has stderr.txt safetensors
expect 0 fm verify

# Ctrl-C: exit 130; the next run goes on.
sed 's/epochs: 2/epochs: 2000/' task.yaml >long.yaml
setsid "$BIN/fmforge" run long.yaml >stdout.txt 2>stderr.txt &
pid=$!
sleep 1
kill -INT -- "-$pid"
wait "$pid"
rc=$?
[ "$rc" -eq 130 ] || { cat stderr.txt >&2; die "Ctrl-C: exit $rc, expected 130"; }
expect 0 fm verify
expect 0 fm run task.yaml
echo ok
