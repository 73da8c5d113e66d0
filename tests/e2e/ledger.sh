# What a run leaves behind is sound by hand and by audit; one flipped bit is found and named.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
expect 0 fm run task.yaml
expect 0 git -C .fmforge/ledger.git fsck --strict
git -C .fmforge/ledger.git archive --prefix=run/ refs/prov/tiny_task | tar -x ||
    die "the run cannot be checked out"
(cd run && sha256sum --quiet -c SHA256SUMS) || die "SHA256SUMS does not hold"
cmp -s run/manifest.yaml task.yaml || die "the manifest in the ledger is another one"
for stage in run/stages/*/; do
    key=$(sha256sum <"$stage/recipe.json" | cut -c1-64)
    find .fmforge/actions -name "$key" | grep -q . || die "$stage: no action has its recipe's hash"
done
grep -q "^$(sha256sum <"$PACKAGE/adapter_weights.bin" | cut -c1-64) " run/artifacts.sha256 ||
    die "the package is not in artifacts.sha256"

# Programs are named as they are called: whoever hashes the file of that name finds the digest.
statement=$(find run/stages -path '*package*/statement.json')
grep -o '"digest":{"sha256":"[0-9a-f]*"},"name":"program/[^"]*"' "$statement" | cut -d'"' -f6,10 | tr '"' ' ' >programs.txt
[ "$(wc -l <programs.txt)" = 2 ] || die "the statement names $(cat programs.txt)"
while read -r id name; do
    [ "$(sha256sum <"$BIN/${name#program/}" | cut -c1-64)" = "$id" ] || die "$name has another digest"
done <programs.txt

# How the gates were judged, as an in-toto test result of what was tested.
results=$(find run/stages -name test-result.json)
[ "$results" = 'run/stages/quality[toolkit=tiny-0.1]/test-result.json' ] || die "test results are $results"
has "$results" '"predicateType":"https://in-toto.io/attestation/test-result/v0.1"'
has "$results" "\"subject\":[{\"digest\":{\"sha256\":\"$(artifact adapter/checkpoint)\"}"
has "$results" '"passedTests":["rows >= 4"],"result":"PASSED"'
has "$results" "\"digest\":{\"sha256\":\"$(sha256sum <"${results%/*}/recipe.json" | cut -c1-64)\"},\"name\":\"recipe\""

# Every artifact by its digest alone: each file that is listed, and each folder by its content id.
for id in $(cut -c1-64 run/artifacts.sha256 | sort -u) $(grep -o '"id": *"[0-9a-f]*"' run/run.json | cut -d'"' -f4 | sort -u); do
    expect 0 fm audit "$id"
    has stdout.txt 'proven: everything on the way holds'
done
expect 0 fm audit "sha256:$id"
expect 4 fm audit "$(echo other | sha256sum | cut -c1-64)"
expect 2 fm audit "sha256:${id:0:12}"

expect 0 fm verify
expect 0 fm audit "$PACKAGE"
for word in tiny_task base.safetensors rows.jsonl data adapter package; do has stdout.txt "$word"; done
expect 0 fm audit "$PACKAGE" --json
# Any intermediate file, by its bytes alone.
checkpoint=$(artifact adapter/checkpoint)
fetch "$checkpoint" some.safetensors
expect 0 fm audit some.safetensors
has stdout.txt rows.jsonl

# A file that no run made.
echo other >other.txt
expect 4 fm audit other.txt

# The gate that does not hold, and one without a baseline.
sed 's/rows >= 4/rows >= 400", "exact_match drop <= 0.1/' task.yaml >gate.yaml
expect 3 fm run gate.yaml --record
git -C .fmforge/ledger.git show 'refs/prov/tiny_task:stages/quality[toolkit=tiny-0.1]/test-result.json' >result.json
has result.json '"failedTests":["rows >= 400"],"passedTests":[],"result":"FAILED","warnedTests":["exact_match drop <= 0.1"]'
# That run made no package, though its result was there: the one of before is still proven by the run that made it.
expect 0 fm audit "$PACKAGE"
has stdout.txt "run    $(git -C .fmforge/ledger.git rev-parse --short=12 refs/prov/tiny_task~1) of tiny_task"
expect 0 fm card "$PACKAGE"
has stdout.txt '| audit | proven |'
# Nor did one that read it as it was delivered: it is followed into the run that made it.
cat >judge.yaml <<'EOF'
fmforge: 1
name: tiny_judge
toolkits: [tiny-0.1]
stages:
  judged:
    run: eval
    inputs: { golden: data/golden, package: out/tiny_task/tiny-0.1/tiny_task.fmadapter, base: toolkit.base,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 4 }
  nearest:
    run: lookup
    inputs: { rows: data/rows.jsonl, golden: data/golden }
    gates: [ "rows >= 1" ]
EOF
expect 0 fm run judge.yaml
# A statement is of something: where no model is measured, of the rows that are.
git -C .fmforge/ledger.git show 'refs/prov/tiny_judge:stages/nearest/test-result.json' >result.json
has result.json "\"subject\":[{\"digest\":{\"sha256\":\"$(sha256sum <data/rows.jsonl | cut -c1-64)\"},\"name\":\"data/rows.jsonl\"}]"
expect 0 fm audit "$PACKAGE"
has stdout.txt 'is     output package of package[toolkit=tiny-0.1]'
expect 0 fm audit "$(git -C .fmforge/ledger.git show refs/prov/tiny_judge:artifacts.sha256 | cut -c1-64 | head -n 1)"
for word in 'judged[toolkit=tiny-0.1]' 'package[toolkit=tiny-0.1]' data/rows.jsonl; do has stdout.txt "$word"; done
expect 0 fm run task.yaml --record

# One bit in the package.
cp -r "$PACKAGE" copy.fmadapter
flip_bit copy.fmadapter/adapter_weights.bin 200
fm audit copy.fmadapter >stdout.txt 2>stderr.txt
rc=$?
[ "$rc" -eq 1 ] || [ "$rc" -eq 4 ] || die "a changed package passes the audit (exit $rc)"
cat stdout.txt stderr.txt | grep -q adapter_weights.bin || die "the changed file is not named"

# One bit in a stored object.
object=$(find .fmforge/objects -name "$checkpoint.zst")
cp "$object" saved
flip_bit "$object" 100
fm verify >stdout.txt 2>stderr.txt && die "a changed object passes verify"
cat stdout.txt stderr.txt | grep -q "${checkpoint:0:12}" || die "the changed object is not named"
chmod u+w "$object"
cp saved "$object"
expect 0 fm verify

# One bit in a source that the store has: no stage made it, and its bytes are read all the same.
source=$(sha256sum <data/rows.jsonl | cut -c1-64)
object=.fmforge/objects/${source:0:2}/$source.zst
expect 0 fm audit "$object"
has stdout.txt 'no stage of this run made it'
cp "$object" saved
flip_bit "$object" 100
expect 1 fm audit "$object"
cp saved "$object"
expect 0 fm audit "$object"

# A run that calls a file's object a folder, though the object is no listing of one.
mkdir made && cp -r .fmforge made/home && rm -rf made/home/ledger.git && mv run made/provenance
cp some.safetensors made/some.safetensors
expect 0 fm audit --home made/home made/some.safetensors
tr -d '\n' <made/provenance/run.json |
    sed "s/\(\"id\": *\"$checkpoint\", *\"folder\": *\)false/\1true/g" >run.json
cmp -s run.json <(tr -d '\n' <made/provenance/run.json) && die "run.json is as it was"
cat run.json >made/provenance/run.json
sed -i "s/.*  run.json/$(sha256sum <run.json | cut -c1-64)  run.json/" made/provenance/SHA256SUMS
expect 1 fm audit --home made/home made/some.safetensors
has stdout.txt "object $checkpoint is no folder's listing"

# One bit in the ledger.
git_object=$(find .fmforge/ledger.git/objects -type f \( -name '*.pack' -o -path '*/??/*' \) | sort | head -n 1)
cp "$git_object" saved
flip_bit "$git_object" 20
fm verify >stdout.txt 2>stderr.txt && die "a changed ledger passes verify"
cat stdout.txt stderr.txt | grep -qi ledger || die "the changed ledger is not named"
chmod u+w "$git_object"
cp saved "$git_object"
expect 0 fm verify

# A damaged folder of the newest run, or HEAD: verify names it, and the next run, which writes the
# same folder, makes it again. It once read such a folder for ever.
expect 0 fm run task.yaml --record
ledger=.fmforge/ledger.git
tree=$(git --git-dir=$ledger rev-parse refs/prov/tiny_task:stages)
file=$ledger/objects/${tree:0:2}/${tree:2}
cp "$file" saved
size=$(stat -c %s "$file")
for how in "$((size / 2))" "$((size - 3))" cut; do
    if [ "$how" = cut ]; then
        chmod u+w "$file"
        truncate -s $((size / 2)) "$file"
    else
        flip_bit "$file" "$how"
    fi
    printf 'ref: refs/h' >$ledger/HEAD
    expect 1 fm verify
    has stdout.txt "$tree"
    has stdout.txt HEAD
    expect 0 timeout 60 "$BIN/fmforge" run task.yaml --record
    cmp -s "$file" saved || die "the folder's object was not made again"
    expect 0 fm verify
    git --git-dir=$ledger fsck --strict 2>fsck.txt || die "git fsck: $(cat fsck.txt)"
done
echo ok
