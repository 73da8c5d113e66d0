/* fmforge run: makes, tests, delivers and records what a manifest describes. */

#include "pipeline/base/str.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/run_events.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/seen.h"

/* With the events on standard output the results go where the words for people go. */
static int run_watched(const struct session_options *so, struct run_options *o, const char *events,
                       const struct cmd_context *c, double started_ms, struct err *e)
{
    struct term term = *c->term;
    struct cmd_context context = {c->program_folder, &term};
    struct session s;
    struct err problem = {0};
    int rc = events ? event_stream_open(events, &o->events, e) : 0;
    if (rc < 0)
        return rc;
    if (events && str_eq(events, "-"))
        term.out = term.note;
    rc = session_open(&s, so, e);
    if (rc < 0) {
        run_events_error(o->events, e);
    } else if (s.absent) {
        cmd_say_skipped(&context, &s, o->json);
        run_events_skipped(o->events, &s);
    } else {
        rc = run_session(&s, o, &term, started_ms, e);
    }
    session_release(&s);
    if (!event_stream_close(o->events, &problem))
        term_notef(&term, "events: not all of them were taken: %s\n", problem.text);
    return rc;
}

int cmd_run(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    double started_ms = spawn_clock_ms();
    struct cmd_common common = CMD_COMMON_INIT;
    struct flag_list sets = {0};
    struct run_options o = {.out_root = "out", .reports_root = "reports", .kernels = "auto"};
    const char *events = NULL;
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
        {"sign", 0, FLAG_STRING, &o.sign_key, "KEY",
         "sign the ledger's commit with an SSH key (a private key, or a .pub in ssh-agent)"},
        {"events", 0, FLAG_STRING, &events, "FILE",
         "append what happens to FILE, a named pipe or - (stdout), a line of JSON each"},
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
    if (rc == 0 && common.json && events && str_eq(events, "-"))
        rc = err_set(e, ERR_CONFIG,
                     "--events - and --json both print on standard output; expected a file or a "
                     "named pipe for the events");
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
    if (!o.json && !o.record && !events && instant_run(&instant, c->term, started_ms))
        return 0;
    struct session_options so = {path,       common.home,  c->program_folder,
                                 sets.items, sets.n_items, true};
    return run_watched(&so, &o, events, c, started_ms, e);
}
