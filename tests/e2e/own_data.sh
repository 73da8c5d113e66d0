# Rows of a newcomer, from a table, from pairs, from one array and from OpenAI's form: by the lines that
# configs/README.md gives, as they stand there. Files of another form are refused with what to do.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab prep
for program in python3 jq; do
    command -v $program >/dev/null || skip "there is no $program"
done
tiny_files
cat >rows.yaml <<'EOF'
fmforge: 1
name: rows
vars: { rows: none, objects: false }
stages:
  vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 400 } }
  data:
    run: prep
    inputs: { raw: $rows, tokenizer: vocab.tokenizer, template: data/template.json }
    with: { valid_fraction: 0, max_length: 100000, pack_length: 512, objects: $objects }
EOF
# A table as Excel saves it: a mark in front, CR LF, an empty line, spaces behind, an answer missing, a
# cell of two lines, a row twice, German and Japanese.
printf '\357\273\277question;label\r\n"Wo bleibt ""mein"" Paket?\nSeit Montag!";Lieferung \r\n\r\n返品したい;返品\r\nLeer;\r\n返品したい;返品\r\n' >table.csv
printf '{"prompt": "Ü?", "completion": "a"}\n{"prompt": "b?", "completion": "b"}\n' >pairs.jsonl
printf '[\n [ {"role": "user", "content": "U"},\n   {"role": "assistant", "content": "A"} ]\n]\n' >rows.json
sed -n '/^### Rows from other forms$/,/^## /s/^    //p' "$ROOT/configs/README.md" >lines.sh
[ "$(wc -l <lines.sh)" -ge 10 ] || die "configs/README.md has not the lines"
bash -e lines.sh >stdout.txt 2>stderr.txt || die "the lines of configs/README.md: $(cat stderr.txt)"
n=0
for want in rows.jsonl:3 from_pairs.jsonl:2 from_array.jsonl:1; do
    n=$((n + 1))
    expect 0 fm run rows.yaml --set vars.rows="${want%:*}"
    has stderr.txt "prep: ${want#*:} training and 0 validation samples"
done
[ "$n" = 3 ] || die "only $n files"
expect 0 fm run rows.yaml --set vars.rows=rows.jsonl --record
has reports/rows/index.html 'raw: rows that occur twice'

tool='"tools": [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]'
printf '\357\273\277{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Wo?"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}}]}], %s}\r\n' \
    "$tool" >openai.jsonl
expect 1 fm run rows.yaml --set vars.rows=openai.jsonl
has stderr.txt 'need `objects: true` below `with`'
expect 0 fm run rows.yaml --set vars.rows=openai.jsonl --set vars.objects=true
has stderr.txt 'finding: raw: byte order mark, left out: in front of the file'

# Given as they are: what is wrong with the file, not with each of its lines.
for file in table.csv pairs.jsonl data/text.txt; do
    expect 1 fm run rows.yaml --set vars.rows=$file
    has stderr.txt "$file: no line of it is a row: expected one JSON array of messages a line; a table or a text becomes rows as configs/README.md, Rows, says"
done
expect 1 fm run rows.yaml --set vars.rows=rows.json
has stderr.txt "jq -c '.[]' FILE writes one a line"
echo ok
