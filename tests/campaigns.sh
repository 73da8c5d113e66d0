#!/bin/bash
# The campaigns of faults, each with its counts: what `make torture` runs, as many at a time as there
# are processors. A bounded part of each is a case of `make test`.
# Usage: campaigns.sh BIN_FOLDER N [CAMPAIGN...]
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "$1" && pwd) || exit 2
n=$2
shift 2
# The longest first; allocations.sh is as long as the others together.
[ $# -gt 0 ] || set -- allocations.one allocations.after torture corruption together
all=$(mktemp -d) || exit 1
trap 'kill $(jobs -p) 2>/dev/null; wait; chmod -R u+w "$all"; rm -rf "$all"' EXIT
trap 'exit 143' TERM INT

campaign() { # NAME
    local counts=$n
    case $1 in
    allocations.*) counts="$n ${1#*.}" ;;
    torture) counts="$n $n" ;;
    together) counts=$((n / 20 + 2)) ;;
    esac
    mkdir "$all/$1"
    # shellcheck disable=SC2086
    (cd "$all/$1" && exec bash "$root/tests/e2e/${1%.*}.sh" "$bin" "$root" $counts) >"$all/$1.txt" 2>&1 &
    child=$!
    trap 'kill $child; wait $child; cat "$all/$1.txt"; exit 143' TERM
    wait $child
    case $? in
    0) ;;
    77) echo "$1: skipped" ;;
    *) echo "$1" >>"$all/broken" ;;
    esac
    sed "s/^/$1: /" "$all/$1.txt"
}

for name in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    campaign "$name" &
done
wait
[ ! -f "$all/broken" ] || { echo "torture: findings: $(xargs <"$all/broken")"; exit 1; }
