#!/bin/bash
# The campaigns of faults, each with its counts: what `make torture` runs. A bounded part of each is
# a case of `make test`. Usage: campaigns.sh BIN_FOLDER N [CAMPAIGN...]
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "$1" && pwd) || exit 2
n=$2
shift 2
[ $# -gt 0 ] || set -- torture allocations corruption together
broken=
for campaign in "$@"; do
    case $campaign in
    torture) counts="$n $n" ;;
    together) counts=$((n / 20 + 2)) ;;
    *) counts=$n ;;
    esac
    folder=$(mktemp -d) || exit 1
    # shellcheck disable=SC2086
    (cd "$folder" && bash "$root/tests/e2e/$campaign.sh" "$bin" "$root" $counts)
    rc=$?
    case $rc in
    0) ;;
    77) echo "$campaign: skipped" ;;
    *) broken="$broken $campaign" ;;
    esac
    chmod -R u+w "$folder"
    rm -rf "$folder"
done
[ -z "$broken" ] || { echo "torture: findings:$broken"; exit 1; }
