/* fmforge run: makes, tests, delivers and records what a manifest describes. */

#include "pipeline/cmd/cmd.h"
#include "pipeline/cmd/run_flags.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/seen.h"

static int help(const struct cmd_context *c, struct run_flags *f)
{
    const struct flag flags[] = {RUN_FLAGS(*f)};
    return cmd_help(c, "run MANIFEST [options]",
                    "Makes what is not there yet, judges the gates, writes the packages to\n"
                    "out/NAME/TOOLKIT/, records the run in the ledger and draws reports/NAME/.",
                    flags, sizeof flags / sizeof flags[0]);
}

int cmd_run(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    double started_ms = spawn_clock_ms();
    struct run_flags f = RUN_FLAGS_INIT;
    int rc = run_flags_parse(argc, argv, &f, e);
    if (rc == 0 && f.help)
        return help(c, &f);
    if (rc == 0)
        rc = cmd_enter(&f.common, e);
    if (rc == 0)
        rc = cmd_need_file("--sign", f.sign_key, CMD_EXPECTED_KEY, e);
    if (rc < 0)
        return rc;
    /* Asking it was for the front program. */
    struct instant instant = {f.path,       f.common.home,  c->program_folder, f.out_root,
                              f.sets.items, f.sets.n_items, seen_clock_ns()};
    struct run_options o = {.program_folder = c->program_folder,
                            .out_root = f.out_root,
                            .reports_root = f.reports_root,
                            .jobs = (int)f.jobs,
                            .threads = (int)f.threads,
                            .kernels = f.kernels,
                            .record = f.record,
                            .alone = f.alone,
                            .sign_key = f.sign_key,
                            .json = f.common.json,
                            .sets = f.sets.items,
                            .n_sets = f.sets.n_items,
                            .instant = &instant};
    struct session s;
    struct session_options so = {f.path,       f.common.home,  c->program_folder,
                                 f.sets.items, f.sets.n_items, true};
    rc = session_open(&s, &so, e);
    if (rc == 0 && s.absent)
        cmd_say_skipped(c, &s, f.common.json);
    else if (rc == 0)
        rc = run_session(&s, &o, c->term, started_ms, e);
    session_release(&s);
    return rc;
}
