# A stage that reads what it did not declare, writes outside its outputs or reaches for the network
# is stopped by the kernel, and the error names the path and the rule.
. "$2/tests/e2e/e2e_lib.sh"
shim=$(realpath "$BIN/../probe/fault_calls.so")
probe_programs
echo text >in.txt
echo other >secret.txt
mkdir folder
echo x >folder/file.txt
ln -s "$PWD/secret.txt" link.txt

cat >m.yaml <<'X'
fmforge: 1
name: probes
vars: { does: copy, path: "", n: 0 }
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: $does, path: $path, n: $n } }
X
expect 0 fm run m.yaml
git -C .fmforge/ledger.git show refs/prov/probes:stages/one/statement.json >statement.json
case $(sed -n 's/.*"sandbox":"\([^"]*\)".*/\1/p' statement.json) in
"none: "*) has stderr.txt 'stages run without a sandbox'
           skip "this kernel has no Landlock" ;;
"landlock ABI "*) abi=$(sed -n 's/.*"sandbox":"landlock ABI \([0-9]*\)".*/\1/p' statement.json) ;;
*) die "the statement does not say which sandbox" ;;
esac
git -C .fmforge/ledger.git show refs/prov/probes:stages/one/recipe.json >recipe.json
! grep -q sandbox recipe.json || die "the sandbox is in the key"

# refused DOES PATH TEXT: the stage fails, says TEXT, and is told whose rule that was.
refused() {
    expect 1 fm run m.yaml --set "vars.does=$1" --set "vars.path=$2" --set "vars.n=${4:-0}"
    has stderr.txt "$3"
    has stderr.txt 'a stage runs in a sandbox'
    [ "$(cat secret.txt)" = other ] || die "$1 $2 changed a file outside"
    expect 0 fm verify
}
refused read "$PWD/secret.txt" "$PWD/secret.txt: cannot open: Permission denied"
refused read secret.txt 'secret.txt: cannot open: Permission denied'
refused read ./folder/../secret.txt 'secret.txt: cannot open'
refused read link.txt 'link.txt: cannot open'
refused read /etc/passwd '/etc/passwd: cannot open: Permission denied'
# A sanitized stage has to read about its own process.
grep -q -e __asan_init -e __tsan_init "$BIN/stage-probe" ||
    refused read /proc/1/cmdline '/proc/1/cmdline: cannot open'
refused read m.yaml 'm.yaml: cannot open'
refused read .fmforge/version '.fmforge/version: cannot open'
refused list folder 'folder: cannot open'
refused list . '.: cannot open'
refused write secret.txt 'secret.txt: cannot create: Permission denied'
refused write new.txt 'new.txt: cannot create: Permission denied'
refused write in.txt 'in.txt: cannot create: Permission denied'
refused write /tmp/fmforge-probe '/tmp/fmforge-probe: cannot create'
refused remove in.txt 'in.txt: cannot remove: Permission denied'
refused link "" 'in.txt: cannot link to it'
if [ "$abi" -ge 4 ]; then
    refused bind "" 'binding 127.0.0.1:40999: Permission denied' 40999
    refused connect "" 'connecting to 127.0.0.1:40999: Permission denied' 40999
fi
if [ "$abi" -ge 6 ]; then
    expect 1 fm run m.yaml --set vars.does=signal
    has stderr.txt 'a signal to the engine: Operation not permitted'
fi

# A kernel without Landlock: said once, and in the statement; the key is the same.
if ! grep -q __tsan_init "$BIN/fmforge"; then
    without() {
        ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 FAULT_NO_LANDLOCK=1 LD_PRELOAD=$shim fm "$@"
    }
    expect 0 without run m.yaml --home bare --set vars.does=read --set vars.path=secret.txt
    has stderr.txt 'stages run without a sandbox (none: the kernel has no Landlock): what they read is not checked'
    [ "$(grep -c 'without a sandbox' stderr.txt)" -eq 1 ] || die "it is said more than once"
    git -C bare/ledger.git show refs/prov/probes:stages/one/statement.json >statement.json
    has statement.json '"sandbox":"none: the kernel has no Landlock"'
    expect 0 fm run m.yaml --home bare --set vars.does=read --set vars.path=secret.txt
    has stdout.txt 'nothing to do'
fi

# What is declared is read: a folder with all below.
sed 's|in.txt|folder|; s|does: copy, path: ""|does: read, path: folder/file.txt|' m.yaml >f.yaml
expect 1 fm run f.yaml
has stderr.txt 'folder: not a regular file'
expect 0 fm run m.yaml --set vars.does=read --set vars.path=/proc/cpuinfo
expect 0 fm run m.yaml --set vars.does=read --set vars.path=/proc/meminfo # train warns by it
expect 0 fm verify
echo ok
