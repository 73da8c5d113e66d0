# What can be known beforehand is refused beforehand: nothing is trained for a package that cannot be.
. "$2/tests/e2e/e2e_lib.sh"
need_stages recover import_adapter
tiny_toolkit

refuse() { # MANIFEST TEXT
    expect 2 fm plan "$1"
    has stderr.txt "$2"
    expect 2 fm run "$1"
    [ -z "$(find .fmforge/actions -type f 2>/dev/null)" ] || die "$1: a stage ran"
}

sed 's/^name: tiny_task/name: tiny-task/' task.yaml >hyphen.yaml
refuse hyphen.yaml tiny-task
sed 's/with: { name: $name }/with: { name: tiny-task }/' task.yaml >hyphen2.yaml
refuse hyphen2.yaml tiny-task
sed '/with: { name: $name }/d' task.yaml >unnamed.yaml
refuse unnamed.yaml 'needs the parameter `name` under `with`: '
sed 's/rank: 8/rank: 16/' task.yaml >rank.yaml
refuse rank.yaml 16
# The rank of a recovery adapter is one of three; that of an import is known when it is asked for.
sed -e 's|run: train|run: recover|; s|adapter.checkpoint|adapter.adapter|; s|epochs: 2, rank: 8, .*|rank: 16 }|' \
    -e 's|train: data.train, valid: data.valid,|text: data/text.txt, tokenizer: toolkit.tokenizer,|' task.yaml >recover.yaml
refuse recover.yaml 'would package an adapter of rank 16 (made by adapter['
sed -i 's/rank: 16/rank: 8/' recover.yaml
expect 0 fm plan recover.yaml
sed -e 's|run: recover|run: import_adapter|; s|text: data/text.txt, tokenizer: toolkit.tokenizer,|peft: data/golden,|' \
    recover.yaml >import.yaml
expect 0 fm plan import.yaml
sed -i 's/rank: 8/rank: 0/' import.yaml
expect 0 fm plan import.yaml
sed -i 's/rank: 0/rank: 16/' import.yaml
refuse import.yaml 'would package an adapter of rank 16 (made by adapter['
cp -r tiny-0.1 bad-0.1
sed -i 's/^signature: .*/signature: "123"/' bad-0.1/toolkit.yaml
sed 's/tiny-0.1/bad-0.1/' task.yaml >signature.yaml
refuse signature.yaml bad-0.1/toolkit.yaml
sed 's/toolkit.signature/toolkit.signatur/' task.yaml >facet.yaml
refuse facet.yaml signature
sed 's/data.train,/data.trane,/' task.yaml >output.yaml
refuse output.yaml train
sed 's/adapter: adapter.checkpoint/adapter: data.train/' task.yaml >kind.yaml
refuse kind.yaml tokens

# A folder that cannot be looked into is not called one without a toolkit.
chmod 0 bad-0.1
plain=()
[ "$(id -u)" -ne 0 ] || plain=(setpriv --bounding-set=-dac_override,-dac_read_search)
if [ ${#plain[@]} -eq 0 ] || "${plain[@]}" true 2>/dev/null; then
    expect 2 "${plain[@]}" "$BIN/fmforge" plan signature.yaml
    has stderr.txt 'bad-0.1: cannot look into the folder: Permission denied'
fi
chmod 755 bad-0.1
echo ok
