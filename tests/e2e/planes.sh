# Weights in the store: byte planes, read by every command, and by hand with the lines of the README.
. "$2/tests/e2e/e2e_lib.sh"
command -v zstd >/dev/null || skip "there is no zstd"
probe_programs

# 2-byte numbers whose high bytes are nearly the same, and something behind the last whole chunk.
awk 'BEGIN { x = 1
    for (i = 0; i < 270001; i++) {
        x = (x * 69069 + 1) % 4294967296
        printf "%02X%02X", int(x / 65536) % 256, 60 + (i % 50 == 7)
    } }' >hex.txt
{ basenc --base16 -d <hex.txt; printf x; } >weights.bin
id=$(sha256sum <weights.bin | cut -c1-64)
cat >m.yaml <<'X'
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: weights.bin } }
  two: { run: probe, inputs: { text: one.text, more: one.folder } }
deliver: { two.text: made.bin }
X
expect 0 fm run m.yaml
object=.fmforge/objects/${id:0:2}/$id
[ -f "$object.planes" ] && [ ! -e "$object.zst" ] || die "the weights are no planes"
[ "$(stat -c %a "$object.planes")" = 444 ] || die "it can be written to"
[ "$(wc -c <"$object.planes")" -lt 330000 ] || die "they are not smaller"
cmp -s weights.bin out/probes/made.bin || die "another delivery"
has "$object.planes" 'fmforge planes 1: width 2 chunk 262144 bytes 540003; zstd -dc prints planes'

# Every reader.
expect 0 fm verify
expect 0 fm audit out/probes/made.bin
has stdout.txt 'proven'
expect 0 fm audit "$object.planes"
expect 0 fm cat "$id"
cmp -s stdout.txt weights.bin || die "cat prints something else"
expect 0 fm cat "sha256:$id"
cmp -s stdout.txt weights.bin || die "cat of a prefixed id prints something else"
expect 0 fm cat "$id" --offset 262100 --bytes 1000
tail -c +262101 weights.bin | head -c 1000 | cmp -s - stdout.txt || die "another range"
expect 0 fm cat "$id" --offset 540003 --bytes 0
expect 1 fm cat "$id" --offset 540000 --bytes 4
has stderr.txt 'holds 540003 bytes'
expect 1 fm cat "$(sha256sum </dev/null | cut -c1-64)"
has stderr.txt 'is not in the store'
expect 2 fm cat "${id:0:12}"
expect 2 fm cat "$id" --offset 5
expect 0 fm reproduce last
has stdout.txt 'same'

# By hand: the lines of the README as they stand there.
mkdir copy
sed -n '/^## Planes by hand$/,/^## /s/^    //p' "$ROOT/pipeline/store/README.md" >lines.sh
[ "$(wc -l <lines.sh)" -ge 10 ] || die "the README has not the lines"
cp -a .fmforge copy
(cd copy && id=$id bash -e ../lines.sh) >stdout.txt 2>stderr.txt || die "by hand: $(cat stderr.txt)"
has stdout.txt "$id  raw"
cmp -s copy/raw weights.bin || die "by hand it is something else"
chmod -R u+w copy && rm -rf copy

# gc counts its blocks and leaves what a run needs.
expect 0 fm gc --keep 1 --delete
[ -f "$object.planes" ] || die "gc has removed what the run needs"
before=$(du -s -B1 --apparent-size "$object.planes" | cut -f1)
cp "$object.planes" saved
nobody=$(printf nobody | sha256sum | cut -c1-64)
mkdir -p ".fmforge/objects/${nobody:0:2}"
cp saved ".fmforge/objects/${nobody:0:2}/$nobody.planes"
touch -d '40 days ago' ".fmforge/objects/${nobody:0:2}/$nobody.planes"
expect 0 fm gc --keep 1 --delete --json
freed=$(tr -d ' \n' <stdout.txt | sed 's/.*"freed":\([0-9]*\).*/\1/')
[ "$freed" -ge "$before" ] || die "gc says that it freed $freed bytes of $before"
[ ! -e ".fmforge/objects/${nobody:0:2}/$nobody.planes" ] || die "what nobody needs is left"

# Damage and loss: named, moved away, made again; the raw copies too.
damaged() { # WHAT
    expect 1 fm verify
    has stdout.txt "$id"
    expect 1 fm audit "$object.planes"
    chmod -R u+w .fmforge/raw out
    rm -rf .fmforge/raw out .fmforge/state
    expect 1 fm run m.yaml
    has stderr.txt "object $id is damaged"
    expect 0 fm run m.yaml
    cmp -s weights.bin out/probes/made.bin || die "$1: another delivery"
    expect 0 fm verify
}
chmod u+w "$object.planes"
printf '\377' | dd of="$object.planes" bs=1 seek=100000 conv=notrunc 2>/dev/null
damaged 'other bytes'
chmod u+w "$object.planes"
truncate -s -20 "$object.planes"
damaged 'cut off'

# Two forms of one object: each is checked by its own name, and what is good is read.
printf x >x.txt
sed 's/weights.bin/x.txt/; s/probes$/small/; s/made.bin/small.bin/' m.yaml >x.yaml
expect 0 fm run x.yaml
x=$(sha256sum <x.txt | cut -c1-64)
small=.fmforge/objects/${x:0:2}/$x
echo rubbish >"$small.planes"
echo rubbish >"$object.zst"
expect 1 fm verify
has stdout.txt "$small.planes"
has stdout.txt "$object.zst"
has stdout.txt '2 damaged or missing'
expect 1 fm audit "$small.planes"
expect 1 fm audit out/small/small.bin
expect 0 fm cat "$x" --offset 0 --bytes 1
[ "$(cat stdout.txt)" = x ] || die "the rubbish is read"
rm "$small.planes" "$object.zst"
expect 0 fm verify

# What has the name of an object of this store, but lies elsewhere, is a file like any other.
mkdir bk && cp -a .fmforge bk
for name in "$small.zst" "$object.planes"; do
    expect 4 fm audit "bk/$name"
    chmod u+w "bk/$name"
    echo rubbish >"bk/$name"
    expect 4 fm audit "bk/$name"
    expect 0 fm audit "$name"
    expect 0 fm audit "$PWD/$name"
done
chmod -R u+w bk && rm -rf bk

# A store of version 1 becomes one of version 2 with its first planes; an older program refuses it.
rm -rf out
mkdir old && cp -a m.yaml weights.bin old && cd old || exit 1
head -c 1000 weights.bin >small.bin
sed 's/weights.bin/small.bin/' m.yaml >small.yaml
expect 0 fm run small.yaml
echo 'fmforge store 1' >.fmforge/version
sed -i 's/^name: .*/name: more/' small.yaml
expect 0 fm run small.yaml
[ "$(cat .fmforge/version)" = 'fmforge store 1' ] || die "nothing asks for a newer version"
expect 0 fm verify
expect 0 fm run m.yaml
[ "$(cat .fmforge/version)" = 'fmforge store 2' ] || die "an older program would not know the planes"
expect 0 fm verify
echo ok
