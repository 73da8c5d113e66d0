# Helpers of the end-to-end cases; sourced with BIN and ROOT as arguments of the case.
# shellcheck shell=bash disable=SC2034
set -u
BIN=$1
ROOT=$2
export LC_ALL=C

die() {
    printf 'case: %s\n' "$*" >&2
    exit 1
}

skip() {
    printf '%s\n' "$*" >&2
    exit 77
}

need_stages() {
    local name
    for name in "$@"; do
        [ -x "$BIN/stage-$name" ] || skip "there is no stage-$name yet"
    done
}

fm() { "$BIN/fmforge" "$@"; }

# From here on BIN is a folder of this case with fmforge and the stage of probe_stage.c alone.
probe_programs() {
    local from=$BIN
    [ -x "$from/../probe/stage-probe" ] || die "there is no stage-probe beside $from"
    mkdir programs
    cp "$from/fmforge" "$from/fmforge-engine" "$from/fmforge-ledger" "$from/../probe/stage-probe" programs
    BIN=$PWD/programs
}

# expect STATUS COMMAND...: runs it; stdout in ./stdout.txt, stderr in ./stderr.txt.
expect() {
    local want=$1 rc
    shift
    "$@" >stdout.txt 2>stderr.txt
    rc=$?
    [ "$rc" -eq "$want" ] && return 0
    { echo "$*: exit $rc, expected $want"
      head -c 4000 stdout.txt
      head -c 4000 stderr.txt; } >&2
    exit 1
}

# has FILE TEXT: the text is somewhere in the file.
has() {
    grep -qF -- "$2" "$1" && return 0
    { printf 'case: "%s" is not in %s:\n' "$2" "$1"
      head -c 4000 "$1"; } >&2
    exit 1
}

# One line per stage, "NAME STATUS", sorted: from plan --json.
statuses() {
    fm plan "$@" --json | tr -d '\n' | tr '{' '\n' |
        sed -n 's/.*"stage": *"\([^"]*\)".*"status": *"\([^"]*\)".*/\1 \2/p' | sort
}

# to_run MANIFEST...: the names of the stages that plan says would run, in one line, without axes.
to_run() { statuses "$@" | sed -n 's/ run$//p' | sed 's/\[.*//' | tr '\n' ' ' | sed 's/ $//'; }

# artifact STAGE/OUTPUT [HOME]: its content id in the ledger's last run of tiny_task.
artifact() {
    git -C "${2:-.fmforge}/ledger.git" show refs/prov/tiny_task:artifacts.sha256 |
        sed -n "s|^\([0-9a-f]*\)  ${1%/*}[^/]*/${1#*/}\$|\1|p"
}

# fetch ID FILE: an object of the store, by zstd alone.
fetch() {
    zstd -q -dc "$(find .fmforge/objects -name "$1.zst")" >"$2" ||
        die "object $1 is not in the store"
}

# expect_to_run "NAMES" MANIFEST...
expect_to_run() {
    local want=$1 found
    shift
    found=$(to_run "$@")
    [ "$found" = "$want" ] || die "plan would run \"$found\", expected \"$want\""
}

# The one id of a folder: hash of the hashes of its files.
folder_id() { (cd "$1" && find . -type f | sort | xargs sha256sum | sha256sum | cut -c1-64); }

# Fills ./data, and writes tools.yaml (makes a toolkit with a random base) and task.yaml.
tiny_files() {
    cp -r "$ROOT/tests/data/tiny" data
    chmod -R u+w data
    cat >tools.yaml <<'EOF'
fmforge: 1
name: tiny_tools
stages:
  vocab: { run: vocab, inputs: { text: data/text.txt }, with: { vocab: 400 } }
  base:
    run: pretrain
    inputs: { shape: data/shape.json }
    with: { mode: random, seed: 3 }
  folder:
    run: toolkit
    inputs: { base: base.base, tokenizer: vocab.tokenizer, template: data/template.json,
              shape: data/shape.json }
    with: { name: tiny, version: "0.1", lora_rank: 8 }
deliver: { folder: tiny-0.1 }
EOF
    cat >task.yaml <<'EOF'
# A comment.
fmforge: 1
name: tiny_task
toolkits: [tiny-0.1]
vars: { seed: 5 }
stages:
  data:
    run: prep
    inputs: { raw: data/rows.jsonl, tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { valid_fraction: 0.2, max_length: 128, pack_length: 128, seed: $seed }
  adapter:
    run: train
    inputs: { train: data.train, valid: data.valid, base: toolkit.base }
    with: { epochs: 2, rank: 8, batch_size: 4, prompt_dropout: 0.2, seed: $seed }
  quality:
    run: eval
    inputs: { golden: data/golden, adapter: adapter.checkpoint, base: toolkit.base,
              tokenizer: toolkit.tokenizer, template: toolkit.template }
    with: { max_new_tokens: 8 }
    gates: [ "rows >= 4" ]
  package:
    run: export
    needs: [quality]
    inputs: { adapter: adapter.checkpoint, base: toolkit.base, signature: toolkit.signature,
              export: toolkit.export }
    with: { name: $name }
deliver: { package: $name.fmadapter }
EOF
}

# is_instant MANIFEST...: a run with nothing to do, told without looking at the manifest? One that
# looks asks the stages what they are, and keeps the answers.
is_instant() {
    rm -rf .fmforge/describe
    expect 0 fm run "$@"
    has stdout.txt 'nothing to do'
    [ ! -e .fmforge/describe ]
}

# settle MANIFEST...: runs it until it is instant: nothing it stands on may be some milliseconds old.
settle() {
    for _ in 1 2 3 4 5 6 7 8; do
        sleep 0.05
        is_instant "$@" && return
    done
    die "run $* never becomes instant"
}

PACKAGE=out/tiny_task/tiny-0.1/tiny_task.fmadapter

# A toolkit in ./tiny-0.1, made in a folder of its own so that it leaves no trace here.
tiny_toolkit() {
    need_stages vocab pretrain toolkit prep train eval export
    tiny_files
    expect 0 fm run tools.yaml --home tools.home --out tools.out
    local made
    made=$(find tools.out -type d -name tiny-0.1 | head -n 1)
    [ -n "$made" ] || die "no toolkit was delivered"
    cp -r "$made" tiny-0.1
    chmod -R u+w tiny-0.1 tools.home tools.out
    rm -rf tools.home tools.out
}

flip_bit() { # FILE OFFSET
    chmod u+w "$1"
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "$(printf '\\x%02x' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
