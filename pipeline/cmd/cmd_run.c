/* fmforge run: makes, tests, delivers and records what a manifest describes. */

#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/seen.h"

int cmd_run(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    double started_ms = spawn_clock_ms();
    struct cmd_common common = CMD_COMMON_INIT;
    struct flag_list sets = {0};
    struct run_options o = {.out_root = "out", .reports_root = "reports", .kernels = "auto"};
    int64_t jobs = 1, threads = 0;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"jobs", 'j', FLAG_INT, &jobs, "N", "stages at a time (default 1)"},
        {"threads", 0, FLAG_INT, &threads, "N",
         "threads of all stages together (default all CPUs)"},
        {"set", 0, FLAG_LIST, &sets, "NAME=VALUE", "override the manifest, e.g. vars.seed=8"},
        {"out", 0, FLAG_STRING, &o.out_root, "DIR", "where packages go (default out)"},
        {"reports", 0, FLAG_STRING, &o.reports_root, "DIR",
         "where the run's page goes (default reports)"},
        {"kernels", 0, FLAG_STRING, &o.kernels, "NAME", "auto, portable, avx2, avx512 or neon"},
        {"record", 0, FLAG_BOOL, &o.record, NULL, "commit to the ledger also when nothing ran"},
        {"no-remote", 0, FLAG_BOOL, &o.alone, NULL,
         "leave the manifest's shared cache alone in this run"},
        {"sign", 0, FLAG_STRING, &o.sign_key, "KEY",
         "sign the ledger's commit with an SSH key (a private key, or a .pub in ssh-agent)"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *path = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &path, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "run MANIFEST [options]",
                        "Makes what is not there yet, judges the gates, writes the packages to\n"
                        "out/NAME/TOOLKIT/, records the run in the ledger and draws reports/NAME/.",
                        flags, n_flags);
    if (n != 1)
        return err_set(e, ERR_CONFIG, "run: expected a manifest, e.g. configs/quickstart.yaml");
    rc = cmd_check_counts(jobs, threads, e);
    if (rc == 0)
        rc = cmd_enter(&common, e);
    if (rc == 0)
        rc = cmd_need_file("--sign", o.sign_key, CMD_EXPECTED_KEY, e);
    if (rc < 0)
        return rc;
    o.jobs = (int)jobs;
    o.threads = (int)threads;
    o.json = common.json;
    o.program_folder = c->program_folder;
    o.sets = sets.items;
    o.n_sets = sets.n_items;
    struct instant instant = {path,       common.home,  c->program_folder, o.out_root,
                              sets.items, sets.n_items, seen_clock_ns()};
    o.instant = &instant;
    if (!o.json && !o.record && instant_run(&instant, c->term, started_ms))
        return 0;
    struct session s;
    struct session_options so = {path,       common.home,  c->program_folder,
                                 sets.items, sets.n_items, true};
    rc = session_open(&s, &so, e);
    if (rc == 0 && s.absent)
        cmd_say_skipped(c, &s, common.json);
    else if (rc == 0)
        rc = run_session(&s, &o, c->term, started_ms, e);
    session_release(&s);
    return rc;
}
