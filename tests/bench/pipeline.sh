#!/bin/bash
# What the engine itself costs, beside make, ninja, samurai and snakemake: manifests of 10 and of 1,000
# stages that copy a file each. From the project's root: make bench-pipeline
# No-op figures are medians from fork to exit and the most memory resident; a cold run is one run, with
# two stages at a time. The probe stage makes a file and a folder of two, hashed, synced and recorded; the
# others copy one file with cp and look at times alone. What is not installed is said.
set -eu
export LC_ALL=C
root=$PWD
bin=$root/build/bin
probe=$(dirname "$(readlink -f $bin)")/probe
timer=$probe/command_time
work=$root/build/bench-pipeline
chmod -R u+w $work 2>/dev/null || true
rm -rf $work
mkdir -p $work/programs $work/in $work/nano
cp $bin/fmforge $bin/fmforge-ledger $probe/stage-probe $work/programs
cd $work
for i in $(seq 1000); do echo "row $i" >in/$i.txt; done
toolkit() { # SIGNATURE
    printf 'fmforge_toolkit: 1\nname: nano\nversion: "0.1"\nsignature: %s\nfacets: { }\n' "$1" >nano/toolkit.yaml
}
toolkit 0123456789012345678901234567890123456789

manifest() { # N
    printf 'fmforge: 1\nname: n%d\ntoolkits: [nano]\nstages:\n' "$1"
    for i in $(seq "$1"); do
        echo "  s$i: { run: probe, inputs: { text: in/$i.txt, more: toolkit.signature } }"
    done
}
make_rules() { # N
    printf 'all:'; printf ' made/%d.txt' $(seq "$1"); printf '\n'
    for i in $(seq "$1"); do printf 'made/%d.txt: in/%d.txt\n\t@cp in/%d.txt made/%d.txt\n' $i $i $i $i; done
}
ninja_rules() { # N
    printf 'rule copy\n  command = cp $in $out\n'
    for i in $(seq "$1"); do echo "build ninja/$i.txt: copy in/$i.txt"; done
}
snake_rules() { # N
    printf 'rule all:\n    input: expand("snake/{i}.txt", i=range(1, %d))\n' $(($1 + 1))
    printf 'rule copy:\n    input: "in/{i}.txt"\n    output: "snake/{i}.txt"\n    shell: "cp {input} {output}"\n'
}
for n in 10 1000; do
    mkdir -p $n/made
    ln -s ../in ../nano $n/
    manifest $n >$n/m.yaml
    make_rules $n >$n/Makefile
    ninja_rules $n >$n/build.ninja
    snake_rules $n >$n/Snakefile
done

seconds() { awk "BEGIN { printf \"%.2f s\", $1 / 1000 }"; }
say() { printf '%-44s %s\n' "$1:" "$2"; }

# compare NAME COMMAND...: cold and no-op, in the folders 10 and 1000.
compare() {
    local name=$1 program=$2 n cold time
    if ! command -v "$program" >/dev/null; then
        say "$name" 'skipped: not installed'
        return
    fi
    shift
    for n in 10 1000; do
        cd $work/$n
        cold=$($timer 1 "$@")
        [ $n = 10 ] || say "cold, $n stages, $name" "$(seconds "${cold% *}")"
        "$@" >/dev/null 2>&1
        sleep 0.1
        "$@" >/dev/null 2>&1
        time=$($timer "$runs" "$@")
        say "no-op, $n stages, $name" "${time% *} ms, ${time#* } KiB"
    done
    cd $work
}
runs=41
say 'start and exit of a program (true)' "$($timer $runs /bin/true | cut -d' ' -f1) ms"
compare fmforge $work/programs/fmforge run m.yaml -j 2
compare make make -rR -j 2
compare ninja ninja -j 2
compare samurai samu -j 2
runs=3
compare snakemake snakemake -j 2 --quiet

cd $work/1000
say 'plan, 1000 stages, nothing changed' "$($timer 11 $work/programs/fmforge plan m.yaml | cut -d' ' -f1) ms"
(cd $work && toolkit 9999999999999999999999999999999999999999)
say 'plan, 1000 stages, another signature' "$($timer 11 $work/programs/fmforge plan m.yaml | cut -d' ' -f1) ms"
