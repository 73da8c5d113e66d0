# bom and card: the record in the forms of others. Valid, the same bytes each time, and of nothing that an
# audit finds wrong.
. "$2/tests/e2e/e2e_lib.sh"
command -v python3 >/dev/null || skip "there is no python3"
SCHEMA=$ROOT/tests/data/cyclonedx/bom-1.6.schema.json
valid() {
    python3 "$ROOT/tests/e2e/json_check.py" "$SCHEMA" "$1" >problems.txt || die "$1 is no CycloneDX 1.6: $(head -n 5 problems.txt)"
}
# ask FILE EXPRESSION: of the document d, as Python prints it
ask() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
is() { # FILE EXPRESSION WANTED
    [ "$(ask "$1" "$2")" = "$3" ] || die "$2 is \"$(ask "$1" "$2")\", expected \"$3\""
}
tiny_toolkit
sed -i 's/with: { name: \$name }/with: { name: $name, author: "Ann <a@b>", license: MIT, description: "Colours | and more" }/' task.yaml
expect 1 fm bom last
has stderr.txt 'there is no fmforge store here'
expect 0 fm run task.yaml
id=$(cd "$PACKAGE" && find . -type f | sed 's|^\./||' | sort | xargs sha256sum | sha256sum | cut -c1-64)
commit=$(git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task)

# The bill of materials: valid, whole, the same from each name of the thing.
expect 0 fm bom "$PACKAGE"
[ ! -s stderr.txt ] || die "it has something to say: $(cat stderr.txt)"
cp stdout.txt bom.json
valid bom.json
for name in "$id" "sha256:$id" last "$commit" "${commit:0:12}"; do
    expect 0 fm bom "$name"
    cmp -s stdout.txt bom.json || die "bom $name is another"
done
model='d["metadata"]["component"]'
of_run='[p["value"] for p in d["metadata"]["properties"] if p["name"] == "fmforge:run"]'
is bom.json "$model['type']" machine-learning-model
is bom.json "$model['name']" tiny_task
is bom.json "$model['hashes'][0]" "{'alg': 'SHA-256', 'content': '$id'}"
is bom.json "$model['licenses'][0]['license']['name']" MIT
is bom.json "$model['authors'][0]['name']" 'Ann <a@b>'
is bom.json "$model['pedigree']['ancestors'][0]['hashes'][0]['content']" "$(sha256sum <tiny-0.1/base.safetensors | cut -c1-64)"
is bom.json "$model['pedigree']['ancestors'][0]['properties'][0]['value']" "$(sed -n 's/^signature: "*\([0-9a-f]*\)"*/\1/p' tiny-0.1/toolkit.yaml)"
is bom.json "sorted(c['name'] + ' ' + c['hashes'][0]['content'] for c in $model['components'])" \
    "['adapter_weights.bin $(sha256sum <"$PACKAGE/adapter_weights.bin" | cut -c1-64)', 'metadata.json $(sha256sum <"$PACKAGE/metadata.json" | cut -c1-64)']"
is bom.json "[m['value'] for m in $model['modelCard']['quantitativeAnalysis']['performanceMetrics'] if m['type'] == 'rows']" "['4']"
is bom.json "[c['name'] + ' ' + c['hashes'][0]['content'] for c in d['components'] if c['type'] == 'data']" \
    "['data/rows.jsonl $(sha256sum <data/rows.jsonl | cut -c1-64)']"
is bom.json "{c['bom-ref'] for c in d['components']} == set(d['dependencies'][0]['dependsOn'])" True
is bom.json "[t['name'].split('[')[0] for t in d['formulation'][0]['workflows'][0]['tasks']]" "['data', 'adapter', 'package']"
is bom.json "d['serialNumber'][9:17]" "${id:0:8}"
is bom.json "$of_run" "['$commit']"
is bom.json "[p['value'] for p in d['metadata']['properties'] if p['name'] == 'fmforge:audit']" "['proven']"
is bom.json "d['metadata']['timestamp'][:19]" "$(TZ=UTC git -C .fmforge/ledger.git log -1 --format=%cd --date=format-local:%FT%T "$commit")"
refs=$(grep -o '"bom-ref": "[^"]*"' bom.json | sort | uniq -d)
[ -z "$refs" ] || die "stands there twice: $refs"

# What the package is made of, too: an adapter is a model, tokens are data, a report is a file.
for made in adapter/checkpoint data/train data/report quality/metrics; do
    expect 0 fm bom "$(artifact $made)"
    cp stdout.txt other.json
    valid other.json
done
expect 0 fm bom "$(artifact data/train)"
cp stdout.txt other.json
is other.json "$model['type']" data

# The card.
expect 0 fm card "$PACKAGE"
cp stdout.txt card.md
expect 0 fm card last
cmp -s stdout.txt card.md || die "card last is another"
[ "$(head -n 1 card.md)" = --- ] || die "there is no header"
sed -n '2,/^---$/p' card.md >header.yaml
for line in 'base_model: "tiny-0.1"' 'base_model_relation: adapter' 'library_name: fmforge' 'license: "mit"' '- "data/rows.jsonl"' \
    '      name: "data/golden"' '    - type: "rows"'; do
    grep -qxF -- "$line" header.yaml || die "the header has no line $line"
done
has card.md '# tiny\_task'
has card.md 'Colours \| and more'
has card.md "| SHA-256 | $id |"
has card.md '| rows \>= 4 | 4 | holds |'
if python3 -c 'import yaml' 2>/dev/null; then
    python3 -c 'import yaml; d = yaml.safe_load(open("header.yaml").read().rstrip("-\n")); assert d["model-index"][0]["results"][0]["metrics"][-1] == {"type": "rows", "value": 4}, d' ||
        die "the header is no YAML"
fi

# A run that is named is the one that is told of, also when a newer one has delivered the same package.
expect 0 fm run task.yaml --record
expect 0 fm bom last~1
cmp -s stdout.txt bom.json || die "bom of the older run is another now"
expect 0 fm card "$commit"
cmp -s stdout.txt card.md || die "card of the older run is another now"
expect 0 fm bom "$PACKAGE"
cp stdout.txt other.json
is other.json "$of_run" "['$(git -C .fmforge/ledger.git rev-parse refs/prov/tiny_task)']"

# The Hub takes the ids that it knows, in small letters; any other is "other", and has a name.
sed -i 's/license: MIT/license: GPL-3.0-or-later/' task.yaml
expect 0 fm run task.yaml
expect 0 fm card last
grep -qxF 'license: "gpl-3.0"' stdout.txt || die "the license is $(grep license stdout.txt)"
has stdout.txt '| license | GPL-3.0-or-later |'
sed -i 's/license: GPL-3.0-or-later/license: "Ours: (c) 2026"/' task.yaml
expect 0 fm run task.yaml
expect 0 fm card last
grep -qxF 'license: "other"' stdout.txt || die "the license is $(grep license stdout.txt)"
grep -qxF 'license_name: "ours---c--2026"' stdout.txt || die "the license is $(grep license stdout.txt)"
sed -i 's/license: "Ours: (c) 2026"/license: MIT/' task.yaml

# Without a license none is said; metrics that are gone are not made up.
sed -i 's/, license: MIT//' task.yaml
expect 0 fm run task.yaml
expect 0 fm card last
! grep -q license: stdout.txt || die "a license was made up"
expect 0 fm bom last
! grep -q licenses stdout.txt || die "a license was made up"
chmod -R u+w .fmforge
metrics=$(find .fmforge/objects -name "$(artifact quality/metrics).zst")
mv "$metrics" aside
expect 0 fm card last
! grep -q model-index stdout.txt || die "metrics were made up"
has stdout.txt 'The store does not have its metrics any more.'
mv aside "$metrics"

# What is no model, not whole, unknown or wrong is refused with what was expected.
expect 2 fm card "$(artifact data/train)"
has stderr.txt 'kind tokens, not a model: expected a package or an adapter'
expect 2 fm bom "$PACKAGE/adapter_weights.bin"
has stderr.txt "expected something that a stage made, whole: a package's folder"
expect 2 fm bom data/rows.jsonl
echo unheard >unheard.txt
expect 2 fm bom unheard.txt
has stderr.txt 'no run of .fmforge/ledger.git names it'
expect 2 fm bom none.fmadapter
has stderr.txt 'none.fmadapter: expected a file, a SHA-256, or a run'
expect 2 fm card
expect 2 fm bom last last
expect 0 fm bom --help
cp -r "$PACKAGE" changed.fmadapter && chmod -R u+w changed.fmadapter
flip_bit changed.fmadapter/adapter_weights.bin 5000
expect 1 fm bom changed.fmadapter
has stderr.txt 'fmforge audit says more'
[ ! -s stdout.txt ] || die "a wrong package has a bill of materials"
expect 1 fm card changed.fmadapter

# A run that delivers two.
sed 's/^toolkits: .*/&\nmatrix: { epochs: [1, 2] }/; s/epochs: 2/epochs: $epochs/' task.yaml >two.yaml
expect 0 fm run two.yaml
expect 2 fm bom last
has stderr.txt 'delivered 2 packages, expected one: out/tiny_task/tiny-0.1/epochs=1/'
echo ok
