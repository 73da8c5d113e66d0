# The whole way on a tiny model, and what reruns when what changes.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit

expect_to_run "adapter data package quality" task.yaml
expect 0 fm run task.yaml
[ -f "$PACKAGE/metadata.json" ] || die "nothing was delivered"
[ -f "$PACKAGE/adapter_weights.bin" ] || die "no weights were delivered"
has "$PACKAGE/metadata.json" '"adapterIdentifier": "fmadapter-tiny_task-'
first=$(folder_id "$PACKAGE")

# Again: nothing runs.
expect_to_run "" task.yaml
expect 0 fm run task.yaml
has stdout.txt 'nothing to do'
[ "$(folder_id "$PACKAGE")" = "$first" ] || die "the package changed in a run without work"

# A comment, the order of keys and of stages: nothing.
{ echo '# another comment'; sed 's/# A comment.//; s/{ epochs: 2, rank: 8,/{ rank: 8, epochs: 2,/' task.yaml; } >order.yaml
expect_to_run "" order.yaml

# A gate is no part of a key, but it is judged: it blocks package and delivery.
sed 's/rows >= 4/rows >= 5/' task.yaml >gate.yaml
expect 3 fm run gate.yaml
has stdout.txt 'rows >= 5'
has stdout.txt FAILS

# One row of data changed: prep and what follows.
sed 's|data/rows.jsonl|data/changed.jsonl|' task.yaml >changed.yaml
sed '3s/leaf/reed/' data/rows.jsonl >data/changed.jsonl
expect_to_run "adapter data package quality" changed.yaml

# The same bytes under another name: nothing.
cp data/rows.jsonl data/changed.jsonl
expect_to_run "" changed.yaml

# Only the signature: exactly export.
cp -r tiny-0.1 tiny-0.2
sed -i 's/^version: .*/version: "0.2"/; s/^signature: .*/signature: "00112233445566778899aabbccddeeff00112233"/' \
    tiny-0.2/toolkit.yaml
sed 's/tiny-0.1/tiny-0.2/' task.yaml >signature.yaml
expect_to_run "package" signature.yaml
expect 0 fm run signature.yaml
has out/tiny_task/tiny-0.2/tiny_task.fmadapter/metadata.json '"fmadapter-tiny_task-0011223"'
cmp "$PACKAGE/adapter_weights.bin" out/tiny_task/tiny-0.2/tiny_task.fmadapter/adapter_weights.bin ||
    die "another signature changed the weights"
expect_to_run "" task.yaml

# A parameter of the last stage: only that stage.
sed 's/with: { name: $name }/with: { name: $name, author: Somebody }/' task.yaml >author.yaml
expect_to_run "package" author.yaml

# --set reaches what uses the variable.
expect_to_run "adapter data package quality" task.yaml --set vars.seed=6

# Two toolkits are an axis: every stage that names a facet once for each; data need not run again.
sed 's/\[tiny-0.1\]/[tiny-0.1, tiny-0.2]/' task.yaml >both.yaml
expect_to_run "" both.yaml

# why names the difference.
sed 's/epochs: 2/epochs: 3/' task.yaml >epochs.yaml
expect 0 fm why adapter epochs.yaml
has stdout.txt 'config.epochs: 2 -> 3'
expect 0 fm why adapter task.yaml
echo ok
