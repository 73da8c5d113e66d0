# An independent reader of the format finds the checkpoint's values in the package.
. "$2/tests/e2e/e2e_lib.sh"
command -v python3 >/dev/null || skip "no python3"
tiny_toolkit
expect 0 fm run task.yaml
fetch "$(artifact adapter/checkpoint)" adapter.safetensors
python3 "$ROOT/tests/ref/read_fmadapter.py" "$PACKAGE" adapter.safetensors \
    --base tiny-0.1/base.safetensors || die "the values differ"
echo ok
