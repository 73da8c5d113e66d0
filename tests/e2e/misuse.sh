# Manifests, folders and stores that reach for what is not theirs are refused, with the path and why.
# So is a command that is none, with the nearest one that is.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
echo text >in.txt
mkdir folder outside
echo x >folder/file.txt
echo keep >outside/kept.txt

manifest() {
    cat <<'X'
fmforge: 1
name: m
vars: { path: made }
stages:
  one: { run: probe, inputs: { text: in.txt } }
deliver: { one.text: $path }
X
}

# refused STATUS LINE TEXT [OPTION...]: m.yaml is refused with that text, and nothing was run.
refused() {
    local status=$1 line=$2 text=$3
    shift 3
    expect "$status" fm run m.yaml "$@"
    [ -z "$line" ] || has stderr.txt "m.yaml:$line:"
    has stderr.txt "$text"
    [ -z "$(find .fmforge/actions -type f 2>/dev/null)" ] || die "$text: an action was stored"
    [ "$(cat outside/kept.txt)" = keep ] || die "$text: something outside was written"
    [ ! -e escaped ] && [ ! -e ../escaped ] || die "$text: it was written outside"
}

# Where a delivery may not go.
for path in ../../etc/passwd ../escaped /etc/passwd made/../../../escaped .. . made/ made//x ''; do
    manifest | sed "s|\\\$path|\"$path\"|" >m.yaml
    refused 2 6 'cannot deliver to `'"$path"'`: expected a path below the output folder'
done
manifest >m.yaml
refused 2 6 'cannot deliver to `../../../escaped`' --set vars.path=../../../escaped

# Nor into another delivery, in either order.
for pair in 'made made' 'made made/text' 'made/text made'; do
    manifest | sed "s|\\\$path|${pair% *}, one.folder: ${pair#* }|" >m.yaml
    refused 2 6 deliver
done
has stderr.txt 'm.yaml:6:45: the delivery to m/made/text lies in another, m/made'
manifest | sed 's|\$path|made, one.folder: made2/text|' >m.yaml
expect 0 fm plan m.yaml

# Nothing is run for a delivery or a page that cannot be written afterwards.
manifest >m.yaml
echo mine >file
for place in file file/below; do
    refused 2 '' "nothing was run, $place/m/made could not be delivered: file: not a folder" --out $place
    refused 2 '' "nothing was run, $place/m/index.html could not be written: file: not a folder" --reports $place
done
for option in --home --out --reports; do refused 2 '' "$option: expected a folder, found nothing" $option ''; done
refused 2 '' '--kernels: expected auto, portable, avx2, avx512, amx or neon, found "avx3"' --kernels avx3
expect 2 fm reproduce last --kernels avx3
has stderr.txt '--kernels: expected auto'
mkdir night
cp m.yaml night
expect 2 fm nightly night --reports file
has stderr.txt 'nothing was run, file/nightly/'
expect 2 fm nightly night --out ''
has stderr.txt '--out: expected a folder, found nothing'
[ ! -e out ] && [ ! -e reports ] || die "a refused run left a folder"

# Axes that multiply to more than can be.
ten='[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]'
{ manifest | sed 's|in.txt }|in.txt }, with: { path: x$a$b$c$d$e$f }|'
  echo "matrix: { a: $ten, b: $ten, c: $ten, d: $ten, e: $ten, f: [0, 1] }"; } >m.yaml
refused 2 5 'with the instances of one there are more than 100000 stages'

# A store that is not there is not one without runs.
for command in log 'log m' 'log --json' verify; do
    # shellcheck disable=SC2086
    expect 1 fm $command --home absent
    has stderr.txt 'absent: there is no fmforge store here'
done

# The program's version; an option in front of the command.
expect 0 fm --version
grep -qxE 'fmforge [0-9]+\.[0-9]+' stdout.txt || die "no version"
expect 2 fm -C . plan m.yaml
has stderr.txt '-C: options follow the command: fmforge COMMAND -C ...'

# A --set that names nothing changes nothing, so it is refused.
for set in path=x pth=x fmforg=1 stage.one.run=x; do
    refused 2 '' "--set $set: a manifest has no key \`${set%%[.=]*}\`" --set "$set"
done
refused 2 '' 'no key `path`, did you mean `vars.path`?' --set path=x
refused 2 '' 'no key `stage`, did you mean `stages`?' --set stage.one.run=x
refused 2 '' 'manifest language 9: this program knows version 1 only' --set fmforge=9

manifest | sed 's|^name: m|name: ../escaped|' >m.yaml
refused 2 2 'name `../escaped` must be letters, digits and _ only'
manifest | sed 's|one: {|../one: {|; s|one.text|../one.text|' >m.yaml
refused 2 5 '`../one` cannot be a stage'
{ manifest | sed 's|in.txt }|in.txt }, with: { path: $where }|'
  echo 'matrix: { where: [../../escaped] }'; } >m.yaml
refused 2 7 '`../../escaped` cannot be a value of an axis'
manifest | sed 's|run: probe|run: ../../../bin/sh|' >m.yaml
refused 2 5 '../../../bin/sh'

# A toolkit whose facet is outside of it.
mkdir kit
cat >kit/toolkit.yaml <<'X'
fmforge_toolkit: 1
name: kit
version: "1"
signature: "0123456789abcdef0123456789abcdef01234567"
facets: { secret: ../../../etc/passwd }
X
{ manifest | sed 's|in.txt|toolkit.secret|'; echo 'toolkits: [kit]'; } >m.yaml
refused 2 '' '../../../etc/passwd'

# Input folders hold regular files and folders only; a link is no input.
ln -s ../outside/kept.txt folder/link.txt
manifest | sed 's|in.txt|folder|' >m.yaml
refused 2 5 'folder/link.txt: only regular files and folders are taken, this is a symbolic link: put a copy there (cp -L'
rm folder/link.txt
mkfifo folder/pipe
refused 2 5 'folder/pipe: only regular files and folders are taken, this is a special file'
rm folder/pipe
ln -s outside folder/deep
refused 2 5 'folder/deep: only regular files and folders are taken, this is a symbolic link'
rm folder/deep
ln -s in.txt link.txt
manifest | sed 's|in.txt|link.txt|' >m.yaml
refused 2 5 'link.txt: not a regular file but a symbolic link: put a copy there (cp -L)'

# A delivery replaces a link and does not write through it.
manifest | sed 's|one.text|one.folder|' >m.yaml
mkdir -p out/m
ln -s ../../outside out/m/made
expect 0 fm run m.yaml
[ ! -L out/m/made ] && [ -f out/m/made/a.txt ] || die "the link is still there"
[ "$(ls outside)" = kept.txt ] || die "the delivery went through a link"
ln -sfn "$PWD/outside/kept.txt" out/m/text
manifest | sed 's|\$path|text|' >m.yaml
expect 0 fm run m.yaml
[ ! -L out/m/text ] && [ "$(cat outside/kept.txt)" = keep ] || die "the delivery went through a link"

# What is in a delivery's place and is not the store's is kept, and said; what is, goes without a word.
place=out/m/text
echo mine >$place
expect 0 fm run m.yaml --events events.jsonl
has stderr.txt "one: what was in the place of the delivery is not what a run has made, or was changed: it is $place.before-2 now"
has events.jsonl "\"moved\":\"$place.before-2\""
[ -L $place.before ] && [ "$(cat $place.before-2)" = mine ] && cmp -s in.txt $place || die "a file was lost"
rm $place && mkdir $place && echo mine >$place/note.txt
expect 0 fm run m.yaml
[ "$(cat $place.before-3/note.txt)" = mine ] && cmp -s in.txt $place || die "a folder was lost"
manifest | sed 's|one.text|one.folder|' >folder.yaml
chmod u+w out/m/made
echo mine >out/m/made/README
expect 0 fm run folder.yaml
[ "$(cat out/m/made.before-2/README)" = mine ] && [ ! -e out/m/made/README ] || die "a README was lost"
echo other >in.txt
for file in folder.yaml m.yaml; do
    expect 0 fm run $file
    ! grep 'in the place' stderr.txt || die "an own delivery was moved"
done
[ "$(find out -name '*.before*' | wc -l)" = 5 ] || die "an own delivery was moved"

# A store or a ledger of a newer program.
for command in "run m.yaml" "plan m.yaml" verify; do
    echo 'fmforge store 3' >.fmforge/version
    # shellcheck disable=SC2086
    expect 2 fm $command
    has stderr.txt '.fmforge: this is "fmforge store 3", this program reads "fmforge store 1"'
    echo 'fmforge store 2' >.fmforge/version
done
cp .fmforge/ledger.git/config saved
sed -i 's/repositoryformatversion = .*/repositoryformatversion = 9/' .fmforge/ledger.git/config
expect 1 fm run m.yaml --record
has stderr.txt '.fmforge/ledger.git'
has stderr.txt 'unsupported repository version 9'
cp saved .fmforge/ledger.git/config
expect 0 fm verify

# Somebody else's.
if [ "$(id -u)" -eq 0 ] && chown 12345 .fmforge/ledger.git 2>/dev/null; then
    expect 1 fm run m.yaml --record
    has stderr.txt '.fmforge/ledger.git belongs to user 12345, this is user 0'
    chown 0 .fmforge/ledger.git
    chown 12345 .fmforge
    for command in "run m.yaml" "plan m.yaml" verify; do
        # shellcheck disable=SC2086
        expect 2 fm $command
        has stderr.txt '.fmforge belongs to user 12345, this is user 0'
    done
    chown 0 .fmforge
    expect 0 fm run m.yaml --record
else
    echo "not root: somebody else's store is not tested" >&2
fi
expect 0 fm verify

# A store that is a link to a disk that is not mounted.
ln -s nowhere/store store.link
expect 2 fm run m.yaml --home store.link
has stderr.txt 'store.link: a symbolic link to nowhere/store, which is not there: mount or make that folder'
mkdir -p nowhere/store
expect 0 fm run m.yaml --home store.link

# Every command is suggested, and every stage, however many there are.
for i in $(seq 100 180); do cp programs/stage-probe "programs/stage-x$i"; done
mv programs/stage-x180 programs/stage-zebra
n=0
for name in $(fm --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p') probe zebra; do
    n=$((n + 1))
    expect 2 fm "${name}q"
    has stderr.txt "there is no command \`${name}q\`, did you mean \`$name\`?"
done
[ "$n" -ge 18 ] || die "--help lists $((n - 2)) commands"
echo ok
