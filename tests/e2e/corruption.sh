# One bit of a file of the store, of a delivery or of a report is another, or its end is missing: of
# every kind of file there is. Each time: the next run ends well with the right bytes, or fails and
# names the file; nobody repairs anything by hand but a ledger that says what is damaged; and verify
# names what it watches. Usage: corruption.sh BIN ROOT [N]: how many files are damaged, at least
# once each kind.
. "$2/tests/e2e/e2e_lib.sh"
. "$2/tests/e2e/fault_lib.sh"
rounds=${3:-1} n_readers=7
[ "$rounds" -gt 1 ] || n_readers=1
to_memory
probe_pipeline

# A store with every kind of file: a run in a pack and one beside it, a pin,
# a stage that failed and has a work folder, an action that is owed to the ledger.
cat >fails.yaml <<'X'
fmforge: 1
name: fails
stages:
  once: { run: probe, inputs: { text: in.txt }, with: { does: fail, n: 1 } }
X
make_whole() {
    rm -rf .fmforge out reports
    echo first >in.txt
    expect 0 fm run m.yaml
    git -C .fmforge/ledger.git repack -adq
    git -C .fmforge/ledger.git pack-refs --all
    echo text >in.txt
    expect 0 fm run m.yaml
    expect 0 fm gc --pin last
    pinned=$(ls .fmforge/pins)
    expect 1 fm run fails.yaml # its work folder stays
    cp -a .fmforge/describe described
    settle m.yaml
    mv described .fmforge/describe
    mkdir -p .fmforge/owed
    touch ".fmforge/owed/probes.$(printf 'a%.0s' $(seq 64))"
}

# A random bit of a file, or a random end.
damage() { # FILE HOW: what was done, in words
    local size at bit byte
    size=$(stat -c %s "$1")
    chmod u+w "$1"
    if [ "$2" = cut ]; then
        at=$((size > 0 ? RANDOM * 32768 % size + RANDOM % size : 0))
        at=$((size > 0 ? at % size : 0))
        truncate -s $at "$1"
        echo "cut to $at of $size bytes"
    elif [ "$size" -eq 0 ]; then
        echo x >"$1"
        echo "given a byte"
    else
        at=$(((RANDOM * 32768 + RANDOM) % size))
        bit=$((RANDOM % 8))
        byte=$(od -An -tu1 -j $at -N 1 "$1" | tr -d ' ')
        # shellcheck disable=SC2059
        printf "$(printf '\\x%02x' $((byte ^ (1 << bit))))" |
            dd of="$1" bs=1 seek=$at conv=notrunc status=none
        echo "bit $bit of byte $at of $size is another"
    fi
}

# Is the file named in what was printed? Its path, its id, a run's id, or of a ledger the ledger.
names() { # FILE OUTPUT...
    local file=$1 name
    shift
    name=$(basename "$file" .zst)
    case $file in
    *ledger.git/objects/??/*) name=$(basename "$(dirname "$file")")$name ;;
    */raw/*.d/*) name=$(sed 's|.*/\([0-9a-f]*\.d\)/.*|\1|' <<<"$file") ;;
    */ledger.git/*) name=ledger.git ;;
    */version) name=".fmforge: this is " ;; # of a store of another version its folder
    esac
    cat "$@" | grep -qF -e "$name" -e "$file"
}

reader() { # COMMAND
    case $1 in
    plan) set -- plan m.yaml ;;
    why) set -- why two m.yaml ;;
    audit) set -- audit out/probes/made ;;
    diff) set -- diff last~1 last ;;
    report) set -- report probes ;;
    unpin) set -- gc --unpin "$pinned" ;;
    esac
    timeout 60 "$BIN/fmforge" "$@"
}

is_whole() { # FILE: an object whose bytes are those of its id
    [[ $1 == *.zst ]] && zstd -qdc "$1" 2>/dev/null | sha256sum | grep -q "^$(basename "$1" .zst) "
}

n=0 remade=0 named=0 unseen=0
counts() {
    echo "corruption: $n files damaged: $remade seen by verify and made again, $named named and" \
        "refused, $unseen of kinds that only save time; no wrong bytes"
}
one_damage() { # KIND FILE HOW
    local kind=$1 file=$2 how=$3 what rc seen
    back_to whole
    what="$kind: $file: $(damage "$file" "$how")"
    timeout 60 "$BIN/fmforge" verify >verify.txt 2>&1
    seen=$?
    [ $seen -le 2 ] || { bad "$what: verify ends with $seen" verify.txt; return; }
    case $kind in
    object | action | raw | ledger_object | ledger_pack | ledger_ref | version)
        # A cut at nothing or a flip that changes nothing would be no damage, nor is a cut that takes
        # the seal alone: a bare frame is an object as well. verify sees all else.
        [ $seen -ne 0 ] || ! is_whole "$file" || return 0
        [ $seen -ne 0 ] || { bad "$what: verify finds nothing" verify.txt; return; }
        names "$file" verify.txt || { bad "$what: verify does not name it" verify.txt; return; }
        ;;
    esac
    # Whoever only reads may say what he likes, but ends by himself.
    for command in $(shuf -n $n_readers -e plan why audit log diff report unpin); do
        reader $command >read.txt 2>&1
        rc=$?
        [ $rc -le 4 ] || { bad "$what: $command ends with $rc" read.txt; return; }
    done
    # Everything that is stored is needed again: nothing is delivered, no state says so.
    rm -rf out .fmforge/state
    timeout 60 "$BIN/fmforge" run m.yaml --record >run.txt 2>&1
    rc=$?
    case $rc in
    0)
        # Git may refuse what libgit2 passes over: here it only reads what was made.
        if [ "$kind" = ledger_other ] && ! artifacts >found.txt 2>&1; then
            chmod u+w "$file"
            cp "before.whole/$file" "$file"
        fi
        is_right "$what" || return
        ;;
    1 | 2)
        names "$file" run.txt || { bad "$what: exit $rc, and it is not named" run.txt; return; }
        case $kind in
        # Nothing can make the history again, or say what a store of another version holds.
        ledger* | version) named=$((named + 1)); return ;;
        esac
        ;;
    *) bad "$what: exit $rc" run.txt; return ;;
    esac
    timeout 60 "$BIN/fmforge" run m.yaml --record >run.txt 2>&1 ||
        { bad "$what: the run after it fails" run.txt; return; }
    is_right "$what" || return
    timeout 60 "$BIN/fmforge" verify >after.txt 2>&1
    # What this run did not read (it is right, so it read none of it) stays damaged, and named.
    case $?.$kind in
    0.*) ;;
    1.object | 1.action | 1.raw | 1.ledger*)
        names "$file" after.txt || { bad "$what: verify finds something else" after.txt; return; }
        ;;
    *) bad "$what: the store does not verify afterwards" after.txt; return ;;
    esac
    timeout 60 "$BIN/fmforge" gc --keep 1 --delete >gc.txt 2>&1
    rc=$?
    [ $rc -eq 0 ] || { [ $rc -eq 1 ] && names "$file" gc.txt; } ||
        { bad "$what: gc ends with $rc" gc.txt; return; }
    if [ $seen -eq 0 ]; then unseen=$((unseen + 1)); else remade=$((remade + 1)); fi
}

kind_files() { # KIND: its files in before.whole, one a line
    case $1 in
    object) find .fmforge/objects -type f ;;
    action) find .fmforge/actions -type f ;;
    raw) find .fmforge/raw -type f ;;
    state) find .fmforge/state -type f ;;
    memo) echo .fmforge/memo ;;
    runs_log) echo .fmforge/runs.log ;;
    owed) find .fmforge/owed -type f ;;
    pin) find .fmforge/pins -type f ;;
    checkpoint) find .fmforge/work -type f ;;
    last) find .fmforge/last -type f ;;
    log) find .fmforge/logs -type f ;;
    describe) find .fmforge/describe -type f ;;
    version) echo .fmforge/version ;;
    ledger_object) find .fmforge/ledger.git/objects/?? -type f ;;
    ledger_pack) find .fmforge/ledger.git/objects/pack -type f -name '*.pack' -o -name '*.idx' ;;
    ledger_ref) find .fmforge/ledger.git/refs -type f ;;
    # Another name of a ref in packed-refs is a ref of that name: git keeps no sum of this file.
    ledger_other) for name in config HEAD packed-refs; do echo .fmforge/ledger.git/$name; done ;;
    delivery) find out -type f ;;
    report) find reports -type f ;;
    esac
}

kinds=(object action raw state memo runs_log owed pin checkpoint last log describe version
    ledger_object ledger_pack ledger_ref ledger_other delivery report)
make_whole
artifacts >want.txt
rm -rf before.text
cp -a out/probes/made before.text
mkdir before.whole
cp -a .fmforge out reports before.whole

# Found by this campaign: a key in last/ that is none.
back_to whole
chmod u+w .fmforge/last/probes.json
sed -i 's/":"[0-9a-f]/":"G/g' .fmforge/last/probes.json
expect 0 fm why two m.yaml
expect 0 fm plan m.yaml

for ((round = 0; round < rounds || n < rounds; round++)); do
    for kind in "${kinds[@]}"; do
        back_to whole
        mapfile -t files < <(cd before.whole && kind_files "$kind" | sort)
        [ ${#files[@]} -gt 0 ] || die "there is no file of the kind $kind"
        how=flip
        [ $((RANDOM % 2)) -eq 0 ] || how=cut
        one_damage "$kind" "${files[RANDOM % ${#files[@]}]}" $how
        n=$((n + 1))
        [ "$n" -lt "$rounds" ] || [ "$round" -eq 0 ] || break
    done
    [ "$n" -lt "$rounds" ] || break
done
[ "$n_bad" -eq 0 ] || die "$n_bad findings of $n"
counts >&2
echo ok
