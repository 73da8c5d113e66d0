# An independent reader of the format finds the checkpoint's values in the package.
. "$2/tests/e2e/e2e_lib.sh"
command -v python3 >/dev/null || skip "no python3"
tiny_toolkit
expect 0 fm run task.yaml
git -C .fmforge/ledger.git show refs/prov/tiny_task:artifacts.sha256 >artifacts
checkpoint=$(awk '$2 == "adapter/checkpoint" { print $1 }' artifacts)
[ -n "$checkpoint" ] || checkpoint=$(awk '$2 ~ /^adapter.*\/checkpoint$/ { print $1 }' artifacts)
zstd -q -dc .fmforge/objects/*/"$checkpoint".zst >adapter.safetensors
python3 "$ROOT/tests/ref/read_fmadapter.py" "$PACKAGE" adapter.safetensors \
    --base tiny-0.1/base.safetensors || die "the values differ"
echo ok
