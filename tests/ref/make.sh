#!/bin/sh
# Compares with what shares no code with the project: the numbers of parity.json and files of
# torch.save with PyTorch, and packages with independent readers, ours in plain Python and Core ML's own.
# Usage: make.sh      (from the repository root; `make ref` calls it)
# PyTorch is taken where it is installed (Debian: python3-torch). Makes build/ref-venv with the pinned
# packages of requirements.txt (needs python3.9 to 3.12 and the network once), then reads every package
# below out/. Without python3: says so and exits 0.
set -eu

if ! command -v python3 >/dev/null 2>&1; then
    echo "ref: skipped: no python3"
    exit 0
fi
python=python3
for candidate in python3.11 python3.12 python3.10 python3.9; do
    if command -v "$candidate" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done

torch=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import torch' 2>/dev/null; then
        torch=$candidate
        break
    fi
done
if [ -n "$torch" ]; then
    "$torch" tests/ref/parity.py
    "$torch" tests/ref/ptfile_check.py
else
    echo "ref: parity.json and ptfile.h not compared: no PyTorch (Debian: python3-torch)"
fi

venv=build/ref-venv
if ! "$venv/bin/python" -c 'from coremltools.libmilstoragepython import _BlobStorageReader' \
    2>/dev/null; then
    rm -rf "$venv"
    mkdir -p build
    if ! { "$python" -m venv "$venv" &&
        "$venv/bin/pip" install --quiet -r tests/ref/requirements.txt; }; then
        echo "ref: coremltools could not be installed; reading with plain Python alone"
        rm -rf "$venv"
    fi
fi

n=0
for package in $(find out -type d -name '*.fmadapter' 2>/dev/null | sort); do
    n=$((n + 1))
    echo "$package"
    python3 tests/ref/read_fmadapter.py "$package"
    [ ! -d "$venv" ] || "$venv/bin/python" tests/ref/check_coremltools.py "$package" 2>build/ref.log ||
        { cat build/ref.log; exit 1; }
done
[ "$n" -gt 0 ] || { echo "ref: no package below out/; run make pipeline first"; exit 1; }
