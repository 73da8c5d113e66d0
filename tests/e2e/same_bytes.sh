# The same inputs give the same bytes: another folder, other threads, other kernels, other jobs.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
mkdir -p deep/er
cp -r data tiny-0.1 task.yaml deep/er
expect 0 fm run task.yaml --threads 1
expect 0 fm run task.yaml -C deep/er --threads 2 -j 2
[ "$(folder_id "$PACKAGE")" = "$(folder_id "deep/er/$PACKAGE")" ] ||
    die "threads 1 and 2 in two folders made different packages"
(cd deep/er && LC_ALL=C.UTF-8 TZ=Asia/Tokyo fm run task.yaml --home other >/dev/null 2>&1) ||
    die "the run with another time zone failed"
[ "$(folder_id "$PACKAGE")" = "$(folder_id "deep/er/$PACKAGE")" ] ||
    die "another time zone made another package"
# Every object of the first store is in the others, statements aside: they hold times.
artifacts() { (cd "$1" && git -C "$2" show "refs/prov/tiny_task:artifacts.sha256" | sort); }
[ "$(artifacts . .fmforge/ledger.git)" = "$(artifacts deep/er other/ledger.git)" ] ||
    die "the ledgers list different artifacts"
# What is computed again, and how many tokens at a time, changes no byte; precision does.
for set in activation_checkpointing=true micro_batch_tokens=1; do
    expect 0 fm run task.yaml --home again --out again_out --set "stages.adapter.with.$set"
    [ "$(folder_id "$PACKAGE")" = "$(folder_id "again_$PACKAGE")" ] || die "$set made another package"
done
expect 0 fm run task.yaml --home again --out f32_1 --threads 1 --set stages.adapter.with.precision=f32
expect 0 fm run task.yaml --home more --out f32_2 --threads 2 --kernels portable \
    --set stages.adapter.with.precision=f32
[ "$(folder_id "f32_1/${PACKAGE#out/}")" = "$(folder_id "f32_2/${PACKAGE#out/}")" ] ||
    die "threads and kernels change what fp32 makes"
[ "$(folder_id "f32_1/${PACKAGE#out/}")" != "$(folder_id "$PACKAGE")" ] || die "f32 changed nothing"
# The toolkit's names of a precision are int16, and the stage says so.
expect 0 fm run task.yaml --home again --out bf16 --kernels portable \
    --set stages.adapter.with.precision=bf16-mixed
has stderr.txt "precision bf16-mixed: a precision of Apple's toolkit: int16 here"
[ "$(folder_id "bf16/${PACKAGE#out/}")" = "$(folder_id "$PACKAGE")" ] || die "bf16-mixed is not int16"
echo ok
