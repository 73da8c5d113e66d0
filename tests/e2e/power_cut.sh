# After a power cut: what was not on the disk yet is torn or empty, and the next run finds it by its
# seal, makes it again and goes on. A kill alone tears nothing.
. "$2/tests/e2e/e2e_lib.sh"
probe_programs
cat >m.yaml <<'X'
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt } }
  two: { run: probe, inputs: { text: one.text, more: one.folder }, with: { n: 1 } }
  slow: { run: probe, inputs: { text: two.text }, with: { does: hang, n: 400 } }
deliver: { two.folder: made }
X
sed -e '/slow/d' m.yaml >short.yaml
echo 'row one' >in.txt
marks() { find .fmforge/unsynced -type f 2>/dev/null | wc -l; }

# killed: a run that has made one and two, and no sync yet, ends at once.
killed() {
    : >run.out # what the last one said is not what this one says
    setsid "$BIN/fmforge" run m.yaml >run.out 2>&1 &
    pid=$!
    for _ in $(seq 3000); do
        grep -q '^two: done' run.out && break
        sleep 0.02
    done
    grep -q '^two: done' run.out || die "it never came to the slow stage"
    kill -9 -- "-$pid"
    wait "$pid" 2>/dev/null
}
# other_boot: the machine was another one, as far as the marks say.
other_boot() {
    local mark
    for mark in .fmforge/unsynced/*; do
        mv "$mark" ".fmforge/unsynced/00000000-0000-0000-0000-000000000000.${mark##*.}"
    done
}
# On a machine that is very busy a short stage may take so long that it was synced: then once more.
killed_before_sync() {
    for _ in $(seq 20); do
        killed
        [ "$(marks)" -eq 1 ] && return
        fresh
    done
    die "there is never anything that is not synced"
}
fresh() { chmod -R u+w .fmforge out 2>/dev/null; rm -rf .fmforge out reports; }

# What the whole is.
expect 0 fm run short.yaml
cp -r out/probes/made want
[ "$(marks)" -eq 0 ] || die "a run that ended has left a mark"
fresh

# Killed only: everything is whole, nothing is looked at, nothing is made again.
killed_before_sync
expect 0 fm run short.yaml
has stdout.txt '0 executed, 2 cached'
has stdout.txt 'recorded as'
[ "$(marks)" -eq 0 ] || die "the mark of a dead run stays"
expect 0 fm verify
fresh

# tear HOW FILE: as file systems leave it.
tear() {
    chmod u+w "$2"
    case $1 in
    empty) : >"$2" ;;
    short) truncate -s $(($(stat -c %s "$2") / 2)) "$2" ;;
    zeros) head -c "$(stat -c %s "$2")" /dev/zero >"$2.new" && mv "$2.new" "$2" ;;
    gone) rm -f "$2" ;;
    esac
}

# Any of it, in any way: the next run is as the first one.
torn() { # HOW FOLDER...
    local how=$1 file
    shift
    killed_before_sync
    other_boot
    (cd .fmforge && find "$@" -type f) >files.txt
    [ -s files.txt ] || die "there is nothing in $*"
    while read -r file; do tear "$how" ".fmforge/$file"; done <files.txt
    expect 0 fm run short.yaml
    has stdout.txt 'recorded as'
    diff -r want out/probes/made || die "$*, $how: another delivery"
    [ "$(marks)" -eq 0 ] || die "$*, $how: the mark stays"
    expect 0 fm verify
    expect 0 fm run short.yaml
    has stdout.txt 'nothing to do'
    fresh
}
for how in empty short zeros gone; do torn $how objects actions raw logs; done
for what in objects actions raw; do torn zeros $what; done

# What was on the disk before stays, and is not even read: its times are older.
expect 0 fm run short.yaml
id=$(sha256sum <in.txt | cut -c1-64)
old=.fmforge/objects/${id:0:2}/$id.zst
flip_bit "$old" 6
touch -d '2 days ago' "$old"
echo 'row two' >in.txt
killed
if [ "$(marks)" -eq 1 ]; then
    other_boot
    touch -d '1 day' .fmforge/unsynced/*
    expect 0 fm run short.yaml
    [ -f "$old" ] || die "an object that is older than the mark was looked at"
fi
fresh

# A state is none beside such a mark, whatever it stands on.
echo 'row one' >in.txt
expect 0 fm run short.yaml
settle short.yaml
: >.fmforge/unsynced/00000000-0000-0000-0000-000000000000.1-0
! is_instant short.yaml || die "instant beside the mark of another boot"
[ "$(marks)" -eq 0 ] || die "the mark stays"

# A sync that failed counts as a power cut; a mark of this boot whose process lives is left alone.
: >.fmforge/unsynced/failed.1-0
expect 0 fm run short.yaml
[ "$(marks)" -eq 0 ] || die "the mark of a failed sync stays"
boot=$(cat /proc/sys/kernel/random/boot_id)
live=.fmforge/unsynced/$boot.1-0
(
    flock -x 9
    : >locked
    while [ ! -e enough ]; do sleep 0.02; done
) 9>"$live" &
until [ -e locked ]; do sleep 0.02; done
expect 0 fm run short.yaml
[ -f "$live" ] || die "the mark of a living process was removed"
touch enough
wait
rm -rf .fmforge/describe
expect 0 fm run short.yaml --record
[ "$(marks)" -eq 0 ] || die "the mark of a process that has ended stays"
echo ok
