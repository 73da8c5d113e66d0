# A training run that is killed with -9 and started again ends with the same bytes.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/epochs: 2/epochs: 15, checkpoint_every: 1/' task.yaml
mkdir whole
cp -r data tiny-0.1 task.yaml whole
expect 0 fm run task.yaml -C whole
whole=$(folder_id "whole/$PACKAGE")

kills=0
for wait in 0.15 0.25 0.4 0.6 0.3; do
    setsid "$BIN/fmforge" run task.yaml >run.out 2>&1 &
    pid=$!
    sleep "$wait"
    if kill -0 "$pid" 2>/dev/null; then
        kill -9 -- "-$pid" 2>/dev/null && kills=$((kills + 1))
    fi
    wait "$pid" 2>/dev/null
done
[ "$kills" -gt 0 ] || echo "nothing was killed: the run is too fast" >&2
expect 0 fm run task.yaml
[ "$(folder_id "$PACKAGE")" = "$whole" ] || die "a killed run made another package ($kills kills)"
expect 0 fm verify

# Killed, and its checkpoint damaged: it says so and trains from the beginning, to the same bytes.
for how in flip cut; do
    rm -rf out
    chmod -R u+w .fmforge && rm -rf .fmforge
    setsid "$BIN/fmforge" run task.yaml >run.out 2>&1 &
    pid=$!
    for _ in $(seq 3000); do
        file=$(find .fmforge -name train.ckpt 2>/dev/null)
        [ -z "$file" ] || break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.01
    done
    kill -9 -- "-$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    file=$(find .fmforge -name train.ckpt 2>/dev/null)
    [ -n "$file" ] || { echo "the run ended before it was killed" >&2; continue; }
    size=$(stat -c %s "$file")
    if [ $how = cut ]; then truncate -s $((size / 3)) "$file"; else flip_bit "$file" $((size / 2)); fi
    expect 0 fm run task.yaml
    grep -q 'starts anew: train.ckpt: ' stderr.txt || { cat stderr.txt >&2; die "the damage is not named"; }
    [ "$(folder_id "$PACKAGE")" = "$whole" ] || die "a damaged checkpoint made another package"
done

# Interrupted, it saves its state and says so once.
sed -i 's/epochs: 15/epochs: 5000/' task.yaml
interrupt_training fresh task.yaml --home fresh --reports fresh.pages
grep -qx '  train: interrupted' stderr.txt || { cat stderr.txt >&2; die "not \"train: interrupted\""; }
# Nothing has answered the golden set yet: the page does not say that something did.
page=fresh.pages/tiny_task/index.html
grep -q 'interrupted' $page || die "the page does not say that it was interrupted"
! grep -q '>0 B<' $page || die "the page has sizes of what was not made"
# Nothing has failed, and the page has no red in it.
has $page 'interrupted; the same command goes on with it'
grep -q '<td class="short warn">interrupted</td>' $page || die "the stage does not stand as interrupted"
! grep -qE 'class="([^"]* )?bad[ "]|>failed<' $page || die "the page of an interrupted run says that something failed"
grep -q 'Every stage that answered the set' $page && die "the page has golden results of stages that did not run"
echo ok
