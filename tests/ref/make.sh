#!/bin/sh
# Compares with what shares no code with the project: the model with Apple's tamm, with mlx-lm and with
# PyTorch, files of torch.save with PyTorch, token ids with SentencePiece's Python package, and packages
# with independent readers, ours in plain Python and Core ML's own.
# Usage: make.sh      (from the repository root; `make ref` calls it)
# Makes three environments once, with the network: build/parity-venv with requirements-parity.txt (PyTorch
# and its CUDA libraries: 3 GB to load, 6 GB of disk), build/tokenizer-venv with requirements-tokenizer.txt
# (2 MB) and build/ref-venv with requirements.txt (needs python3.9 to 3.12). What cannot be installed is said and skipped. The system's PyTorch is used as
# well where it is installed (Debian: python3-torch): another version of it. Then reads every package
# below out/, where there is one. Without python3: says so and exits 0. It compares and makes no
# reference number again: README.md says what does.
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

# environment FOLDER REQUIREMENTS TEST: made where it is not; false when it cannot be.
environment() {
    "$1/bin/python" -c "$3" 2>/dev/null && return
    rm -rf "$1"
    mkdir -p build
    "$python" -m venv "$1" && "$1/bin/pip" install --quiet -r "$2" && return
    rm -rf "$1"
    return 1
}

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
    echo "ref: parity.json and ptfile.h not compared with the system's PyTorch: skipped: it is not here (Debian: python3-torch)"
fi

parity=build/parity-venv
if environment $parity tests/ref/requirements-parity.txt 'import mlx_lm, tamm, torch'; then
    $parity/bin/python tests/ref/parity.py
    $parity/bin/python tests/ref/ptfile_check.py
    $parity/bin/python tests/ref/check_tamm.py 2>build/ref.log || { cat build/ref.log; exit 1; }
    # The toolkit's own version of the library, in front of the newest one.
    old=build/tamm-0.1.0
    [ -d $old/tamm ] || $parity/bin/pip install --quiet --no-deps --target $old tamm==0.1.0 || rm -rf $old
    if [ -d $old/tamm ]; then
        PYTHONPATH=$old $parity/bin/python tests/ref/check_tamm.py --small 2>build/ref.log || { cat build/ref.log; exit 1; }
    else
        echo "ref: tamm 0.1.0: skipped: it could not be installed"
    fi
    $parity/bin/python tests/ref/check_mlx.py 2>build/ref.log || { cat build/ref.log; exit 1; }
else
    echo "ref: tamm, mlx-lm and the newest PyTorch: skipped: they could not be installed"
fi

tokenizer=build/tokenizer-venv
if environment $tokenizer tests/ref/requirements-tokenizer.txt 'import sentencepiece'; then
    $tokenizer/bin/python tests/ref/tokenizer.py
else
    echo "ref: sentencepiece: skipped: it could not be installed"
fi

venv=build/ref-venv
environment $venv tests/ref/requirements.txt 'from coremltools.libmilstoragepython import _BlobStorageReader' ||
    echo "ref: coremltools: skipped: it could not be installed; reading with plain Python alone"

n=0
for package in $(find out -type d -name '*.fmadapter' 2>/dev/null | sort); do
    n=$((n + 1))
    echo "$package"
    python3 tests/ref/read_fmadapter.py "$package"
    [ ! -d "$venv" ] || "$venv/bin/python" tests/ref/check_coremltools.py "$package" 2>build/ref.log ||
        { cat build/ref.log; exit 1; }
done
[ "$n" -gt 0 ] || echo "ref: packages: skipped: there is none below out/ (make pipeline makes one)"
