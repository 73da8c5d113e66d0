#!/bin/sh
# Trains with the train stage and with PyTorch side by side, on one thread, and compares curves and
# scores: train_compare.py, README.md.
# Usage: train_compare.sh [arguments of train_compare.py]      (from the repository root, after make)
# Without the data or PyTorch: says so and exits 0. What was computed stays in build/ref-train.
set -eu

if [ ! -f ../shared/data/clinc/domains/train.jsonl ]; then
    echo "train_compare: skipped: no ../shared/data/clinc/domains"
    exit 0
fi
torch=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import numpy, torch' 2>/dev/null; then
        torch=$candidate
        break
    fi
done
if [ -z "$torch" ]; then
    echo "train_compare: skipped: no PyTorch (Debian: python3-torch python3-numpy)"
    exit 0
fi
if [ ! -x build/bin/stage-train ]; then
    echo "train_compare: no build/bin/stage-train; run make first" >&2
    exit 1
fi
# PyTorch's products go through the system's BLAS.
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 exec nice -n 10 "$torch" tests/ref/train_compare.py "$@"
