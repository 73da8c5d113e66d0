# A full disk: one clear message, the store still verifies, the next run goes on.
. "$2/tests/e2e/e2e_lib.sh"
[ "$(id -u)" -eq 0 ] || skip "making a small file system needs root"
tiny_toolkit
mkdir small
mount -t tmpfs -o size=64k tmpfs small 2>/dev/null || skip "no tmpfs can be mounted here"
trap 'umount small' EXIT
fm run task.yaml --home small/home >stdout.txt 2>stderr.txt
rc=$?
[ "$rc" -eq 1 ] || { cat stderr.txt >&2; die "full disk: exit $rc, expected 1"; }
has stderr.txt 'No space left on device'
mount -o remount,size=64m small
expect 0 fm verify --home small/home
expect 0 fm run task.yaml --home small/home
echo ok
