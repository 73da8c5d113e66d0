# Signed runs: git and ssh-keygen accept them, what was changed is named, and a key that cannot sign
# costs no work.
. "$2/tests/e2e/e2e_lib.sh"
for program in git ssh-keygen ssh-agent; do
    command -v $program >/dev/null || skip "there is no $program"
done
probe_programs
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
unset SSH_AUTH_SOCK SSH_ASKPASS SSH_ASKPASS_REQUIRE
ssh-keygen -q -t ed25519 -N '' -C ann -f ann || die "no key can be made"
ssh-keygen -q -t ed25519 -N '' -C bob -f bob || die "no key can be made"
ssh-keygen -q -t ed25519 -N secret -C locked -f locked || die "no key can be made"
echo "ann@example.org $(cat ann.pub)" >signers
echo "bob@example.org $(cat bob.pub)" >others
echo text >in.txt
ledger() { git --git-dir=.fmforge/ledger.git -c gpg.ssh.allowedSignersFile="$PWD/signers" "$@"; }
tip() { ledger rev-parse refs/prov/probes; }
manifest() { # DOES N
    cat <<X
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: $1, n: $2 } }
deliver: { one.text: $1-$2 }
X
}
manifest copy 1 >m.yaml

# What cannot sign is said before anything is run; nobody is asked for a passphrase.
printf '#!/bin/sh\necho asked >>%s/asked\necho secret\n' "$PWD" >ask.sh
chmod +x ask.sh
mkdir folder
echo junk >junk
expect 2 fm run m.yaml --sign nothing
has stderr.txt '--sign nothing: no such file; expected the file of an SSH key'
expect 2 fm run m.yaml --sign folder
has stderr.txt '--sign folder: a folder; expected'
expect 2 fm nightly . --sign folder
for key in locked junk locked.pub; do
    expect 1 env DISPLAY=:0 SSH_ASKPASS="$PWD/ask.sh" SSH_ASKPASS_REQUIRE=force \
        "$BIN/fmforge" run m.yaml --sign $key
    has stderr.txt "nothing was run, the record could not be signed: ledger: signing with $key: ssh-keygen: "
done
expect 1 fm run m.yaml --sign locked
has stderr.txt 'the key has a passphrase, and nobody is asked for it here: give the key to ssh-agent'
[ ! -e asked ] || die "a passphrase was asked for"
expect 1 env PATH="$PWD/folder" "$BIN/fmforge" run m.yaml --sign ann
has stderr.txt 'signatures need OpenSSH'
has stderr.txt 'openssh-client'
mkdir fake
printf '#!/bin/sh\necho hello\n' >fake/ssh-keygen
chmod +x fake/ssh-keygen
expect 1 env PATH="$PWD/fake" "$BIN/fmforge" run m.yaml --sign ann
has stderr.txt 'ssh-keygen: it answered with something else than a signature'
if find .fmforge/actions .fmforge/ledger.git -type f 2>/dev/null | grep -q .; then die "something was run"; fi

# Signed: git takes it, ssh-keygen takes it, and so do verify and audit.
expect 0 fm run m.yaml --sign ann
has stdout.txt ', signed'
first=$(tip)
expect 0 ledger fsck --strict
expect 0 ledger verify-commit "$first"
has stderr.txt 'Good "git" signature for ann@example.org with ED25519 key SHA256:'
expect 0 fm verify --signers signers
has stdout.txt 'probes: signed by ann@example.org (ED25519 key SHA256:'
has stdout.txt '1 run: 1 signed, 0 unsigned, 0 bad'
expect 0 fm verify --signers signers --json
has stdout.txt '"state": "good"'
has stdout.txt '"by": "ann@example.org"'
expect 0 fm audit out/probes/copy-1 --signers signers
has stdout.txt 'signed by ann@example.org'
expect 0 fm verify
! grep -q signed stdout.txt || die "verify looks at signatures unasked"

# Nothing to do signs nothing, also with a key that cannot.
expect 0 fm run m.yaml --sign locked
[ "$(tip)" = "$first" ] || die "a run that did nothing made a commit"

# A list that does not name the key, or no longer; a signature for something else than git.
expect 1 fm verify --signers others
has stdout.txt "run ${first:0:12} of probes: its signature is bad: others lists nobody with its ED25519 key SHA256:"
expect 1 fm audit out/probes/copy-1 --signers others
has stdout.txt "MISMATCH: ledger: run ${first:0:12} of probes: its signature is bad"
echo "ann@example.org valid-before=\"20200101\" $(cat ann.pub)" >late
expect 1 fm verify --signers late
has stdout.txt 'BAD: '
echo "ann@example.org namespaces=\"file\" $(cat ann.pub)" >elsewhere
expect 1 fm verify --signers elsewhere
has stdout.txt 'BAD: '
for list in '' 'no key, no name'; do
    echo "$list" >garbage
    expect 1 fm verify --signers garbage
    has stdout.txt 'garbage'
    has stdout.txt '1 found wrong, nothing of it in what the store keeps'
done
expect 2 fm verify --signers nothing
expect 2 fm audit out/probes/copy-1 --signers folder

# The key goes while a stage runs: no commit, and the work is recorded by the next run.
manifest steps 50 >m.yaml
fm run m.yaml --sign ann >stdout.txt 2>stderr.txt &
for _ in $(seq 200); do
    find .fmforge/work -name '*.json' 2>/dev/null | grep -q . && break
    sleep 0.05
done
mv ann away
wait $!
[ $? -eq 1 ] || die "a run that could not be signed ended otherwise than with 1: $(cat stderr.txt)"
has stderr.txt 'no run is recorded; what was made is kept, and the same command records it'
has stderr.txt 'signing with ann'
[ "$(tip)" = "$first" ] || die "a run that could not be signed was recorded"
ls .fmforge/owed/probes.* >/dev/null 2>&1 || die "the run is not owed"
expect 0 ledger fsck --strict
expect 0 fm verify --signers signers
mv away ann
expect 0 fm run m.yaml --record --sign ann
has stdout.txt 'nothing to do, 1 stages cached'
second=$(tip)
[ "$second" != "$first" ] || die "the run was not recorded"
! ls .fmforge/owed/probes.* >/dev/null 2>&1 || die "the run is still owed"
expect 0 ledger verify-commit "$second"
expect 0 fm audit out/probes/steps-50 --signers signers

# A key that only ssh-agent has; the nightly.
mkdir nightly
mv m.yaml nightly
eval "$(ssh-agent -s)" >/dev/null
trap 'ssh-agent -k >/dev/null' EXIT
mv ann away
SSH_ASKPASS=$PWD/ask.sh SSH_ASKPASS_REQUIRE=force ssh-add -q locked away 2>/dev/null || die "ssh-add fails"
expect 0 fm nightly nightly --sign ann.pub --date 2026-01-31
third=$(tip)
[ "$third" != "$second" ] || die "the nightly was not recorded"
expect 0 ledger verify-commit "$third"
expect 0 fm run nightly/m.yaml --record --sign locked
ssh-agent -k >/dev/null
trap - EXIT
mv away ann
expect 1 ledger verify-commit "$(tip)" # by somebody who is not listed
echo "late@example.org $(cat locked.pub)" >>signers
expect 0 ledger verify-commit "$(tip)"

# A run without signature is said. It is no damage; an audit cannot tell.
manifest copy 2 >m.yaml
expect 0 fm run m.yaml
expect 0 fm verify --signers signers
has stdout.txt 'probes: unsigned'
has stdout.txt '5 runs: 4 signed, 1 unsigned, 0 bad'
expect 4 fm audit out/probes/copy-2 --signers signers
has stdout.txt 'is unsigned'

# Packed, they are the same.
expect 0 ledger gc -q --prune=now
expect 0 ledger repack -q -a -d -f
expect 0 ledger verify-commit "$first"
expect 0 fm verify --signers signers
has stdout.txt '5 runs: 4 signed, 1 unsigned, 0 bad'

# Another run under ann's signature: whole for git, named by verify.
ledger cat-file commit "$third" | sed 's/^probes: ok/probes: OK/' >forged.txt
forged=$(ledger hash-object -t commit -w forged.txt)
[ "$forged" != "$third" ] || die "nothing was forged"
expect 0 ledger update-ref refs/prov/probes "$forged"
expect 0 ledger fsck --strict
expect 1 ledger verify-commit "$forged"
expect 1 fm verify --signers signers
has stdout.txt "run ${forged:0:12} of probes: its signature is bad: "
has stdout.txt '3 runs: 2 signed, 0 unsigned, 1 bad'
expect 1 fm verify --signers signers --json
has stdout.txt '"state": "bad"'
expect 1 fm audit out/probes/steps-50 --signers signers
has stdout.txt "MISMATCH: ledger: run ${forged:0:12}"
echo ok
