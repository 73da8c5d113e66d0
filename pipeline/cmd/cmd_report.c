/* fmforge report: draws the page of a recorded run. */

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/report.h"

static int draw(const struct cmd_context *c, const char *home, const char *id, const char *name,
                const char *root, struct report_page *page, struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(home, "ledger.git");
    struct ledger l = {helper, repo};
    struct store *store = NULL;
    struct run_record r = {0};
    int rc = store_open_read(home, &store, e);
    if (rc == 0)
        rc = run_record_find(&l, id, name, &r, e);
    if (rc == 0)
        rc = report_write(&r, store, root, page, e);
    run_record_release(&r);
    store_close(store);
    xfree(repo);
    xfree(helper);
    return rc;
}

int cmd_report(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *run = "last", *root = "reports";
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"run", 0, FLAG_STRING, &run, "ID", "6 to 40 digits of a run's id (default last)"},
        {"reports", 0, FLAG_STRING, &root, "DIR", "where the page goes (default reports)"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *name = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &name, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "report [NAME] [options]",
                        "Draws the page of a recorded run (of the pipeline NAME) into\n"
                        "reports/NAME/index.html. A run that records something draws its own.",
                        flags, n_flags);
    rc = cmd_begin(&common, c->term, e);
    struct report_page page = {0};
    if (rc == 0)
        rc = draw(c, common.home, run, name, root, &page, e);
    if (rc == 0 && common.json) {
        struct json *o = json_new_object();
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        json_put_string(o, "schema", "fmforge.report/1");
        json_put_string(o, "report", page.path);
        json_write_pretty(o, 2, &b);
        term_out(c->term, buf_text(&b));
        buf_release(&b);
        json_free(o);
    } else if (rc == 0) {
        term_outf(c->term, "%s\n", page.path);
    }
    xfree(page.path);
    return rc;
}
