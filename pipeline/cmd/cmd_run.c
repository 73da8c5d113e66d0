/* fmforge run: makes, tests, delivers and records what a manifest describes. */

#include "pipeline/base/clock.h"
#include "pipeline/base/str.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/cmd/run_flags.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/run_events.h"
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

/* With the events on standard output the results go where the words for people go. */
static int run_watched(const struct session_options *so, struct run_options *o, const char *events,
                       const struct cmd_context *c, double started_ms, struct err *e)
{
    struct term term = *c->term;
    struct cmd_context context = *c;
    struct session s;
    struct err problem = {0};
    int rc = events ? event_stream_open(events, &o->events, e) : 0;
    if (rc < 0)
        return rc;
    context.term = &term;
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
    double started_ms = clock_ms();
    struct run_flags f = RUN_FLAGS_INIT;
    int rc = run_flags_parse(argc, argv, &f, e);
    if (rc == 0 && f.help)
        return help(c, &f);
    if (rc == 0)
        rc = cmd_begin(&f.common, c->term, e);
    if (rc == 0)
        rc = cmd_need_file("--sign", f.sign_key, CMD_EXPECTED_KEY, e);
    if (rc == 0 && f.common.json && f.events && str_eq(f.events, "-"))
        rc = err_set(e, ERR_CONFIG,
                     "--events - and --json both print on standard output; expected a file or a "
                     "named pipe for the events");
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
    struct session_options so = {
        f.path, f.common.home, c->program_folder, f.sets.items, f.sets.n_items, true, c->term};
    return run_watched(&so, &o, f.events, c, started_ms, e);
}
