/* fmforge diff: two recorded runs, field by field. */

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/run_diff.h"

static int diff(const struct cmd_context *c, const struct cmd_common *common, const char *name,
                const char *const ids[2], struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct run_record runs[2] = {{0}};
    struct store *store = NULL;
    int rc = store_open_read(common->home, &store, e);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = run_record_find(&l, ids[i], name, &runs[i], e);
    if (rc == 0) {
        struct json *root = run_diff(&runs[0], &runs[1], store);
        struct buf out;
        buf_init(&out, BUF_MAX_DEFAULT);
        if (common->json)
            json_write_pretty(root, 2, &out);
        else
            run_diff_to_text(root, &out);
        term_out(c->term, buf_text(&out));
        buf_release(&out);
        json_free(root);
    }
    for (int i = 0; i < 2; i++)
        run_record_release(&runs[i]);
    store_close(store);
    xfree(repo);
    xfree(helper);
    return rc;
}

int cmd_diff(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *name = NULL;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"name", 0, FLAG_STRING, &name, "NAME", "last counts the runs of this pipeline only"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *ids[2] = {NULL};
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, ids, 2, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "diff OLD NEW [options]",
                        "Says what differs between two recorded runs: manifest, parameters, "
                        "inputs, programs, outputs,\nmetrics and gates. OLD and NEW are 6 to 40 "
                        "digits of a run's id, last or last~N, e.g.\nfmforge diff last~1 last.",
                        flags, n_flags);
    if (n != 2)
        return err_set(e, ERR_CONFIG, "diff: expected two runs, e.g. last~1 last (fmforge log)");
    rc = cmd_begin(&common, c->term, e);
    return rc == 0 ? diff(c, &common, name, ids, e) : rc;
}
