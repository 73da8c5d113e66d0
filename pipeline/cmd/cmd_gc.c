/* fmforge gc: removes what no kept run needs; and pins, which keep a run. */

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/provenance/gc.h"

#define KEEP_DEFAULT 10
#define KEEP_MAX 1000000
#define WORK_DAYS_DEFAULT 30
#define WORK_DAYS_MAX 36500

struct gc_flags {
    int64_t keep, work_days;
    const char *budget, *pin, *unpin;
    bool remove;
};

static void say_waiting(void *context)
{
    const struct cmd_context *c = context;
    term_note(c->term, "gc: waiting for another fmforge that reads this store\n");
}

static int read_options(const struct gc_flags *f, struct gc_options *o, struct err *e)
{
    if (f->keep < 1 || f->keep > KEEP_MAX)
        return err_set(e, ERR_CONFIG,
                       "--keep: expected 1 to %d newest runs of each pipeline, found %lld",
                       KEEP_MAX, (long long)f->keep);
    if (f->work_days < 0 || f->work_days > WORK_DAYS_MAX)
        return err_set(e, ERR_CONFIG, "--work-days: expected 0 to %d days, found %lld",
                       WORK_DAYS_MAX, (long long)f->work_days);
    o->keep = f->keep;
    o->work_days = f->work_days;
    o->remove = f->remove;
    o->budget_bytes = UINT64_MAX;
    if (f->budget != NULL &&
        (!str_to_bytes(f->budget, &o->budget_bytes) || o->budget_bytes > (uint64_t)1 << 53))
        return err_set(
            e, ERR_CONFIG,
            "--budget: expected bytes such as 800M or 20G (K, M, G: powers of 1024), found `%s`",
            f->budget);
    if (f->pin != NULL && f->unpin != NULL)
        return err_set(e, ERR_CONFIG, "--pin and --unpin exclude each other");
    if (f->remove && (f->pin != NULL || f->unpin != NULL))
        return err_set(e, ERR_CONFIG,
                       "--delete and --pin or --unpin are two commands: nothing is done");
    return 0;
}

static void show(const struct cmd_context *c, const struct json *root, bool as_json,
                 void (*to_text)(const struct json *, struct buf *))
{
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    if (as_json)
        json_write_pretty(root, 2, &out);
    else
        to_text(root, &out);
    term_out(c->term, buf_text(&out));
    buf_release(&out);
}

static void pin_to_text(const struct json *answer, struct buf *out)
{
    double missing = json_number(json_get(answer, "missing"));
    buf_printf(out, "%s: run %.12s is %s\n", json_find_text(answer, "name"),
               json_find_text(answer, "commit"),
               json_bool(json_get(answer, "pinned")) ? "pinned" : "not pinned any more");
    if (missing > 0)
        buf_printf(out, "%.0f of its outputs are not in the store any more\n", missing);
}

static int collect(const struct cmd_context *c, const struct cmd_common *common,
                   const struct ledger *l, const struct gc_options *o, struct err *e)
{
    struct json *report = NULL;
    int rc = gc_make(l, common->home, o, &report, e);
    if (rc == 0) {
        show(c, report, common->json, gc_to_text);
        rc = json_bool(json_get(report, "budget_holds")) ? 0 : 1;
    }
    json_free(report);
    return rc;
}

static int pin(const struct cmd_context *c, const struct cmd_common *common, const struct ledger *l,
               const struct gc_flags *f, struct err *e)
{
    struct json *answer = NULL;
    int rc = f->pin != NULL ? gc_pin(l, common->home, f->pin, &answer, e)
                            : gc_unpin(l, common->home, f->unpin, &answer, e);
    if (rc == 0)
        show(c, answer, common->json, pin_to_text);
    json_free(answer);
    return rc;
}

int cmd_gc(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    struct gc_flags f = {.keep = KEEP_DEFAULT, .work_days = WORK_DAYS_DEFAULT};
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"keep", 0, FLAG_INT, &f.keep, "N", "newest runs of each pipeline that stay (default 10)"},
        {"work-days", 0, FLAG_INT, &f.work_days, "N",
         "days for which checkpoints of unfinished stages stay, and what a killed run has made and "
         "no run has recorded (default 30)"},
        {"budget", 0, FLAG_STRING, &f.budget, "BYTES",
         "size of the whole store, e.g. 20G: raw copies go until it holds"},
        {"delete", 0, FLAG_BOOL, &f.remove, NULL, "really remove; without it nothing is changed"},
        {"pin", 0, FLAG_STRING, &f.pin, "RUN", "keep this run from now on, and remove nothing"},
        {"unpin", 0, FLAG_STRING, &f.unpin, "RUN", "take its pin off, and remove nothing"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, NULL, 0, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "gc [options]",
                        "Says what the store could do without, and with --delete removes it: "
                        "results, objects, raw\n"
                        "copies, checkpoints and logs that neither the newest runs of each "
                        "pipeline nor a pinned run\n"
                        "nor a running fmforge needs. The ledger stays whole. RUN is 6 to 40 "
                        "digits of a run's id,\n"
                        "last or last~N. Exit status: 0 done, 1 the budget does not hold, 2 usage.",
                        flags, n_flags);
    struct gc_options o = {.on_wait = say_waiting, .context = (void *)c};
    rc = read_options(&f, &o, e);
    if (rc == 0)
        rc = cmd_enter(&common, e);
    if (rc < 0)
        return rc;
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common.home, "ledger.git");
    struct ledger l = {helper, repo};
    rc = f.pin != NULL || f.unpin != NULL ? pin(c, &common, &l, &f, e)
                                          : collect(c, &common, &l, &o, e);
    xfree(repo);
    xfree(helper);
    return rc;
}
