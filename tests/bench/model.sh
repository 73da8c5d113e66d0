#!/bin/bash
# Speed and memory of whole models beside PyTorch: nano's shape, hidden 512 with 8 + 5 layers, and
# AFMTextV7's full size (a base of random codes). From the project's root, after make:
#   bash tests/bench/model.sh [nano] [h512] [full]     (make bench-model)
# Ours and PyTorch's take turns; read ratios. PyTorch is the system's (Debian: python3-torch) and the one
# of build/parity-venv, which make ref makes; both are tuned: the widest kernels of this CPU forced in
# OpenBLAS and ATen, memory kept by malloc, one thread a core; the newer one, which has MKL and oneDNN
# inside, also runs compiled (torch.compile). Without any its lines say skipped. The full size needs
# 2 GiB of disk and 4 GiB of memory; PyTorch does not run there.
set -eu
[ $# -gt 0 ] || set -- nano h512 full
threads=$(nproc)
make -s build/bin/stage-pretrain 2>/dev/null || true
bench=$(dirname "$(dirname "$(readlink -f build/bin/fmforge)")")/bench/model_bench
make -s "${bench#"$PWD"/}"
work=build/bench-model
mkdir -p $work

# base NAME SHAPE: a random base in $work/NAME.safetensors.
base() {
    [ -f "$work/$1.safetensors" ] && return
    printf '%s\n' "$2" >"$work/$1.json"
    cat >"$work/$1.yaml" <<END
fmforge: 1
name: bench_$1
stages:
  base: { run: pretrain, inputs: { shape: $work/$1.json }, with: { mode: random, seed: 1 } }
deliver: { base.base: $1.safetensors }
END
    build/bin/fmforge run "$work/$1.yaml" --home "$work/home" --out "$work/out" --reports "$work/reports" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    mv "$(find $work/out -name "$1.safetensors" | head -n 1)" "$work/"
    rm -rf "$work/home" "$work/out"
}

has_torch() { "$1" -c 'import numpy, torch' 2>/dev/null; }
python=
for candidate in python3 /usr/bin/python3; do
    if [ -z "$python" ] && has_torch "$candidate"; then python=$candidate; fi
done
newest=build/parity-venv/bin/python
has_torch $newest || newest=

# Forced beyond what the CPU has, both would die of an illegal instruction.
core=Haswell aten=avx2
if grep -qw avx512vl /proc/cpuinfo 2>/dev/null; then core=SkylakeX aten=avx512; fi

# OpenBLAS with OpenMP where it is here: its own threads would fight those of PyTorch.
tuned() {
    LD_LIBRARY_PATH=/usr/lib/$(gcc -print-multiarch)/openblas-openmp \
        OPENBLAS_CORETYPE=$core ATEN_CPU_CAPABILITY=$aten OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads \
        MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 "$@"
}

torch() {
    if [ -z "$python$newest" ]; then
        echo "PyTorch: skipped: not here (Debian: python3-torch python3-numpy libopenblas0-openmp; or make ref)"
        return
    fi
    [ -z "$python" ] || tuned "$python" tests/bench/torch_step.py "$@"
    [ -n "$newest" ] || return 0
    tuned $newest tests/bench/torch_step.py "$@"
    tuned $newest tests/bench/torch_step.py --compile "$@"
}

small() { # FILE
    for _ in 1 2 3; do
        "$bench" "$1" 1024 "$threads" step-kept 256
        torch "$1" 4 256 5
    done
    for _ in 1 2 3; do
        "$bench" "$1" 1024 "$threads" step-full 256
        torch --full "$1" 4 256 5
    done
    "$bench" "$1" 256 "$threads" decode
    "$bench" "$1" 256 "$threads" decode-adapter
}

for what in "$@"; do
    case $what in
    nano)
        echo "== nano: hidden 256, 5 + 3 layers, 4 x 256 tokens"
        small configs/toolkits/nano-1.0/base.safetensors
        ;;
    h512)
        echo "== hidden 512, 8 + 5 layers, 4 x 256 tokens"
        base h512 '{"vocab":8192,"hidden":512,"layers_0":8,"layers_1":5,"heads":8,"kv_heads":2,"head_dim":64,"ffn":1664,"context":512,"rope_theta":500000,"norm_eps":0.00001,"kv_quant":true}'
        small $work/h512.safetensors
        ;;
    full)
        echo "== AFMTextV7, 512 tokens"
        base full "$(cat configs/toolkits/afm-26.0.0/shape.json)"
        for way in step step-kept decode decode-adapter prefill; do
            tokens=512
            case $way in decode*) tokens=32 ;; esac
            "$bench" $work/full.safetensors $tokens "$threads" $way
        done
        ;;
    *)
        echo "usage: $0 [nano] [h512] [full]" >&2
        exit 2
        ;;
    esac
done
