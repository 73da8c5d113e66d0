#!/bin/bash
# How fast the store is with large artifacts: weights of 133 MB, as a rank-32 adapter of the full model
# has them. From the project's root: make bench-pipeline
# Figures are medians, MB are 10^6 raw bytes a second. "per core" is on one CPU, by processor time, so
# that it stands also beside other work; SHA-256 alone, by openssl speed, is what bounds it.
set -eu
export LC_ALL=C
root=$PWD
bin=$root/build/bin
probe=$(dirname "$(readlink -f "$bin")")/probe
timer=$probe/command_time
time=$probe/store_time
n=5
work=$root/build/bench-store
chmod -R u+w "$work" 2>/dev/null || true
rm -rf "$work"
mkdir -p "$work"
# What is written goes to memory: a disk would be measured instead.
memory=$(mktemp -d /dev/shm/fmforge-XXXXXX 2>/dev/null || mktemp -d)
trap 'chmod -R u+w "$memory" "$work"; rm -rf "$memory" "$work"' EXIT
cd "$work"
say() { printf '%-52s %s\n' "$1:" "$2"; }
one() { taskset -c "$(taskset -cp $$ | sed 's/.*[ ,-]//')" "$@"; }

for kind in bf16 fp16 fp32 noise; do "$time" make $kind 133M $kind; done
if command -v openssl >/dev/null; then
    say 'SHA-256, openssl speed' "$(openssl speed -evp sha256 -bytes 262144 -seconds 2 2>/dev/null |
        awk '/^sha256/ { printf "%d MB/s", $2 / 1000 }')"
fi
read -r _ core < <(one "$time" hash $n bf16)
say 'SHA-256, a file of 139 MB, per core' "$core MB/s"
for kind in bf16 fp16 fp32 noise; do
    read -r wall _ ratio form < <("$time" put $n $kind "$memory/home")
    say "store, $kind, $(nproc) CPUs" "$wall MB/s, ratio $ratio ($form)"
    read -r _ core < <(one "$time" get $n $kind "$memory/home")
    say "restore, $kind, per core" "$core MB/s"
    if [ $kind = bf16 ]; then
        read -r wall _ < <("$time" get $n $kind "$memory/home")
        say "restore, $kind, $(nproc) CPUs" "$wall MB/s"
        read -r wall _ < <("$time" check $n $kind "$memory/home")
        say "verify, $kind, $(nproc) CPUs" "$wall MB/s"
    fi
    chmod -R u+w "$memory"
done
read -r wall _ ratio form < <("$time" put $n bf16 "$work/home")
say "store, bf16, $(nproc) CPUs, on this disk" "$wall MB/s"
say 'the disk: 133 MB written and synced' "$(dd if=bf16 of=copy bs=1M count=133 conv=fsync 2>&1 |
    awk 'END { print $(NF - 1), $NF }')"
rm copy

# An adapter of this size, delivered by a run and audited.
mkdir programs
cp "$bin/fmforge" "$bin/fmforge-engine" "$bin/fmforge-ledger" "$probe/stage-probe" programs
cat >m.yaml <<'X'
fmforge: 1
name: large
stages: { one: { run: probe, inputs: { text: adapter } } }
deliver: { one.text: adapter.bin }
X
head -c 133000000 bf16 >adapter
programs/fmforge run m.yaml >/dev/null 2>&1
rm adapter # it is hashed too where it is: the sources of a real adapter are small
say 'audit of an adapter of 133 MB' "$("$timer" $n programs/fmforge audit out/large/adapter.bin | cut -d' ' -f1) ms"

say 'weights of the shipped toolkit, ratio' "$(for f in "$root"/configs/toolkits/nano-1.0/*.safetensors; do
    read -r _ _ ratio form < <("$time" put 1 "$f" "$memory/home")
    printf '%s %s (%s)  ' "$(basename "$f" .safetensors)" "$ratio" "$form"
done)"
