#!/bin/bash
# Checks what the compiler cannot: who may include whom, which third-party header has which home,
# forbidden functions, names, lengths, and that shipped toolkits are what the committed list says.
# Usage: lint.sh [FOLDER]   (the repository root by default; tests/lint_test.sh gives others)
# Prints one line per finding, "path:line: rule: what"; exit 1 when there is one.
set -u
export LC_ALL=C
cd "${1:-$(dirname "$0")/..}" || exit 2

findings=$(mktemp) || exit 2
stripped=$(mktemp -d) || exit 2
trap 'rm -rf "$findings" "$stripped"' EXIT

say() { printf '%s\n' "$*" >>"$findings"; }

# Regular files below the given folders, without what git ignores.
files() { # FOLDERS -- NAME PATTERNS
    local dirs=() names=()
    while [ "$1" != -- ]; do [ -d "$1" ] && dirs+=("$1"); shift; done
    shift
    while [ $# -gt 0 ]; do names+=(${names:+-o} -name "$1"); shift; done
    [ ${#dirs[@]} -gt 0 ] || return 0
    find "${dirs[@]}" \( -path ./build -o -path ./out -o -path ./.fmforge -o -path ./.git \
        -o -path ./shared \) -prune -o -type f \( "${names[@]}" \) -print |
        sed 's|^\./||' | sort
}

sources=$(files pipeline stages tests -- '*.c' '*.h' '*.cc')
product=$(files pipeline stages -- '*.c' '*.h' '*.cc')

# Every source without comments and without the insides of strings, line numbers kept;
# #include lines keep their names.
strip_all() {
    local f
    for f in $sources; do mkdir -p "$stripped/$(dirname "$f")"; done
    # shellcheck disable=SC2086
    [ -z "$sources" ] || awk -v out="$stripped/" '
        FNR == 1 { if (file != "") close(file); file = out FILENAME; inside = 0 }
        /^[ \t]*#[ \t]*include/ && !inside { sub(/\/[\/*].*/, ""); print > file; next }
        {
            text = $0; result = ""; n = length(text); i = 1
            while (i <= n) {
                two = substr(text, i, 2); one = substr(text, i, 1)
                if (inside) {
                    if (two == "*/") { inside = 0; i += 2 } else i++
                } else if (two == "/*") { inside = 1; i += 2
                } else if (two == "//") { break
                } else if (one == "\"" || one == "\047") {
                    result = result one; i++
                    while (i <= n && substr(text, i, 1) != one) {
                        if (substr(text, i, 1) == "\\") i++
                        i++
                    }
                    result = result one; i++
                } else { result = result one; i++ }
            }
            print result > file
        }' $sources
}

# grep over stripped sources: RULE PATTERN FILES...
forbid() {
    local rule=$1 pattern=$2 f
    shift 2
    for f in "$@"; do
        grep -nE "$pattern" "$stripped/$f" 2>/dev/null |
            sed "s|^\([0-9]*\):[ \t]*|$f:\1: $rule: |" >>"$findings"
    done
}

without() { # PATTERN: the lines of stdin that do not match
    grep -vE "$1" || true
}

# --- who may include whom ------------------------------------------------------------------------
# Two homes differ from the first sketch on purpose: zstd lives in pipeline/base/zfile.c, since
# stages read compressed corpora too, and OpenBLAS is not used at all.
allowed_for() {
    case $1 in
    pipeline/base/*) echo 'pipeline/base/' ;;
    pipeline/manifest/*) echo 'pipeline/(base|manifest)/' ;;
    pipeline/store/*) echo 'pipeline/(base|store)/' ;;
    pipeline/provenance/*) echo 'pipeline/(base|store|provenance)/' ;;
    pipeline/report/*) echo 'pipeline/(base|report)/' ;;
    pipeline/engine/*) echo 'pipeline/(base|manifest|store|provenance|report|engine)/' ;;
    pipeline/*) echo 'pipeline/' ;;
    stages/kit/*) echo '(pipeline/base|stages/kit)/' ;;
    stages/text/*) echo '(pipeline/base|stages/kit|stages/text)/' ;;
    stages/model/*) echo '(pipeline/base|stages/kit|stages/model)/' ;;
    stages/*/*) echo "(pipeline/base|stages/kit|stages/text|stages/model|${1%/*})/" ;;
    tests/*) echo '(pipeline|stages|tests)/' ;;
    *) echo '.' ;;
    esac
}

check_layers() {
    local f allowed number name
    for f in $sources; do
        allowed=$(allowed_for "$f")
        while IFS=: read -r number name; do
            if [ ! -f "$name" ]; then
                say "$f:$number: include: \"$name\" is not a path from the repository root"
            elif ! [[ $name =~ ^$allowed ]]; then
                say "$f:$number: layer: may not include \"$name\" (only ${allowed})"
            fi
        done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$stripped/$f" |
            sed -E 's|^([0-9]+):[^"]*"([^"]*)".*|\1:\2|')
    done
}

# --- one home for each third-party header --------------------------------------------------------
check_third_party() {
    local pattern home users
    while read -r pattern home; do
        # shellcheck disable=SC2086
        users=$([ -z "$product" ] || grep -lE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$pattern" $product)
        for f in $users; do
            [[ $f =~ ^$home$ ]] || say "$f:1: third-party: <$pattern> belongs to $home alone"
        done
        [ "$(printf '%s' "$users" | grep -c .)" -le 1 ] ||
            say "$(printf '%s' "$users" | tr '\n' ' '): third-party: <$pattern> has more than one user"
    done <<'EOF'
yaml\.h pipeline/manifest/[a-z_]*\.c
zstd pipeline/base/zfile\.c
git2 pipeline/provenance/ledger[a-z_]*\.c
(cjson/)?cJSON\.h pipeline/base/json[a-z_]*\.c
sentencepiece stages/text/spm_shim\.cc
openssl/ pipeline/base/sha256\.c
curl/ pipeline/store/[a-z_]*\.c
(open)?cblas no_file
EOF
}

# --- names, lengths, guards ----------------------------------------------------------------------
check_names() {
    files pipeline stages tests -- '*.c' '*.h' '*.cc' '*.sh' '*.py' |
        awk -F/ '$NF != "main.c" {
            if ($NF in seen) printf "%s:1: name: also %s; file names are unique\n", $0, seen[$NF]
            else seen[$NF] = $0
        }' >>"$findings"
}

check_lengths() {
    local f
    for f in $sources $(files tests -- '*.sh' '*.py') $([ -f Makefile ] && echo Makefile); do
        awk -v f="$f" 'END { if (NR > 800) printf "%s:%d: length: more than 800 lines\n", f, NR }' \
            "$f" >>"$findings"
    done
    for f in $(files . -- '*.md'); do
        LC_ALL=C.UTF-8 grep -nE '^.{131,}' "$f" |
            sed "s|^\([0-9]*\):.*|$f:\1: length: a line of more than 130 columns|" >>"$findings"
    done
}

# A *_body.h is included several times by design and has no guard, nor have its parts, which say
# "Part of x_body.h" at their top.
check_guards() {
    local f
    for f in $sources; do
        case $f in *_body.h | *.c | *.cc) continue ;; esac
        head -n 3 "$f" | grep -q 'Part of [a-z_]*_body\.h' && continue
        awk -v f="$f" '
            /^[ \t]*#/ { n++; line[n] = $0; if (n == 2) exit }
            END {
                split(line[1], a, /[ \t]+/); split(line[2], b, /[ \t]+/)
                if (a[1] != "#ifndef" || b[1] != "#define" || a[2] != b[2] || a[2] !~ /^FMFORGE_/)
                    printf "%s:1: guard: expected #ifndef FMFORGE_..., #define of the same\n", f
            }' "$stripped/$f" >>"$findings"
    done
}

# --- functions -----------------------------------------------------------------------------------
check_functions() {
    local word='(^|[^A-Za-z0-9_])' product_c printing
    # shellcheck disable=SC2086
    {
        forbid function "$word(atoi|atol|atoll|atof|strtok|strtok_r|sprintf|vsprintf|strcpy|strcat|gets|alloca|rand|srand|random|setlocale)[[:space:]]*\(" $sources
        forbid environment "$word(getenv|secure_getenv|setenv|putenv)[[:space:]]*\(" $product
        product_c=$(printf '%s\n' $product | without '^pipeline/base/')
        forbid memory "$word(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf)[[:space:]]*\(" $product_c
        forbid number "$word(strto(l|ul|ll|ull|d|f|ld|imax|umax)|sscanf|fscanf|scanf)[[:space:]]*\(" \
            $(printf '%s\n' $product | without '^pipeline/base/(str|json_write)\.c$')
        printing=$(printf '%s\n' $product |
            without '/main\.c$|^pipeline/base/(check|xalloc)\.c$|^stages/kit/stage\.c$|^pipeline/cmd/|^pipeline/(provenance/ledger|store/remote)_main\.c$')
        forbid printing "$word(printf|vprintf|dprintf|vdprintf|puts|putchar|perror|exit|abort)[[:space:]]*\(|fprintf[[:space:]]*\([[:space:]]*std(out|err)|fputs[[:space:]]*\([^;]*std(out|err)" $printing
        # A stage knows no clock but the one of its events, no host, no user.
        forbid clock "$word(time|localtime|localtime_r|gmtime|strftime|gethostname|uname|getuid|getpwuid)[[:space:]]*\(" \
            $(printf '%s\n' $product | grep '^stages/' | without '^stages/kit/')
        forbid macro '__(DATE|TIME|FILE|LINE|TIMESTAMP)__' $product
    }
}

# --- texts ---------------------------------------------------------------------------------------
check_paths() {
    local f
    for f in $sources $(files . -- '*.md' '*.sh' '*.py' '*.yaml' Makefile run); do
        grep -nE "(^|[[:space:]\"'=(\`])/(work|root|home|Users|mnt)/" "$f" |
            sed "s|^\([0-9]*\):[ \t]*|$f:\1: absolute path: |" >>"$findings"
    done
}

# --- toolkits never change content ---------------------------------------------------------------
# What lies in a toolkit's assets/ is its user's: such files are neither shipped nor listed.
check_toolkits() {
    local list=configs/toolkits/SHA256SUMS have listed
    have=$([ -d configs/toolkits ] && cd configs/toolkits && find . -mindepth 2 -type f ! -path './*/assets/*' | sed 's|^\./||' | sort)
    if [ ! -f "$list" ]; then
        [ -z "$have" ] || say "configs/toolkits:1: toolkit: no list SHA256SUMS of the shipped toolkits"
        return
    fi
    listed=$(sed 's/^[0-9a-f]*[ *]*//' "$list" | sort)
    comm -3 <(printf '%s\n' "$have") <(printf '%s\n' "$listed") | sed 's/^\t//' | grep . |
        sed "s|\(.*\)|configs/toolkits/\1:1: toolkit: not both on disk and in $list|" >>"$findings"
    (cd configs/toolkits && sha256sum --quiet -c SHA256SUMS 2>/dev/null) |
        sed 's|^\(.*\): FAILED.*|configs/toolkits/\1:1: toolkit: content differs from the list; make a new version|' \
            >>"$findings"
}

strip_all
check_layers
check_third_party
check_names
check_lengths
check_guards
check_functions
check_paths
check_toolkits

sort -u "$findings"
n=$(sort -u "$findings" | grep -c .)
[ "$n" -eq 0 ] || { printf 'lint: %d findings\n' "$n"; exit 1; }
echo "lint: $(printf '%s\n' "$sources" | grep -c .) sources, no findings"
