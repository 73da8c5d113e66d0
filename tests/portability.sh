#!/bin/bash
# The same adapter, byte for byte, from every kernel set, from gcc and clang, from 1 and 2 threads,
# and from 64-bit ARM under qemu: a tiny training in both precisions. From the project's root, after
# make: bash tests/portability.sh     (make portability)
# What is not here is skipped, with what to install. Exit 1 when a checkpoint has other bytes.
set -eu
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
set -- "$root/build/bin" "$root"
# shellcheck source=tests/e2e/e2e_lib.sh
. tests/e2e/e2e_lib.sh

programs=() # NAME=COMMAND
programs+=("gcc=$root/build/bin/stage-train")
folder() { make "$@" -pn 2>/dev/null | sed -n 's/^B := //p' | head -n 1; }
if command -v clang >/dev/null; then
    b=$(folder CC=clang)
    make -s CC=clang "$b/bin/stage-train" >"$work/make.log" 2>&1 || die "clang: $(tail -n 5 "$work/make.log")"
    programs+=("clang=$root/$b/bin/stage-train")
else
    echo "clang: skipped: not here (Debian: clang)"
fi
arm=/usr/lib/aarch64-linux-gnu
if command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null &&
    [ -e $arm/libcjson.so ] && [ -e $arm/libcrypto.a ] && [ -e $arm/libzstd.a ]; then
    cross=(CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++)
    b=$(folder "${cross[@]}")
    # Training calls neither LAPACK nor SentencePiece, whose package is for one architecture at a time.
    make -s "${cross[@]}" "LIBS_STAGE=-no-pie -Wl,--gc-sections -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy -lstdc++ \$(LIBS_BASE)" \
        "$b/bin/stage-train" >"$work/make.log" 2>&1 || die "aarch64: $(tail -n 5 "$work/make.log")"
    programs+=("aarch64=qemu-aarch64 -L / $root/$b/bin/stage-train")
else
    echo "aarch64: skipped: not all here (Debian: dpkg --add-architecture arm64, then g++-aarch64-linux-gnu qemu-user" \
        "libcjson-dev:arm64 libssl-dev:arm64 libstdc++6:arm64 libzstd-dev:arm64)"
fi

cd "$work"
tiny_toolkit
expect 0 fm run task.yaml
fetch "$(artifact data/train)" train
fetch "$(artifact data/valid)" valid
git -C .fmforge/ledger.git show 'refs/prov/tiny_task:stages/adapter[toolkit=tiny-0.1]/recipe.json' |
    sed -E 's/.*"config":(\{[^}]*\}).*/\1/' >config.json
for precision in f32 int16; do
    sed -E "s/\"precision\":\"[^\"]*\"/\"precision\":\"$precision\"/" config.json >$precision.json
done
cmp -s f32.json int16.json && die "the recipe's config has no precision"

failed=0 compared=0
for precision in f32 int16; do
    first=
    for program in "${programs[@]}"; do
        for kernels in portable avx2 avx512 amx neon; do
            for threads in 1 2; do
                rm -rf out && mkdir out
                # shellcheck disable=SC2086
                ${program#*=} --config $precision.json --in train=train --in valid=valid \
                    --in base=tiny-0.1/base.safetensors --out checkpoint=out/checkpoint --out metrics=out/metrics \
                    --out report=out/report --threads $threads --kernels $kernels >log 2>&1 || {
                    grep -q 'not available on this CPU' log && continue
                    die "${program%%=*} $kernels: $(tail -n 3 log)"
                }
                id=$(cat out/checkpoint out/metrics | sha256sum | cut -c1-16)
                [ -n "$first" ] || first=$id
                compared=$((compared + 1))
                [ "$id" = "$first" ] || failed=$((failed + 1))
                printf '%-6s %-8s %-9s %d thread(s)  %s%s\n' $precision "${program%%=*}" $kernels $threads "$id" \
                    "$([ "$id" = "$first" ] || echo '  OTHER BYTES')"
            done
        done
    done
done
echo "portability: $compared trainings, $failed with other bytes"
[ $failed -eq 0 ]
