# plan says what will rerun is expected to take, from earlier executions, and says unknown where there is none.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
expect 0 fm plan task.yaml
has stdout.txt 'never made here; time unknown'
has stdout.txt '4 of 4 stages would run, 4 of unknown time'
[ ! -e .fmforge ] || die "plan made a store"
expect 0 fm run task.yaml
expect 0 fm plan task.yaml
has stdout.txt '0 of 4 stages would run'
grep -q 'took\|unknown' stdout.txt && die "a cached stage has a cost"

# The time is that of the statement.
took() { # INSTANCE: milliseconds between its times in the newest record
    git -C .fmforge/ledger.git show "refs/prov/tiny_task:stages/$1/statement.json" | tr ',{}' '\n\n\n' |
        sed -n 's/^"\(startedOn\|finishedOn\)":".*T\([0-9:.]*\)Z"/\2/p' | sort |
        awk -F: '{ t = ($1 * 60 + $2) * 60 + $3; if (NR == 1) a = t } END { printf "%.0f\n", (t - a) * 1000 }'
}
planned() { # NAME: seconds of the stage in stdout.txt, as milliseconds
    tr -d '\n' <stdout.txt | tr '{' '\n' | sed -n "s/.*\"stage\": \"$1.*\"seconds\": \([0-9.e-]*\),.*/\1/p" |
        awk '{ printf "%.0f\n", $1 * 1000 }'
}
sed -i 's/epochs: 2/epochs: 3/' task.yaml
expect 0 fm plan task.yaml
grep -Eq '^run +adapter.*config.epochs 2 -> 3; took [0-9.]+ (ms|s)$' stdout.txt || die "the adapter has no time"
grep -Eq '3 of 4 stages would run, [0-9.]+ (ms|s) when they take as long as before$' stdout.txt || die "no sum"
expect 0 fm plan task.yaml --json
for name in adapter quality package; do
    [ "$(planned $name)" = "$(took "$name[toolkit=tiny-0.1]")" ] ||
        die "$name: $(planned $name) ms are planned, it took $(took "$name[toolkit=tiny-0.1]")"
done
has stdout.txt '"unknown": 0'

# A store that has lost its results: the ledger knows.
mkdir lost && cp -r .fmforge lost && chmod -R u+w lost
rm -rf lost/.fmforge/objects lost/.fmforge/actions lost/.fmforge/last
expect 0 fm plan task.yaml --home lost/.fmforge
grep -Eq '4 of 4 stages would run, [0-9.]+ (ms|s) when they take as long as before$' stdout.txt ||
    die "the ledger was not asked: $(cat stdout.txt)"
rm -rf lost/.fmforge/ledger.git
expect 0 fm plan task.yaml --home lost/.fmforge
has stdout.txt '4 of unknown time'

# A stage that is new has no time; the others have.
sed -i 's/^  quality:/  second:/; s/needs: \[quality\]/needs: [second]/' task.yaml
expect 0 fm plan task.yaml
grep -Eq '^run +second.*; time unknown$' stdout.txt || die "a new stage has a time"
has stdout.txt ', 1 of unknown time'
expect 0 fm plan task.yaml --json
has stdout.txt '"seconds": null'
has stdout.txt '"unknown": 1'
echo ok
