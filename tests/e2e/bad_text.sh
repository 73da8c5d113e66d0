# Text that is none: every stage that reads a corpus names file, line and what to do, and what is only
# odd stands in the page.
. "$2/tests/e2e/e2e_lib.sh"
need_stages vocab pretrain recover draft perplexity
tiny_toolkit
cat >text.yaml <<'YAML'
fmforge: 1
name: text
toolkits: [tiny-0.1]
vars: { text: data/text.txt, held: data/text.txt }
stages:
  vocab: { run: vocab, inputs: { text: $text }, with: { vocab: 400 } }
  base:
    run: pretrain
    inputs: { text: $text, valid: $held, tokenizer: toolkit.tokenizer, shape: data/shape.json }
    with: { tokens: 64, qat_tokens: 64, batch_tokens: 64, sequence_length: 32, valid_tokens: 64, evaluations: 1 }
  recovery:
    run: recover
    inputs: { text: $text, tokenizer: toolkit.tokenizer, base: toolkit.base }
    with: { rank: 8, tokens: 64, batch_tokens: 64, window: 32, evaluations: 1 }
  small:
    run: draft
    inputs: { text: $text, tokenizer: toolkit.tokenizer, base: toolkit.base, shape: data/shape.json }
    with: { tokens: 64, batch_tokens: 64, window: 32, evaluations: 1 }
  held_out:
    run: perplexity
    inputs: { text: $text, tokenizer: toolkit.tokenizer, base: toolkit.base }
    with: { window: 32, tokens: 64 }
YAML

# refuse PATH TEXT: all five stages refuse it with this text; nothing of it is cached.
refuse() {
    expect 1 fm run text.yaml --set vars.text="$1"
    [ "$(grep -cF -- ": text: $2" stderr.txt)" -eq 5 ] || { cat stderr.txt >&2; die "$1: not \"$2\" five times"; }
}
{ cat data/text.txt; printf 'one\0two\n'; } >nul.txt
n=$(($(wc -l <data/text.txt) + 1))
refuse nul.txt "nul.txt:$n: expected UTF-8 text, found a NUL byte"
{ cat data/text.txt; printf 'one \xff\xfe two\n'; } >latin.txt
refuse latin.txt "latin.txt:$n: expected UTF-8 text, found invalid UTF-8"
{ cat data/text.txt; for _ in $(seq 500); do printf '\1\2\3\4\5\6\7\10\33[1m'; done; } >control.txt
refuse control.txt "control.txt:$n: expected UTF-8 text, found the control character U+0001"
sed 's/^/\x1b[32m/; s/$/\x1b[0m/' data/text.txt >colours.txt
refuse colours.txt 'colours.txt:1: expected UTF-8 text, found the control character U+001B at byte 1 of the file'
printf '%%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n' >pdf.txt
refuse pdf.txt 'pdf.txt: expected UTF-8 text, found a PDF document: save it as plain text, or leave it out'
sed 's/[aeio]/\xef\xbf\xbd/g' data/text.txt >lost.txt
refuse lost.txt 'lost.txt:1: expected UTF-8 text, found the replacement character U+FFFD at byte '
mkdir corpus
cp data/text.txt corpus/a.txt
printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR' >corpus/b.txt
refuse corpus 'corpus/b.txt: expected UTF-8 text, found a PNG image: leave it out'
gzip -c data/text.txt >corpus/b.txt
refuse corpus 'corpus/b.txt: expected UTF-8 text, found gzip data: unpack it, or leave it out'
printf 'PK\x03\x04\x14\0\0\0' >corpus/b.txt
refuse corpus 'corpus/b.txt: expected UTF-8 text, found a zip archive: unpack it, or leave it out'
zstd -q -c data/text.txt >corpus/b.txt
refuse corpus 'corpus/b.txt: expected UTF-8 text, found zstd data: name it .txt.zst'
rm corpus/b.txt
zstd -q -c data/text.txt | head -c 1000 >corpus/b.txt.zst
refuse corpus 'corpus/b.txt.zst: zstd data ends in the middle of a frame: the file was cut off'
cp data/text.txt corpus/b.txt.zst
refuse corpus 'corpus/b.txt.zst: expected zstd data, found something else'
rm corpus/b.txt.zst
: >empty.txt
refuse empty.txt 'empty.txt: there is no text in it'
expect 1 fm run text.yaml --set vars.held=nul.txt
has stderr.txt "valid: nul.txt:$n: "

# One enormous line, an empty file, one that is not read and one that fills no window: all is made, and
# said.
for _ in 1 2 3 4 5 6 7; do tr '\n' ' ' <data/text.txt; done >corpus/line.txt
: >corpus/empty.txt
echo 'a few words' >corpus/short.txt
gzip -c data/text.txt >corpus/books.txt.gz
{ printf '\xef\xbb\xbf'; cat data/text.txt; printf 'A stray \33 and a lost \xef\xbf\xbd.\n'; } >corpus/odd.txt
expect 0 fm run text.yaml --set vars.text=corpus
page=reports/text/index.html
count() { # TEXT N
    local found
    found=$(tr '<' '\n' <$page | grep -cF -- ">$1")
    [ "$found" -eq "$2" ] || die "\"$1\" stands $found times in the page, expected $2"
}
count 'text: very long line' 5
count "line.txt:1 ($(wc -c <corpus/line.txt) bytes)" 5
count 'text: file without text' 5
count 'empty.txt' 5
count 'text: file left out, it is no *.txt or *.txt.zst' 5
count 'books.txt.gz' 5
count 'text: file shorter than a window, not used' 4
count 'text: byte order mark, left out' 5
count 'text: control character, kept' 5
count "odd.txt:$n (U+001B)" 5
count 'text: character that an earlier conversion has lost (U+FFFD), kept' 5
count "odd.txt:$n (U+FFFD)" 5
count 'text: cuts of lines longer than line_bytes_max' 1

# Sound text: nothing is found.
expect 0 fm run text.yaml
! grep -q Findings $page || die "sound text has findings"

# A mark in front changes nothing that is made.
fm run text.yaml --json >plain.json 2>stderr.txt || die "plain"
{ printf '\xef\xbb\xbf'; cat data/text.txt; } >mark.txt
fm run text.yaml --set vars.text=mark.txt --json >mark.json 2>stderr.txt || die "mark"
ids() { tr -d ' \n' <"$1" | grep -o '"kind":"\(tokenizer\|base\|adapter\|draft\|metrics\)","id":"[0-9a-f]*"'; }
[ "$(ids plain.json)" = "$(ids mark.json)" ] || die "a byte order mark is text"
[ "$(ids mark.json | wc -l)" -ge 5 ] || die "ids of mark.json"
echo ok
