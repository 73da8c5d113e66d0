# The code's commit in a statement: with changed files and their hashes, from every kind of checkout; where it
# cannot be read the statement says why, and no run fails by it.
. "$2/tests/e2e/e2e_lib.sh"
command -v git >/dev/null || skip "there is no git"
probe_programs
export HOME=$PWD/home GIT_CONFIG_NOSYSTEM=1
mkdir home
git config --global user.name ann
git config --global user.email ann@example.org
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global protocol.file.allow always

n=0
run_in() { # FOLDER: its run's source, as one line
    n=$((n + 1))
    cat >"$1/m.yaml" <<X
fmforge: 1
name: probes
stages:
  one: { run: probe, inputs: { text: in.txt }, with: { does: copy, n: $n } }
X
    fm run m.yaml -C "$1" --home "$PWD/home/store$n" >run.txt 2>&1 || die "a run in $1 failed: $(cat run.txt)"
    git --git-dir="home/store$n/ledger.git" show refs/prov/probes:stages/one/statement.json >statement.json
    fm audit "$(git --git-dir="home/store$n/ledger.git" show refs/prov/probes:artifacts.sha256 | cut -c1-64 | head -n 1)" \
        -C "$1" --home "$PWD/home/store$n" --json >audit.json || die "its audit fails: $(cat audit.json)"
}
known() { # COMMIT BRANCH: of a checkout without a change but this test's own files
    has statement.json "\"gitCommit\":\"$1\""
    [ -z "$2" ] || has statement.json "\"branch\":\"$2\""
    has audit.json "\"commit\": \"$1\""
    ! grep -q source_unavailable statement.json || die "the source is unavailable"
}
unavailable() { # WORDS
    grep -qE "\"source_unavailable\":\"[^\"]*$1" statement.json || die "it does not say \"$1\": $(cat statement.json)"
    grep -q '"unavailable": "' audit.json || die "the audit does not say it"
    ! grep -q gitCommit statement.json || die "there is a commit all the same"
}
dirty() { # PATH HASH: a change is listed, with the hash of what it is now; "": deleted
    if [ -n "$2" ]; then
        grep -qF "{\"path\":\"$1\",\"sha256\":\"$2\"}" statement.json || die "$1 is not listed: $(cat statement.json)"
    else
        grep -qF "{\"path\":\"$1\"}" statement.json || die "$1 is not listed as deleted: $(cat statement.json)"
    fi
}
fits_audit() { # what the audit prints has its form
    command -v python3 >/dev/null || return 0
    python3 "$ROOT/tests/e2e/json_check.py" "$ROOT/pipeline/schema/audit.schema.json" audit.json >problems.txt ||
        die "the audit has another form: $(cat problems.txt)"
}
sum() { sha256sum <"$1" | cut -c1-64; }

# No repository; one without a commit.
mkdir none && echo text >none/in.txt
run_in none
unavailable 'no git repository around \.'
git init -q empty && echo text >empty/in.txt
run_in empty
unavailable 'has no commit yet'

# A plain checkout: clean, then with a changed, a deleted, a new and an oddly named file.
git init -q plain
echo text >plain/in.txt
echo 'int x;' >plain/x.c
echo 'int y;' >plain/y.c
printf 'm.yaml\nout/\nreports/\n' >plain/.gitignore
git -C plain add . && git -C plain commit -q -m one
commit=$(git -C plain rev-parse HEAD)
run_in plain
known "$commit" main
has statement.json '"dirty_total":0'
touch -d '1 hour ago' plain/x.c # other times are no change
run_in plain
has statement.json '"dirty_total":0'
cp -r plain changed
echo 'int z;' >>changed/x.c
rm changed/y.c
echo new >"changed/new file.c"
echo staged >changed/staged.c && git -C changed add staged.c
run_in changed
known "$commit" main
has statement.json '"dirty_total":4'
dirty x.c "$(sum changed/x.c)"
dirty y.c ''
dirty 'new file.c' "$(sum 'changed/new file.c')"
dirty staged.c "$(sum changed/staged.c)"
has audit.json "\"sha256\": \"$(sum changed/x.c)\""

# Without a branch; a folder below the root; a worktree; shallow; a submodule that changed.
git -C plain checkout -q --detach
run_in plain
known "$commit" ''
! grep -q '"branch"' statement.json || die "a detached head has a branch"
git -C plain checkout -q main
mkdir plain/below && echo text >plain/below/in.txt && git -C plain add below && git -C plain commit -q -m below
run_in plain/below
known "$(git -C plain rev-parse HEAD)" main
git -C plain worktree add -q ../tree
run_in tree
known "$(git -C plain rev-parse HEAD)" tree
has statement.json '"dirty_total":0'
git clone -q --depth 1 "file://$PWD/plain" shallow
run_in shallow
known "$(git -C plain rev-parse HEAD)" main
git init -q outer && echo text >outer/in.txt && printf 'm.yaml\nout/\nreports/\n' >outer/.gitignore
git -C outer submodule --quiet add "file://$PWD/plain" inner
git -C outer add . && git -C outer commit -q -m outer
echo more >>outer/inner/x.c
run_in outer
known "$(git -C outer rev-parse HEAD)" main
has statement.json '{"path":"inner","unhashed":"a submodule, or another repository"}'
has statement.json '"dirty_total":1'
fits_audit
git -C outer/inner checkout -q x.c
run_in outer
has statement.json '"dirty_total":0'

# Links are what they lead to, wherever that is; a repository within is not looked into.
cp -r plain linked
ln -s /nowhere linked/link && ln -s .. linked/up && git init -q linked/own && echo x >linked/own/x
run_in linked
dirty link "$(printf /nowhere | sha256sum | cut -c1-64)"
dirty up "$(printf .. | sha256sum | cut -c1-64)"
has statement.json '{"path":"own/","unhashed":"a submodule, or another repository"}'
fits_audit

# A partial clone that lacks the blobs of older commits.
echo 'int old;' >plain/x.c && git -C plain commit -q -a -m old && echo 'int x;' >plain/x.c && git -C plain commit -q -a -m new
git -C plain config uploadpack.allowFilter true
git clone -q --filter=blob:none "file://$PWD/plain" partial
git -C partial rev-list --objects --all --missing=print | grep -q '^?' || die "the partial clone is whole"
run_in partial
known "$(git -C plain rev-parse HEAD)" main
has statement.json '"dirty_total":0'

# Extensions that the library does not know: said, not guessed.
git clone -q plain configured
git -C configured config core.repositoryFormatVersion 1
git -C configured config extensions.worktreeConfig true
run_in configured
unavailable 'unsupported extension name extensions.worktreeconfig'
git init -q --object-format=sha256 longer && echo text >longer/in.txt
git -C longer add . && git -C longer commit -q -m one
run_in longer
unavailable 'unsupported extension name extensions.objectformat'

# Git LFS keeps a pointer in the repository and the file in the tree: what is there is what is hashed.
git init -q large && echo text >large/in.txt && echo weights >large/w.bin
printf 'm.yaml\nout/\nreports/\n' >large/.gitignore
echo '*.bin filter=lfs -text' >large/.gitattributes
git -C large config filter.lfs.clean 'sha256sum | cut -c1-64'
git -C large config filter.lfs.required true
git -C large add . && git -C large commit -q -m one
[ "$(git -C large show HEAD:w.bin)" = "$(sum large/w.bin)" ] || die "the filter did nothing"
sleep 0.1 && touch large/w.bin # git would ask the filter and find it unchanged
run_in large
known "$(git -C large rev-parse HEAD)" main
grep -q '"dirty_total":0' statement.json || dirty w.bin "$(sum large/w.bin)"
echo other >large/w.bin
run_in large
dirty w.bin "$(sum large/w.bin)"

# Somebody else's repository, damage, and a bare one around the folder.
if [ "$(id -u)" = 0 ] && chown -R 12345 configured 2>/dev/null; then
    git -C configured config --file .git/config --unset extensions.worktreeConfig 2>/dev/null ||
        sed -i '/worktreeConfig/d' configured/.git/config
    run_in configured
    unavailable 'belongs to another user'
    git config --global --add safe.directory "$PWD/configured" # as git has it
    run_in configured
    grep -qE 'gitCommit|source_unavailable' statement.json || die "nothing is said of the source"
fi
cp -r plain broken
rm -rf broken/.git/objects/??
find broken/.git/objects -name '*.pack' -delete
run_in broken
unavailable 'is damaged: '
git clone -q --bare plain bare.git
mkdir bare.git/below && echo text >bare.git/below/in.txt
run_in bare.git/below
unavailable 'has no work tree'
echo ok
