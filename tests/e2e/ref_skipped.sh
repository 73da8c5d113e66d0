# make ref in a fresh clone without a network: each part says that it is skipped, and nothing fails.
. "$2/tests/e2e/e2e_lib.sh"
sed 's| /usr/bin/python3;|;|' "$ROOT/tests/ref/make.sh" >make.sh # which may have PyTorch
mkdir programs
for name in python3 python3.9 python3.10 python3.11 python3.12; do
    printf '#!/bin/sh\nexit 1\n' >programs/$name
    chmod +x programs/$name
done
PATH=$PWD/programs:$PATH
expect 0 sh make.sh
has stdout.txt 'PyTorch: skipped: it is not here'
has stdout.txt 'ref: tamm, mlx-lm and the newest PyTorch: skipped: they could not be installed'
has stdout.txt 'ref: coremltools: skipped: it could not be installed'
has stdout.txt 'ref: packages: skipped: there is none below out/ (make pipeline makes one)'

# A package that cannot be read is a failure.
mkdir -p out/task/nano/task.fmadapter
expect 1 sh make.sh
has stdout.txt 'out/task/nano/task.fmadapter'
! grep -q 'packages: skipped' stdout.txt || die "a package is skipped"
echo ok
