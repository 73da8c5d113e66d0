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
is_built_with() { grep -q -e "__$1_init" "$BIN/fmforge"; } # asan, tsan

# From here on BIN is a folder of this case with fmforge and the stage of probe_stage.c alone.
probe_programs() {
    local from=$BIN
    [ -x "$from/../probe/stage-probe" ] || die "there is no stage-probe beside $from"
    mkdir programs
    cp "$from"/fmforge{,-engine,-ledger,-remote} "$from/../probe/stage-probe" programs
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

# interrupt_training HOME ARGUMENTS...: Ctrl-C for a run once its training has a checkpoint below HOME.
interrupt_training() {
    local home=$1 pid rc
    shift
    setsid "$BIN/fmforge" run "$@" >stdout.txt 2>stderr.txt &
    pid=$!
    for _ in $(seq 300); do
        [ -n "$(find "$home" -name train.ckpt 2>/dev/null)" ] && break
        sleep 0.1
    done
    kill -INT -- "-$pid"
    wait "$pid"
    rc=$?
    [ "$rc" -eq 130 ] || { cat stderr.txt >&2; die "exit $rc after an interrupt, expected 130"; }
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

# metric NAME FILE: a number of a metrics file.
metric() { tr ',{}' '\n\n\n' <"$2" | sed -n "s/^\"$1\":\(.*\)\$/\1/p"; }

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

# A server for shared caches, as pipeline/README.md sets it up: URL, its folder ./srv, its log
# ./access.log. More lines for its server block come from stdin, where "more" is given; PORT1 and
# PORT2 in them become the two ports behind the one of URL.
nginx_start() {
    local nginx more='' root tries
    nginx=$(command -v nginx || command -v /usr/sbin/nginx) || skip "there is no nginx (nginx-light)"
    [ "${1:-}" != more ] || more=$(cat)
    mkdir -p srv
    root=$PWD/srv
    for tries in 1 2 3 4 5 6 7 8; do
        PORT=$((20000 + RANDOM % 12000))
        {
            [ "$(id -u)" -ne 0 ] || echo 'user root;'
            echo "pid $PWD/nginx.pid; error_log $PWD/error.log; daemon off; events { }"
            echo "http { access_log $PWD/access.log;"
            for kind in proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $PWD/nginx.$kind;"; done
            sed -n '/^    server {/,/^    }/s/^    //p' "$ROOT/pipeline/README.md" |
                sed "s|listen 8080;|listen 127.0.0.1:$PORT;|; s|/srv/fmforge|$root|; \$d"
            printf '%s\n} }\n' "$more" | sed "s|PORT1|$((PORT + 1))|; s|PORT2|$((PORT + 2))|"
        } >nginx.conf
        "$nginx" -p "$PWD/" -c nginx.conf >nginx.txt 2>&1 &
        NGINX=$!
        trap servers_stop EXIT
        for _ in $(seq 50); do
            kill -0 "$NGINX" 2>/dev/null || break
            (: <>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && [ -s nginx.pid ] &&
                URL=http://127.0.0.1:$PORT && return
            sleep 0.05
        done
        nginx_stop
    done
    cat nginx.txt >&2
    die "nginx does not start"
}

nginx_stop() {
    [ -z "${NGINX:-}" ] || { kill "$NGINX" && wait "$NGINX"; } 2>/dev/null
    NGINX=
}

odd_stop() {
    [ -z "${SERVER:-}" ] || { kill "$SERVER" && wait "$SERVER"; } 2>/dev/null
    SERVER=
}

servers_stop() {
    nginx_stop
    odd_stop
}

# A server of one answer: MODE is silent (accepts and says nothing), drip (200, then a byte now and
# then), stuck (404 to each GET, nothing to anything else), lazy (404, after 0.7 s), endless (200 and
# bytes for ever) or close. It sets URL; odd_stop ends it.
odd_server() {
    command -v perl >/dev/null || skip "there is no perl"
    odd_stop
    rm -f port.txt
    perl -MIO::Socket::INET -e '
        $SIG{CHLD} = "IGNORE"; $| = 1;
        my $get; my $s = IO::Socket::INET->new(Listen => 50, LocalAddr => "127.0.0.1") or die;
        print $s->sockport, "\n";
        while (my $c = $s->accept) {
            next if $ARGV[0] eq "close" or fork;
            if ($ARGV[0] eq "drip") {
                print $c "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
                for (1 .. 500) { print $c "x"; $c->flush; select undef, undef, undef, 0.1; }
            }
            print $c "HTTP/1.1 200 OK\r\n\r\n" if $ARGV[0] eq "endless";
            print $c "x" x 65536 while $ARGV[0] eq "endless";
            while ($ARGV[0] =~ /stuck|lazy/ and my $line = <$c>) {
                $get = 1 if $line =~ /^GET/;
                select undef, undef, undef, 0.7 if $ARGV[0] eq "lazy" and $line eq "\r\n";
                print $c "HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n" if $get and $line eq "\r\n";
            }
            1 while <$c>;
            exit;
        }' "$1" >port.txt &
    SERVER=$!
    trap servers_stop EXIT
    for _ in $(seq 100); do
        [ -s port.txt ] && break
        sleep 0.05
    done
    URL=http://127.0.0.1:$(cat port.txt)
}
