#!/bin/bash
# What the engine itself costs, beside make, ninja, samurai and snakemake: one line a figure, with the
# target. From the project's root: make bench-pipeline
# Graphs of 10 and of 1,000 stages that copy a file each and depend on three (30 and 3,000 files). Times
# are medians from fork to exit, CPU is of the program and its children; the programs take turns, so
# that they see the same machine. A cold run starts from nothing, two stages at a time; there a stage of
# ours copies one file, as cp does for the others, and what it read and made is hashed, packed, recorded
# and brought to the disk, while the others look at times alone. Its folder is in memory, and once on the
# disk: ours makes and removes files by the thousand, and file systems differ by far in what that costs
# (an ext4 without a journal searches past every inode that was freed in the last minute). ROUNDS, COLD and YEAR say how often; COLD=0 and YEAR=0 leave those
# out. snakemake makes 10 stages, with SNAKE=1000 also 1,000.
set -eu
export LC_ALL=C
ROUNDS=${ROUNDS:-21} COLD=${COLD:-3} YEAR=${YEAR:-365} SNAKE=${SNAKE:-10}
root=$PWD
bin=$root/build/bin
probe=$(dirname "$(readlink -f $bin)")/probe
timer=$probe/command_time
work=$root/build/bench-pipeline
chmod -R u+w $work 2>/dev/null || true
rm -rf $work
mkdir -p $work/programs $work/in $work/nano
cp $bin/fmforge $bin/fmforge-engine $bin/fmforge-ledger $probe/stage-probe $probe/stage-copy $work/programs
cd $work
for i in $(seq 1000); do
    mkdir -p also/$i
    echo "row $i" >in/$i.txt
    echo "a $i" >also/$i/a
    echo "b $i" >also/$i/b
done
toolkit() { # SIGNATURE
    printf 'fmforge_toolkit: 1\nname: nano\nversion: "0.1"\nsignature: %s\nfacets: { }\n' "$1" >nano/toolkit.yaml
}
toolkit 0123456789012345678901234567890123456789

cold_manifest() { # N
    printf 'fmforge: 1\nname: cold%d\nstages:\n' "$1"
    for i in $(seq "$1"); do echo "  s$i: { run: copy, inputs: { text: in/$i.txt } }"; done
}
manifest() { # N
    printf 'fmforge: 1\nname: n%d\ntoolkits: [nano]\nstages:\n' "$1"
    for i in $(seq "$1"); do
        echo "  s$i: { run: probe, inputs: { text: in/$i.txt, more: toolkit.signature, also: also/$i } }"
    done
}
make_rules() { # N
    printf 'all:'; printf ' made/%d.txt' $(seq "$1"); printf '\n'
    for i in $(seq "$1"); do
        printf 'made/%d.txt: in/%d.txt also/%d/a also/%d/b\n\t@cp in/%d.txt made/%d.txt\n' $i $i $i $i $i $i
    done
}
ninja_rules() { # N
    printf 'rule copy\n  command = cp $in $out\n'
    for i in $(seq "$1"); do echo "build made/$i.txt: copy in/$i.txt | also/$i/a also/$i/b"; done
}
snake_rules() { # N
    printf 'rule all:\n    input: expand("made/{i}.txt", i=range(1, %d))\n' $(($1 + 1))
    printf 'rule copy:\n    input: "in/{i}.txt", "also/{i}/a", "also/{i}/b"\n'
    printf '    output: "made/{i}.txt"\n    shell: "cp {input[0]} {output}"\n'
}

# Each program in a folder of its own.
peers='fmforge make ninja samurai snakemake'
program_of() {
    case $1 in
    fmforge) echo $work/programs/fmforge ;;
    samurai) echo samu ;;
    *) echo $1 ;;
    esac
}
has() { command -v "$(program_of $1)" >/dev/null; }
command_of() { # PEER MANIFEST: what runs it
    case $1 in
    fmforge) echo "$(program_of $1) run $2 -j 2" ;;
    make) echo 'make -rR -j 2' ;;
    ninja | samurai) echo "$(program_of $1) -j 2" ;;
    snakemake) echo 'snakemake -j 2 --quiet' ;;
    esac
}
memory=$(mktemp -d /dev/shm/fmforge-bench-XXXXXX 2>/dev/null || mktemp -d $work/memory-XXXXXX)
trap 'chmod -R u+w $memory; rm -rf $memory' EXIT
lay_out() { # FOLDER
    local n peer
    for n in 10 1000; do
        for peer in $peers; do
            mkdir -p $1/$n/$peer/made
            cp -r in also nano $1/$n/$peer/
        done
        manifest $n >$1/$n/fmforge/m.yaml
        cold_manifest $n >$1/$n/fmforge/cold.yaml
        make_rules $n >$1/$n/make/Makefile
        ninja_rules $n >$1/$n/ninja/build.ninja
        ninja_rules $n >$1/$n/samurai/build.ninja
        snake_rules $n >$1/$n/snakemake/Snakefile
    done
}
lay_out $work
lay_out $memory

say() { printf '%s: %s\n' "$1" "$2"; }
once() { # PEER N [MANIFEST [FOLDER]]: "ms KiB CPU"
    (cd ${4:-$work}/$2/$1 && $timer 1 $(command_of $1 ${3:-m.yaml}))
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
figure() { # FILE: "1.20 ms (CPU 0.90 ms, 712 KiB)", of lines of `once`
    printf '%s ms (CPU %s ms, %s KiB)' "$(cut -d' ' -f1 $1 | median)" "$(cut -d' ' -f3 $1 | median)" \
        "$(cut -d' ' -f2 $1 | sort -n | tail -n 1)"
}
list() { # KIND: the figures of all programs, in one line
    local peer line=''
    for peer in $peers; do
        if ! has $peer; then line="$line, $peer skipped: $peer is not installed"
        elif [ -s $1.$peer ]; then line="$line, $peer $(figure $1.$peer)"
        else line="$line, $peer skipped: it takes minutes (SNAKE=1000)"
        fi
    done
    echo "${line#, }"
}
times() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }
of() { cut -d' ' -f1 $1.$2 | median; } # KIND PEER: ms

# ---- cold ----
clean() { # PEER N
    cd $memory/$2/$1
    chmod -R u+w .
    rm -rf .fmforge reports out .snakemake .ninja_log .ninja_deps made
    mkdir made
    cd $work
}
is_asked() { # PEER N: is it here, and quick enough?
    has $1 && { [ $1 != snakemake ] || [ $2 -le $SNAKE ]; }
}
for n in 10 1000; do
    for round in $(seq $COLD); do
        for peer in $peers; do
            is_asked $peer $n && { [ $peer != snakemake ] || [ $round = 1 ]; } || continue
            clean $peer $n
            once $peer $n cold.yaml $memory >>cold$n.$peer
        done
    done
    sync
    for peer in make ninja samurai snakemake fmforge; do # ours last: it frees inodes
        ! is_asked $peer $n || once $peer $n cold.yaml >>disk$n.$peer
    done
done
if [ $COLD -gt 0 ]; then
    say 'cold, 10 stages' "$(list cold10)"
    say 'cold, 1000 stages' "$(list cold1000); $(times $(of cold1000 fmforge) $(of cold1000 make)) times make; target 1.5"
fi
say 'cold, 1000 stages, on this disk, once' "$(list disk1000); $(times $(of disk1000 fmforge) $(of disk1000 make)) times make"

# ---- no-op ----
true_ms() { $timer 21 /bin/true | cut -d' ' -f1; }
for n in 10 1000; do
    for peer in $peers; do
        has $peer && [ -s disk$n.$peer ] || continue
        for i in 1 2 3; do
            sleep 0.1
            once $peer $n >/dev/null
        done
    done
    for round in $(seq $ROUNDS); do
        for peer in $peers; do
            has $peer && [ -s disk$n.$peer ] || continue
            [ $peer != snakemake ] || [ $round -le 3 ] || continue
            once $peer $n >>noop$n.$peer
        done
    done
    target='1.5 ms'
    [ $n = 10 ] || target='3 ms, 4096 KiB'
    say "no-op, $n stages" "$(list noop$n); target $target; a program that does nothing $(true_ms) ms"
done

# ---- plan ----
cd $work/1000/fmforge
plan() { $timer $ROUNDS $work/programs/fmforge plan m.yaml | awk '{ print $1 " ms (CPU " $3 " ms, " $2 " KiB)" }'; }
say 'plan, 1000 stages, nothing changed' "fmforge $(plan)"
(cd $work/1000/fmforge && toolkit 9999999999999999999999999999999999999999)
say 'plan, 1000 stages, another signature' "fmforge $(plan); target 10 ms; the others have no such plan"
mv .fmforge/state .fmforge/tmp/state.away
say 'plan, 1000 stages, another signature, nothing kept' "fmforge $(plan)"

# ---- a year: every night another row of one of ten inputs, and a commit with all ten stages ----
[ $YEAR -gt 0 ] || exit 0
cd $work
toolkit 0123456789012345678901234567890123456789
home=$memory/home # most of the time would be the disk's
mkdir year
cp -r in also nano year/
cp 10/fmforge/m.yaml year/
cd year
nights() { # FIRST LAST
    local night
    for night in $(seq $1 $2); do
        echo "night $night" >in/$((night % 10 + 1)).txt
        $work/programs/fmforge run m.yaml --home $home --record >/dev/null 2>&1
    done
}
noop() {
    for i in 1 2 3; do
        sleep 0.1
        $work/programs/fmforge run m.yaml --home $home >/dev/null
    done
    $timer $ROUNDS $work/programs/fmforge run m.yaml --home $home | cut -d' ' -f1
}
nights 1 1
before=$(noop)
nights 2 $YEAR
after=$(noop)
say "no-op, 10 stages, after $YEAR recorded runs" "fmforge $after ms, after the first $before ms"
loose=$(du -sk --apparent-size $home/ledger.git | cut -f1)
if command -v git >/dev/null; then
    git -C $home/ledger.git gc -q --prune=now
    packed=$(du -sk --apparent-size $home/ledger.git/objects | cut -f1)
    say "the ledger of $YEAR nightly runs of 10 stages" "fmforge $packed KiB packed, $loose KiB as written; target 512 KiB"
else
    say "the ledger of $YEAR nightly runs of 10 stages" "fmforge $loose KiB as written; packed skipped: git is not installed"
fi
