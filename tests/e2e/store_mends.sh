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
echo ok
