#!/bin/bash
# Runs the manifests of configs/regression (or those named) and prints their results as the rows of a
# Markdown table: what the adapter, a look-up of the nearest training row and the bare base reach.
# Shares have a 95 % interval (Wilson). From the project's root:
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

# metrics NAME STAGE TOOLKIT: the stage's metrics in the newest run of a manifest.
metrics() {
    local id
    id=$(git -C "$home/ledger.git" show "refs/prov/$1:artifacts.sha256" |
        sed -nE "s#^([0-9a-f]*)  $2(\[[^]]*toolkit=$3[],][^/]*)?/metrics\$#\1#p" | head -n 1)
    [ -n "$id" ] && zstd -q -dc "$home/objects/${id:0:2}/$id.zst"
}
value() { tr ',{}' '\n\n\n' <<<"$1" | sed -n "s/^\"$2\":\(.*\)\$/\1/p"; }
short() { if [ -n "$1" ]; then printf '%.3f' "$1"; else echo -; fi; }
wilson() { # SHARE ROWS
    awk -v p="$1" -v n="$2" 'BEGIN { z = 1.959964; d = 1 + z * z / n; c = (p + z * z / 2 / n) / d
        h = z / d * sqrt(p * (1 - p) / n + z * z / 4 / n / n); printf "%.3f to %.3f", c - h, c + h }'
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
        adapter=$(metrics "$name" quality "$toolkit")
        lookup=$(metrics "$name" lookup "$toolkit")
        bare=$(metrics "$name" bare "$toolkit")
        [ -n "$adapter" ] || { echo "| \`$name\` | $toolkit | | not run | | | | |"; continue; }
        rows=$(value "$adapter" rows)
        for metric in exact_match json_valid leaf_f1 word_f1 number_match; do
            v=$(value "$adapter" $metric)
            [ -n "$v" ] || continue
            interval=
            case $metric in *_f1) ;; *) interval=$(wilson "$v" "$rows") ;; esac
            printf '| `%s` | %s | %s | `%s` | %s | %s | %s | %s |\n' "$name" "$toolkit" "$rows" $metric \
                "$(short "$v")" "$interval" "$(short "$(value "$lookup" $metric)")" \
                "$(short "$(value "$bare" $metric)")"
        done
    done
done
