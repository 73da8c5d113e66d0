# A project in the lower layer of an overlay, as in a container whose image holds an earlier run: its folders cannot be
# renamed there, and are replaced, kept and removed all the same.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
mkdir lower upper work merged
cat >lower/m.yaml <<'Y'
fmforge: 1
name: m
stages:
  one: { run: probe, inputs: { text: in.txt } }
deliver: { one.folder: made }
Y
head -c 200000 /dev/urandom >lower/in.txt
(cd lower && expect 0 fm run m.yaml && rm stdout.txt stderr.txt) || exit 1
unshare -Urm mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay merged 2>/dev/null ||
    skip "no overlay can be mounted here"
cat >inside.sh <<'Y'
. "$2/tests/e2e/e2e_lib.sh"
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay merged && cd merged || exit 1
echo more >>in.txt
expect 0 fm run m.yaml
cmp -s in.txt out/m/made/a.txt || die "it was not delivered"
expect 0 fm gc --keep 1 --delete
expect 0 fm verify
Y
for what in replaced kept; do
    rm -rf upper work && mkdir upper work
    [ $what = replaced ] || echo mine >lower/out/m/made/note.txt
    unshare -Urm bash inside.sh "$BIN" "$ROOT"
    rc=$?
    chmod -R u+rwx work
    [ $rc -eq 0 ] || die "$what: exit $rc"
done
[ "$(cat upper/out/m/made.before/note.txt)" = mine ] && [ ! -e upper/out/m/made/note.txt ] || die "a folder was lost"
echo ok
