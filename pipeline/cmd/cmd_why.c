/* fmforge why: the difference between a stage's recipe and that of its newest run. */

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/session.h"
#include "pipeline/engine/why.h"

static int print_why(const struct session *s, const char *stage, const struct cmd_common *common,
                     const struct cmd_context *c, struct err *e)
{
    size_t i = 0;
    int rc = graph_find(&s->graph, stage, &i, e);
    if (rc < 0)
        return rc;
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct json *why = why_to_json(&s->plan, i, &l);
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    if (common->json)
        json_write_pretty(why, 2, &out);
    else
        why_to_text(why, &out);
    term_out(c->term, buf_text(&out));
    buf_release(&out);
    json_free(why);
    xfree(repo);
    xfree(helper);
    return 0;
}

int cmd_why(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    struct flag_list sets = {0};
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"set", 0, FLAG_LIST, &sets, "NAME=VALUE", "override the manifest, e.g. vars.seed=8"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *words[2] = {NULL, NULL};
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, words, 2, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(
            c, "why STAGE MANIFEST [options]",
            "Says why a stage would run, field by field, and what it took before; or why "
            "it would not:\nwhich run made its result, when, and what had changed then.\n"
            "STAGE is a stage's name, and where it has axes as many of them as name one:\n"
            "'quality[rank=8]', 'quality[rank=8,toolkit=nano-1.0]'.",
            flags, n_flags);
    if (n != 2)
        return err_set(e, ERR_CONFIG,
                       "why: expected a stage and a manifest, e.g. why adapter "
                       "configs/quickstart.yaml");
    /* The order is easily mixed up, and what ends in .yaml is no stage. */
    bool swapped = str_ends(words[0], ".yaml") && !str_ends(words[1], ".yaml");
    const char *stage = words[swapped ? 1 : 0];
    const char *path = words[swapped ? 0 : 1];
    rc = cmd_begin(&common, c->term, e);
    if (rc < 0)
        return rc;
    struct session s;
    struct session_options o = {path,  common.home, c->program_folder, sets.items, sets.n_items,
                                false, c->term};
    rc = session_open(&s, &o, e);
    if (rc == 0 && s.absent)
        cmd_say_skipped(c, &s, common.json);
    else if (rc == 0)
        rc = print_why(&s, stage, &common, c, e);
    session_release(&s);
    return rc;
}
