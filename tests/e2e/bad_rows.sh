# Rows with one broken line each: the verdict names line and reason; a broken one stops the run.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab prep
lines=$ROOT/../shared/data/bad_lines
[ -d "$lines" ] || skip "there is no folder ../shared/data/bad_lines beside the checkout"
tiny_files
cat >rows.yaml <<'EOF'
fmforge: 1
name: rows
vars: { rows: none }
stages:
  vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 400 } }
  data:
    run: prep
    inputs: { raw: $rows, tokenizer: vocab.tokenizer, template: data/template.json }
    with: { valid_fraction: 0, max_length: 100000, pack_length: 512 }
EOF
n=0
for file in "$lines"/*.jsonl; do
    n=$((n + 1))
    name=$(basename "$file")
    cp "$file" "$name"
    fm run rows.yaml --set vars.rows="$name" >stdout.txt 2>stderr.txt
    rc=$?
    case $name in
    take_*) [ "$rc" -eq 0 ] || { cat stderr.txt >&2; die "$name: refused"; } ;;
    refuse_*)
        [ "$rc" -eq 1 ] || { cat stderr.txt >&2; die "$name: exit $rc, expected 1"; }
        grep -qE ':2:|line 2' stderr.txt || { cat stderr.txt >&2; die "$name: line 2 is not named"; }
        ;;
    *) [ "$rc" -eq 0 ] || grep -qE ':2:|line 2|:[123]:|line [123]' stderr.txt ||
        { cat stderr.txt >&2; die "$name: refused without a line"; } ;;
    esac
done
[ "$n" -ge 50 ] || die "only $n files"
expect 0 fm verify
echo ok
