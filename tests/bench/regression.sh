#!/bin/bash
# Runs the manifests of configs/regression (or those named) and prints their results as the rows of a
# Markdown table: what the adapter, a look-up of the nearest training row and the bare base reach.
# The 95 % intervals are those of the stage's report (stages/text/score.h). From the project's root:
#   bash tests/bench/regression.sh [OPTIONS OF fmforge run --] [MANIFEST...]
set -u
options=()
if [[ " $* " == *" -- "* ]]; then
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
fi
home=.fmforge
for ((i = 0; i < ${#options[@]}; i++)); do
    [ "${options[i]}" = --home ] && home=${options[i + 1]}
done
[ $# -gt 0 ] || set -- configs/regression/*.yaml

# output NAME STAGE TOOLKIT OUTPUT: metrics or report of the stage in the newest run of a manifest.
output() {
    local id
    id=$(git -C "$home/ledger.git" show "refs/prov/$1:artifacts.sha256" |
        sed -nE "s#^([0-9a-f]*)  $2(\[[^]]*toolkit=$3[],][^/]*)?/$4\$#\1#p" | head -n 1)
    [ -n "$id" ] && zstd -q -dc "$home/objects/${id:0:2}/$id.zst"
}
value() { tr ',{}' '\n\n\n' <<<"$1" | sed -n "s/^\"$2\":\(.*\)\$/\1/p"; }
short() { if [ -n "$1" ]; then printf '%.3f' "$1"; else echo -; fi; }
interval() { # REPORT METRIC: columns 3 and 4 of its row
    sed -nE "s/.*\[\"$2\",[^],]*,([0-9][^],]*),([0-9][^],]*),.*/\1 \2/p" <<<"$1" |
        while read -r low high; do printf '%.3f to %.3f' "$low" "$high"; done
}

echo '| manifest | toolkit | golden rows | metric | adapter | 95 % | nearest training row | bare base |'
echo '|---|---|---|---|---|---|---|---|'
for manifest in "$@"; do
    name=$(sed -n 's/^name: *//p' "$manifest")
    said=$(build/bin/fmforge run "$manifest" "${options[@]}" 2>&1)
    rc=$?
    printf '%s\n' "$said" >&2
    if [ $rc -ne 0 ] && [ $rc -ne 3 ] || [[ $said == *": skipped: "* ]]; then
        echo "| \`$name\` | | | exit $rc: $(tail -n 1 <<<"$said") | | | | |"
        continue
    fi
    for toolkit in $(grep '^toolkits:' "$manifest" | grep -o 'nano-[0-9.]*'); do
        adapter=$(output "$name" quality "$toolkit" metrics)
        report=$(output "$name" quality "$toolkit" report)
        lookup=$(output "$name" lookup "$toolkit" metrics)
        bare=$(output "$name" bare "$toolkit" metrics)
        [ -n "$adapter" ] || { echo "| \`$name\` | $toolkit | | not run | | | | |"; continue; }
        rows=$(value "$adapter" rows)
        for metric in exact_match json_valid leaf_f1 word_f1 number_match; do
            v=$(value "$adapter" $metric)
            [ -n "$v" ] || continue
            printf '| `%s` | %s | %s | `%s` | %s | %s | %s | %s |\n' "$name" "$toolkit" "$rows" $metric \
                "$(short "$v")" "$(interval "$report" $metric)" "$(short "$(value "$lookup" $metric)")" \
                "$(short "$(value "$bare" $metric)")"
        done
    done
done
