/* fmforge reproduce: makes a recorded run once more and compares every digest. */

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/reproduce.h"

static int reproduce(const struct cmd_context *c, const struct cmd_common *common, const char *id,
                     const struct reproduce_options *o, struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct run_record r = {0};
    struct json *report = NULL;
    int rc = store_check_home(common->home, e);
    if (rc == 0)
        rc = run_record_find(&l, id, NULL, &r, e);
    if (rc == 0)
        rc = reproduce_run(&r, o, c->term, &report, e);
    if (report != NULL) {
        struct buf out;
        buf_init(&out, BUF_MAX_DEFAULT);
        if (common->json)
            json_write_pretty(report, 2, &out);
        else
            reproduce_to_text(report, &out);
        term_out(c->term, buf_text(&out));
        buf_release(&out);
    }
    json_free(report);
    run_record_release(&r);
    xfree(repo);
    xfree(helper);
    return rc;
}

int cmd_reproduce(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    struct reproduce_options o = {.kernels = "auto", .program_folder = c->program_folder};
    int64_t jobs = 1, threads = 0;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"jobs", 'j', FLAG_INT, &jobs, "N", "stages at a time (default 1)"},
        {"threads", 0, FLAG_INT, &threads, "N",
         "threads of all stages together (default all CPUs)"},
        {"kernels", 0, FLAG_STRING, &o.kernels, "NAME",
         "auto, portable, avx2, avx512, amx or neon"},
        {"into", 0, FLAG_STRING, &o.into, "DIR",
         "a new folder for what is made, which stays (default: none stays)"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *id = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &id, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(
            c, "reproduce RUN [options]",
            "Makes a recorded run once more, from its recorded manifest and toolkits and its "
            "inputs by\n"
            "content, in a store of its own, and compares the digest of every output. RUN is 6 to "
            "40\n"
            "digits of a run's id, last or last~N. Exit status: 0 all the same, 1 something "
            "differs, 4\n"
            "cannot tell: an input, a program or a library of the run is gone or is another.",
            flags, n_flags);
    if (n != 1)
        return err_set(e, ERR_CONFIG, "reproduce: expected a run's id (fmforge log), or last");
    rc = cmd_check_counts(jobs, threads, e);
    if (rc == 0)
        rc = cmd_check_kernels(o.kernels, e);
    if (rc == 0)
        rc = cmd_begin(&common, c->term, e);
    if (rc < 0)
        return rc;
    o.home = common.home;
    o.jobs = (int)jobs;
    o.threads = (int)threads;
    return reproduce(c, &common, id, &o, e);
}
