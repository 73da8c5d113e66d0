# Every option that --help of a command or tool lists is described in a README, and every command stands
# in the table of the first one.
. "$2/tests/e2e/e2e_lib.sh"
need_stages generate inspect
cat "$ROOT"/README.md "$ROOT"/{configs,pipeline,pipeline/provenance,pipeline/store,reports,stages}/README.md >all.md
expect 0 fm --help
sed -n '/^commands:/,/^  TOOL/s/^  \([a-z]*\) .*/\1/p' stdout.txt >commands.txt
printf 'generate\ninspect\n' >>commands.txt
[ "$(wc -l <commands.txt)" -ge 18 ] || die "--help names too few commands: $(cat commands.txt)"
n=0
while read -r command; do
    grep -qE "^\| \`fmforge $command( [A-Z]+)*\` \|" "$ROOT/README.md" || die "README.md has no row of $command"
    expect 0 fm "$command" --help
    for option in $(grep -oE '^ +(-[A-Za-z], )?--[a-z-]+' stdout.txt | grep -oE -- '--[a-z-]+'); do
        n=$((n + 1))
        grep -qE -- "(^|[^a-z-])$option([^a-z-]|\$)" all.md || die "no README describes $option of fmforge $command"
    done
done <commands.txt
[ "$n" -ge 80 ] || die "only $n options"
echo ok
