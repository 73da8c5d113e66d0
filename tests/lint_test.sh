#!/bin/bash
# Tests of lint.sh: each makes a small tree with one fault and wants exactly that finding.
# Prints "N passed, N failed"; exit 1 when one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
passed=0 failed=0

fresh() {
    rm -rf "$tree"
    mkdir -p "$tree"/pipeline/{base,store,manifest,engine,provenance} \
        "$tree"/stages/{kit,text,model,prep,train} "$tree/tests" "$tree/configs/toolkits/nano-1.0"
    printf '#ifndef FMFORGE_BASE_A_H\n#define FMFORGE_BASE_A_H\nint a(void);\n#endif\n' \
        >"$tree/pipeline/base/a.h"
    printf '#include "pipeline/base/a.h"\n\nint a(void)\n{\n    return 1;\n}\n' \
        >"$tree/pipeline/base/a.c"
    echo base >"$tree/configs/toolkits/nano-1.0/base.bin"
    (cd "$tree/configs/toolkits" && sha256sum nano-1.0/base.bin >SHA256SUMS)
}

# NAME EXPECTED: runs lint on the tree; EXPECTED is a part of its output, "" wants no finding.
expect() {
    local output
    output=$(bash "$here/lint.sh" "$tree" 2>&1)
    local rc=$?
    if { [ -z "$2" ] && [ "$rc" -eq 0 ]; } ||
        { [ -n "$2" ] && [ "$rc" -eq 1 ] && [[ $output == *"$2"* ]]; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'lint_test: %s: wanted "%s", exit %d and:\n%s\n' "$1" "$2" "$rc" "$output"
    fi
}

fresh; expect "a clean tree" ""
fresh; echo '/* malloc(1) */ const char *a_text = "sprintf(";' >>"$tree/pipeline/base/a.c"
expect "comments and strings do not count" ""

fresh; echo '#include "pipeline/store/b.h"' >"$tree/pipeline/base/b.c"; : >"$tree/pipeline/store/b.h"
expect "base includes store" 'pipeline/base/b.c:1: layer:'
fresh; echo '#include "stages/prep/x.h"' >"$tree/stages/train/x.c"; : >"$tree/stages/prep/x.h"
expect "a stage includes another" 'stages/train/x.c:1: layer:'
fresh; echo '#include "stages/kit/x.h"' >"$tree/pipeline/engine/x.c"; : >"$tree/stages/kit/x.h"
expect "the engine includes a stage" 'pipeline/engine/x.c:1: layer:'
fresh; echo '#include "a.h"' >"$tree/pipeline/base/b.c"
expect "an include beside the file" 'is not a path from the repository root'

fresh; echo '#include <zstd.h>' >"$tree/pipeline/store/z.c"
expect "zstd in a second home" 'third-party: <zstd> belongs to'
fresh
for f in a b; do echo '#include <yaml.h>' >"$tree/pipeline/manifest/yaml_$f.c"; done
expect "two users of yaml.h" 'third-party: <yaml\.h> has more than one user'
fresh; echo '#include <cblas.h>' >"$tree/stages/model/m.c"
expect "OpenBLAS" 'third-party: <(open)?cblas>'

fresh; cp "$tree/pipeline/base/a.c" "$tree/stages/kit/a.c"
expect "a file name twice" 'name: also'
fresh; for i in $(seq 801); do echo "int v$i;"; done >"$tree/stages/kit/long.c"
expect "a long file" 'stages/kit/long.c:801: length:'
fresh; echo 'int b(void);' >"$tree/stages/kit/b.h"
expect "no header guard" 'stages/kit/b.h:1: guard:'
fresh; printf '%0131d\n' 0 >"$tree/README.md"
expect "a wide line of text" 'README.md:1: length:'

for call in 'atoi(s)' 'strtok (s, t)' 'sprintf(s, t)' 'strcpy(s, t)' 'strcat(s, t)' 'gets(s)'; do
    fresh; echo "int f(void) { return $call; }" >"$tree/pipeline/base/f.c"
    expect "$call" 'pipeline/base/f.c:1: function:'
done
fresh; echo 'void *f(void) { return malloc(1); }' >"$tree/stages/model/f.c"
expect "malloc outside base" 'stages/model/f.c:1: memory:'
fresh; echo 'void *f(void) { return malloc(1); }' >"$tree/pipeline/base/f.c"
expect "malloc in base" ''
fresh; echo 'char *f(void) { return getenv(x); }' >"$tree/pipeline/base/f.c"
expect "getenv" 'pipeline/base/f.c:1: environment:'
fresh; echo 'void f(void) { printf(x); }' >"$tree/pipeline/engine/f.c"
expect "printing" 'pipeline/engine/f.c:1: printing:'
fresh; echo 'void f(void) { exit(1); }' >"$tree/stages/prep/main.c"
expect "exit in main.c" ''
fresh; echo 'long f(void) { return strtol(s, 0, 10); }' >"$tree/stages/prep/f.c"
expect "a second parser of numbers" 'stages/prep/f.c:1: number:'

fresh; printf 'see %s/main\n' /work >"$tree/README.md"
expect "an absolute path" 'README.md:1: absolute path:'

fresh; echo other >"$tree/configs/toolkits/nano-1.0/base.bin"
expect "a toolkit that changed" 'toolkit: content differs'
fresh; echo more >"$tree/configs/toolkits/nano-1.0/more.bin"
expect "a toolkit file that is not listed" 'configs/toolkits/nano-1.0/more.bin:1: toolkit: not both'
fresh; mkdir "$tree/configs/toolkits/nano-1.0/assets"; echo own >"$tree/configs/toolkits/nano-1.0/assets/own.bin"
expect "the user's own files in a toolkit" ""

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
