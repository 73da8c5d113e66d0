# The lines that the README files give for an audit are run here as they stand there.
. "$2/tests/e2e/e2e_lib.sh"
for program in git zstd ssh-keygen; do
    command -v $program >/dev/null || skip "there is no $program"
done
export HOME=$PWD/home GIT_CONFIG_NOSYSTEM=1
unset SSH_AUTH_SOCK
tiny_toolkit

# The shipped toolkit's and the quickstart's names, so that the lines fit.
mkdir -p build configs/quickstart configs/toolkits home/.ssh
ln -s "$BIN" build/bin
mv tiny-0.1 configs/toolkits/nano-1.0
chmod -R u+w configs
sed -i 's/^name: .*/name: nano/; s/^version: .*/version: "1.0"/' configs/toolkits/nano-1.0/toolkit.yaml
mv data/rows.jsonl configs/quickstart/tickets.jsonl
sed 's/^name: tiny_task/name: support_desk/; s|tiny-0.1|configs/toolkits/nano-1.0|
    s|data/rows.jsonl|configs/quickstart/tickets.jsonl|' task.yaml >configs/quickstart.yaml
ssh-keygen -q -t ed25519 -N '' -C ann -f home/.ssh/id_ed25519 || die "no key can be made"
echo "ann@example.org $(cat home/.ssh/id_ed25519.pub)" >allowed_signers
expect 0 build/bin/fmforge run configs/quickstart.yaml

# by_hand FILE HEADING N: the indented lines below a heading, at least N, in a copy of this folder.
by_hand() {
    local copy
    copy=$(mktemp -d copy.XXXXXX)
    sed -n "/^## $2\$/,/^## /s/^    //p" "$ROOT/$1" >"$copy.sh"
    [ "$(wc -l <"$copy.sh")" -ge "$3" ] || die "$1 has not $3 lines below \"$2\""
    cp -a .fmforge build configs data home out allowed_signers "$copy"
    (cd "$copy" && bash -e "../$copy.sh") >stdout.txt 2>stderr.txt ||
        die "$1, $2: exit $?: $(tail -n 20 stdout.txt stderr.txt)"
    ! grep -E 'FAILED|WARNING|^(error|fatal):' stdout.txt stderr.txt || die "$1, $2: something does not hold"
    has stdout.txt 'manifest.yaml: OK'
    chmod -R u+w "$copy"
    rm -rf "$copy"
}

by_hand README.md 'How to audit' 11
has stdout.txt 'proven: everything on the way holds'
has stdout.txt 'signed by ann@example.org'
by_hand pipeline/README.md 'By hand' 6
has stdout.txt 'adapter_weights.bin: OK'
by_hand pipeline/provenance/README.md 'Auditing by hand' 16
has stdout.txt 'adapter_weights.bin: OK'
has stdout.txt 'statement.json'
by_hand pipeline/provenance/README.md 'Signed runs' 16
has stdout.txt 'Good "git" signature for ann@example.org with ED25519 key SHA256:'
has stderr.txt 'Good "git" signature for ann@example.org with ED25519 key SHA256:'
has stdout.txt 'adapter_weights.bin: OK'
echo ok
