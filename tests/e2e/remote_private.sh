# Private facets, and what copies them, never leave; adapters and scores do. Nobody asks for what is
# private either, and a store without it fetches the rest.
. "$2/tests/e2e/e2e_lib.sh"
need_stages import export_torch
tiny_toolkit
nginx_start
cat >parts.yaml <<'EOF'
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
stages:
  base: { run: export_torch, inputs: { base: toolkit.base }, with: { what: base } }
EOF
expect 0 fm run parts.yaml
mkdir tiny-0.1/assets
fetch "$(artifact base/pt)" tiny-0.1/assets/base.pt
rm -rf .fmforge tiny-0.1/base.safetensors
sed -i 's|^  base: .*|  base: { run: import, inputs: { pt: assets/base.pt, shape: shape.json }, private: true }|
    s|^  tokenizer: .*|  tokenizer: { path: tokenizer.model, private: true }|' tiny-0.1/toolkit.yaml
[ "$(grep -c 'private: true' tiny-0.1/toolkit.yaml)" = 2 ] || die "the toolkit has other lines"
cat >>task.yaml <<EOF
remote: { url: $URL, mode: readwrite, timeout: 60 }
EOF
# What could be had back from these outputs: a base for PyTorch, a merged one; and by a bare path.
sed -i 's|^deliver:|  theirs: { run: export_torch, inputs: { base: toolkit.base, adapter: adapter.checkpoint }, with: { what: merged } }\
  again: { run: import, inputs: { pt: theirs.pt, shape: toolkit.shape } }\
  bare: { run: import, inputs: { pt: tiny-0.1/assets/base.pt, shape: toolkit.shape }, with: { quantise: linears } }\
  alone: { run: export_peft, inputs: { base: toolkit.base, adapter: adapter.checkpoint } }\
&|' task.yaml
expect 0 fm run task.yaml
has stdout.txt '9 executed'

# The keys of the instances by their names, from the run's record.
git -C .fmforge/ledger.git show refs/prov/tiny_task:run.json >run.json
key_of() { tr -d '\n ' <run.json | sed 's/{"stage"/\n&/g' | sed -n "s/^{\"stage\":\"$1\[.*\"key\":\"\([0-9a-f]*\)\",\"status\".*/\1/p"; }
for stage in adapter quality package alone; do
    key=$(key_of $stage)
    [ ${#key} = 64 ] || die "no key of $stage in run.json"
    [ -f "srv/ac/$key" ] || die "$stage was not sent"
done
for stage in toolkit.base data theirs again bare; do
    key=$(key_of $stage)
    [ ${#key} = 64 ] || die "no key of $stage in run.json"
    if grep -q "$key" access.log; then die "somebody was asked for $stage"; fi
    [ ! -e "srv/ac/$key" ] || die "$stage was sent"
done
[ "$(find srv/ac -type f | wc -l)" = 4 ] || die "not four records on the server"

# None of their bytes is on the server, whatever its name, and nobody has tried.
git -C .fmforge/ledger.git show refs/prov/tiny_task:artifacts.sha256 >sums.txt
grep -E '^[0-9a-f]{64}  (toolkit\.base|data|theirs|again|bare)' sums.txt | cut -c1-64 >private.txt
sha256sum tiny-0.1/assets/base.pt tiny-0.1/tokenizer.model data/rows.jsonl data/golden/* | cut -c1-64 >>private.txt
[ "$(wc -l <private.txt)" -ge 16 ] || die "only $(wc -l <private.txt) private ids"
find srv -type f -exec sha256sum {} + | cut -c1-64 >sent.txt
! grep -qxFf private.txt sent.txt || die "private bytes are on the server"
! grep -qFf private.txt access.log || die "private ids were asked for"
[ "$(sort -u sent.txt | wc -l)" -ge 15 ] || die "only $(wc -l <sent.txt) files were sent"

# Another store: what is private is made there, the training is not.
mv .fmforge first
: >access.log
rm -rf out
expect 0 fm run task.yaml
has stdout.txt '5 executed, 4 fetched'
cmp -s <(git -C .fmforge/ledger.git show refs/prov/tiny_task:artifacts.sha256) sums.txt || die "another run came of it"
! grep -qFf private.txt access.log || die "private ids were asked for"
expect 0 fm verify
expect 0 fm audit "$PACKAGE"

# A private path, what comes after it, and a path into a toolkit's folder that names no facet.
probe_programs
mkdir secret
cat >secret/toolkit.yaml <<'EOF'
fmforge_toolkit: 1
name: secret
version: "1"
signature: "0123456789012345678901234567890123456789"
facets:
  words: { path: words.txt, private: true }
EOF
echo 'not for everyone' >secret/words.txt
echo 'for everyone' >words.txt
echo 'beside it' >near.txt
cat >m.yaml <<EOF
fmforge: 1
name: m
toolkits: [secret]
remote: { url: $URL/m, mode: readwrite }
stages:
  honest: { run: probe, inputs: { text: toolkit.words } }
  after: { run: probe, inputs: { text: honest.text }, with: { n: 1 } }
  beside: { run: probe, inputs: { text: near.txt, more: secret/words.txt }, with: { n: 2 } }
  open: { run: probe, inputs: { text: words.txt }, with: { n: 3 } }
EOF
expect 0 fm run m.yaml
has stdout.txt '4 executed'
[ "$(find srv/m/ac -type f | wc -l)" = 1 ] || die "not one record of four stages on the server"
! grep -rq 'not for everyone' srv || die "private bytes are on the server"
echo ok
