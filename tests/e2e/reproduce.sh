# A recorded run is made again from what is left of it, and every digest compared.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
expect 1 fm reproduce last --home none
has stderr.txt 'there is no fmforge store here'
[ ! -e none ] || die "reproduce made a store"
mkdir newer && echo 'fmforge store 9' >newer/version
expect 2 fm reproduce last --home newer
expect 0 fm run task.yaml
expect 2 fm reproduce
expect 2 fm reproduce nonsense
expect 1 fm reproduce last~3
has stderr.txt 'last~3: there is 1 run only'
expect 1 fm reproduce abcdef0123
has stderr.txt abcdef0123
expect 0 fm reproduce --help

# The same, from the working tree; nothing of it stays, and the ledger has no other run.
ls -A . .fmforge/tmp out reports >before.txt
expect 0 fm reproduce last
has stdout.txt 'every digest the same'
[ "$(grep -c '  same$' stdout.txt)" = "$(git -C .fmforge/ledger.git show refs/prov/tiny_task:run.json |
    grep -c '"folder"')" ] || die "not every output was compared"
ls -A . .fmforge/tmp out reports | cmp -s - before.txt || die "reproduce left something behind"
[ "$(git -C .fmforge/ledger.git rev-list --count refs/prov/tiny_task)" = 1 ] || die "it was recorded"

# It needs no result of the store, and --into keeps what is made.
mkdir bare && cp -r .fmforge bare && chmod -R u+w bare
rm -rf bare/.fmforge/objects bare/.fmforge/raw bare/.fmforge/actions
expect 0 fm reproduce last --home bare/.fmforge --into made -j 2 --threads 1
work=made/work # where it was laid out
[ "$(folder_id "$work/$PACKAGE")" = "$(folder_id "$PACKAGE")" ] || die "another package"
expect 2 fm reproduce last --into made
has stderr.txt 'new or empty folder'

# What a gate held back was no part of the run, though its result was there: the rest is compared.
sed 's/rows >= 4/rows >= 400/' task.yaml >gate.yaml
expect 0 fm run task.yaml --home gated --out gated.out --reports gated.reports
expect 3 fm run gate.yaml --home gated --out gated.out --reports gated.reports
expect 0 fm reproduce last --home gated
has stdout.txt 'every digest the same'
! grep -q '^package' stdout.txt || die "what was held back is compared: $(cat stdout.txt)"

# Manifest and toolkit.yaml come from the record: the ones here have changed.
cp task.yaml task.saved
cp tiny-0.1/toolkit.yaml toolkit.saved
sed -i 's/epochs: 2/epochs: 3/' task.yaml
chmod u+w tiny-0.1/toolkit.yaml
echo '# A comment.' >>tiny-0.1/toolkit.yaml
expect 0 fm reproduce last
cp task.saved task.yaml
cp toolkit.saved tiny-0.1/toolkit.yaml

# An input that is another now, or gone: the store has what the run read.
cp data/rows.jsonl rows.saved
sed -i 1d data/rows.jsonl
expect 0 fm reproduce last
rm data/rows.jsonl
mv tiny-0.1/tokenizer.model away
expect 0 fm reproduce last
mv away tiny-0.1/tokenizer.model

# Not when it was too large to be kept, or is gone from the store: named, nothing is run, exit 4.
id=$(sha256sum <rows.saved | cut -c1-64)
mv ".fmforge/objects/${id:0:2}/$id.zst" object.away
expect 4 fm reproduce last --json
has stdout.txt '"status": "unknown"'
has stdout.txt 'it is gone'
sed 1d rows.saved >data/rows.jsonl
expect 4 fm reproduce last
has stdout.txt 'input data/rows.jsonl of data'
has stdout.txt 'what is there now is another'
has stdout.txt 'cannot tell'
cp rows.saved data/rows.jsonl
expect 0 fm reproduce last
mv object.away ".fmforge/objects/${id:0:2}/$id.zst"

# Paths that lead upwards, a facet that a parameter chooses, an absolute path, two toolkits.
mkdir -p sub/deep
cp -r tiny-0.1 far-0.2
sed -i 's/^name: .*/name: far/; s/^version: .*/version: "0.2"/; s/tokenizer: tokenizer.model/tokenizer: { by: seed, 5: tokenizer.model, 6: other.model }/' \
    far-0.2/toolkit.yaml
grep -q 'by: seed' far-0.2/toolkit.yaml || die "the toolkit's form has changed"
cat >sub/deep/far.yaml <<END
fmforge: 1
name: far
toolkits: [ ../../far-0.2, ../../tiny-0.1 ]
stages:
  data:
    run: prep
    inputs: { raw: ../../data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128, seed: 5 }
  here:
    run: prep
    inputs: { raw: $PWD/data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.3, max_length: 128, pack_length: 128, seed: 5 }
END
expect 0 fm run far.yaml -C sub/deep
expect 0 fm reproduce last -C sub/deep
has stdout.txt '12 outputs of 4 stages, every digest the same'
expect 0 fm run "$PWD/sub/deep/far.yaml" -C sub/deep --record
expect 0 fm reproduce last -C sub/deep
cp data/rows.jsonl rows.saved
sed -i 1d data/rows.jsonl
expect 4 fm reproduce last -C sub/deep
has stdout.txt 'an absolute path, and it is not'
cp rows.saved data/rows.jsonl

# A program that is another one: named, exit 4.
mkdir bin
for f in "$BIN"/fmforge "$BIN"/fmforge-engine "$BIN"/fmforge-ledger "$BIN"/stage-*; do cp "$f" bin/; done
printf 'x' >>bin/stage-export
expect 4 bin/fmforge reproduce last
has stdout.txt 'program stage-export: here it is'
rm bin/stage-export
expect 4 bin/fmforge reproduce last
has stdout.txt 'program stage-export is gone'

# A record that says something else: found, and the first stage that differs is named.
git clone -q .fmforge/ledger.git tree -b prov/tiny_task 2>/dev/null ||
    { git init -q tree && git -C tree fetch -q ../.fmforge/ledger.git refs/prov/tiny_task &&
        git -C tree checkout -q FETCH_HEAD; } || die "the ledger cannot be checked out"
real=$(artifact adapter/checkpoint)
false=$(printf other | sha256sum | cut -c1-64)
sed -i "s/$real/$false/g" tree/run.json tree/artifacts.sha256
(cd tree && find . -type f ! -path './.git/*' ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort |
    xargs -d '\n' sha256sum >../sums && mv ../sums SHA256SUMS)
git -C tree -c user.name=t -c user.email=t@t -c commit.gpgsign=false commit -qam 'tiny_task: ok, 4 executed, 0 reused' ||
    die "git cannot commit"
git -C .fmforge/ledger.git fetch -q ../../tree +HEAD:refs/prov/tiny_task || die "git cannot fetch"
expect 1 fm reproduce last
has stdout.txt 'the first stage that differs is adapter'
has stdout.txt 'different'
expect 1 fm reproduce last --json
has stdout.txt '"first": "adapter'
expect 0 fm reproduce last~1

# A record that was changed without its sums is no record.
sed -i "s/$false/$real/g" tree/run.json
git -C tree -c user.name=t -c user.email=t@t -c commit.gpgsign=false commit -qam 'tiny_task: ok, 4 executed, 0 reused'
git -C .fmforge/ledger.git fetch -q ../../tree +HEAD:refs/prov/tiny_task
expect 4 fm reproduce last
has stdout.txt 'run.json has the SHA-256'
echo ok
