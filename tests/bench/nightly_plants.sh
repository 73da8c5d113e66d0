#!/bin/bash
# Does the nightly see what it must, and only that? On banking77/small: six seeds are accepted; ten other
# seeds must pass; a learning rate x 30 and 10 % of the training labels exchanged must exit with 3 and say
# metric and amount. Prints one line a run. About ten minutes on two cores.
# Usage: nightly_plants.sh [FOLDER]   (default build/plants; from the project's root)
set -u
root=$(pwd)
bin=$root/build/bin/fmforge
folder=${1:-build/plants}
[ -d ../shared/data/banking77/small ] || { echo 'skipped: ../shared/data/banking77/small is not there'; exit 0; }
mkdir -p "$folder/site/configs"
ln -sfn "$(cd ../shared && pwd)" "$folder/shared"
cp -r configs/toolkits "$folder/site/configs/"
# Without its gate: the comparison with the baseline alone must see it.
grep -v 'gates:' configs/nightly/banking77_small.yaml >"$folder/site/banking77_small.yaml"
cd "$folder/site" || exit 1
manifest=banking77_small.yaml
wrong=0

# night NAME WANTED SED: the manifest changed by SED as the only one of a nightly.
night() {
    local name=$1 wanted=$2 rc
    mkdir -p "night_$name"
    sed "$3" $manifest >"night_$name/banking77_small.yaml"
    "$bin" nightly "night_$name" --reports "night_$name/reports" >"night_$name/log.txt" 2>&1
    rc=$?
    if [ $rc -ne "$wanted" ] || { [ "$wanted" -eq 3 ] && ! grep -q 'fell from' "night_$name/log.txt"; }; then
        wrong=$((wrong + 1))
    fi
    echo "$name: exit $rc, wanted $wanted"
    grep -E 'fell from|not there any more' "night_$name/log.txt" | sed 's/^/    /'
}

runs=
for seed in 1 2 3 4 5 6; do
    "$bin" run $manifest --set vars.seed=$seed --record >"seed_$seed.log" 2>&1 || { tail "seed_$seed.log"; exit 1; }
    run=$(sed -n 's/.*recorded as \([0-9a-f]*\).*/\1/p' "seed_$seed.log")
    [ -n "$run" ] || { tail "seed_$seed.log"; exit 1; }
    runs="$runs $run"
    echo "seed $seed: recorded as $run"
done
# shellcheck disable=SC2086
"$bin" accept $runs || exit 1

for seed in 11 12 13 14 15 16 17 18 19 20; do
    night "seed_$seed" 0 "s/^  seed: 1/  seed: $seed/"
done
night rate_x30 3 's/^  rate: 3e-3/  rate: 9e-2/'

# Every tenth row gets the label of another class.
awk '{ match($0, /"content": "[^"]*"}]$/); label = substr($0, RSTART); row[NR] = $0; at[NR] = label
       if (!(label in seen)) { seen[label] = n++; name[n - 1] = label } }
     END { for (i = 1; i <= NR; i++) {
         if (i % 10 == 0) sub(/"content": "[^"]*"}]$/, name[(seen[at[i]] + 1) % n], row[i])
         print row[i] } }' ../shared/data/banking77/small/train.jsonl >swapped.jsonl
night labels_10 3 's|^  train: .*|  train: swapped.jsonl|'
echo "wrong: $wrong"
exit $((wrong > 0))
